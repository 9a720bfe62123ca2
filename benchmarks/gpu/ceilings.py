"""What the device can do at best, and what launches, barriers and exchanges between blocks cost by themselves.

    python -m gpu.ceilings OUT

Every exchange is checked for its values before it is timed. "per" in a row says what its microseconds are divided by.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import cupy
import numpy as np

import kernels
from gpu import device, part, sources, timing
from gpu.clusters import active_clusters
from kernels.cuda.runtime import arrays, cublas, geometry, launcher
from kernels.cuda.runtime.geometry import Launch

STEP_PRODUCTS = [(128, 512), (8, 512), (128, 1024)]  # N, H of one time step: (N, H) x (H, 4H)
UNITS, ROWS = 32, 16  # of a block in the exchange, as in lstm_forward


def copies(size: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """Device to device: the driver's copy, and the plainest kernel."""

    def rate(us: dict[str, Any]) -> dict[str, Any]:
        return {**us, "bytes": 2 * size, "tb_per_s": 2 * size / us["us"]["median"] / 1e6}

    def by_driver() -> dict[str, Any]:
        source, target = noise(size), cupy.empty(size, np.uint8)
        return rate(timing.median(lambda: cupy.copyto(target, source)))

    def by_kernel() -> dict[str, Any]:
        source, target = noise(size), cupy.empty(size, np.uint8)
        kernel = own("ceilings.cu").copy_vectors
        launch = Launch((-(-size // 16 // 1024),), (256,))
        call = partial(kernel, launch, (source, target, np.uint32(size // 16)))
        call()
        if cupy.asnumpy(target[-4096:]).tobytes() != cupy.asnumpy(source[-4096:]).tobytes():
            raise ArithmeticError("copy_vectors has not copied")
        return rate(timing.median(call))

    return {"copy, driver": by_driver, "copy, kernel": by_kernel}


def noise(size: int) -> Any:
    """(size,) bytes on the device that are not all alike."""
    made, filled = cupy.empty(size, np.uint8), min(size, 1 << 20)
    made[:filled] = cupy.asarray(np.random.default_rng(0).integers(0, 256, filled, np.uint8))
    while filled < size:
        more = min(filled, size - filled)
        made[filled : filled + more] = made[:more]
        filled += more
    return made


def products(size: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """Matrix products by PyTorch's cuBLAS: one large one per precision, and those of single time steps."""
    torch = device.torch()
    if torch is None:
        return {}

    def measure(precision: str, M: int, K: int, N: int) -> dict[str, Any]:
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
        a, b = (torch.randn(*shape, device=device.TORCH_DEVICE).to(dtype) for shape in ((M, K), (N, K)))
        found = timing.median(lambda: torch.mm(a, b.T), "pytorch")
        return {**found, "shape": [M, K, N], "tflops": 2 * M * K * N / found["us"]["median"] / 1e6}

    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for name in ("bf16", "tf32", "fp32"):
        made[f"product, {name}"] = partial(measure, name, size, size, size)
    for N, H in STEP_PRODUCTS if size > 1000 else []:
        for name in ("bf16", "tf32", "fp32"):
            made[f"product of a step, N={N} H={H}, {name}"] = partial(measure, name, N, H, 4 * H)
    return made


def own_products(size: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """The same large products, and that of a step, by our binding of cuBLAS."""

    def measure(precision: str, M: int, K: int, N: int) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        a, b = (cupy.asarray(rng.standard_normal(shape, np.float32)) for shape in ((M, K), (N, K)))
        if precision == "bf16":
            a, b = arrays.bf16(a), arrays.bf16(b)
        out = cupy.empty((M, N), np.float32)
        kernels.allow_tf32(precision == "tf32")
        found = timing.median(lambda: cublas.gemm(a, b, out, transpose_b=True))
        kernels.allow_tf32(False)
        return {**found, "tflops": 2 * M * K * N / found["us"]["median"] / 1e6}

    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for name in ("bf16", "tf32", "fp32"):
        made[f"our binding: product, {name}"] = partial(measure, name, size, size, size)
        if size > 1000:
            made[f"our binding: product of a step, N=128 H=512, {name}"] = partial(measure, name, 128, 512, 2048)
    return made


def launches(count: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """An empty kernel: one after the other, and as nodes of a graph."""
    word, launch = cupy.zeros(1, np.uint32), Launch((1,), (32,))

    def burst() -> None:
        kernel = own("ceilings.cu").nothing
        for _ in range(count):
            kernel(launch, (word,))

    def eager() -> dict[str, Any]:
        return per(timing.median(burst), count, "launch")

    def graphed() -> dict[str, Any]:
        return captured(burst, count, "node of a graph")

    return {"launch": eager, "launch in a graph": graphed}


def captured(call: Callable[[], None], count: int, unit: str) -> dict[str, Any]:
    """Time of a graph of a call, divided by ``count``."""
    device.synchronize()  # what the call reads was written on another stream
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        call()
        stream.synchronize()
        stream.begin_capture()
        call()
        graph = stream.end_capture()
        graph.launch(stream)
        stream.synchronize()
        return per(timing.median(lambda: graph.launch(stream)), count, unit)


def barriers(rounds: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """By flag among the blocks of a group, and of the whole grid."""
    groups = [(16, 8), (16, 1), (64, 2)] if rounds > 3 else [(3, 2)]

    def by_flag(blocks: int, count: int, stride: int) -> dict[str, Any]:
        flag, error = cupy.zeros(count * stride, np.uint32), cupy.zeros(1, np.uint32)
        launch, kernel = Launch((blocks, count), (256,), 0, True), own("ceilings.cu").flag_barriers

        def call() -> None:
            flag.fill(0)
            kernel(launch, (flag, error, np.int32(rounds), np.int32(stride)))

        call()
        expect(cupy.asnumpy(flag)[::stride], np.full(count, rounds * blocks), error)
        return per(timing.median(call), rounds, "barrier")

    def of_grid() -> dict[str, Any]:
        launch = Launch((16, 8) if rounds > 3 else (3, 2), (256,), 0, True)
        word, kernel = cupy.zeros(1, np.uint32), own("grid_barriers.cu").grid_barriers
        return per(timing.median(lambda: kernel(launch, (word, np.int32(rounds)))), rounds, "barrier")

    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for blocks, count in groups:
        for stride in (1, 32):
            title = f"barrier by flag, {count} groups of {blocks} blocks, flags {4 * stride} bytes apart"
            made[title] = partial(by_flag, blocks, count, stride)
    return {**made, "barrier of the grid, 128 blocks": of_grid}


def exchanges(rounds: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """h of a step, 16 rows per group, through L2: published by a flag, or polled until it is there."""
    shapes = [(16, 8), (16, 1), (8, 8)] if rounds > 3 else [(3, 2)]

    def measure(blocks: int, groups: int, marked: bool) -> dict[str, Any]:
        first = np.random.default_rng(0).integers(0, 30_000, (groups, ROWS, blocks, UNITS), np.uint16)
        y = cupy.empty((rounds + 1, *first.shape), np.uint16)
        y[0] = cupy.asarray(first)
        flag, error = cupy.zeros(groups, np.uint32), cupy.zeros(1, np.uint32)
        launch = Launch((blocks, groups), (256,), ROWS * UNITS * blocks * 2, True)
        kernels = own("ceilings.cu")

        def prepare() -> None:
            y[1:].fill(0xFFFF)
            flag.fill(0)

        def call() -> None:
            prepare()
            if marked:
                kernels.exchange_marked(launch, (y, error, np.int32(rounds)))
            else:
                kernels.exchange_by_flag(launch, (y, flag, error, np.int32(rounds)))

        call()
        expect(cupy.asnumpy(y[rounds]), np.roll(first, -rounds, axis=2) + np.uint16(rounds), error)
        found, idle = timing.median(call), timing.median(prepare)
        found["us"] = {key: found["us"][key] - idle["us"]["median"] for key in found["us"]}
        return per(found, rounds, "step")

    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for blocks, groups in shapes:
        for marked in (False, True):
            title = f"exchange of h, {groups} groups of {blocks} blocks, {'marked' if marked else 'by flag'}"
            made[title] = partial(measure, blocks, groups, marked)
    return made


def clusters(sizes: Sequence[int]) -> dict[str, Callable[[], dict[str, Any]]]:
    """How many clusters of so many blocks of the persistent kernels run at once."""

    def measure(name: str, size: int) -> dict[str, Any]:
        launch = getattr(geometry, name)(128, 512)
        kernel = getattr(launcher.module(f"recurrent/{name}"), f"{name}_bf16_512")
        return {"clusters": active_clusters(kernel, launch, size)}

    return {
        f"clusters of {size} blocks at once, {name} bf16 H=512": partial(measure, name, size)
        for name in ("lstm_forward", "lstm_backward") for size in sizes
    }  # fmt: skip


def expect(found: np.ndarray, right: np.ndarray, error: Any) -> None:
    """ArithmeticError unless the values are right and nobody has given up waiting."""
    if int(cupy.asnumpy(error)[0]):
        raise ArithmeticError("a block waited in vain for another")
    if not np.array_equal(found, right):
        raise ArithmeticError(f"{int((found != right).sum())} of {right.size} values are wrong")


def per(found: dict[str, Any], count: int, unit: str) -> dict[str, Any]:
    """Times of ``count`` things -> of one."""
    return {**found, "us": {name: value / count for name, value in found["us"].items()}, "per": unit}


def own(name: str) -> Any:
    """The kernels of a file of this folder."""
    return sources.load(sources.HERE / name)


def main(figures: part.Part) -> None:
    """All of them, the ones that teach most first."""
    rounds = 3 if figures.small else 1000
    measurements = {
        **exchanges(min(rounds, 200)),  # as long as y stays in L2
        **barriers(rounds),
        **launches(4 if figures.small else 200),
        **clusters(() if device.SIMULATED else (2, 4, 8, 16)),
        **copies(1 << 16 if figures.small else 1 << 32),
        **products(32 if figures.small else 8192),
        **own_products(32 if figures.small else 8192),
    }
    for what, measure in figures.each("measurements", list(measurements.items())):
        row = figures.attempt({"what": what}, measure)
        found = f"{row['us']['median']:10.3f} us" if "us" in row else row.get("error") or str(row["clusters"])
        print(f"{what:64} {found}", flush=True)
    launcher.check()


if __name__ == "__main__":
    sys.exit(part.run("ceilings", __doc__, main))
