"""Philox4x32-10 against the published answers, the layout of the stream, and dropout."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels import reference
from kernels.cpu import random as cpu_random
from kernels.reference import random as reference_random

# Counter, key, answer: the known-answer vectors published with the generator.
KNOWN_ANSWERS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter, key, answer):
    words, key_words = np.array(counter, np.uint64), tuple(np.array(key, np.uint64))
    assert reference_random.philox(words[:, None], key_words)[:, 0].tolist() == answer
    assert list(cpu_random.philox(*words, *key_words)) == answer


def test_layout_of_the_stream(backend):
    seed, step, site = 0x299F31D0A4093822, 0x0370734413198A2E, 0x85A308D3
    bits = backend.random_bits(11, seed, step, site)
    assert bits.dtype == np.uint32
    counters = np.array([[0, 1, 2], [site] * 3, [step & 0xFFFFFFFF] * 3, [step >> 32] * 3], np.uint64)
    key = (np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32))
    np.testing.assert_array_equal(bits, reference_random.philox(counters, key).T.ravel()[:11])
    assert backend.random_bits(0, 0, 0, 0).shape == (0,)


@given(
    count=st.integers(0, 300),
    seed=st.integers(0, 2**64 - 1),
    step=st.integers(0, 2**64 - 1),
    site=st.integers(0, 2**32 - 1),
)
def test_cpu_equals_reference(count, seed, step, site):
    found, expected = (backend.random_bits(count, seed, step, site) for backend in (kernels, reference))
    np.testing.assert_array_equal(found, expected)


def test_streams_differ():
    streams = [(1, 0, 0), (2, 0, 0), (1 + 2**32, 0, 0), (1, 1, 0), (1, 2**32, 0), (1, 0, 1)]
    words = {kernels.random_bits(8, *stream).tobytes() for stream in streams}
    assert len(words) == len(streams)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@given(shape=st.lists(st.integers(0, 7), max_size=3).map(tuple), p=st.floats(0, 1), seed=st.integers(0, 99))
def test_dropout_cpu_equals_reference_to_the_bit(dtype, shape, p, seed):
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    before = x.copy()
    found, expected = (backend.dropout(x, p, seed, 5, 6) for backend in (kernels, reference))
    assert found.shape == shape
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("size", [1023, 1024, 1025, 2049, 3000])
def test_every_piece_is_dropped_alike(dtype, size, rng):
    """Around the edges of the pieces whose words are drawn together; signs of zero, infinities and NaN included."""
    x = rng.standard_normal(size).astype(dtype)
    x[::7], x[1::11], x[2::13] = np.inf, -np.inf, np.nan
    with np.errstate(invalid="ignore"):
        found, expected = (backend.dropout(x, 0.3, 1, 2, 3) for backend in (kernels, reference))
    np.testing.assert_array_equal(found, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))


def test_mask_follows_the_words(backend, rng):
    x, p = rng.standard_normal((5, 7, 3)), 0.3
    keep = backend.random_bits(x.size, 1, 2, 3).reshape(x.shape) >= int(p * 2**32)
    np.testing.assert_allclose(backend.dropout(x, p, 1, 2, 3), np.where(keep, x / 0.7, 0), rtol=1e-15)
    np.testing.assert_array_equal(backend.dropout(x, 0.0, 1, 2, 3), x)
    np.testing.assert_array_equal(backend.dropout(x, 1.0, 1, 2, 3), np.zeros_like(x))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_share_of_dropped_elements(p):
    """Of 100,000 elements the dropped share is within five standard deviations of p, and so is that of neighbours."""
    dropped = kernels.dropout(np.ones(100_000), p, 7, 8, 9) == 0
    deviation = 5 * (p * (1 - p) / dropped.size) ** 0.5
    assert abs(dropped.mean() - p) < deviation
    both = (dropped[1:] & dropped[:-1]).mean()
    assert abs(both - p * p) < 5 * (p * p * (1 - p * p) / dropped.size) ** 0.5


def test_dropout_is_its_own_backward(backend, rng, check_gradients):
    x, dy = rng.standard_normal((4, 5)), rng.standard_normal((4, 5))

    def loss(inputs):
        return float((backend.dropout(inputs["x"], 0.4, 1, 2, 3) * dy).sum())

    check_gradients(loss, {"x": x}, {"x": backend.dropout(dy, 0.4, 1, 2, 3)})


def test_dropout_numbers_elements_in_c_order(rng):
    x = rng.standard_normal((6, 4))
    np.testing.assert_array_equal(kernels.dropout(np.asfortranarray(x), 0.5, 1, 2, 3), kernels.dropout(x, 0.5, 1, 2, 3))


@pytest.mark.parametrize("start", [0, 1, 6, 8, 4 * 70_000])
def test_a_part_gets_its_part_of_the_mask(backend, rng, start):
    x = rng.standard_normal((start + 35,)).astype(np.float32)
    part = backend.dropout(x[start:].reshape(5, 7), 0.4, 1, 2, 3, start)
    np.testing.assert_array_equal(part, backend.dropout(x, 0.4, 1, 2, 3)[start:].reshape(5, 7))


def test_dropout_does_not_hide_a_nan(backend):
    assert np.isnan(backend.dropout(np.full(64, np.nan, np.float32), 0.5, 1, 2, 3)).all()
