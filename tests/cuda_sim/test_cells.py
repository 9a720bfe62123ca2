"""The pointwise steps of packed rows, against the step functions of kernels.reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Rig, assert_close, assert_written, device, poisoned

from kernels.cuda.recurrent.pack import bf16_bits
from kernels.cuda.runtime import geometry
from kernels.reference.gru import gru_step, gru_step_backward
from kernels.reference.lstm import lstm_step, lstm_step_backward

SHAPES = [(1, 1), (5, 50), (3, 128)]
TOLERANCE = 2e-6


def draw(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(len(shapes))
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def rows(array: np.ndarray, first: int, more: int = 0) -> np.ndarray:
    """A longer array, poisoned but for these rows, which begin at `first`; `more` rows follow them."""
    out = poisoned((first + len(array) + more, *array.shape[1:]), array.dtype)
    out[first : first + len(array)] = array
    return out


def untouched(array: np.ndarray, first: int, count: int) -> np.ndarray:
    """The rows first .. first + count - 1; all others still hold their poison."""
    outside = np.delete(array, np.s_[first : first + count], axis=0)
    assert (outside.reshape(-1).view(np.uint8) == 0xFF).all()
    return array[first : first + count]


def wide(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.astype(np.float64) for array in arrays]


def same(a: Any, b: np.ndarray) -> None:
    if a is not None:
        np.testing.assert_array_equal(a, bf16_bits(b))


@pytest.mark.parametrize("full", [True, False])  # with bias, copies in bf16, dy; in place or not
@pytest.mark.parametrize(("N", "H"), SHAPES)
def test_lstm_cells(rig: Rig, N: int, H: int, full: bool) -> None:
    check_lstm(rig, N, H, full)


def check_lstm(rig: Rig, N: int, H: int, full: bool) -> None:
    pre, bias, c_prev, dy, dh, dc = draw((N, 4 * H), (4 * H,), *[(N, H)] * 4)
    module, launch = rig.module("recurrent/lstm_cells.cu"), geometry.gates(N, H)
    token, before, after = 3, 2, 2 + N + 1
    sizes = tuple(np.int32(size) for size in (token, before, after, N, H))
    all_gates, all_c = rows(pre, token, 2), rows(c_prev, before, 1 + N + 4)
    all_h, all_bf16 = poisoned(all_c.shape, np.float32), poisoned(all_c.shape, np.uint16) if full else None
    arguments = all_gates, device(bias) if full else None, all_c, all_h, all_bf16
    module.lstm_cells_forward(launch, (*arguments, *sizes))
    gates, h = untouched(all_gates, token, N), untouched(all_h, after, N)
    h_bf16 = None if all_bf16 is None else untouched(all_bf16, after, N)
    np.testing.assert_array_equal(all_c[before : before + N], c_prev)
    c = untouched(np.delete(all_c, np.s_[before : before + N], axis=0), after - N, N)
    wide_gates, wide_h, wide_c = lstm_step(wide(pre)[0] + (wide(bias)[0] if full else 0), *wide(c_prev))
    assert_written(gates, c, h)
    for got, want, what in ((gates, wide_gates, "gates"), (c, wide_c, "c"), (h, wide_h, "h")):
        assert_close(got, want, TOLERANCE, what)
    same(h_bf16, h)
    all_dgates = poisoned(all_gates.shape, np.float32) if full else all_gates
    all_copies = poisoned(all_gates.shape, np.uint16) if full else None
    dstate, kept = device(dc), (all_c, rows(dy, token) if full else None, device(dh))
    module.lstm_cells_backward(launch, (all_gates, *kept, dstate, all_dgates, all_copies, *sizes))
    dgates, copy = untouched(all_dgates, token, N), None if all_copies is None else untouched(all_copies, token, N)
    above = wide(dh)[0] + (wide(dy)[0] if full else 0)
    want, want_dc = lstm_step_backward(above, *wide(dc), wide_gates, *wide(c_prev), wide_c)
    assert_written(dgates, dstate)
    assert_close(dgates, want, TOLERANCE, "dgates")
    assert_close(dstate, want_dc, TOLERANCE, "dc")
    np.testing.assert_array_equal(kept[2], dh)
    same(copy, dgates)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize(("N", "H"), SHAPES)
def test_gru_cells(rig: Rig, N: int, H: int, full: bool) -> None:
    check_gru(rig, N, H, full)


def check_gru(rig: Rig, N: int, H: int, full: bool) -> None:
    parts, biases = draw((N, 3 * H), (N, 3 * H)), draw((3 * H,), (3 * H,), (0,))[:2]
    h_prev, dy, dh = draw((N, H), (N, H), (N, H), (0,), (0,))[:3]
    module, launch = rig.module("recurrent/gru_cells.cu"), geometry.gates(N, H)
    token, before, after = 3, 2, 2 + N + 1
    sizes = tuple(np.int32(size) for size in (token, before, after, N, H))
    all_gates, all_n, all_h = rows(parts[0], token, 2), poisoned((N + 9, H), np.float32), rows(h_prev, before, N + 5)
    all_bf16 = poisoned(all_h.shape, np.uint16) if full else None
    given = [device(bias) if full else None for bias in biases]
    module.gru_cells_forward(launch, (all_gates, device(parts[1]), *given, all_n, all_h, all_bf16, *sizes))
    gates, hidden_n = untouched(all_gates, token, N), untouched(all_n, token, N)
    h = untouched(np.delete(all_h, np.s_[before : before + N], axis=0), after - N, N)
    h_bf16 = None if all_bf16 is None else untouched(all_bf16, after, N)
    summed = [part + (bias if full else 0) for part, bias in zip(wide(*parts), wide(*biases), strict=True)]
    wide_gates, wide_n, wide_h = gru_step(*summed, *wide(h_prev))
    assert_written(gates, hidden_n, h)
    for got, want, what in ((gates, wide_gates, "gates"), (hidden_n, wide_n, "hidden_n"), (h, wide_h, "h")):
        assert_close(got, want, TOLERANCE, what)
    same(h_bf16, h)
    out = [poisoned(all_gates.shape, np.float32) if full else all_gates, poisoned(all_gates.shape, np.float32)]
    out += [poisoned(all_gates.shape, np.uint16) if full else None for _ in range(2)]
    dstate, above = device(dh), rows(dy, token) if full else None
    module.gru_cells_backward(launch, (all_gates, all_n, all_h, above, dstate, *out, *sizes[:2], *sizes[3:]))
    dinput, dhidden, *copies = (None if array is None else untouched(array, token, N) for array in out)
    total = wide(dh)[0] + (wide(dy)[0] if full else 0)
    wants = gru_step_backward(total, wide_gates, wide_n, *wide(h_prev))
    for got, want, what in zip((dinput, dhidden, dstate), wants, ("dinput", "dhidden", "dh"), strict=True):
        assert_close(got, want, TOLERANCE, what)
    for copy, array in zip(copies, (dinput, dhidden), strict=True):
        same(copy, array)
