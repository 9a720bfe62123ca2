"""The simulator and the wrappers themselves: what a wrapper does, and which mistakes of a kernel are reported."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from harness import SCHEDULES, SIMULATOR_FOLDER, Module, Rig, SimulationError, argument, assert_close, device, poisoned

from kernels.cuda.recurrent import pack
from kernels.cuda.recurrent.pack import bf16_bits
from kernels.cuda.runtime.geometry import Launch

WARP = Launch((1,), (32,))
RING = 7
TILES = {  # columns of a tile of weights, rounding, and the values of what it gives
    "bf16": (16, pack.bf16_bits, pack.bf16_values),
    "tf32": (8, pack.tf32_values, np.asarray),
}


@pytest.fixture(scope="module")
def selftest(rig: Rig) -> Module:
    return Module(SIMULATOR_FOLDER / "selftest.cu")


def word() -> np.ndarray:
    return device(np.zeros(1, np.uint32))


@pytest.mark.parametrize("kind", pack.TILE_COLUMNS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_tensor_core_and_copies(selftest: Module, schedule: int, kind: str) -> None:
    columns, to, back = TILES[kind]
    rng, d = np.random.default_rng(0), poisoned((16, 16), np.float32)
    a, b = rng.standard_normal((2, 16, columns)).astype(np.float32)
    row, column = pack.tile_order(kind)
    words = device(pack.pack_weights(a, row * columns + column, kind))
    stored = b if kind == "tf32" else to(b)  # tf32 is rounded where it is multiplied
    kernel = selftest.one_tile if kind == "bf16" else getattr(selftest, f"one_tile_{kind}")
    kernel(Launch((1,), (32,), 16 * 48), (words, device(stored), d), schedule)
    assert_close(d, back(to(a)).astype(float) @ back(to(b)).astype(float).T, 1e-6)


def test_batches_of_copies(selftest: Module) -> None:
    """Only the last batch is not there yet."""
    data = np.arange(3 * 32 * 4, dtype=np.uint32).reshape(96, 4)
    first, early, third = poisoned((64, 4), np.uint32), poisoned((32, 4), np.uint32), poisoned((32, 4), np.uint32)
    selftest.batches(Launch((1,), (32,), 3 * 512), (device(data), first, early, third))
    np.testing.assert_array_equal(first, data[:64])
    assert (early == 0xFFFFFFFF).all()
    np.testing.assert_array_equal(third, data[64:])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_shuffles(selftest: Module, schedule: int) -> None:
    x, lanes = np.random.default_rng(1).standard_normal(32).astype(np.float32), np.arange(32)
    xored, up = poisoned(32, np.float32), poisoned(32, np.int32)
    selftest.shuffles(WARP, (device(x), xored, up, np.int32(5), np.int32(3)), schedule)
    np.testing.assert_array_equal(xored, x[lanes ^ 5])
    np.testing.assert_array_equal(up, np.where(lanes < 3, lanes, lanes - 3))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_blocks_that_wait_for_each_other(selftest: Module, schedule: int) -> None:
    launch = Launch((RING,), (32,), 0, True)
    data = poisoned((RING, 4), np.uint32)
    data[0] = (100, 0, 0, 0)
    selftest.ring(launch, (word(), data, word()), schedule)
    np.testing.assert_array_equal(data[:, 0], 100 + np.arange(RING))

    values, total = np.arange(RING, dtype=np.int32) ** 2, poisoned(RING, np.int32)
    selftest.grid_total(launch, (device(values), poisoned(RING, np.int32), total), schedule)
    np.testing.assert_array_equal(total, np.full(RING, values.sum()))


def test_rounding_and_functions(selftest: Module) -> None:
    special = [0, -0.0, 1, np.inf, -np.inf, np.nan, -np.nan, 3.4e38, 1e-40, 1.00390625, 1.01171875, 100, -100, 80, -80]
    patterns = np.array([0xFFFFFFFF, 0x7F800001], np.uint32).view(np.float32)
    x = np.concatenate([np.float32(special), patterns, np.random.default_rng(0).standard_normal(500).astype("f4") * 8])
    rounded, *functions = poisoned(len(x), np.uint16), *(poisoned(len(x), np.float32) for _ in range(3))
    selftest.functions(Launch((-(-len(x) // 32),), (32,)), (device(x), rounded, *functions, np.int32(len(x))))
    np.testing.assert_array_equal(rounded, bf16_bits(x))
    assert (rounded != 0xFFFF).all(), "the mark of what nobody has written is a result"
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        for got, want in zip(functions, (1 / (1 + np.exp(-wide)), np.tanh(wide), np.exp(wide)), strict=True):
            np.testing.assert_allclose(got, want.astype(np.float32), rtol=1e-5, atol=2e-7)


def test_rounding_to_tf32(selftest: Module) -> None:
    """Every exponent, the middles between two neighbours, infinity and NaN."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 2**32, 4000, np.uint32)
    middles = (rng.integers(0, 2**19, 4000).astype(np.uint32) << 13) | 0x1000
    edges = np.float32([0, -0.0, np.inf, -np.inf, np.nan, 2**-126, 2**-127])
    x = np.concatenate([patterns.view(np.float32), middles.view(np.float32), edges])
    tf32 = poisoned(len(x), np.float32)
    selftest.roundings(Launch((-(-len(x) // 32),), (32,)), (device(x), tf32, np.int32(len(x))))
    np.testing.assert_array_equal(tf32.view(np.uint32), pack.tf32_values(x).view(np.uint32))


BUFFER = np.zeros(64, np.int32)
MISTAKES: dict[str, tuple[Callable[[], tuple[np.ndarray, ...]], int, str]] = {
    "exited_threads": (lambda: (device(BUFFER),), 0, "exited threads"),
    "two_barriers": (lambda: (device(BUFFER),), 0, "different barriers"),
    "waits_for_nobody": (lambda: (word(), word()), 0, "deadlock"),
    "half_a_warp": (lambda: (device(BUFFER, np.float32),), 0, "deadlock"),
    "crooked_copy": (lambda: (device(BUFFER, np.uint16),), 64, "misaligned"),
    "copy_too_far": (lambda: (device(BUFFER, np.uint16),), 512, "outside shared memory"),
    "store_too_far": (lambda: (device(BUFFER),), 252, "past the end"),
}


@pytest.mark.parametrize("schedule", [0, 1, 2, 3])
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_reported(selftest: Module, name: str, schedule: int) -> None:
    arguments, shared_bytes, message = MISTAKES[name]
    with pytest.raises(SimulationError, match=message):
        getattr(selftest, name)(Launch((1,), (64,), shared_bytes), arguments(), schedule)
    test_blocks_that_wait_for_each_other(selftest, schedule)  # threads that hang in a kernel do not go on in the next


def test_a_race_shows_in_some_schedule(selftest: Module) -> None:
    seen = set()
    for schedule in SCHEDULES:
        out = poisoned(64, np.int32)
        selftest.unsynchronised(Launch((1,), (64,), 256), (out,), schedule)
        seen.add(out.tobytes())
    assert len(seen) > 1


def test_a_write_beside_a_buffer_is_noticed(selftest: Module) -> None:
    x, short = np.zeros(32, np.float32), poisoned(31, np.float32)
    with pytest.raises(AssertionError, match="outside a buffer"):
        selftest.shuffles(WARP, (device(x), short, poisoned(32, np.int32), np.int32(1), np.int32(1)))


def test_a_forgotten_argument_is_noticed(selftest: Module) -> None:
    with pytest.raises(SimulationError, match="two_barriers: 0 arguments; expected 1"):
        selftest.two_barriers(WARP, ())


def test_a_number_needs_its_width() -> None:
    with pytest.raises(TypeError, match="give a kernel's numbers a NumPy type"):
        argument(3)
