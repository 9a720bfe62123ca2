"""Softmax cross-entropy: loss, lse and the gradient in place, against kernels.reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import OUT_OF_RANGE, Arrays, Rig, assert_close, assert_written, device, no_error, poisoned

from kernels import reference
from kernels.cuda.recurrent.pack import bf16_bits, bf16_values
from kernels.cuda.runtime import geometry

IGNORE, SCALE = -100, 0.25
TYPES = {"f32": (np.float32, 1e-6), "bf16": (np.uint16, 3e-3)}
MAIN = (5, 1003, 1008, 64, 0.1)  # rows, classes, stride, threads, smoothing
SHAPES = [
    (MAIN, True), ((3, 7, 8, 256, 0.0), False), ((4, 600, 600, 128, 0.0), False), ((2, 1, 8, 32, 0.0), False),
    ((4, 333, 333, 64, 0.2), False), ((3, 50, 51, 32, 0.0), False),
]  # fmt: skip


def sample(M: int, V: int, smoothing: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits with a tie within a thread and between threads, a masked class, and an ignored row."""
    rng = np.random.default_rng([M, V])
    logits = (rng.standard_normal((M, V)) * 4).astype(np.float32)
    targets = rng.integers(0, V, M)
    targets[1] = IGNORE
    if V > 4:
        logits[0, [1, 2, V // 2, V - 1]] = logits[0].max() + 1
        if not smoothing:
            logits[2, targets[2] - 1] = -np.inf
    return bf16_values(bf16_bits(logits)), targets


def run(
    rig: Rig, suffix: str, logits: np.ndarray, targets: Any, shape: Any, schedule: int, bias: Any = None,
    gradient: bool = True, error: Any = None,
) -> Arrays:  # fmt: skip
    """The gradient (M, stride) as stored, loss, lse."""
    M, V, stride, threads, smoothing = shape
    error = no_error() if error is None else error
    dtype = TYPES[suffix][0]
    x = poisoned((M, stride), dtype)  # NaN in the padding
    x[:, :V] = logits if dtype is np.float32 else bf16_bits(logits)
    outputs = poisoned(M, np.float32), poisoned(M, np.float32)
    kernel = getattr(rig.module("losses/softmax_cross_entropy.cu"), f"softmax_cross_entropy_{suffix}")
    inputs = bias, device(targets, np.int64), device([SCALE], np.float32)
    numbers = np.int32(V), np.int32(stride), np.int64(IGNORE), np.float32(smoothing), np.int32(gradient)
    kernel(geometry.softmax_cross_entropy(M, threads), (x, *inputs, *outputs, *numbers, error), schedule)
    return x, *outputs


def check(rig: Rig, suffix: str, shape: tuple[int, int, int, int, float], main: bool) -> None:
    M, V, _, _, smoothing = shape
    logits, targets = sample(M, V, smoothing)
    x, loss, lse = rig.same_bits(lambda schedule: run(rig, suffix, logits, targets, shape, schedule), main)
    assert_written(x, loss, lse)
    wide = logits.astype(np.float64)
    want_loss, cache = reference.cross_entropy_forward(wide, targets, IGNORE, float(np.float32(smoothing)))
    want = reference.cross_entropy_backward(np.full(M, SCALE), cache)
    dlogits = x if suffix == "f32" else bf16_values(x)
    assert_close(loss, want_loss, 2e-6, "loss")
    assert_close(lse, np.log(np.exp(wide).sum(axis=1)), 1e-6, "lse")
    assert_close(dlogits[:, :V], want, TYPES[suffix][1], "dlogits")
    assert not dlogits[:, V:].any(), "padding has a gradient"
    assert not dlogits[1].any(), "an ignored row has a gradient"


@pytest.mark.parametrize("suffix", TYPES)
@pytest.mark.parametrize(("shape", "main"), SHAPES)
def test_softmax_cross_entropy(rig: Rig, suffix: str, shape: tuple[int, int, int, int, float], main: bool) -> None:
    check(rig, suffix, shape, main)


def test_a_nan_reaches_the_whole_row(rig: Rig) -> None:
    logits = np.array([[1, np.nan, 2, 0]], np.float32)
    x, loss, lse = run(rig, "f32", logits, [0], (1, 4, 4, 32, 0.0), 0)
    assert np.isnan(x).all()
    assert np.isnan([loss[0], lse[0]]).all()


def test_a_nan_in_an_ignored_row_stays_there(rig: Rig) -> None:
    logits = np.array([[1, np.nan, 2, 0]], np.float32)
    x, loss, _ = run(rig, "f32", logits, [IGNORE], (1, 4, 4, 32, 0.0), 0)
    assert not x.any()
    assert loss[0] == 0


@pytest.mark.parametrize("stride", [40, 37])
def test_a_bias_is_part_of_the_logits(rig: Rig, stride: int) -> None:
    M, V = 3, 37
    logits, targets = sample(M, V, 0.1)
    bias = np.random.default_rng(1).standard_normal(V).astype(np.float32)
    shape = M, V, stride, 32, 0.1
    got = run(rig, "f32", logits, targets, shape, 0, device(bias))
    want = run(rig, "f32", logits + bias, targets, shape, 0)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_a_gradient_logits_are_only_read(rig: Rig) -> None:
    logits, targets = sample(3, 50, 0.0)
    shape = 3, 50, 56, 32, 0.0
    x, *others = run(rig, "f32", logits, targets, shape, 0, gradient=False)
    np.testing.assert_array_equal(x[:, :50], logits)
    assert np.isnan(x[:, 50:]).all()
    for got, want in zip(others, run(rig, "f32", logits, targets, shape, 0)[1:], strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("bad", [-1, 4, 2**32])
def test_a_target_out_of_range(rig: Rig, bad: int) -> None:
    error, logits = no_error(), np.zeros((2, 4), np.float32)
    x, loss, *_ = run(rig, "f32", logits, [1, bad], (2, 4, 4, 32, 0.0), 0, error=error)
    assert error[0] == OUT_OF_RANGE
    np.testing.assert_allclose(loss, [np.log(4), np.nan], rtol=1e-6)
    np.testing.assert_allclose(x, [[SCALE / 4, -SCALE * 3 / 4, SCALE / 4, SCALE / 4], [0, 0, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_gradient(rig: Rig, smoothing: float) -> None:
    M, V = 4, 301
    logits, targets = sample(M, V, smoothing)
    dlosses = np.random.default_rng(2).standard_normal(M).astype(np.float32)
    _, cache = reference.cross_entropy_forward(logits.astype(np.float64), targets, IGNORE, smoothing)
    x, lse = device(logits), device(np.log(np.exp(logits.astype(float)).sum(axis=1)), np.float32)
    numbers = np.int32(V), np.int64(IGNORE), np.float32(smoothing)
    arguments = x, device(targets), lse, device(dlosses), x, *numbers  # in place
    rig.module("losses/softmax_cross_entropy.cu").cross_entropy_gradient(geometry.cross_entropy_gradient(M), arguments)
    assert_close(x, reference.cross_entropy_backward(dlosses.astype(float), cache), 1e-6)
    assert not x[1].any()


@pytest.mark.parametrize(
    ("targets", "mean", "scale"),
    [([0, IGNORE, 3, 5], 1, 1 / 3), ([0, IGNORE], 0, 1.0), ([IGNORE], 1, np.nan), ([1] * 700, 1, 1 / 700)],
)
def test_scale_and_sum_of_losses(rig: Rig, targets: list[int], mean: int, scale: float) -> None:
    check_losses(rig, targets, mean, scale)


def check_losses(rig: Rig, targets: list[int], mean: int, scale: float) -> None:
    M, module = len(targets), rig.module("losses/losses.cu")
    losses = np.random.default_rng(M).standard_normal(M).astype(np.float32)

    def run(schedule: int) -> Arrays:
        factor, out = poisoned(1, np.float32), poisoned(1, np.float32)
        numbers = np.int64(IGNORE), np.int32(M), np.int32(mean)
        module.count_targets(geometry.one_block(), (device(targets, np.int64), *numbers, factor), schedule)
        module.sum_losses(geometry.one_block(), (device(losses), factor, np.int32(M), out), schedule)
        return factor, out

    factor, out = rig.same_bits(run, main=False)
    np.testing.assert_array_equal(factor, np.float32(scale))
    np.testing.assert_allclose(out, losses.sum(dtype=np.float64) * scale, rtol=1e-6)
