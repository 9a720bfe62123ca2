"""Softmax cross-entropy: loss, lse, argmax and the gradient in place, against kernels.reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Arrays, Rig, assert_close, assert_written, device, poisoned

from kernels import reference
from kernels.cuda import geometry
from kernels.cuda.pack import bf16_bits, bf16_values

IGNORE, SCALE = -100, 0.25
TYPES = {"f32": (np.float32, 1e-6), "bf16": (np.uint16, 3e-3)}
MAIN = (5, 1003, 1008, 64, 0.1)  # rows, classes, stride, threads, smoothing
SHAPES = [(MAIN, True), ((3, 7, 8, 256, 0.0), False), ((4, 600, 600, 128, 0.0), False), ((2, 1, 8, 32, 0.0), False)]


def sample(M: int, V: int, smoothing: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits with a tie within a thread and between threads, a masked class, and an ignored row."""
    rng = np.random.default_rng([M, V])
    logits = (rng.standard_normal((M, V)) * 4).astype(np.float32)
    targets = rng.integers(0, V, M).astype(np.int32)
    targets[1] = IGNORE
    if V > 4:
        logits[0, [1, 2, V // 2, V - 1]] = logits[0].max() + 1
        if not smoothing:
            logits[2, targets[2] - 1] = -np.inf
    return bf16_values(bf16_bits(logits)), targets


def run(rig: Rig, suffix: str, logits: np.ndarray, targets: Any, shape: Any, schedule: int) -> Arrays:
    """The gradient (M, stride) as stored, loss, lse, argmax."""
    M, V, stride, threads, smoothing = shape
    dtype = TYPES[suffix][0]
    x = poisoned((M, stride), dtype)  # NaN in the padding
    x[:, :V] = logits if dtype is np.float32 else bf16_bits(logits)
    outputs = poisoned(M, np.float32), poisoned(M, np.float32), poisoned(M, np.int32)
    kernel = getattr(rig.module("softmax_cross_entropy.cu"), f"softmax_cross_entropy_{suffix}")
    inputs = device(targets, np.int32), device([SCALE], np.float32)
    numbers = np.int32(V), np.int32(stride), np.int32(IGNORE), np.float32(smoothing)
    kernel(geometry.softmax_cross_entropy(M, threads), (x, *inputs, *outputs, *numbers), schedule)
    return x, *outputs


def check(rig: Rig, suffix: str, shape: tuple[int, int, int, int, float], main: bool) -> None:
    M, V, _, _, smoothing = shape
    logits, targets = sample(M, V, smoothing)
    x, loss, lse, argmax = rig.same_bits(lambda schedule: run(rig, suffix, logits, targets, shape, schedule), main)
    assert_written(x, loss, lse, argmax)
    wide = logits.astype(np.float64)
    want_loss, cache = reference.cross_entropy_forward(
        wide, targets.astype(np.int64), IGNORE, float(np.float32(smoothing))
    )
    want = reference.cross_entropy_backward(np.full(M, SCALE), cache)
    dlogits = x if suffix == "f32" else bf16_values(x)
    assert_close(loss, want_loss, 2e-6, "loss")
    assert_close(lse, np.log(np.exp(wide).sum(axis=1)), 1e-6, "lse")
    np.testing.assert_array_equal(argmax, logits.argmax(axis=1))
    assert_close(dlogits[:, :V], want, TYPES[suffix][1], "dlogits")
    assert not dlogits[:, V:].any(), "padding has a gradient"
    assert not dlogits[1].any(), "an ignored row has a gradient"


@pytest.mark.parametrize("suffix", TYPES)
@pytest.mark.parametrize(("shape", "main"), SHAPES)
def test_softmax_cross_entropy(rig: Rig, suffix: str, shape: tuple[int, int, int, int, float], main: bool) -> None:
    check(rig, suffix, shape, main)


def test_a_nan_reaches_the_whole_row(rig: Rig) -> None:
    logits = np.array([[1, np.nan, 2, 0]], np.float32)
    x, loss, lse, _ = run(rig, "f32", logits, [0], (1, 4, 4, 32, 0.0), 0)
    assert np.isnan(x).all()
    assert np.isnan([loss[0], lse[0]]).all()


def test_a_nan_in_an_ignored_row_stays_there(rig: Rig) -> None:
    logits = np.array([[1, np.nan, 2, 0]], np.float32)
    x, loss, _, _ = run(rig, "f32", logits, [IGNORE], (1, 4, 4, 32, 0.0), 0)
    assert not x.any()
    assert loss[0] == 0
