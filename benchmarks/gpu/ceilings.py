"""What the device can do at best, and what launches and exchanges between blocks cost by themselves.

    python -m gpu.ceilings --device cuda --json OUT/ceilings.json

Every exchange is checked for its values before it is timed. "per" in a row says what its microseconds are divided by.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cupy
import numpy as np
from figures import Figures
from peers.device import synchronize, typical_us
from racing import parser

import kernels
from kernels.cuda.runtime import arrays, cublas, launcher
from kernels.cuda.runtime.geometry import Launch

UNITS, ROWS = 32, 16  # of a block in the exchange, as in lstm_forward
SOURCE = Path(__file__).with_name("ceilings.cu")

Asked = dict[str, Callable[[], dict[str, Any]]]


def copies(size: int) -> Asked:
    """Device to device, of bytes that are not all alike."""

    def measure() -> dict[str, Any]:
        tile = np.random.default_rng(0).integers(0, 256, 1 << 16, np.uint8)
        source, target = cupy.empty(size, np.uint8), cupy.empty(size, np.uint8)
        source.reshape(-1, len(tile))[:] = cupy.asarray(tile)
        us = typical_us(lambda: cupy.copyto(target, source))
        return {"us": us, "tb_per_s": 2 * size / us / 1e6}

    return {"copy": measure}


def products(size: int) -> Asked:
    """By cuBLAS: a large one per precision, and those of single time steps, (N, H) x (H, 4H)."""

    def measure(precision: str, M: int, K: int, N: int) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        a, b = (cupy.asarray(rng.standard_normal(shape, np.float32)) for shape in ((M, K), (N, K)))
        if precision == "bf16":
            a, b = arrays.bf16(a), arrays.bf16(b)
        out = cupy.empty((M, N), np.float32)
        kernels.allow_tf32(precision == "tf32")
        us = typical_us(lambda: cublas.gemm(a, b, out, transpose_b=True))
        kernels.allow_tf32(False)
        return {"us": us, "tflops": 2 * M * K * N / us / 1e6}

    shapes = {"product": (size, size, size)}
    if size > 1000:
        shapes |= {f"product of a step, N={N} H={H}": (N, H, 4 * H) for N, H in ((128, 512), (8, 512), (128, 1024))}
    return {
        f"{name}, {precision}": partial(measure, precision, *shape)
        for name, shape in shapes.items() for precision in ("bf16", "tf32", "fp32")
    }  # fmt: skip


def launches(count: int) -> Asked:
    """An empty kernel: one after the other, and as nodes of a graph."""
    word, launch = cupy.zeros(1, np.uint32), Launch((1,), (32,))

    def burst() -> None:
        for _ in range(count):
            own().nothing(launch, (word,))

    def graphed() -> dict[str, Any]:
        synchronize()  # what the burst reads was written on another stream
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            burst()
            stream.synchronize()
            stream.begin_capture()
            burst()
            graph = stream.end_capture()
            return {"us": typical_us(lambda: graph.launch(stream)) / count, "per": "node of a graph"}

    return {"launch": lambda: {"us": typical_us(burst) / count, "per": "launch"}, "launch in a graph": graphed}


def exchanges(rounds: int) -> Asked:
    """h of a step, 16 rows per group, through L2: published by a flag, or polled until it is there."""

    def measure(blocks: int, groups: int, marked: bool) -> dict[str, Any]:
        first = np.random.default_rng(0).integers(0, 30_000, (groups, ROWS, blocks, UNITS), np.uint16)
        y = cupy.empty((rounds + 1, *first.shape), np.uint16)
        y[0] = cupy.asarray(first)
        flag, error = cupy.zeros(groups, np.uint32), cupy.zeros(1, np.uint32)
        launch = Launch((blocks, groups), (256,), ROWS * UNITS * blocks * 2, True)

        def prepare() -> None:
            y[1:].fill(0xFFFF)
            flag.fill(0)

        def call() -> None:
            prepare()
            if marked:
                own().exchange_marked(launch, (y, error, np.int32(rounds)))
            else:
                own().exchange_by_flag(launch, (y, flag, error, np.int32(rounds)))

        call()
        expect(cupy.asnumpy(y[rounds]), np.roll(first, -rounds, axis=2) + np.uint16(rounds), error)
        return {"us": (typical_us(call) - typical_us(prepare)) / rounds, "per": "step"}

    return {
        f"exchange of h, {groups} groups of {blocks} blocks, {'marked' if marked else 'by flag'}": partial(
            measure, blocks, groups, marked
        )
        for blocks, groups in ([(16, 8), (16, 1), (8, 8)] if rounds > 3 else [(3, 2)])
        for marked in (False, True)
    }


def expect(found: np.ndarray, right: np.ndarray, error: Any) -> None:
    """ArithmeticError unless the values are right and nobody has given up waiting."""
    if int(cupy.asnumpy(error)[0]):
        raise ArithmeticError("a block waited in vain for another")
    if not np.array_equal(found, right):
        raise ArithmeticError(f"{int((found != right).sum())} of {right.size} values are wrong")


def own() -> Any:
    """The kernels of ceilings.cu."""
    return launcher.module(SOURCE)


def main() -> None:
    """All of them, the ones that teach most first."""
    options = parser(__doc__).parse_args()
    asked = {
        **exchanges(3 if options.quick else 200),  # as long as y stays in L2
        **launches(4 if options.quick else 200),
        **copies(1 << 16 if options.quick else 1 << 32),
        **products(32 if options.quick else 8192),
    }
    with Figures(options) as figures:
        for what, row in figures.measure(asked):
            print(f"{what:64} {', '.join(f'{key} {value}' for key, value in row.items())}", flush=True)
        launcher.check()


if __name__ == "__main__":
    main()
