"""Decoding against the oracle, by its own scores, and to the bit for any batch and any number of threads."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config

import kernels
from kernels import reference, threads
from kernels.reference.decoding import decoder_step

START, END, EXCLUDED = 0, 1, np.array([0])


def draw_arrays(seed, V=7, E=3, H=4, L=2, dtype=np.float64, scale=1.0):
    """Arguments of `prepack_decoder`."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return (scale * rng.standard_normal(shape)).astype(dtype)

    weights_ih = [draw(4 * H, E if layer == 0 else H) for layer in range(L)]
    weights_hh, biases = [draw(4 * H, H) for _ in range(L)], [draw(4 * H) for _ in range(L)]
    return [draw(V, E), weights_ih, weights_hh, biases, draw(V, H), draw(V)]


def draw_states(seed, N=3, H=4, L=2, dtype=np.float64):
    rng = np.random.default_rng(seed + 1000)
    return [rng.standard_normal((L, N, H)).astype(dtype) for _ in "hc"]


def assert_found(found, expected, rtol):
    """Words, lengths and counts equal; log_probs and scores close where there is a hypothesis."""
    for got, want in zip(found, expected, strict=True):
        if got.dtype == np.int64:
            np.testing.assert_array_equal(got, want)
        else:
            assert got.dtype == np.float64
            np.testing.assert_allclose(got, want, rtol=rtol)


def search_both(backend, arrays, states, *, form="full", excluded=EXCLUDED, max_length=6, beam=(5, 1.0, 2)):
    """What the two searches of a backend return, in one list."""
    decoder = backend.prepack_decoder(*arrays, form)
    common = (*states, START, END, excluded, max_length)
    return [*backend.greedy_decode(decoder, *common), *backend.beam_decode(decoder, *common, *beam)]


@given(
    st.integers(0, 10**6),
    st.fixed_dictionaries({"V": st.integers(2, 9), "E": st.integers(1, 5), "H": st.integers(1, 5)}),
    st.integers(1, 3),
    st.integers(0, 4),
    st.integers(1, 7),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.6, 1.0, 2.0, -0.5]),
    st.data(),
)
def test_the_oracle_finds_the_same(seed, sizes, L, N, max_length, beam_size, length_penalty, data):
    """Beams wider than the vocabulary, nothing to decode, one step, an <end> that cannot be said: all among these."""
    arrays, states = draw_arrays(seed, L=L, **sizes), draw_states(seed, N, sizes["H"], L)
    excluded = np.array(data.draw(st.lists(st.integers(0, sizes["V"] - 1), max_size=3)), np.int64)
    beam = (beam_size, length_penalty, data.draw(st.integers(1, beam_size)))
    found, expected = (
        search_both(backend, arrays, states, excluded=excluded, max_length=max_length, beam=beam)
        for backend in (kernels, reference)
    )
    assert_found(found, expected, rtol=1e-10)


@given(st.integers(0, 10**6), st.sampled_from([np.float32, np.float64]), st.integers(1, 6), st.integers(1, 5))
def test_equal_scores_are_taken_in_the_order_of_hypothesis_and_word(seed, dtype, beam_size, max_length):
    """The states say nothing here and words are of two kinds: nearly every choice is between equals.

    Sums of a few log p are exact in float64 if these are float32, so ties are ties in both backends.
    """
    rng = np.random.default_rng(seed)
    arrays, states = draw_arrays(seed, V=8, dtype=np.float32), draw_states(seed, dtype=np.float32)
    arrays[4][:], arrays[5][:] = 0, rng.choice([0, 1.3], 8)
    found, expected = (
        search_both(backend, arrays, states, max_length=max_length, beam=(beam_size, 1.0, beam_size))
        for backend in (kernels, reference)
    )
    assert_found(found, expected, rtol=1e-6)


def log_prob_of(decoder, states, sentence, words, length, max_length):
    """log p of an output when its words are given to the oracle's decoder one by one."""
    h, c = (state[:, sentence : sentence + 1] for state in states)
    total, previous = 0.0, START
    for word in [*words[:length], END][:max_length]:
        log_probs, h, c = decoder_step(decoder, np.array([previous]), h, c, EXCLUDED)
        total, previous = total + float(log_probs[0, word]), word
    return total


@pytest.mark.parametrize(
    ("dtype", "form", "tolerance"),
    [
        (np.float64, "full", 1e-10),
        (np.float64, "bf16", 1e-10),  # float64 is never rounded
        (np.float64, "int8", 1e-10),
        (np.float32, "full", 1e-5),
        (np.float32, "int8", 1e-5),
        (np.float32, "f16", 1e-5),
        # Where a float32 lies next to the middle of two bfloat16, the two backends may round it apart, by 2^-8 of it.
        (np.float32, "bf16", 1e-2),
    ],
)
def test_log_probs_are_those_of_the_words(dtype, form, tolerance):
    """V, H, E and 4H are no multiples of a panel, the rows fill several blocks, and the sums of k two of them."""
    sizes, max_length, N = {"V": 150, "E": 21, "H": 530}, 5, 30
    arrays, states = draw_arrays(3, dtype=dtype, scale=0.1, **sizes), draw_states(3, N, sizes["H"], dtype=dtype)
    greedy_words, greedy_lengths, greedy_log_probs, words, lengths, log_probs, scores, counts = search_both(
        kernels, arrays, states, form=form, max_length=max_length, beam=(5, 0.7, 3)
    )
    assert (counts == 3).all()
    assert len(np.unique(greedy_words)) > 20, "the outputs are too much alike to tell"
    decoder = reference.prepack_decoder(*arrays, form)
    for n in range(0, N, 7):
        expected = log_prob_of(decoder, states, n, greedy_words[n], greedy_lengths[n], max_length)
        assert greedy_log_probs[n] == pytest.approx(expected, rel=tolerance)
        for k in range(3):
            expected = log_prob_of(decoder, states, n, words[n, k], lengths[n, k], max_length)
            assert log_probs[n, k] == pytest.approx(expected, rel=tolerance)
            scored = min(lengths[n, k] + 1, max_length)
            assert scores[n, k] == pytest.approx(log_probs[n, k] / scored**0.7, rel=1e-12)


@pytest.mark.parametrize(("form", "least"), [("bf16", 1e-5), ("int8", 1e-5), ("f16", 1e-7)])
def test_other_forms_round(form, least):
    arrays, states = draw_arrays(4, H=12, dtype=np.float32), draw_states(4, 8, 12, dtype=np.float32)
    exact, rounded = (search_both(kernels, arrays, states, form=one)[2] for one in ("full", form))
    differences = np.abs(rounded - exact) / np.abs(exact)
    assert differences.min() > least
    assert np.median(differences) < 0.1


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="NumPy's products round a row as its neighbours let them")
@pytest.mark.parametrize(
    ("dtype", "form"), [(np.float32, "full"), (np.float32, "bf16"), (np.float32, "int8"), (np.float64, "full")]
)
def test_bits_do_not_depend_on_the_batch_or_on_threads(dtype, form):
    """Alone, beside 63 others, in another order, on 1 to 3 threads."""
    sizes = {"V": 90, "E": 10, "H": 33}
    arrays, states = draw_arrays(5, dtype=dtype, scale=0.5, **sizes), draw_states(5, 64, 33, dtype=dtype)
    arrays[5][END] += 3  # sentences end at different times, so rows move
    before = threads.get_num_threads()

    def search(order, num_threads):
        threads.set_num_threads(num_threads)
        try:
            return search_both(kernels, arrays, [state[:, order] for state in states], form=form, max_length=9)
        finally:
            threads.set_num_threads(before)

    together = search(np.arange(64), 1)
    assert len(np.unique(together[1])) > 3
    orders = [np.array([n]) for n in range(0, 64, 9)] + [np.random.default_rng(0).permutation(64), np.arange(5, 47)]
    for num_threads in (1, 2, 3):
        for order in (*orders, np.arange(64)):
            for got, expected in zip(search(order, num_threads), together, strict=True):
                assert got.tobytes() == expected[order].tobytes()


def test_a_decoder_is_a_copy(backend):
    arrays, states = draw_arrays(6), draw_states(6)
    decoder = backend.prepack_decoder(*arrays)
    expected = backend.greedy_decode(decoder, *states, START, END, EXCLUDED, 5)
    for array in (arrays[0], *arrays[1], *arrays[2], *arrays[3], *arrays[4:]):
        array[:] = 9
    for got, want in zip(backend.greedy_decode(decoder, *states, START, END, EXCLUDED, 5), expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_non_contiguous_arguments():
    arrays, states = draw_arrays(7), draw_states(7)
    expected = search_both(kernels, arrays, states)
    turned = [
        [np.asfortranarray(a) for a in group] if isinstance(group, list) else np.asfortranarray(group)
        for group in arrays
    ]
    found = search_both(kernels, turned, [np.asfortranarray(state) for state in states])
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_nan_is_not_swallowed(backend):
    """Sentence 1 meets it in the first step, the others never."""
    arrays, states = draw_arrays(8), draw_states(8)
    states[0][:, 1] = np.nan
    _, _, greedy_log_probs, words, lengths, _, _, counts = search_both(backend, arrays, states)
    assert np.isnan(greedy_log_probs).tolist() == [False, True, False]
    assert counts.tolist() == [2, 0, 2]
    assert (words[1] == -1).all()
    assert (lengths[1] == 0).all()


@pytest.mark.filterwarnings("ignore:invalid value")
def test_an_infinite_logit_is_not_swallowed(backend):
    arrays = draw_arrays(8)
    arrays[5][4] = np.inf
    *_, greedy_log_probs, _, _, _, _, counts = search_both(backend, arrays, draw_states(8))
    assert np.isnan(greedy_log_probs).all()
    assert (counts == 0).all()


def test_words_of_probability_zero_are_never_said(backend):
    arrays, states = draw_arrays(8), draw_states(8)
    arrays[5][[2, 4]] = -np.inf
    words, _, log_probs, beam_words, *_, counts = search_both(backend, arrays, states)
    assert set(np.unique(words)) | set(np.unique(beam_words)) <= {-1, 3, 5, 6}
    assert np.isfinite(log_probs).all()
    assert (counts == 2).all()


def test_no_word_left_ends_a_search(backend):
    everything = np.arange(7)
    words, lengths, log_probs, *_, counts = search_both(backend, draw_arrays(9), draw_states(9), excluded=everything)
    assert (words == -1).all()
    assert np.isnan(log_probs).all()
    assert lengths.tolist() == counts.tolist() == [0, 0, 0]


def zeros(*shape, dtype=np.float64):
    return np.zeros(shape, dtype)


PACK_ERRORS = [
    (0, zeros(7), ValueError, "embedding has shape (7,); expected 2 dimensions (V, E)"),
    (0, zeros(7, 0), ValueError, "E is 0; expected a value >= 1"),
    (0, zeros(7, 3, dtype=np.float32), TypeError, "weights_ih[0] has dtype float64; expected float32 as embedding"),
    (1, [zeros(16, 3)], ValueError, "weights_ih, weights_hh, biases hold [1, 2, 2] layers; expected as many each"),
    (1, [zeros(16, 3), zeros(16, 3)], ValueError, "weights_ih[1] has shape (16, 3); expected (4H, I) = (16, 4) from"),
    (2, [zeros(16, 4), zeros(15, 4)], ValueError, "weights_hh[1] has shape (15, 4); expected (4H, H) = (16, 4) from"),
    (3, [zeros(16), zeros(16, 1)], ValueError, "biases[1] has shape (16, 1); expected (4H,) = (16,) from embedding"),
    (4, zeros(6, 4), ValueError, "output_weight has shape (6, 4); expected (V, H) = (7, 4) from embedding (7, 3)"),
    (5, zeros(8), ValueError, "output_bias has shape (8,); expected (V,) = (7,) from embedding (7, 3)"),
]


@pytest.mark.parametrize(("position", "value", "error", "text"), PACK_ERRORS)
def test_weights_are_checked(position, value, error, text):
    arrays = draw_arrays(0)
    arrays[position] = value
    with pytest.raises(error, match=re.escape(f"prepack_decoder: {text}")):
        kernels.prepack_decoder(*arrays)


SEARCH_ERRORS = [
    ("h0", zeros(2, 4), ValueError, "h0 has shape (2, 4); expected 3 dimensions (L, N, H)"),
    (
        "h0",
        zeros(1, 3, 4),
        ValueError,
        "h0 has shape (1, 3, 4); expected (L, N, H) = (2, 3, 4) from decoder.bias",
    ),
    (
        "c0",
        zeros(2, 1, 4),
        ValueError,
        "c0 has shape (2, 1, 4); expected (L, N, H) = (2, 3, 4) from decoder.bias",
    ),
    ("h0", zeros(2, 3, 4, dtype=np.float32), TypeError, "h0 has dtype float32; expected float64 as decoder"),
    ("start", 7, IndexError, "start holds 7; expected 0..V-1 = 0..6"),
    ("end", -1, IndexError, "end holds -1; expected 0..V-1 = 0..6"),
    ("excluded", np.array([3, 9]), IndexError, "excluded holds 9; expected 0..V-1 = 0..6"),
    ("excluded", np.array([1.0]), TypeError, "excluded has dtype float64; expected an integer dtype"),
    ("excluded", np.array([1], np.int32), TypeError, "excluded has dtype int32; expected int64"),
    ("excluded", zeros(1, 1, dtype=np.int64), ValueError, "excluded has shape (1, 1); expected 1 dimensions (X,)"),
    ("max_length", 0, ValueError, "max_length is 0; expected a value >= 1"),
]
BEAM_ERRORS = [
    ("beam_size", 0, ValueError, "beam_size is 0; expected a value >= 1"),
    ("n_best", 4, ValueError, "n_best is 4; expected 1 to beam_size = 3"),
    ("n_best", 0, ValueError, "n_best is 0; expected 1 to beam_size = 3"),
    ("length_penalty", np.nan, ValueError, "length_penalty is nan; expected a finite number"),
]


@pytest.mark.parametrize(
    ("search", "name", "value", "error", "text"),
    [("greedy_decode", *case) for case in SEARCH_ERRORS]
    + [("beam_decode", *case) for case in SEARCH_ERRORS + BEAM_ERRORS],
)
def test_searches_are_checked(search, name, value, error, text):
    h0, c0 = draw_states(0)
    arguments = {"h0": h0, "c0": c0, "start": START, "end": END, "excluded": EXCLUDED, "max_length": 5}
    arguments |= {"beam_size": 3} if search == "beam_decode" else {}
    decoder = kernels.prepack_decoder(*draw_arrays(0))
    with pytest.raises(error, match=re.escape(f"{search}: {text}")):
        getattr(kernels, search)(decoder, **{**arguments, name: value})
