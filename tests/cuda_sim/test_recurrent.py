"""The persistent LSTM kernels: values, unequal lengths, initial states, padding, the same bits under every schedule."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from harness import Rig, assert_close, assert_written, device, poisoned
from oracles import Backward, Forward, Layer

from kernels.cuda import geometry, pack
from kernels.cuda.pack import bf16_bits, bf16_values

MAIN, FULL = (6, 19, 64), (0, 2)  # the shape that sees all schedules; the schedules that the widths of a GPU see
SHAPES = [(MAIN, True), ((1, 16, 64), False), ((4, 5, 50), False), ((3, 16, 128), False)]
WIDE_MAIN = (4, 64, 64)
WIDE_SHAPES = [(WIDE_MAIN, True), ((1, 64, 64), False), ((3, 70, 50), False), ((3, 5, 128), False)]
FORWARDS = {  # name -> source, rows of a block, order of the weights
    "lstm_forward": ("lstm_forward.cu", geometry.FORWARD_ROWS, pack.pack_forward),
    "lstm_forward_marked": ("lstm_forward.cu", geometry.FORWARD_ROWS, pack.pack_forward),
    "lstm_forward_wide": ("lstm_forward_wide.cu", geometry.WIDE_ROWS, pack.pack_forward_wide),
}
Shape = tuple[int, int, int]


def flags(layer: Layer, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The counters of the groups, and the word that says that a block never showed up."""
    return device(np.zeros(layer.N // rows, np.uint32)), device(np.zeros(1, np.uint32))


def run_forward(rig: Rig, name: str, layer: Layer, schedule: int) -> tuple[np.ndarray, ...]:
    """y (T+1,N,H) with h0, h_n, gates, c, as the kernel stores them."""
    source, rows, packed = FORWARDS[name]
    T, N, H = layer.T, layer.N, layer.H
    y, gates, c = poisoned((T + 1, N, H), np.uint16), poisoned((T, N, 4, H), np.uint16), poisoned((T + 1, N, H), "f4")
    y[0], c[0] = bf16_bits(layer.h0), layer.c0
    h_n, (flag, error) = device(y[0]), flags(layer, rows)
    inputs = device(packed(layer.weight_hh)), device(layer.input_part), device(layer.lengths)
    kernel = getattr(rig.module(source), f"{name}_{H}")
    kernel(
        getattr(geometry, name)(N, H), (*inputs, y, h_n, gates, c, flag, error, np.int32(T), np.int32(N)), schedule
    )  # fmt: skip
    assert_written(y, h_n, gates, c)
    assert not error.any()
    return y, h_n, gates, c


def run_backward(rig: Rig, layer: Layer, gates: np.ndarray, c: np.ndarray, schedule: int) -> tuple[np.ndarray, ...]:
    """dgates, dh0, dc0, as the kernel stores them."""
    N, H = layer.N, layer.H
    dgates, dh0, dc0 = poisoned(gates.shape, np.uint16), poisoned((N, H), "f4"), poisoned((N, H), "f4")
    flag, error = flags(layer, geometry.BACKWARD_ROWS)
    forward = device(pack.pack_backward(layer.weight_hh)), device(layer.lengths), device(gates), device(c)
    incoming = device(layer.dy), device(layer.dh_n), device(layer.dc_n)
    sizes = np.int32(layer.T), np.int32(N)
    kernel = getattr(rig.module("lstm_backward.cu"), f"lstm_backward_{H}")
    kernel(geometry.lstm_backward(N, H), (*forward, *incoming, dgates, dh0, dc0, flag, error, *sizes), schedule)
    assert_written(dgates, dh0, dc0)
    assert not error.any()
    return dgates, dh0, dc0


def forward_values(y: np.ndarray, h_n: np.ndarray, gates: np.ndarray, c: np.ndarray) -> Forward:
    return Forward(bf16_values(y[1:]), bf16_values(h_n), bf16_values(gates), c)


def assert_all_close(got: Forward | Backward, want: Forward | Backward, tolerance: float) -> None:
    for what, a, b in zip(want._fields, got, want, strict=True):
        assert_close(a, b, tolerance, what)


def check_forward(rig: Rig, name: str, shape: Shape, main: bool) -> None:
    layer = Layer(*shape, rows=FORWARDS[name][1], units=64)
    stored = rig.same_bits(lambda schedule: run_forward(rig, name, layer, schedule), main)
    got = forward_values(*stored)
    assert_all_close(got, oracles.lstm_forward_rounded(layer), 1e-3)
    assert_all_close(got, oracles.lstm(layer)[0], 1e-2)
    assert not got.y[~layer.live[..., 0]].any(), "a row emitted something past its length"
    np.testing.assert_array_equal(got.h_n[layer.lengths == 0], layer.h0[layer.lengths == 0])
    N, H = layer.real
    assert not any(array[..., H:].any() for array in (got.y, got.h_n, got.c)), "padded units moved"
    assert not got.h_n[N:].any(), "padded rows moved"


def check_backward(rig: Rig, shape: Shape, main: bool) -> None:
    layer = Layer(*shape, rows=geometry.BACKWARD_ROWS, units=64)
    forward = oracles.lstm_forward_rounded(layer)
    gates, c = bf16_bits(forward.gates), forward.c.astype(np.float32)
    dgates, dh0, dc0 = rig.same_bits(lambda schedule: run_backward(rig, layer, gates, c, schedule), main)
    got = Backward(bf16_values(dgates), dh0, dc0)
    assert_all_close(got, oracles.lstm_backward_rounded(layer, forward), 1e-3)
    assert_all_close(got, oracles.lstm(layer)[1], 1e-2)
    assert not got.dgates[~layer.live[..., 0]].any(), "a gradient came from padding"


@pytest.mark.parametrize(("shape", "main"), SHAPES)
@pytest.mark.parametrize("name", ["lstm_forward", "lstm_forward_marked"])
def test_forward(rig: Rig, name: str, shape: Shape, main: bool) -> None:
    check_forward(rig, name, shape, main)


@pytest.mark.parametrize(("shape", "main"), WIDE_SHAPES)
def test_forward_wide(rig: Rig, shape: Shape, main: bool) -> None:
    check_forward(rig, "lstm_forward_wide", shape, main)


@pytest.mark.parametrize(("shape", "main"), SHAPES)
def test_backward(rig: Rig, shape: Shape, main: bool) -> None:
    check_backward(rig, shape, main)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("lstm_forward", (2, 16, 256)),
        ("lstm_forward", (2, 16, 512)),
        ("lstm_forward_marked", (2, 16, 256)),
        ("lstm_forward_marked", (2, 16, 512)),
        ("lstm_forward_wide", (2, 64, 768)),
        ("lstm_forward_wide", (2, 64, 1024)),
    ],
)
def test_forward_at_the_widths_of_a_gpu(rig: Rig, name: str, shape: Shape) -> None:
    check_forward(Rig(rig.folder, FULL), name, shape, main=True)


@pytest.mark.parametrize("shape", [(2, 16, 256), (2, 16, 512)])
def test_backward_at_the_widths_of_a_gpu(rig: Rig, shape: Shape) -> None:
    check_backward(Rig(rig.folder, FULL), shape, main=True)


def test_a_row_does_not_depend_on_its_batch(rig: Rig) -> None:
    """The same row in another place of a larger batch has the same bits."""
    large = Layer(4, 19, 64, rows=16, units=64)
    y, h_n, _, _ = run_forward(rig, "lstm_forward", large, 2)
    small = Layer(4, 5, 64, rows=16, units=64)
    small.weight_hh = large.weight_hh
    for name in ("lengths", "h0", "c0"):
        getattr(small, name)[3] = getattr(large, name)[17]
    small.input_part[:, 3] = large.input_part[:, 17]
    other_y, other_h_n, _, _ = run_forward(rig, "lstm_forward", small, 3)
    np.testing.assert_array_equal(other_y[:, 3], y[:, 17])
    np.testing.assert_array_equal(other_h_n[3], h_n[17])


def test_forward_and_backward_in_a_chain(rig: Rig) -> None:
    """dweight_hh from what the two kernels leave; and the two exchanges give the same bits."""
    layer = Layer(5, 13, 64, rows=16, units=64)
    y, h_n, gates, c = run_forward(rig, "lstm_forward", layer, 2)
    for a, b in zip((y, h_n, gates, c), run_forward(rig, "lstm_forward_marked", layer, 3), strict=True):
        np.testing.assert_array_equal(a, b)
    dgates, dh0, dc0 = run_backward(rig, layer, gates, c, 2)
    _, want, dweight_hh = oracles.lstm(layer)
    assert_all_close(Backward(bf16_values(dgates), dh0, dc0), want, 1e-2)
    rows, h_prev = bf16_values(dgates).reshape(-1, 4 * layer.H), bf16_values(y[:-1]).reshape(-1, layer.H)
    assert_close(rows.T.astype(float) @ h_prev.astype(float), dweight_hh, 1e-2, "dweight_hh")


def test_the_rounded_oracle_without_its_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kernels.reference but for the roundings."""
    monkeypatch.setattr(oracles, "bf16", lambda x: np.asarray(x, np.float64))
    layer = Layer(5, 7, 6)
    forward, backward, _ = oracles.lstm(layer)
    assert_all_close(oracles.lstm_forward_rounded(layer), forward, 1e-12)
    assert_all_close(oracles.lstm_backward_rounded(layer, forward), backward, 1e-12)
