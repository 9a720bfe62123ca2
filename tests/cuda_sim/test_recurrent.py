"""The persistent LSTM kernels: values, packed and padded rows, initial states, the same bits under every schedule."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import oracles
import pytest
from harness import Rig, SimulationError, assert_close, assert_written, device, poisoned
from oracles import Backward, Forward, Layer, Precision

from kernels.cuda import SOURCE_FOLDER
from kernels.cuda.recurrent import pack
from kernels.cuda.runtime import geometry
from kernels.packing import pack_lengths

Arrays = tuple[np.ndarray, ...]
Shape = tuple[int, int, int]

MAIN, FULL = (6, 19, 64), (2, 0)  # the shape that sees all schedules; the schedules that the widths of a GPU see
SHAPES = [(MAIN, True), ((1, 16, 64), False), ((4, 5, 50), False), ((3, 17, 128), False)]
WIDE_MAIN = (3, 66, 128)
WIDE_SHAPES = [(WIDE_MAIN, True), ((1, 64, 128), False), ((5, 5, 100), False)]
BACKWARD_WIDE_MAIN = (7, 16, 256)
BACKWARD_WIDE_SHAPES = [(BACKWARD_WIDE_MAIN, True), ((1, 19, 256), False), ((4, 5, 200), False)]
FORWARDS = {  # name -> source, order of the weights
    "lstm_forward": ("recurrent/lstm_forward.cu", pack.forward_order),
    "lstm_forward_marked": ("recurrent/lstm_forward.cu", pack.forward_order),
    "lstm_forward_wide": ("recurrent/lstm_forward_wide.cu", pack.forward_wide_order),
}
BACKWARDS = {
    "lstm_backward": ("recurrent/lstm_backward.cu", pack.backward_order),
    "lstm_backward_wide": ("recurrent/lstm_backward_wide.cu", pack.backward_wide_order),
}
SMALLEST = dict.fromkeys((*FORWARDS, *BACKWARDS), 64) | {"lstm_forward_wide": 128, "lstm_backward_wide": 256}


class Kind(NamedTuple):
    """What a kernel keeps y, gates and dgates as."""

    dtype: str
    stored: Callable[[np.ndarray], np.ndarray]  # numbers -> elements
    values: Callable[[np.ndarray], np.ndarray]  # elements -> numbers
    precision: Precision
    rounded: float  # how far the results may be from the oracle with the same roundings: one that falls the other way
    unrounded: float  # and from the reference, which rounds nothing


def through(to: Callable[[np.ndarray], np.ndarray], back: Callable[[np.ndarray], np.ndarray]) -> Callable:
    return lambda x: back(to(np.asarray(x, np.float32))).astype(np.float64)


def as_float32(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, np.float32)


BF16 = through(pack.bf16_bits, pack.bf16_values)
TF32 = through(pack.tf32_values, as_float32)
KINDS = {
    "bf16": Kind("u2", pack.bf16_bits, pack.bf16_values, Precision(BF16, BF16), 1e-3, 1e-2),
    "tf32": Kind("f4", as_float32, as_float32, Precision(through(as_float32, as_float32), TF32), 2e-5, 1e-3),
}
CASES = [(name, kind) for name in FORWARDS for kind in KINDS if (name, kind) != ("lstm_forward_marked", "tf32")]
BACKWARD_CASES = [(name, kind) for name in BACKWARDS for kind in KINDS]


def rows_of_a_group(name: str, H: int, kind: str) -> int:
    if name == "lstm_backward_wide":
        return geometry.backward_wide_rows(H)
    return geometry.wide_rows(kind) if name == "lstm_forward_wide" else geometry.FORWARD_ROWS


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


def assert_stopped(flag: np.ndarray, published: np.ndarray) -> None:
    """Each block of a group has published at each step of the group's longest row, and not once more."""
    np.testing.assert_array_equal(flag, published)


def state_buffer(initial: np.ndarray, P: int) -> np.ndarray:
    """(N, H) -> (N + P, H), poisoned but for its first N rows."""
    states = poisoned((len(initial) + P, initial.shape[1]), initial.dtype)
    states[: len(initial)] = initial
    return states


def run_forward(rig: Rig, name: str, layer: Layer, kind: str, tokens: Tokens, schedule: int) -> Arrays:
    """y, gates, c, as the kernel stores them."""
    (source, order), how, H = FORWARDS[name], KINDS[kind], layer.H
    y, c = state_buffer(how.stored(layer.h0), tokens.P), state_buffer(layer.c0, tokens.P)
    gates = poisoned((tokens.P, 4, H), how.dtype)
    launch = getattr(geometry, name)(layer.N, H, kind)
    flag, error = words(launch.grid[1])
    weights = device(pack.pack_weights(layer.weight_hh, order(H, kind), kind))
    inputs = weights, device(tokens.pack(layer.input_part)), device(layer.lengths), device(tokens.first)
    kernel = getattr(rig.module(source), f"{name}_{kind}_{H}")
    kernel(launch, (*inputs, y, gates, c, flag, error, np.int32(layer.N)), schedule)
    tokens.assert_written(y, gates, c)
    assert not error.any()
    if name != "lstm_forward_marked":
        longest = layer.lengths[:: rows_of_a_group(name, H, kind)]
        assert_stopped(flag, launch.grid[0] * longest)
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
    (source, order), N, H = BACKWARDS[name], layer.N, layer.H
    dgates, dh0, dc0 = poisoned(gates.shape, gates.dtype), poisoned((N, H), "f4"), poisoned((N, H), "f4")
    launch = getattr(geometry, name)(N, H, kind)
    longest = layer.lengths[:: rows_of_a_group(name, H, kind)]
    sums, (flag, error), published = [], words(launch.grid[1]), launch.grid[0] * longest
    if name == "lstm_backward_wide":
        num_sums, num_flags = geometry.backward_wide_buffers(N, H, kind)
        sums, (flag, error) = [poisoned(num_sums, "f4")], words(num_flags)
        published = np.repeat(launch.grid[0] // (H // 128) * longest, 2 * H // 128)
    weights = device(pack.pack_weights(layer.weight_hh, order(H, kind), kind))
    forward = weights, device(layer.lengths), device(tokens.first), device(gates), device(c)
    dy = device(tokens.pack(layer.dy)) if with_dy else None
    incoming = dy, device(layer.dh_n), device(layer.dc_n)
    kernel = getattr(rig.module(source), f"{name}_{kind}_{H}")
    kernel(launch, (*forward, *incoming, dgates, dh0, dc0, *sums, flag, error, np.int32(N)), schedule)
    tokens.assert_written(dgates)
    assert_written(dh0, dc0)
    assert not error.any()
    assert_stopped(flag, published)
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
    layer = shape if isinstance(shape, Layer) else Layer(*shape, units=SMALLEST[name], sorted_lengths=True)
    tokens = Tokens(layer, padded)
    stored = rig.same_bits(lambda schedule: run_forward(rig, name, layer, kind, tokens, schedule), main)
    got = forward_values(kind, tokens, *stored)
    assert_all_close(got, oracles.lstm_forward_rounded(layer, KINDS[kind].precision), KINDS[kind].rounded)
    assert_all_close(got, oracles.lstm(layer)[0], KINDS[kind].unrounded)
    padding = (array[..., layer.real_units :] for array in (got.y, got.h_n, got.c))
    assert not any(array.any() for array in padding), "padded units moved"


def check_backward(
    rig: Rig, name: str, shape: Shape | Layer, main: bool, kind: str = "bf16", padded: bool = False
) -> None:
    layer = shape if isinstance(shape, Layer) else Layer(*shape, units=SMALLEST[name], sorted_lengths=True)
    tokens, precision = Tokens(layer, padded), KINDS[kind].precision
    forward = oracles.lstm_forward_rounded(layer, precision)
    gates = KINDS[kind].stored(tokens.pack(forward.gates.astype(np.float32)))
    c = tokens.states(forward.c.astype(np.float32))
    stored = rig.same_bits(lambda schedule: run_backward(rig, name, layer, kind, tokens, gates, c, schedule), main)
    got = backward_values(kind, tokens, *stored)
    assert_all_close(got, oracles.lstm_backward_rounded(layer, forward, precision), KINDS[kind].rounded)
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


@pytest.mark.parametrize(("shape", "main"), BACKWARD_WIDE_SHAPES)
def test_backward_wide(rig: Rig, shape: Shape, main: bool) -> None:
    check_backward(rig, "lstm_backward_wide", shape, main)


@pytest.mark.parametrize(("name", "kind"), [*CASES, *BACKWARD_CASES])
def test_other_types(rig: Rig, name: str, kind: str) -> None:
    check = check_forward if name in FORWARDS else check_backward
    check(rig, name, (4, 35, SMALLEST[name]), False, kind)


@pytest.mark.parametrize("name", [*FORWARDS, *BACKWARDS])
def test_padded_sequences(rig: Rig, name: str) -> None:
    """first[t] = t * N; nothing past a row's length is read or written."""
    check = check_forward if name in FORWARDS else check_backward
    check(rig, name, (5, 18, SMALLEST[name]), False, padded=True)


@pytest.mark.parametrize("lengths", [[0] * 70, [3] * 70, [3] * 16 + [0] * 54, [3, *[1] * 66, 0, 0, 0]])
@pytest.mark.parametrize("name", [*FORWARDS, *BACKWARDS])
def test_special_lengths(rig: Rig, name: str, lengths: list[int]) -> None:
    """No tokens at all, no padding, groups without a token, groups that go on for one row."""
    layer = Layer(3, 70, SMALLEST[name], lengths=lengths)
    check = check_forward if name in FORWARDS else check_backward
    check(rig, name, layer, False)


@pytest.mark.parametrize("name", BACKWARDS)
def test_backward_without_a_gradient_of_y(rig: Rig, name: str) -> None:
    """No dy is a dy of zeros."""
    layer = Layer(4, 19, SMALLEST[name], sorted_lengths=True)
    tokens = Tokens(layer)
    _, gates, c = run_forward(rig, "lstm_forward", layer, "bf16", tokens, 2)
    layer.dy = np.zeros_like(layer.dy)
    zeros = run_backward(rig, name, layer, "bf16", tokens, gates, c, 2)
    none = run_backward(rig, name, layer, "bf16", tokens, gates, c, 3, with_dy=False)
    for a, b in zip(none, zeros, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("name", "kind", "shape"),
    [
        ("lstm_forward", "bf16", (2, 16, 256)),
        ("lstm_forward", "bf16", (2, 16, 512)),
        ("lstm_forward_marked", "bf16", (2, 16, 256)),
        ("lstm_forward_marked", "bf16", (2, 16, 512)),
        ("lstm_forward", "tf32", (2, 16, 256)),
        ("lstm_forward_wide", "bf16", (2, 64, 768)),
        ("lstm_forward_wide", "bf16", (2, 32, 1024)),
        ("lstm_forward_wide", "tf32", (2, 32, 512)),
        ("lstm_backward", "bf16", (2, 16, 256)),
        ("lstm_backward", "bf16", (2, 16, 512)),
        ("lstm_backward", "tf32", (2, 16, 256)),
        ("lstm_backward_wide", "bf16", (2, 48, 768)),
        ("lstm_backward_wide", "bf16", (2, 32, 1024)),
        ("lstm_backward_wide", "tf32", (3, 37, 512)),
    ],
)
def test_the_widths_of_a_gpu(rig: Rig, name: str, kind: str, shape: Shape) -> None:
    check = check_forward if name in FORWARDS else check_backward
    check(Rig(rig.folder, FULL if shape[2] <= 512 else FULL[:1]), name, shape, True, kind)


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
    tokens, packing = Tokens(layer), pack_lengths(layer.lengths)
    y, gates, c = run_forward(rig, "lstm_forward", layer, "bf16", tokens, 2)
    for a, b in zip((y, gates, c), run_forward(rig, "lstm_forward_marked", layer, "bf16", tokens, 3), strict=True):
        np.testing.assert_array_equal(a, b)
    dgates, dh0, dc0 = run_backward(rig, "lstm_backward", layer, "bf16", tokens, gates, c, 2)
    _, want, dweight_hh = oracles.lstm(layer)
    assert_all_close(backward_values("bf16", tokens, dgates, dh0, dc0), want, 1e-2)
    rows, h_prev = (pack.bf16_values(a).astype(float) for a in (dgates, packing.previous_states(y)))
    assert_close(rows.reshape(tokens.P, -1).T @ h_prev, dweight_hh, 1e-2, "dweight_hh")


@pytest.mark.parametrize(
    ("name", "text", "instead"),
    [
        ("lstm_forward", "if (tid == 0) red_release(", "if (tid == 0 && slice) red_release("),
        ("lstm_forward_marked", "store_rows<16, 32>(y", "if (slice) store_rows<16, 32>(y"),
        ("lstm_backward", "if (tid == 0) red_release(", "if (tid == 0 && blockIdx.x) red_release("),
    ],
)
def test_a_block_that_never_publishes_is_reported(tmp_path: Path, name: str, text: str, instead: str) -> None:
    """The others spin in vain, then say so in `error`, run on with wrong numbers, and end: the launch does not hang."""
    source = FORWARDS[name][0] if name in FORWARDS else BACKWARDS[name][0]
    mutated = (SOURCE_FOLDER / source).read_text().replace(text, instead)
    assert instead in mutated
    folder = shutil.copytree(SOURCE_FOLDER, tmp_path / "changed")
    (folder / source).write_text(mutated)
    layer, launch = Layer(4, 16, 64, sorted_lengths=True), getattr(geometry, name)(16, 64)._replace(cooperative=2)
    tokens, (flag, error) = Tokens(layer), words(launch.grid[1])
    how, kernel = KINDS["bf16"], getattr(Rig(folder).module(source), f"{name}_bf16_64")
    states = state_buffer(how.stored(layer.h0), tokens.P), state_buffer(layer.c0, tokens.P)
    if name in FORWARDS:
        weights = device(pack.pack_weights(layer.weight_hh, FORWARDS[name][1](64, "bf16"), "bf16"))
        given = device(tokens.pack(layer.input_part)), device(layer.lengths), device(tokens.first)
        arrays = weights, *given, states[0], poisoned((tokens.P, 4, 64), np.uint16), states[1]
    else:
        weights = device(pack.pack_weights(layer.weight_hh, BACKWARDS[name][1](64, "bf16"), "bf16"))
        gates, c = (
            device(np.zeros(shape, dtype)) for shape, dtype in (((tokens.P, 4, 64), "u2"), (states[1].shape, "f4"))
        )
        gradients = device(tokens.pack(layer.dy)), device(layer.dh_n), device(layer.dc_n)
        found = poisoned((tokens.P, 4, 64), np.uint16), poisoned((16, 64), "f4"), poisoned((16, 64), "f4")
        arrays = weights, device(layer.lengths), device(tokens.first), gates, c, *gradients, *found
    assert error[0] == 0
    kernel(launch, (*arrays, flag, error, np.int32(16)), 0)
    assert error[0] == 1
    with pytest.raises(SimulationError, match="deadlock"):  # what the other tests would see
        kernel(launch._replace(cooperative=True), (*arrays, device(np.zeros_like(flag)), error, np.int32(16)), 0)


def test_the_rounded_oracle_without_its_rounding() -> None:
    """It is kernels.reference but for the roundings."""
    layer, none = Layer(5, 7, 6), Precision(np.float64, np.float64)
    forward, backward, _ = oracles.lstm(layer)
    assert_all_close(oracles.lstm_forward_rounded(layer, none), forward, 1e-12)
    assert_all_close(oracles.lstm_backward_rounded(layer, forward, none), backward, 1e-12)
