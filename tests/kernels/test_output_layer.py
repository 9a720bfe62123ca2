"""The output layer and its loss: known values, differences, the composed form, chunk edges, memory, threads, argmax."""

import itertools
import math
import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels import reference, threads
from kernels.cpu import output_layer

NAMES = ("x", "weight", "bias")
REDUCTIONS = ["sum", "mean"]


def draw(rng, M, H, V, dtype=np.float64):
    return [rng.standard_normal(shape).astype(dtype) for shape in ((M, H), (V, H), (V,))]


def loss_and_gradients(backend, *arguments, dloss=1.0, **options):
    loss, cache = backend.linear_cross_entropy_forward(*arguments, **options)
    dloss = np.asarray(dloss, arguments[0].dtype)
    return loss, *backend.linear_cross_entropy_backward(dloss, cache)


def composed(x, weight, bias, targets, reduction="sum", bf16=False, **options):
    """The same by the kernels of a linear layer and of a cross-entropy, the logits in memory."""
    losses, cache = kernels.cross_entropy_forward(kernels.linear_forward(x, weight, bias, bf16), targets, **options)
    scale = 1 if reduction == "sum" else 1 / (targets != options.get("ignore_index", -100)).sum()
    dlogits = kernels.cross_entropy_backward(np.full(len(x), scale, x.dtype), cache)
    return losses.sum() * scale, *kernels.linear_backward(dlogits, x, weight, bf16=bf16)


def assert_close(found, expected, tolerance, least=0.0):
    """Equal up to `tolerance` of the largest entry of each array, or of `least` if that is more."""
    for one, other in zip(found, expected, strict=True):
        scale = np.abs(other).max(initial=least)
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * (scale if np.isfinite(scale) else 1))


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 8 rows: edges everywhere."""
    cut(monkeypatch, 8)


def cut(monkeypatch, rows):
    for name in ("MOST_ROWS", "FEWEST_ROWS", "ROW_BLOCK", "ARGMAX_ROWS"):
        monkeypatch.setattr(output_layer, name, rows)


def test_known_values(backend):
    """Equal logits: the loss is log V, the gradient of the logits 1/V, less one at the target."""
    x, weight, targets = np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros((4, 2)), np.array([1, 3])
    loss, dx, dweight, dbias = loss_and_gradients(backend, x, weight, np.zeros(4), targets)
    assert loss.shape == ()
    assert loss == pytest.approx(2 * math.log(4))
    np.testing.assert_array_equal(dx, np.zeros((2, 2)))
    np.testing.assert_allclose(dweight, [[1, 1.5], [0, -0.5], [1, 1.5], [-2, -2.5]])
    np.testing.assert_allclose(dbias, [0.5, -0.5, 0.5, -0.5])
    halved = loss_and_gradients(backend, x, weight, np.zeros(4), targets, reduction="mean")
    assert_close(halved, (loss / 2, dx, dweight / 2, dbias / 2), 1e-15)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.usefixtures("small_chunks")
def test_gradient(backend, rng, check_gradients, label_smoothing, reduction):
    inputs = dict(zip(NAMES, draw(rng, 19, 3, 5), strict=True))
    targets = np.where(np.arange(19) % 4 == 1, -100, rng.integers(0, 5, 19))
    options = {"targets": targets, "label_smoothing": label_smoothing, "reduction": reduction}

    def loss(inputs):
        return 0.7 * float(backend.linear_cross_entropy_forward(**inputs, **options)[0])

    found = loss_and_gradients(backend, *inputs.values(), dloss=0.7, **options)[1:]
    grads = dict(zip(NAMES, found, strict=True))
    check_gradients(loss, inputs, grads)
    for name in NAMES:
        with pytest.raises(AssertionError):
            check_gradients(loss, inputs, grads | {name: 1.001 * grads[name]})


# float32: the rounding of sums of up to 40 terms, relative to the largest entry. bfloat16: the operands are equal to
# the bit but for gradients of logits, which may round to neighbours 2^-8 apart where their float32 values differ.
@pytest.mark.parametrize(
    ("dtype", "bf16", "tolerance"), [(np.float64, False, 1e-12), (np.float32, False, 1e-5), (np.float32, True, 2**-8)]
)
@given(
    M=st.integers(0, 40),
    H=st.integers(0, 20),
    V=st.integers(1, 70),
    seed=st.integers(0, 99),
    chunk=st.sampled_from([8, 16, 512]),
    label_smoothing=st.sampled_from([0.0, 0.3]),
    reduction=st.sampled_from(REDUCTIONS),
    bias=st.booleans(),
)
def test_cpu_equals_reference(dtype, bf16, tolerance, M, H, V, seed, chunk, label_smoothing, reduction, bias):
    rng = np.random.default_rng(seed)
    x, weight, b = draw(rng, M, H, V, dtype)
    targets = rng.integers(-1, V, M)
    arguments = (x, weight, b if bias else None, targets, -1, label_smoothing, reduction, bf16)
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, chunk)
        found = loss_and_gradients(kernels, *arguments, dloss=2.0)
        words = kernels.linear_argmax(x, weight, b if bias else None, bf16)
    expected = loss_and_gradients(reference, *arguments, dloss=2.0)
    assert (found[-1] is None) == (expected[-1] is None) == (not bias)
    present = slice(0, 4 if bias else 3)
    assert all(f.dtype == e.dtype == dtype for f, e in zip(found[present], expected[present], strict=True))
    one_row = 1.0 if reduction == "sum" else 1 / max(M, 1)  # of what probabilities near 0 and 1 are rounded
    assert_close(found[present], expected[present], tolerance, one_row)
    logits = reference.linear_forward(x, weight, b if bias else None, bf16)
    np.testing.assert_allclose(
        logits[np.arange(M), words], logits.max(axis=1), rtol=1e-5, atol=1e-5
    )  # ties by rounding


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("dtype", "bf16", "tolerance"), [(np.float64, False, 1e-13), (np.float32, False, 1e-5)])
@pytest.mark.usefixtures("small_chunks")
def test_equals_the_layer_and_the_loss_apart(rng, reduction, dtype, bf16, tolerance):
    arguments = (*draw(rng, 61, 7, 33, dtype), rng.integers(-1, 33, 61))
    options = {"reduction": reduction, "ignore_index": -1, "label_smoothing": 0.1, "bf16": bf16}
    found, expected = loss_and_gradients(kernels, *arguments, **options), composed(*arguments, **options)
    assert_close(found, expected, tolerance)
    with pytest.raises(AssertionError):
        assert_close(found, [1.001 * array for array in expected], tolerance)


def test_bf16_is_near_and_not_equal(rng):
    x, weight, bias = draw(rng, 50, 64, 40, np.float32)
    arguments = (x, weight / 8, bias, rng.integers(0, 40, 50))
    single, half = (loss_and_gradients(kernels, *arguments, bf16=bf16) for bf16 in (False, True))
    assert_close(half, single, 0.02)
    for rounded, exact in zip(half[:3], single[:3], strict=True):
        assert np.abs(rounded - exact).max() > 1e-5 * np.abs(exact).max()
    doubles = [array.astype(np.float64) for array in arguments[:3]]
    pair = [loss_and_gradients(kernels, *doubles, arguments[3], bf16=bf16) for bf16 in (False, True)]
    assert_close(*pair, 0)


def test_ignored_rows_cost_nothing_whatever_they_hold(backend, rng, monkeypatch):
    x, weight, bias = draw(rng, 9, 3, 5)
    targets = np.array([0, -100, 2, 3, -100, 4, 0, 1, -100])
    live = targets != -100
    x[~live] = np.nan
    seen = []
    packing = output_layer.prepacking
    monkeypatch.setattr(output_layer, "prepacking", lambda a, *rest: seen.append(a.shape) or packing(a, *rest))
    loss, dx, dweight, dbias = loss_and_gradients(backend, x, weight, bias, targets, reduction="mean")
    np.testing.assert_array_equal(dx[~live], 0)
    if backend is kernels:
        assert seen == [(6, 3)]
        expected = loss_and_gradients(backend, x[live], weight, bias, targets[live], reduction="mean")
        assert_close((loss, dx[live], dweight, dbias), expected, 1e-15)


def test_no_row_at_all(backend, rng):
    x, weight, bias = draw(rng, 3, 2, 4)
    for reduction, expected in (("sum", 0.0), ("mean", math.nan)):
        loss, *grads = loss_and_gradients(backend, x, weight, bias, np.full(3, -100), reduction=reduction)
        np.testing.assert_array_equal(loss, expected)
        for gradient, like in zip(grads, (x, weight, bias), strict=True):
            np.testing.assert_array_equal(gradient, np.zeros_like(like))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_logits(backend, dtype):
    """Next to 1e4 the small differences between logits still count."""
    row = np.array([0.0, 1.0, 2.0, 3.0], dtype)
    for offset in (1e4, -1e4):
        loss, dx, _, dbias = loss_and_gradients(
            backend, np.ones((1, 1), dtype), row[:, None], np.full(4, offset, dtype), np.array([1])
        )
        probabilities = np.exp(row.astype(np.float64)) / np.exp(row.astype(np.float64)).sum()
        np.testing.assert_allclose(loss, -np.log(probabilities[1]), rtol=1e-6)
        np.testing.assert_allclose(dbias, probabilities - np.eye(4)[1], atol=1e-6)
        np.testing.assert_allclose(dx, [[probabilities @ row - 1]], atol=1e-6)


@pytest.mark.filterwarnings("ignore:(invalid|divide|overflow):RuntimeWarning")  # of NumPy, without the compiler
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_nan_or_an_infinity_is_never_swallowed(backend, rng, bad):
    x, weight, bias = draw(rng, 6, 3, 5)
    for position, shape in ((0, (2, 1)), (1, (4, 2)), (2, (3,))):
        arrays = [x.copy(), weight.copy(), bias.copy()]
        arrays[position][shape] = bad
        loss, *grads = loss_and_gradients(backend, *arrays, np.arange(6) % 5)
        assert np.isnan(loss)
        assert all(np.isnan(gradient).any() for gradient in grads)
        assert position or not np.isnan(grads[0][[0, 1, 3, 4, 5]]).any()
    _, *grads = loss_and_gradients(backend, x, weight, bias, np.arange(6) % 5, dloss=np.nan)
    assert all(np.isnan(gradient).all() for gradient in grads)


@pytest.mark.filterwarnings("ignore:(invalid|divide|overflow):RuntimeWarning")  # of NumPy, without the compiler
def test_a_class_at_minus_infinity_has_probability_zero(backend, rng):
    x, weight, bias = draw(rng, 4, 3, 5)
    bias[2] = -np.inf
    targets, rest = np.array([0, 1, 3, 4]), [0, 1, 3, 4]
    loss, dx, dweight, dbias = loss_and_gradients(backend, x, weight, bias, targets)
    expected = loss_and_gradients(backend, x, weight[rest], bias[rest], np.arange(4))
    assert_close((loss, dx, dweight[rest], dbias[rest]), expected, 1e-14)
    assert not dweight[2].any()
    assert dbias[2] == 0


def test_backward_may_be_called_again_and_without_gradients_at_hand(backend, rng):
    x, weight, bias = draw(rng, 30, 3, 5)
    arguments, two = (x, weight, bias, rng.integers(0, 5, 30)), np.asarray(2.0)
    loss, cache = backend.linear_cross_entropy_forward(*arguments)
    first, second = (backend.linear_cross_entropy_backward(two, cache) for _ in range(2))
    again, late = backend.linear_cross_entropy_forward(*arguments, need_gradients=False)
    third = backend.linear_cross_entropy_backward(two, late)
    assert loss == again
    for a, b, c in zip(first, second, third, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        assert not np.shares_memory(a, b)
        assert not any(np.shares_memory(a, argument) for argument in arguments)


def test_arguments_stay_unchanged_and_may_be_strided(rng):
    x, weight, bias = draw(rng, 30, 4, 6)
    targets = rng.integers(0, 6, 30)
    expected = loss_and_gradients(kernels, x, weight, bias, targets)
    wide = [np.repeat(array, 2, axis=0) for array in (x, weight, bias, targets)]
    copies = [array.copy() for array in wide]
    found = loss_and_gradients(kernels, *(array[::2] for array in wide))
    assert_close(found, expected, 0)
    for array, copy in zip(wide, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    narrow = loss_and_gradients(kernels, x, weight, bias, targets.astype(np.int32))
    assert_close(narrow, expected, 0)


@pytest.mark.parametrize("bf16", [False, True])
def test_bits_do_not_depend_on_the_number_of_threads(monkeypatch, rng, bf16):
    cut(monkeypatch, 64)
    arguments = (*draw(rng, 200, 40, 300, np.float32), rng.integers(0, 300, 200))
    results, before = [], threads.get_num_threads()
    for count in (1, 2, 3):
        threads.set_num_threads(count)
        words = kernels.linear_argmax(*arguments[:3], bf16)
        results.append((words, *loss_and_gradients(kernels, *arguments, bf16=bf16, dloss=0.3)))
    threads.set_num_threads(before)
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(found, expected)


def peak_memory(function):
    """Bytes that NumPy held at most during the call, beyond what it held before."""
    tracemalloc.start()
    try:
        result = function()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


def test_the_logits_are_never_stored(monkeypatch, rng):
    cut(monkeypatch, 64)
    M, H, V = 4000, 2, 700
    arguments = (*draw(rng, M, H, V, np.float32), rng.integers(0, V, M))
    logits = M * V * 4
    assert peak_memory(lambda: loss_and_gradients(kernels, *arguments))[0] < logits / 10
    assert peak_memory(lambda: kernels.linear_argmax(*arguments[:3]))[0] < logits / 10
    assert peak_memory(lambda: composed(*arguments))[0] > logits


def test_chunks_are_even_and_bounded():
    for rows in (1, 7, 8, 513, 1800):
        for row_bytes, bf16 in itertools.product((0, 4, 23_572, 10**7), (False, True)):
            size, times = output_layer._chunk_rows(rows, row_bytes, bf16), 2 if bf16 else 1
            assert 1 <= size <= max(8, times * output_layer.MOST_ROWS)
            assert size >= min(rows, output_layer.FEWEST_ROWS // 2)
            assert size * row_bytes <= times * max(output_layer.LOGITS_BYTES, 256 * row_bytes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("ignore:(invalid|divide|overflow):RuntimeWarning")  # of NumPy, without the compiler
@pytest.mark.usefixtures("small_chunks")
def test_argmax_of_ties_infinities_and_nans(backend, dtype):
    x = np.ones((20, 1), dtype)
    rows = {
        "ties": [1, 3, 3, 2], "first": [3, 3, 3, 3], "minus infinity": [-np.inf] * 4, "one": [-5],
        "infinity": [1, np.inf, 5, np.inf], "nan": [1, np.nan, np.inf, np.nan], "late nan": [1, 2, 3, np.nan],
    }  # fmt: skip
    for name, logits in rows.items():
        for repeat in (1, 30):
            weight = np.tile(np.array(logits, dtype), repeat)[:, None]
            expected = np.full(20, np.argmax(weight))
            np.testing.assert_array_equal(backend.linear_argmax(x, weight, None), expected, err_msg=name)
            np.testing.assert_array_equal(backend.linear_argmax(x, weight, np.ones(len(weight), dtype)), expected)
    assert backend.linear_argmax(x, weight, None).dtype == np.int64


def test_argmax_agrees_with_the_logits_of_the_loss(rng):
    """The words whose loss is least among all: with float32 rounding, near ties included."""
    x, weight, bias = draw(rng, 40, 64, 300, np.float32)
    logits = kernels.linear_forward(x, weight, bias)
    np.testing.assert_array_equal(kernels.linear_argmax(x, weight, bias), logits.argmax(axis=1))


X, WEIGHT, IDS = np.zeros((2, 3)), np.zeros((4, 3)), np.array([0, 1])
FORWARD = kernels.linear_cross_entropy_forward
ERRORS = [
    (lambda: FORWARD(X[0], WEIGHT, None, IDS), ValueError, "x has shape (3,); expected 2 dimensions (M, H)"),
    (
        lambda: FORWARD(X, WEIGHT.T, None, IDS),
        ValueError,
        "linear_cross_entropy_forward: weight has shape (3, 4); expected (V, H) = (3, 3) from x (2, 3)",
    ),
    (lambda: FORWARD(X, WEIGHT, X[0], IDS), ValueError, "bias has shape (3,); expected (V,) = (4,) from weight (4, 3)"),
    (lambda: FORWARD(X, WEIGHT.astype(np.float32), None, IDS), TypeError, "weight has dtype float32; expected float64"),
    (lambda: FORWARD(X, WEIGHT, None, IDS[:1]), ValueError, "targets has shape (1,); expected (M,) = (2,) from x"),
    (lambda: FORWARD(X, WEIGHT, None, X[:, 0]), TypeError, "targets has dtype float64; expected an integer dtype"),
    (lambda: FORWARD(X, WEIGHT, None, IDS + 3), IndexError, "targets holds 4; expected 0..V-1 = 0..3"),
    (lambda: FORWARD(X, WEIGHT, None, IDS, -100, 1.5), ValueError, "label_smoothing is 1.5; expected a value in"),
    (
        lambda: FORWARD(X, WEIGHT, None, IDS, reduction="none"),
        ValueError,
        "linear_cross_entropy_forward: reduction is 'none'; expected 'sum' or 'mean'",
    ),
    (
        lambda: kernels.linear_cross_entropy_backward(np.zeros(2), FORWARD(X, WEIGHT, None, IDS)[1]),
        ValueError,
        "linear_cross_entropy_backward: dloss has shape (2,); expected 0 dimensions ()",
    ),
    (
        lambda: kernels.linear_cross_entropy_backward(np.zeros((), np.float32), FORWARD(X, WEIGHT, None, IDS)[1]),
        TypeError,
        "linear_cross_entropy_backward: dloss has dtype float32; expected float64 as cache",
    ),
    (
        lambda: kernels.linear_argmax(X, WEIGHT[:0], None),
        ValueError,
        "linear_argmax: weight has shape (0, 3); expected V >= 1 rows",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), ERRORS, ids=[text for _, _, text in ERRORS])
def test_arguments(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()
