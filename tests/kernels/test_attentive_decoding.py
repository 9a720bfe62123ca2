"""Searches with attention against the oracle, by their own scores, and to the bit for any batch and any threads."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config

import kernels
from kernels import DecoderReading, SearchState, reference, threads
from kernels.reference.decoding import _attentive_start, attentive_step

START, END, EXCLUDED = 0, 1, np.array([0])
CELLS, SCORES, FEEDS = ("lstm", "gru"), ("dot", "scaled", "general", "additive"), ("none", "after", "before")


class Case:
    """A decoder of some kind, and what N sentences start from; sizes by their letters."""

    def __init__(self, seed: int, kind: tuple[str, str, str], dtype: Any = np.float64, **sizes: int) -> None:
        sizes = {"V": 7, "E": 3, "H": 4, "L": 2, "A": 5, "D": 6, "S": 4, "N": 3} | sizes
        self.rng, self.dtype, (cell, score, feeds) = np.random.default_rng(seed), dtype, kind
        V, E, H, L, A, D, S, N = (sizes[letter] for letter in "VEHLADSN")
        A = H if score in ("dot", "scaled") else A
        gates, fed = (4 if cell == "lstm" else 3) * H, D if feeds != "none" else 0
        weights_ih = [self.draw(gates, (H if layer else E) + (fed if layer < 2 else 0)) for layer in range(L)]
        weights_hh, biases = [self.draw(gates, H) for _ in range(L)], [self.draw(4 * H) for _ in range(L)]
        reading = DecoderReading(
            self.draw(H, D + H), self.draw(H), self.draw(A, H) if score in ("general", "additive") else None,
            self.draw(A) if score == "additive" else None, 0.5 if score == "scaled" else 1.0, fed > 0,
            feeds == "before",
        )  # fmt: skip
        self.arrays = [self.draw(V, E), weights_ih, weights_hh, biases, self.draw(V, H), self.draw(V), reading]
        context, c = self.draw(N, D) if fed else None, self.draw(L, N, H) if cell == "lstm" else None
        self.state = SearchState(self.draw(L, N, H), self.draw(S, N, A), self.draw(S, N, D), c, context)
        self.lengths = self.rng.integers(0, S + 1, N)

    def draw(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(self.dtype)

    def of(self, order: Any) -> tuple[SearchState, np.ndarray]:
        """The start of some sentences."""
        h, keys, values, c, context = self.state
        state = SearchState(
            h[:, order], keys[:, order], values[:, order], None if c is None else c[:, order],
            None if context is None else context[order],
        )  # fmt: skip
        return state, self.lengths[order]


def search_both(
    backend: Any, case: Case, *, order: Any = slice(None), form: str = "full", excluded: Any = EXCLUDED,
    max_length: int = 6, beam: tuple[int, float, int] = (5, 1.0, 2),
) -> list[np.ndarray]:  # fmt: skip
    """What the two searches of a backend return, in one list."""
    decoder = backend.prepack_attentive_decoder(*case.arrays, form)
    asked = (*case.of(order), START, END, excluded, max_length)
    return [*backend.attentive_greedy_decode(decoder, *asked), *backend.attentive_beam_decode(decoder, *asked, *beam)]


def assert_found(found: Any, expected: Any, rtol: float) -> None:
    for got, want in zip(found, expected, strict=True):
        if got.dtype == np.int64:
            np.testing.assert_array_equal(got, want)
        else:
            np.testing.assert_allclose(got, want, rtol=rtol)


@given(
    st.integers(0, 10**6),
    st.tuples(st.sampled_from(CELLS), st.sampled_from(SCORES), st.sampled_from(FEEDS)),
    st.fixed_dictionaries({letter: st.integers(1, 5) for letter in "EHADS"}),
    st.fixed_dictionaries({"V": st.integers(2, 9), "L": st.integers(1, 3), "N": st.integers(0, 4)}),
    st.integers(1, 7),
    st.integers(1, 9),
    st.sampled_from([0.0, 0.6, 1.0]),
)
def test_the_oracle_finds_the_same(seed, kind, sizes, counts, max_length, beam_size, length_penalty) -> None:
    """Memories without positions, one step, nothing to decode: all among these."""
    case = Case(seed, kind, **sizes, **counts)
    options: Any = {"max_length": max_length, "beam": (beam_size, length_penalty, (beam_size + 1) // 2)}
    found, expected = (search_both(backend, case, **options) for backend in (kernels, reference))
    assert_found(found, expected, rtol=1e-10)


@pytest.mark.parametrize("feeds", FEEDS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("dtype", "form", "tolerance"),
    # Where a float32 lies next to the middle of two bfloat16, the two backends may round it apart, by 2^-8 of it.
    [(np.float64, "bf16", 1e-10), (np.float32, "full", 1e-4), (np.float32, "bf16", 3e-2), (np.float32, "int8", 1e-4)],
)
def test_log_probs_are_those_of_the_words(cell, feeds, dtype, form, tolerance) -> None:
    """Sizes are no multiples of a panel, rows fill several blocks, and sums of k two of them."""
    case = Case(3, (cell, "additive", feeds), dtype, V=150, E=21, H=270, A=65, D=130, S=9, N=30)
    case.arrays = [_scaled(part) for part in case.arrays]
    words, lengths, log_probs, *_, counts = search_both(kernels, case, form=form, max_length=5, beam=(5, 0.7, 3))
    assert (counts == 3).all()
    assert len(np.unique(words)) > 10, "the outputs are too much alike to tell"
    decoder = reference.prepack_attentive_decoder(*case.arrays, form)
    for n in range(0, 30, 7):
        state, total = _attentive_start(decoder, *case.of([n])), 0.0
        said = [*words[n, : lengths[n]], END][:5]
        for before, word in zip([START, *said[:-1]], said, strict=True):
            scores, state = attentive_step(decoder, np.array([before]), state, EXCLUDED)
            total += float(scores[0, word])
        assert log_probs[n] == pytest.approx(total, rel=tolerance)


def _scaled(part: Any) -> Any:
    if isinstance(part, DecoderReading):
        return part._replace(combine=part.combine * 0.1, query=part.query * 0.1)
    return [one * 0.1 for one in part] if isinstance(part, list) else part * 0.1


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="NumPy's products round a row as its neighbours let them")
@pytest.mark.parametrize("kind", [("lstm", "general", "none"), ("gru", "additive", "after"), ("lstm", "dot", "before")])
@pytest.mark.parametrize(
    ("dtype", "form"), [(np.float32, "full"), (np.float32, "bf16"), (np.float32, "int8"), (np.float64, "full")]
)
def test_bits_do_not_depend_on_the_batch_or_on_threads(kind, dtype, form) -> None:
    """Alone, beside 63 others, in another order, on 1 to 3 threads."""
    case = Case(5, kind, dtype, V=90, E=10, H=33, D=20, N=64)
    case.arrays[4] *= 0.5
    case.arrays[5][END] += 4  # sentences end at different times, so rows move
    before = threads.get_num_threads()

    def search(order: Any, num_threads: int) -> list[np.ndarray]:
        threads.set_num_threads(num_threads)
        try:
            return search_both(kernels, case, order=order, form=form, max_length=9)
        finally:
            threads.set_num_threads(before)

    together = search(np.arange(64), 1)
    assert len(np.unique(together[1])) > 3
    orders = [np.array([n]) for n in range(0, 64, 13)] + [np.random.default_rng(0).permutation(64), np.arange(5, 47)]
    for num_threads in (1, 2, 3):
        for order in (*orders, np.arange(64)):
            for got, expected in zip(search(order, num_threads), together, strict=True):
                assert got.tobytes() == expected[order].tobytes()


def test_padding_changes_no_bit() -> None:
    case = Case(6, ("lstm", "additive", "after"), np.float32)
    expected = search_both(kernels, case)
    more = [np.concatenate([part, case.draw(3, *part.shape[1:])]) for part in (case.state.keys, case.state.values)]
    case.state = case.state._replace(keys=more[0], values=more[1])
    for got, want in zip(search_both(kernels, case), expected, strict=True):
        assert got.tobytes() == want.tobytes()


def test_what_each_part_says_counts() -> None:
    """A sharp test of the tests: no part can be left out or changed unnoticed."""
    kind = "lstm", "additive", "after"
    expected = search_both(kernels, Case(7, kind))[2]
    for name in ("combine", "bias", "query", "v"):
        case = Case(7, kind)
        case.arrays[6] = case.arrays[6]._replace(**{name: getattr(case.arrays[6], name) * 1.01})
        assert (search_both(kernels, case)[2] != expected).any(), name
    for name in SearchState._fields:
        case = Case(7, kind)
        case.state = case.state._replace(**{name: getattr(case.state, name) * 1.01})
        assert (search_both(kernels, case)[2] != expected).any(), name


def zeros(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    return np.zeros(shape, dtype)


READING_ERRORS = [
    ({"combine": zeros(4, 4)}, ValueError, "reading.combine has shape (4, 4); expected (H, D + H) with H = 4"),
    ({"combine": zeros(4, 10, dtype=np.float32)}, TypeError, "reading.bias has dtype float64; expected float32 as"),
    ({"bias": zeros(5)}, ValueError, "reading.bias has shape (5,); expected (H,) = (4,)"),
    ({"query": zeros(5, 3)}, ValueError, "reading.query has shape (5, 3); expected (A, H) with H = 4"),
    ({"v": zeros(4)}, ValueError, "reading.v has shape (4,); expected (A,) = (5,)"),
    ({"feeds": False}, ValueError, "weights_ih[0] has shape (16, 9); expected (4H, I) = (16, 3)"),
    ({"feeds": False, "before": True}, ValueError, "reading.before is True without reading.feeds; expected both"),
]


@pytest.mark.parametrize(("changes", "error", "text"), READING_ERRORS)
def test_weights_are_checked(changes, error, text) -> None:
    *arrays, reading = Case(0, ("lstm", "additive", "after")).arrays
    with pytest.raises(error, match=re.escape(f"prepack_attentive_decoder: {text}")):
        kernels.prepack_attentive_decoder(*arrays, reading._replace(**changes))


STATE_ERRORS = [
    ({"h": zeros(1, 3, 4)}, "state.h has shape (1, 3, 4); expected (L, N, H) = (2, 3, 4)"),
    ({"keys": zeros(4, 3, 4)}, "state.keys has shape (4, 3, 4); expected (S, N, A)"),
    ({"values": zeros(4, 3, 5)}, "state.values has shape (4, 3, 5); expected (S, N, D)"),
    ({"c": None}, "state.c is None; expected an array with this decoder"),
    ({"context": None}, "state.context is None; expected an array with this decoder"),
]


@pytest.mark.parametrize("search", ["attentive_greedy_decode", "attentive_beam_decode"])
@pytest.mark.parametrize(("changes", "text"), STATE_ERRORS)
def test_states_are_checked(search, changes, text) -> None:
    case = Case(0, ("lstm", "additive", "after"))
    decoder = kernels.prepack_attentive_decoder(*case.arrays)
    beam = () if "greedy" in search else (3,)
    with pytest.raises(ValueError, match=re.escape(f"{search}: {text}")):
        getattr(kernels, search)(
            decoder, case.state._replace(**changes), case.lengths, START, END, EXCLUDED, 5, *beam
        )  # fmt: skip


@pytest.mark.parametrize(("length", "error"), [(5, "lengths holds 5"), (-1, "lengths holds -1")])
def test_lengths_are_checked(length, error) -> None:
    case = Case(0, ("gru", "general", "none"))
    case.lengths[1] = length
    with pytest.raises(ValueError, match=error):
        search_both(kernels, case)


def test_a_beam_is_checked() -> None:
    with pytest.raises(ValueError, match=r"n_best is 4; expected 1 to beam_size = 3"):
        search_both(kernels, Case(0, ("gru", "general", "none")), beam=(3, 1.0, 4))
