"""States in and out of the buffers of a recurrence."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Rig, device, poisoned

from kernels.cuda.recurrent.pack import bf16_bits, bf16_values
from kernels.cuda.runtime import geometry

SIZES = [(1, 1, 1), (3, 70, 128), (20, 64, 64), (0, 5, 5)]  # N, H, width


def draw(N: int, H: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(N + H)
    h, c = (rng.standard_normal((N, H)).astype(np.float32) for _ in range(2))
    return h, c, rng.permutation(N)


def numbers(*sizes: int) -> tuple[np.int32, ...]:
    return tuple(map(np.int32, sizes))


@pytest.mark.parametrize("sorts", [False, True])
@pytest.mark.parametrize(("N", "H", "width"), SIZES)
def test_start(rig: Rig, N: int, H: int, width: int, sorts: bool) -> None:
    h0, c0, order = draw(N, H)
    h, c = (poisoned((N + 2, width), np.float32) for _ in range(2))
    h_bf16, flags = poisoned((N + 2, width), np.uint16), poisoned(5, np.uint32)
    arguments = device(h0), device(c0), device(order) if sorts else None, h, h_bf16, c, flags
    kernel, launch = rig.module("recurrent/states.cu").start_states, geometry.states(N, width)
    kernel(launch, (*arguments, *numbers(4, N, H, width)))
    want = [state[order] if sorts else state for state in (h0, c0)]
    np.testing.assert_array_equal(h[:N, :H], want[0])
    np.testing.assert_array_equal(c[:N, :H], want[1])
    np.testing.assert_array_equal(h_bf16[:N], bf16_bits(h[:N]))
    assert not h[:N, H:].any()
    assert not c[:N, H:].any()
    assert flags.tolist() == [0, 0, 0, 0, 2**32 - 1]
    for array in (h, c, h_bf16):
        assert (array[N:].view(np.uint8) == 0xFF).all()
    kernel(launch, (None, None, None, h, None, c, None, *numbers(0, N, H, width)))
    assert not h[:N].any()
    assert not c[:N].any()


@pytest.mark.parametrize("by_index", [False, True])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(("N", "H", "width"), SIZES)
def test_end(rig: Rig, N: int, H: int, width: int, bf16: bool, by_index: bool) -> None:
    h, c, _ = draw(2 * N + 3, width)
    rows = np.random.default_rng(1).permutation(2 * N + 3)[:N]
    h_n, c_n = (poisoned((N, H), np.float32) for _ in range(2))
    states = (None, device(bf16_bits(h))) if bf16 else (device(h), None)
    kernel, launch = rig.module("recurrent/states.cu").end_states, geometry.states(N, H)
    index = device(rows) if by_index else None
    kernel(launch, (*states, device(c), index, h_n, c_n, *numbers(3, N, H, width)))
    chosen = rows if by_index else np.arange(3, 3 + N)
    np.testing.assert_array_equal(h_n, (bf16_values(bf16_bits(h)) if bf16 else h)[chosen, :H])
    np.testing.assert_array_equal(c_n, c[chosen, :H])
    kernel(launch, (*states, None, index, h_n, None, *numbers(3, N, H, width)))
