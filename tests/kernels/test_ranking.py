"""The best words of a row against sorting all of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels.cpu.ranking import SCAN, insert, log_sum_exp, offer_words
from kernels.reference.decoding import best_extensions as reference


def offered(rows, log_probs, size):
    """Offer the rows (R, V) of normalised numbers one by one; the totals, rows and words of those kept."""
    totals, kept_rows, words = np.zeros(size), np.zeros(size, np.int64), np.zeros(size, np.int64)
    count = 0
    for row, (values, log_prob) in enumerate(zip(rows, log_probs, strict=True)):
        count = offer_words(values, values.dtype.type(0.25), log_prob, row, totals, kept_rows, words, count)
    return totals[:count], kept_rows[:count], words[:count]


def sorted_out(rows, log_probs, size):
    """The same by sorting every total."""
    totals = log_probs[:, None] + (rows - rows.dtype.type(0.25)).astype(np.float64)
    possible = [i for i in np.argsort(-totals, axis=None, kind="stable") if totals.flat[i] > -np.inf][:size]
    return totals.ravel()[possible], *np.unravel_index(np.array(possible, np.intp), totals.shape)


@given(
    st.integers(0, 10**6),
    st.sampled_from([np.float32, np.float64]),
    st.integers(1, 4),
    st.integers(1, 3 * SCAN),
    st.integers(1, 20),
    st.sampled_from([1, 2, 10**6]),
)
def test_the_best_of_all_rows_are_kept(seed, dtype, num_rows, vocab_size, size, levels):
    """Few levels make ties, many make differences as small as a float32's rounding; a NaN is never kept."""
    rng = np.random.default_rng(seed)
    rows = (-5 * rng.integers(1, levels + 1, (num_rows, vocab_size)) / levels).astype(dtype)
    rows[rng.random(rows.shape) < 0.1] = -np.inf
    rows[rng.random(rows.shape) < 0.05] = np.nan
    log_probs = -rng.integers(0, 3, num_rows).astype(np.float64)
    for got, expected in zip(offered(rows, log_probs, size), sorted_out(rows, log_probs, size), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_neighbours_in_float32_are_told_apart_among_large_numbers():
    """The bound that skips blocks must not skip a number that is better by its last bit."""
    rows = np.full((1, 5 * SCAN), np.float32(-7.7))
    rows[0, 3 * SCAN + 5] = np.nextafter(np.float32(-7.7), np.float32(0))
    _, _, words = offered(rows, np.array([-900.0]), 2)
    assert words.tolist() == [3 * SCAN + 5, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 63, 64, 200])
def test_log_sum_exp(dtype, size):
    rng = np.random.default_rng(size)
    logits, bias = rng.normal(300, 20, size).astype(dtype), rng.standard_normal(size).astype(dtype)
    expected = logits.astype(np.float64) + bias
    exps = np.empty(size, dtype)
    log_sum = log_sum_exp(logits, bias, exps)
    # float32: logits of about 300 are sums rounded to 2e-5.
    tolerance = 5e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(logits, expected - expected.max(), atol=tolerance)
    np.testing.assert_allclose(log_sum, np.log(np.exp(expected - expected.max()).sum()), atol=tolerance)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 70, 99])
def test_log_sum_exp_of_a_nan_is_one(poison, place):
    logits = np.zeros(100, np.float32)
    logits[place] = poison
    assert np.isnan(log_sum_exp(logits, np.zeros(100, np.float32), np.empty(100, np.float32)))


def test_insert():
    values = np.array([3.0, 2.0, 0.0, 0.0])
    assert insert(values, 2, 2.0) == 2  # behind its equal
    assert insert(values, 3, 5.0) == 0
    assert values.tolist() == [5, 3, 2, 2]
    assert insert(values, 4, 2.0) == insert(values, 4, np.nan) == insert(values, 2, -np.inf) == 4
    assert insert(values, 4, 2.5) == 2
    assert values.tolist() == [5, 3, 2.5, 2]


def test_the_best_extensions_are_those_of_sorting_everything():
    """Of both backends; ties by row and word, NaN and -inf never."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        log_probs = (-5 * rng.integers(1, 40, (int(rng.integers(1, 5)), int(rng.integers(1, 3 * SCAN)))) / 40).astype(
            "f4"
        )
        log_probs[rng.random(log_probs.shape) < 0.2] = rng.choice([np.nan, -np.inf])
        totals, count = -rng.integers(0, 3, len(log_probs)).astype(np.float64), int(rng.integers(1, 12))
        sums = totals[:, None] + log_probs
        possible = [i for i in np.argsort(-sums, axis=None, kind="stable") if sums.flat[i] > -np.inf][:count]
        expected = np.unravel_index(np.array(possible, np.int64), sums.shape)
        for found in (kernels.best_extensions(log_probs, totals, count), reference(log_probs, totals, count)):
            np.testing.assert_array_equal(found, expected)
