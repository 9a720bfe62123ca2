"""The persistent LSTM kernels: values, packed and padded rows, initial states, the same bits under every schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import oracles
import pytest
from harness import Rig, assert_close, assert_written, device, poisoned
from oracles import Backward, Forward, Layer, Precision

from kernels.cuda import geometry, pack
from kernels.packing import pack_lengths

Arrays = tuple[np.ndarray, ...]
Shape = tuple[int, int, int]

MAIN, FULL = (6, 19, 64), (0, 2)  # the shape that sees all schedules; the schedules that the widths of a GPU see
SHAPES = [(MAIN, True), ((1, 16, 64), False), ((4, 5, 50), False), ((3, 17, 128), False)]
WIDE_MAIN = (4, 66, 64)
WIDE_SHAPES = [(WIDE_MAIN, True), ((1, 64, 64), False), ((3, 70, 50), False), ((3, 5, 128), False)]
FORWARDS = {  # name -> source, order of the weights, rows of a group
    "lstm_forward": ("lstm_forward.cu", pack.forward_order, geometry.FORWARD_ROWS),
    "lstm_forward_marked": ("lstm_forward.cu", pack.forward_order, geometry.FORWARD_ROWS),
    "lstm_forward_wide": ("lstm_forward_wide.cu", pack.forward_wide_order, geometry.WIDE_ROWS),
}
BACKWARDS = {"lstm_backward": ("lstm_backward.cu", pack.backward_order, geometry.BACKWARD_ROWS)}


class Kind(NamedTuple):
    """What a kernel keeps y, gates and dgates as."""

    dtype: str
    stored: Callable[[np.ndarray], np.ndarray]  # numbers -> elements
    values: Callable[[np.ndarray], np.ndarray]  # elements -> numbers
    precision: Precision
    unrounded: float  # how far the results may be from a reference that rounds nothing


KINDS = {"bf16": Kind("u2", pack.bf16_bits, pack.bf16_values, Precision(), 1e-2)}


class Tokens:
    """Where the tokens of a layer lie: by default packed, else the padded case of the contract."""

    def __init__(self, layer: Layer, padded: bool = False) -> None:
        self.layer, self.live = layer, layer.live[..., 0]
        rows = np.full(layer.T, layer.N) if padded else self.live.sum(axis=1)
        self.first = np.append(0, rows.cumsum()).astype(np.int32)
        self.P = int(self.first[-1])
        self.row = (self.first[:-1, None] + np.arange(layer.N))[self.live]  # of each token, in order of time

    def pack(self, sequence: np.ndarray) -> np.ndarray:
        """(T, N, ...) -> (P, ...), NaN where there is no token."""
        packed = np.full((self.P, *sequence.shape[2:]), np.nan, sequence.dtype)
        packed[self.row] = sequence[self.live]
        return packed

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """(P, ...) -> (T, N, ...), zero where there is no token."""
        sequence = np.zeros((self.layer.T, self.layer.N, *packed.shape[1:]), packed.dtype)
        sequence[self.live] = packed[self.row]
        return sequence

    def unpack_states(self, states: np.ndarray) -> np.ndarray:
        """(N + P, H) -> (T + 1, N, H); where a row has ended, its last state."""
        N, cells = self.layer.N, [states[: self.layer.N]]
        for live, state in zip(self.layer.live, self.unpack(states[N:]), strict=True):
            cells.append(np.where(live, state, cells[-1]))
        return np.array(cells)

    def states(self, cells: np.ndarray) -> np.ndarray:
        """(T + 1, N, H) -> (N + P, H), NaN where there is no token."""
        return np.concatenate([cells[0], self.pack(cells[1:])])

    def assert_written(self, *outputs: np.ndarray) -> None:
        """The rows of the tokens, and no others, of arrays whose last P rows are those of the tokens."""
        for array in outputs:
            rows = array[len(array) - self.P :]
            assert_written(rows[self.row])
            others = np.ascontiguousarray(np.delete(rows, self.row, axis=0))
            assert (others.view("u1") == 0xFF).all(), "written where there is no token"


def words(groups: int) -> Arrays:
    """The counters of the groups, and the error word."""
    return device(np.zeros(groups, np.uint32)), device(np.zeros(1, np.uint32))


def assert_stopped(flag: np.ndarray, blocks: int, longest: np.ndarray) -> None:
    """Each block of a group has published at each step of the group's longest row, and not once more."""
    np.testing.assert_array_equal(flag, blocks * longest)


def state_buffer(initial: np.ndarray, P: int) -> np.ndarray:
    """(N, H) -> (N + P, H), poisoned but for its first N rows."""
    states = poisoned((len(initial) + P, initial.shape[1]), initial.dtype)
    states[: len(initial)] = initial
    return states


def run_forward(rig: Rig, name: str, layer: Layer, kind: str, tokens: Tokens, schedule: int) -> Arrays:
    """y, gates, c, as the kernel stores them."""
    (source, order, rows), how, H = FORWARDS[name], KINDS[kind], layer.H
    y, c = state_buffer(how.stored(layer.h0), tokens.P), state_buffer(layer.c0, tokens.P)
    gates = poisoned((tokens.P, 4, H), how.dtype)
    launch = getattr(geometry, name)(layer.N, H)
    flag, error = words(launch.grid[1])
    weights = device(pack.pack_weights(layer.weight_hh, order(H, kind)))
    inputs = weights, device(tokens.pack(layer.input_part)), device(layer.lengths), device(tokens.first)
    kernel = getattr(rig.module(source), f"{name}_{kind}_{H}")
    kernel(launch, (*inputs, y, gates, c, flag, error, np.int32(layer.N)), schedule)
    tokens.assert_written(y, gates, c)
    assert not error.any()
    if name != "lstm_forward_marked":
        assert_stopped(flag, launch.grid[0], layer.lengths[::rows])
    return y, gates, c


def run_backward(
    rig: Rig,
    name: str,
    layer: Layer,
    kind: str,
    tokens: Tokens,
    gates: np.ndarray,
    c: np.ndarray,
    schedule: int,
    with_dy: bool = True,
) -> Arrays:
    """dgates, dh0, dc0, as the kernel stores them."""
    (source, order, rows), N, H = BACKWARDS[name], layer.N, layer.H
    dgates, dh0, dc0 = poisoned(gates.shape, gates.dtype), poisoned((N, H), "f4"), poisoned((N, H), "f4")
    launch = getattr(geometry, name)(N, H)
    flag, error = words(launch.grid[1])
    weights = device(pack.pack_weights(layer.weight_hh, order(H, kind)))
    forward = weights, device(layer.lengths), device(tokens.first), device(gates), device(c)
    dy = device(tokens.pack(layer.dy)) if with_dy else None
    incoming = dy, device(layer.dh_n), device(layer.dc_n)
    kernel = getattr(rig.module(source), f"{name}_{kind}_{H}")
    kernel(launch, (*forward, *incoming, dgates, dh0, dc0, flag, error, np.int32(N)), schedule)
    tokens.assert_written(dgates)
    assert_written(dh0, dc0)
    assert not error.any()
    assert_stopped(flag, launch.grid[0], layer.lengths[::rows])
    return dgates, dh0, dc0


def forward_values(kind: str, tokens: Tokens, y: np.ndarray, gates: np.ndarray, c: np.ndarray) -> Forward:
    values, N = KINDS[kind].values, tokens.layer.N
    h_n = values(tokens.unpack_states(y)[-1])
    return Forward(values(tokens.unpack(y[N:])), h_n, values(tokens.unpack(gates)), tokens.unpack_states(c))


def backward_values(kind: str, tokens: Tokens, dgates: np.ndarray, dh0: np.ndarray, dc0: np.ndarray) -> Backward:
    return Backward(KINDS[kind].values(tokens.unpack(dgates)), dh0, dc0)


def assert_all_close(got: Forward | Backward, want: Forward | Backward, tolerance: float) -> None:
    for what, a, b in zip(want._fields, got, want, strict=True):
        assert_close(a, b, tolerance, what)


def check_forward(
    rig: Rig, name: str, shape: Shape | Layer, main: bool, kind: str = "bf16", padded: bool = False
) -> None:
    layer = shape if isinstance(shape, Layer) else Layer(*shape, units=64, sorted_lengths=True)
    tokens = Tokens(layer, padded)
    stored = rig.same_bits(lambda schedule: run_forward(rig, name, layer, kind, tokens, schedule), main)
    got = forward_values(kind, tokens, *stored)
    assert_all_close(got, oracles.lstm_forward_rounded(layer, KINDS[kind].precision), 1e-3)
    assert_all_close(got, oracles.lstm(layer)[0], KINDS[kind].unrounded)
    padding = (array[..., layer.real_units :] for array in (got.y, got.h_n, got.c))
    assert not any(array.any() for array in padding), "padded units moved"


def check_backward(
    rig: Rig, name: str, shape: Shape | Layer, main: bool, kind: str = "bf16", padded: bool = False
) -> None:
    layer = shape if isinstance(shape, Layer) else Layer(*shape, units=64, sorted_lengths=True)
    tokens, precision = Tokens(layer, padded), KINDS[kind].precision
    forward = oracles.lstm_forward_rounded(layer, precision)
    gates = KINDS[kind].stored(tokens.pack(forward.gates.astype(np.float32)))
    c = tokens.states(forward.c.astype(np.float32))
    stored = rig.same_bits(lambda schedule: run_backward(rig, name, layer, kind, tokens, gates, c, schedule), main)
    got = backward_values(kind, tokens, *stored)
    assert_all_close(got, oracles.lstm_backward_rounded(layer, forward, precision), 1e-3)
    assert_all_close(got, oracles.lstm(layer)[1], KINDS[kind].unrounded)


@pytest.mark.parametrize(("shape", "main"), SHAPES)
@pytest.mark.parametrize("name", ["lstm_forward", "lstm_forward_marked"])
def test_forward(rig: Rig, name: str, shape: Shape, main: bool) -> None:
    check_forward(rig, name, shape, main)


@pytest.mark.parametrize(("shape", "main"), WIDE_SHAPES)
def test_forward_wide(rig: Rig, shape: Shape, main: bool) -> None:
    check_forward(rig, "lstm_forward_wide", shape, main)


@pytest.mark.parametrize(("shape", "main"), SHAPES)
def test_backward(rig: Rig, shape: Shape, main: bool) -> None:
    check_backward(rig, "lstm_backward", shape, main)


@pytest.mark.parametrize("name", [*FORWARDS, *BACKWARDS])
def test_padded_sequences(rig: Rig, name: str) -> None:
    """first[t] = t * N; nothing past a row's length is read or written."""
    check = check_forward if name in FORWARDS else check_backward
    check(rig, name, (5, 18, 64), False, padded=True)


@pytest.mark.parametrize("lengths", [[0] * 70, [3] * 70, [3] * 16 + [0] * 54, [3, *[1] * 66, 0, 0, 0]])
@pytest.mark.parametrize("name", [*FORWARDS, *BACKWARDS])
def test_special_lengths(rig: Rig, name: str, lengths: list[int]) -> None:
    """No tokens at all, no padding, groups without a token, groups that go on for one row."""
    layer = Layer(3, 70, 64, lengths=lengths)
    check = check_forward if name in FORWARDS else check_backward
    check(rig, name, layer, False)


@pytest.mark.parametrize("name", BACKWARDS)
def test_backward_without_a_gradient_of_y(rig: Rig, name: str) -> None:
    """No dy is a dy of zeros."""
    layer = Layer(4, 19, 64, sorted_lengths=True)
    tokens = Tokens(layer)
    _, gates, c = run_forward(rig, "lstm_forward", layer, "bf16", tokens, 2)
    layer.dy = np.zeros_like(layer.dy)
    zeros = run_backward(rig, name, layer, "bf16", tokens, gates, c, 2)
    none = run_backward(rig, name, layer, "bf16", tokens, gates, c, 3, with_dy=False)
    for a, b in zip(none, zeros, strict=True):
        np.testing.assert_array_equal(a, b)


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
    check_backward(Rig(rig.folder, FULL), "lstm_backward", shape, main=True)


def test_a_row_does_not_depend_on_its_batch(rig: Rig) -> None:
    """The same row in another place of a larger batch, which goes on longer, has the same bits."""
    large = Layer(5, 19, 64, lengths=[5] * 6 + [4] * 4 + [3] * 8 + [0])
    small = Layer(4, 5, 64, lengths=[4, 4, 3, 3, 0])
    small.weight_hh, of_large, of_small = large.weight_hh, 17, 3
    for name in ("h0", "c0"):
        getattr(small, name)[of_small] = getattr(large, name)[of_large]
    small.input_part[:, of_small] = large.input_part[:4, of_large]
    results = []
    for layer, row, schedule in ((large, of_large, 2), (small, of_small, 3)):
        tokens = Tokens(layer)
        y, _, _ = run_forward(rig, "lstm_forward", layer, "bf16", tokens, schedule)
        results.append(tokens.unpack_states(y)[:4, row])
    np.testing.assert_array_equal(*results)


def test_forward_and_backward_in_a_chain(rig: Rig) -> None:
    """dweight_hh from what the two kernels leave; and the two exchanges give the same bits."""
    layer = Layer(5, 13, 64, sorted_lengths=True)
    tokens, packing = Tokens(layer), pack_lengths(layer.lengths, layer.T, layer.N)
    y, gates, c = run_forward(rig, "lstm_forward", layer, "bf16", tokens, 2)
    for a, b in zip((y, gates, c), run_forward(rig, "lstm_forward_marked", layer, "bf16", tokens, 3), strict=True):
        np.testing.assert_array_equal(a, b)
    dgates, dh0, dc0 = run_backward(rig, "lstm_backward", layer, "bf16", tokens, gates, c, 2)
    _, want, dweight_hh = oracles.lstm(layer)
    assert_all_close(backward_values("bf16", tokens, dgates, dh0, dc0), want, 1e-2)
    rows, h_prev = (pack.bf16_values(a).astype(float) for a in (dgates, packing.previous_states(y)))
    assert_close(rows.reshape(tokens.P, -1).T @ h_prev, dweight_hh, 1e-2, "dweight_hh")


@pytest.mark.parametrize("H", [64, 50])
def test_pack_weights(rig: Rig, H: int) -> None:
    """The kernel does what its twin of NumPy does, padding included."""
    layer = Layer(1, 1, H, units=64)
    for order in (pack.forward_order(64), pack.forward_wide_order(64), pack.backward_order(64)):
        want = pack.pack_weights(layer.weight_hh, order)
        inner = pack.within(order, 64, H)
        np.testing.assert_array_equal(pack.pack_weights(layer.weight, inner), want)
        packed = poisoned(want.shape, np.uint32)
        arguments = device(layer.weight), device(inner), packed, np.int32(packed.size)
        rig.module("pack_weights.cu").pack_weights_bf16(geometry.pack_weights(packed.size), arguments)
        np.testing.assert_array_equal(packed, want)


def test_the_rounded_oracle_without_its_rounding() -> None:
    """It is kernels.reference but for the roundings."""
    layer, none = Layer(5, 7, 6), Precision(*[lambda x: np.asarray(x, np.float64)] * 2)
    forward, backward, _ = oracles.lstm(layer)
    assert_all_close(oracles.lstm_forward_rounded(layer, none), forward, 1e-12)
    assert_all_close(oracles.lstm_backward_rounded(layer, forward, none), backward, 1e-12)
