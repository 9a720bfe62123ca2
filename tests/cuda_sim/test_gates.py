"""The pointwise steps of LSTM and GRU in a loop with NumPy's products, against whole layers of kernels.reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
from harness import Arrays, Rig, assert_close, assert_written, device, poisoned
from oracles import Layer

from kernels.cuda import geometry
from kernels.cuda.pack import bf16_bits, bf16_values

TYPES = {"f32": (np.float32, 2e-6), "bf16": (np.uint16, 1e-2)}  # storage; largest error without any rounding
SHAPES = [(1, 1, 3), (5, 7, 50), (3, 2, 128)]


def store(values: np.ndarray, dtype: Any) -> np.ndarray:
    return device(bf16_bits(values) if dtype is np.uint16 else values, dtype)


def load(stored: np.ndarray) -> np.ndarray:
    return (bf16_values(stored) if stored.dtype == np.uint16 else np.asarray(stored)).astype(np.float64)


class Steps:
    """The steps of a layer under one schedule; what a kernel stores is of type `dtype`."""

    def __init__(self, rig: Rig, cell: str, layer: Layer, suffix: str, schedule: int) -> None:
        self.layer, self.dtype, self.schedule = layer, TYPES[suffix][0], schedule
        module = rig.module(f"{cell}_gates.cu")
        self.forward, self.backward = (
            getattr(module, f"{cell}_gates_{name}_{suffix}") for name in ("forward", "backward")
        )
        self.lengths, self.weight_hh = device(layer.lengths), layer.weight_hh.astype(np.float64)
        self.launch = geometry.gates(layer.N, layer.H)

    def sizes(self, t: int) -> tuple[np.int32, ...]:
        return np.int32(t), np.int32(self.layer.N), np.int32(self.layer.H)

    def output(self, *shape: int) -> np.ndarray:
        return poisoned((self.layer.N, *shape), self.dtype)

    def hidden_part(self, h: np.ndarray) -> np.ndarray:
        product = load(h) @ self.weight_hh.T
        return device(product.reshape(self.layer.N, self.layer.G, self.layer.H), np.float32)

    def add_recurrent(self, dh: np.ndarray, dhidden: np.ndarray) -> None:
        """What a GEMM with beta = 1 does."""
        dh += (load(dhidden).reshape(self.layer.N, -1) @ self.weight_hh).astype(np.float32)


def run_lstm(rig: Rig, layer: Layer, suffix: str, schedule: int) -> Arrays:
    """y, h_n, c_n, gates, dgates, dh0, dc0."""
    steps, H = Steps(rig, "lstm", layer, suffix, schedule), layer.H
    h, c, h_n = store(layer.h0, steps.dtype), [device(layer.c0)], store(layer.h0, steps.dtype)
    ys, gates, dgates = [], [], []
    for t in range(layer.T):
        inputs = device(layer.input_part[t]), steps.hidden_part(h), c[t], steps.lengths
        outputs = steps.output(4, H), poisoned((layer.N, H), np.float32), steps.output(H)
        steps.forward(steps.launch, (*inputs, *outputs, h_n, *steps.sizes(t)), schedule)
        assert_written(*outputs, h_n)
        h = outputs[2]
        gates.append(outputs[0]), c.append(outputs[1]), ys.append(h)
    dh, dc = device(layer.dh_n), device(layer.dc_n)
    for t in reversed(range(layer.T)):
        saved = device(gates[t])  # overwritten in place
        kept = saved, c[t], c[t + 1], device(layer.dy[t]), steps.lengths
        steps.backward(steps.launch, (*kept, saved, dh, dc, *steps.sizes(t)), schedule)
        dgates.insert(0, saved)
        steps.add_recurrent(dh, saved)
    return np.array(ys), np.array(h_n), c[-1], np.array(gates), np.array(dgates), dh, dc


def run_gru(rig: Rig, layer: Layer, suffix: str, schedule: int) -> Arrays:
    """y, h_n, gates, hidden_n, dinput, dh0, dweight_hh; `dhidden` goes into a buffer of its own."""
    steps, H = Steps(rig, "gru", layer, suffix, schedule), layer.H
    h, h_n = [store(layer.h0, steps.dtype)], store(layer.h0, steps.dtype)
    gates, hidden_n, dinput, dweight_hh = [], [], [], np.zeros(layer.weight_hh.shape)
    for t in range(layer.T):
        inputs = device(layer.input_part[t]), steps.hidden_part(h[t]), h[t], steps.lengths
        outputs = steps.output(3, H), steps.output(H), steps.output(H)
        steps.forward(steps.launch, (*inputs, *outputs, h_n, *steps.sizes(t)), schedule)
        assert_written(*outputs, h_n)
        gates.append(outputs[0]), hidden_n.append(outputs[1]), h.append(outputs[2])
    dh = device(layer.dh_n)
    for t in reversed(range(layer.T)):
        saved, dhidden = device(gates[t]), steps.output(3, H)
        kept = saved, hidden_n[t], h[t], device(layer.dy[t]), steps.lengths
        steps.backward(steps.launch, (*kept, saved, dhidden, dh, *steps.sizes(t)), schedule)
        assert_written(dhidden)
        dinput.insert(0, saved)
        dweight_hh += load(dhidden).reshape(layer.N, -1).T @ load(h[t])
        steps.add_recurrent(dh, dhidden)
    return np.array(h[1:]), np.array(h_n), np.array(gates), np.array(hidden_n), np.array(dinput), dh, dweight_hh


@pytest.mark.parametrize("suffix", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_lstm(rig: Rig, shape: tuple[int, int, int], suffix: str) -> None:
    layer, tolerance = Layer(*shape), TYPES[suffix][1]
    forward, backward, _ = oracles.lstm(layer)
    got = rig.same_bits(lambda schedule: run_lstm(rig, layer, suffix, schedule), main=False)
    wants = forward.y, forward.h_n, forward.c[-1], forward.gates, *backward
    for what, stored, want in zip(["y", "h_n", "c_n", "gates", "dgates", "dh0", "dc0"], got, wants, strict=True):
        assert_close(load(stored), want, tolerance, what)


@pytest.mark.parametrize("suffix", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_gru(rig: Rig, shape: tuple[int, int, int], suffix: str) -> None:
    layer, tolerance = Layer(*shape, num_gates=3), TYPES[suffix][1]
    y, h_n, cache, (dx, dh0, dweight_hh) = oracles.gru(layer)
    got = rig.same_bits(lambda schedule: run_gru(rig, layer, suffix, schedule), main=False)
    live = layer.live
    gates, hidden_n = layer.split(np.where(live, cache.gates, 0)), np.where(live, cache.hidden_n, 0)
    wants = y, h_n, gates, hidden_n, layer.split(dx), dh0, dweight_hh
    for what, stored, want in zip(
        ["y", "h_n", "gates", "hidden_n", "dinput", "dh0", "dweight_hh"], got, wants, strict=True
    ):
        assert_close(load(stored), want, tolerance, what)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_no_gradient_from_above_is_one_of_zeros(rig: Rig, cell: str) -> None:
    layer = Layer(1, 4, 5, num_gates=4 if cell == "lstm" else 3)
    rng, (N, H, G) = np.random.default_rng(0), (layer.N, layer.H, layer.G)
    steps, results = Steps(rig, cell, layer, "f32", 0), []
    kept = [rng.uniform(0.1, 0.9, shape) for shape in ((N, G, H), (N, H), (N, H))]
    for dy in (None, np.zeros((N, H))):
        out = [poisoned((N, G, H), np.float32) for _ in range(1 if cell == "lstm" else 2)]
        states = [device(layer.dh_n), *([device(layer.dc_n)] if cell == "lstm" else [])]
        inputs = [device(array, np.float32) for array in kept]
        above = None if dy is None else device(dy, np.float32)
        steps.backward(steps.launch, (*inputs, above, steps.lengths, *out, *states, *steps.sizes(0)))
        results.append([array.tobytes() for array in (*out, *states)])
    assert results[0] == results[1]
