"""Random layers for the kernels, and what they should give: kernels.reference in float64.

The persistent kernels keep h, gates and dgates in a type of their own. `lstm_forward_rounded` and
`lstm_backward_rounded` are the equations of kernels/reference/lstm.py with its roundings and no others, which leaves a
hundred times less room for a mistake than the reference without any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from kernels import reference
from kernels.cuda.recurrent.pack import bf16_bits, bf16_values
from kernels.packing import pack_lengths
from kernels.reference.lstm import lstm_step, lstm_step_backward


def bf16(x: np.ndarray) -> np.ndarray:
    """The nearest bf16, as float64."""
    return bf16_values(bf16_bits(np.asarray(x, np.float32))).astype(np.float64)


class Precision(NamedTuple):
    """What a kernel rounds, and to what: functions from numbers to float64."""

    stored: Callable[[np.ndarray], np.ndarray]  # y, gates and dgates
    operand: Callable[[np.ndarray], np.ndarray]  # the factors of the recurrent products


class Forward(NamedTuple):
    """What a forward leaves; gates past the lengths are zero."""

    y: np.ndarray  # (T, N, H)
    h_n: np.ndarray  # (N, H)
    gates: np.ndarray  # (T, N, G, H)
    c: np.ndarray  # (T + 1, N, H)


class Backward(NamedTuple):
    """And a backward."""

    dgates: np.ndarray  # (T, N, G, H)
    dh0: np.ndarray  # (N, H)
    dc0: np.ndarray  # (N, H)


class Layer:
    """T steps of N rows of a recurrent layer with H units.

    Unequal lengths, 0 and T among them, non-zero initial states, a gradient for every result; what lies past a row's
    length is NaN. Units are padded with zeros to a multiple of `units`, and `weight` is weight_hh without them.
    `sorted_lengths`: longest first.
    """

    def __init__(
        self,
        T: int,
        N: int,
        H: int,
        units: int = 1,
        num_gates: int = 4,
        sorted_lengths: bool = False,
        lengths: Sequence[int] | None = None,
    ) -> None:
        rng = np.random.default_rng([T, N, H, num_gates])
        self.T, self.N, self.H, self.G = T, N, -(-H // units) * units, num_gates
        self.real_units = H
        self.lengths = rng.integers(1, T + 1, N).astype(np.int32)
        self.lengths[[0, N // 2]] = T, max(1, T // 2)
        if N > 2:
            self.lengths[N - 1] = 0
        if sorted_lengths:
            self.lengths[::-1].sort()
        if lengths is not None:
            self.lengths[:] = lengths
        scale = np.float32((3 / H) ** 0.5)
        self.weight = rng.uniform(-scale, scale, (num_gates * H, H)).astype(np.float32)
        padding = (0, 0), (0, self.H - H), (0, self.H - H)
        self.weight_hh = np.pad(self.weight.reshape(num_gates, H, H), padding).reshape(num_gates * self.H, self.H)
        self.input_part = self._random(rng, T, self.N, num_gates, self.H)
        self.dy = self._random(rng, T, self.N, self.H)
        self.h0, self.c0, self.dh_n, self.dc_n = (self._random(rng, self.N, self.H) for _ in range(4))
        self.h0 = bf16_values(bf16_bits(np.float32(0.3) * self.h0))
        self.live = np.arange(T)[:, None, None] < self.lengths[:, None]  # (T, N, 1), True on tokens
        self.input_part[~self.live[..., 0]], self.dy[~self.live[..., 0]] = np.nan, np.nan

    def _random(self, rng: np.random.Generator, *shape: int) -> np.ndarray:
        """float32, zero in the padded units."""
        out = np.zeros(shape, np.float32)
        out[..., : self.real_units] = rng.standard_normal((*shape[:-1], self.real_units))
        return out

    @property
    def x(self) -> np.ndarray:
        """The input part as the input of a layer whose weight_ih is the identity."""
        return self.input_part.reshape(self.T, self.N, -1).astype(np.float64)

    @property
    def identity(self) -> np.ndarray:
        return np.eye(self.G * self.H)

    def split(self, gates: np.ndarray) -> np.ndarray:
        """(T, N, GH) -> (T, N, G, H)."""
        return gates.reshape(self.T, self.N, self.G, self.H)


def wide(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.astype(np.float64) for array in arrays]


def lstm(layer: Layer) -> tuple[Forward, Backward, np.ndarray]:
    """The layer by kernels.reference, and dweight_hh (4H, H)."""
    h0, c0, weight_hh, dy, dh_n, dc_n = wide(
        layer.h0, layer.c0, layer.weight_hh, layer.dy, layer.dh_n, layer.dc_n
    )  # fmt: skip
    packing, (T, N) = pack_lengths(layer.lengths), (layer.T, layer.N)
    rows = np.arange(packing.num_tokens) if packing.rows is None else packing.rows

    def pack(sequence: np.ndarray) -> np.ndarray:
        return sequence.reshape(T * N, -1)[rows]

    def unpack(tokens: np.ndarray) -> np.ndarray:
        sequence = np.zeros((T * N, tokens.shape[1]))
        sequence[rows] = tokens
        return sequence.reshape(T, N, -1)

    y, h_n, _, cache = reference.lstm_forward(pack(layer.x), h0, c0, layer.identity, weight_hh, None, packing)
    dx, dh0, dc0, _, dweight_hh, _ = reference.lstm_backward(pack(dy), dh_n, dc_n, cache)
    cells = [c0]
    for live, c in zip(layer.live, unpack(cache.c), strict=True):
        cells.append(np.where(live, c, cells[-1]))
    forward = Forward(unpack(y), h_n, layer.split(unpack(cache.gates)), np.array(cells))
    return forward, Backward(layer.split(unpack(dx)), dh0, dc0), dweight_hh


def lstm_forward_rounded(layer: Layer, precision: Precision) -> Forward:
    """`reference.lstm_forward` with the roundings of a kernel."""
    stored, operand = precision
    h, (c,), weight_hh = stored(layer.h0), wide(layer.c0), operand(layer.weight_hh)
    y, gates, cells = np.zeros((layer.T, layer.N, layer.H)), np.zeros(layer.x.shape), [c]
    for t, live in enumerate(layer.live):
        gates_t, h_new, c_new = lstm_step(np.where(live, layer.x[t], 0) + operand(h) @ weight_hh.T, c)
        h, c = np.where(live, stored(h_new), h), np.where(live, c_new, c)
        y[t], gates[t] = np.where(live, h, 0), np.where(live, stored(gates_t), 0)
        cells.append(c)
    return Forward(y, h, layer.split(gates), np.array(cells))


def lstm_backward_rounded(layer: Layer, forward: Forward, precision: Precision) -> Backward:
    """`reference.lstm_backward` from what a forward left, with the roundings of a kernel."""
    stored, operand = precision
    dh, dc, dy, weight_hh = *wide(layer.dh_n, layer.dc_n, layer.dy), operand(layer.weight_hh)
    gates, dgates = forward.gates.reshape(layer.x.shape), np.zeros(layer.x.shape)
    for t in reversed(range(layer.T)):
        live = layer.live[t]
        da, dc_prev = lstm_step_backward(dh + np.where(live, dy[t], 0), dc, gates[t], forward.c[t], forward.c[t + 1])
        dgates[t] = np.where(live, stored(da), 0)
        dh, dc = np.where(live, operand(dgates[t]) @ weight_hh, dh), np.where(live, dc_prev, dc)
    return Backward(layer.split(dgates), dh, dc)
