"""The pointwise steps of packed rows, against the step functions of kernels.reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Rig, assert_close, assert_written, device, poisoned

from kernels.cuda import geometry
from kernels.cuda.pack import bf16_bits
from kernels.reference.gru import gru_step, gru_step_backward
from kernels.reference.lstm import lstm_step, lstm_step_backward

SHAPES = [(1, 1), (5, 50), (3, 128)]
TOLERANCE = 2e-6


def draw(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(len(shapes))
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


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
    module, launch, sizes = rig.module("lstm_cells.cu"), geometry.gates(N, H), (np.int32(N), np.int32(H))
    gates, h, h_bf16 = device(pre), poisoned((N, H), np.float32), poisoned((N, H), np.uint16) if full else None
    before = device(c_prev)
    c = poisoned((N, H), np.float32) if full else before
    module.lstm_cells_forward(launch, (gates, device(bias) if full else None, before, c, h, h_bf16, *sizes))
    wide_gates, wide_h, wide_c = lstm_step(wide(pre)[0] + (wide(bias)[0] if full else 0), *wide(c_prev))
    assert_written(gates, c, h)
    for got, want, what in ((gates, wide_gates, "gates"), (c, wide_c, "c"), (h, wide_h, "h")):
        assert_close(got, want, TOLERANCE, what)
    same(h_bf16, h)
    dgates, copy = (poisoned((N, 4 * H), np.float32), poisoned((N, 4 * H), np.uint16)) if full else (gates, None)
    dstate, kept = device(dc), (device(c_prev), device(wide_c, np.float32), device(dy) if full else None, device(dh))
    module.lstm_cells_backward(launch, (gates, *kept, dstate, dgates, copy, *sizes))
    above = wide(dh)[0] + (wide(dy)[0] if full else 0)
    want, want_dc = lstm_step_backward(above, *wide(dc), wide_gates, *wide(c_prev), wide_c)
    assert_written(dgates, dstate)
    assert_close(dgates, want, TOLERANCE, "dgates")
    assert_close(dstate, want_dc, TOLERANCE, "dc")
    np.testing.assert_array_equal(kept[3], dh)
    same(copy, dgates)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize(("N", "H"), SHAPES)
def test_gru_cells(rig: Rig, N: int, H: int, full: bool) -> None:
    check_gru(rig, N, H, full)


def check_gru(rig: Rig, N: int, H: int, full: bool) -> None:
    parts, biases = draw((N, 3 * H), (N, 3 * H)), draw((3 * H,), (3 * H,), (0,))[:2]
    h_prev, dy, dh = draw((N, H), (N, H), (N, H), (0,), (0,))[:3]
    module, launch, sizes = rig.module("gru_cells.cu"), geometry.gates(N, H), (np.int32(N), np.int32(H))
    gates, hidden = (device(part) for part in parts)
    hidden_n, h = poisoned((N, H), np.float32), poisoned((N, H), np.float32)
    h_bf16 = poisoned((N, H), np.uint16) if full else None
    given = [device(bias) if full else None for bias in biases]
    module.gru_cells_forward(launch, (gates, hidden, *given, device(h_prev), hidden_n, h, h_bf16, *sizes))
    summed = [part + (bias if full else 0) for part, bias in zip(wide(*parts), wide(*biases), strict=True)]
    wide_gates, wide_n, wide_h = gru_step(*summed, *wide(h_prev))
    assert_written(gates, hidden_n, h)
    for got, want, what in ((gates, wide_gates, "gates"), (hidden_n, wide_n, "hidden_n"), (h, wide_h, "h")):
        assert_close(got, want, TOLERANCE, what)
    same(h_bf16, h)
    dinput, dhidden = (poisoned((N, 3 * H), np.float32) if full else gates), poisoned((N, 3 * H), np.float32)
    copies = [poisoned((N, 3 * H), np.uint16) if full else None for _ in range(2)]
    dstate, above = device(dh), device(dy) if full else None
    module.gru_cells_backward(
        launch, (gates, hidden_n, device(h_prev), above, dstate, dinput, dhidden, *copies, *sizes)
    )
    total = wide(dh)[0] + (wide(dy)[0] if full else 0)
    wants = gru_step_backward(total, wide_gates, wide_n, *wide(h_prev))
    for got, want, what in zip((dinput, dhidden, dstate), wants, ("dinput", "dhidden", "dh"), strict=True):
        assert_close(got, want, TOLERANCE, what)
    for copy, array in zip(copies, (dinput, dhidden), strict=True):
        same(copy, array)
