"""Greedy and beam search on the device against kernels.reference: words, lengths, log p, scores and their order.

log p is float32 per word. What may differ from the reference in float64 is rounding: words are compared as they are, so
the random models have no two candidates that close.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import kernels
from kernels import reference
from kernels.cuda.runtime.switches import switched
from kernels.cuda.search import decoding, ranking

START, END = 1, 2
NONE = np.array([], np.int64)
TOLERANCES = {"full": 2e-5, "bf16": 2e-3, "int8": 2e-5}


class Model:
    """A decoder on the host and on the device, and the states of N sentences."""

    def __init__(
        self, cuda: ModuleType, V: int, E: int, H: int, L: int, N: int, form: str = "full", sharp: float = 4.0
    ) -> None:
        rng = np.random.default_rng([V, E, H, L, N])

        def draw(*shape: int, scale: float = 1.0) -> np.ndarray:
            return (rng.standard_normal(shape) * scale).astype(np.float32)

        ih = [draw(4 * H, H if layer else E, scale=1.5 * H**-0.5) for layer in range(L)]
        hh = [draw(4 * H, H, scale=1.5 * H**-0.5) for _ in range(L)]
        self.arrays: list[Any] = [
            draw(V, E), ih, hh, [draw(4 * H) for _ in range(L)], draw(V, H, scale=sharp * H**-0.5), draw(V)
        ]  # fmt: skip
        self.h0, self.c0, self.form, self.cuda = draw(L, N, H), draw(L, N, H), form, cuda

    def on_host(self, dtype: Any = np.float64) -> tuple[Any, np.ndarray, np.ndarray]:
        dtype = dtype if self.form == "full" else np.float32  # float64 is never rounded
        arrays = [[a.astype(dtype) for a in x] if isinstance(x, list) else x.astype(dtype) for x in self.arrays]
        decoder = reference.prepack_decoder(*arrays, self.form)
        return decoder, self.h0.astype(dtype), self.c0.astype(dtype)

    def on_device(self) -> tuple[Any, Any, Any]:
        put = self.cuda.asarray
        arrays = [[put(a) for a in x] if isinstance(x, list) else put(x) for x in self.arrays]
        return kernels.prepack_decoder(*arrays, self.form), put(self.h0), put(self.c0)


def check(got: Any, want: Any, tolerance: float) -> None:
    """Integers are equal, floats close, NaN where it should be."""
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape
        if b.dtype.kind == "i":
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def compare_greedy(model: Model, max_length: int, excluded: np.ndarray = NONE) -> Any:
    numbers = START, END, excluded, max_length
    got = kernels.greedy_decode(*model.on_device(), *numbers)
    check(got, reference.greedy_decode(*model.on_host(), *numbers), TOLERANCES[model.form])
    return got


def compare_beam(
    model: Model, max_length: int, K: int, penalty: float = 1.0, n_best: int = 1, excluded: np.ndarray = NONE
) -> Any:
    numbers = START, END, excluded, max_length, K, penalty, n_best
    got = kernels.beam_decode(*model.on_device(), *numbers)
    check(got, reference.beam_decode(*model.on_host(), *numbers), TOLERANCES[model.form])
    return got


SHAPES = [(30, 8, 12, 1, 5), (50, 16, 8, 2, 3), (300, 4, 16, 3, 1)]  # V, E, H, L, N


@pytest.mark.parametrize("excluded", [NONE, np.array([0, 1, 4])])
@pytest.mark.parametrize("max_length", [1, 2, 12])
@pytest.mark.parametrize("shape", SHAPES)
def test_greedy(cuda: ModuleType, shape: Any, max_length: int, excluded: np.ndarray) -> None:
    compare_greedy(Model(cuda, *shape), max_length, excluded)


@pytest.mark.parametrize(
    ("K", "penalty", "n_best"), [(1, 1.0, 1), (2, 0.0, 2), (3, 1.0, 1), (4, 2.0, 4), (5, 0.7, 3), (3, -1.0, 2)]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_beam(cuda: ModuleType, shape: Any, K: int, penalty: float, n_best: int) -> None:
    compare_beam(Model(cuda, *shape), 9, K, penalty, n_best, np.array([0, 1]))


@pytest.mark.parametrize("form", ["bf16", "int8"])
@pytest.mark.parametrize("shape", SHAPES)
def test_other_forms(cuda: ModuleType, shape: Any, form: str) -> None:
    model = Model(cuda, *shape, form=form)
    compare_greedy(model, 8)
    compare_beam(model, 8, 3, n_best=2)


def test_float64_is_the_reference(cuda: ModuleType) -> None:
    model = Model(cuda, *SHAPES[0])
    put = cuda.asarray
    arrays = [[put(a.astype(float)) for a in x] if isinstance(x, list) else put(x.astype(float)) for x in model.arrays]
    decoder, states = kernels.prepack_decoder(*arrays), [put(model.h0.astype(float)), put(model.c0.astype(float))]
    numbers = START, END, NONE, 6
    check(kernels.greedy_decode(decoder, *states, *numbers), reference.greedy_decode(*model.on_host(), *numbers), 0)
    check(kernels.beam_decode(decoder, *states, *numbers, 2), reference.beam_decode(*model.on_host(), *numbers, 2), 0)


MANY = 60, 8, 8, 1, 40  # sentences of many lengths


@pytest.mark.parametrize(("replayed", "between"), [(True, 1), (True, 4), (False, 1), (False, 50)])
def test_sentences_that_end_leave_the_rows(
    cuda: ModuleType, monkeypatch: pytest.MonkeyPatch, replayed: bool, between: int
) -> None:
    """However often the host looks, and whether steps are replayed: the same results."""
    monkeypatch.setattr(decoding, "STEPS_BETWEEN", between)
    model = Model(cuda, *MANY)
    with switched(step_graphs=replayed):
        lengths = compare_greedy(model, 25)[1]
        assert lengths.min() < 3
        assert lengths.max() == 25
        compare_beam(model, 12, 3, 1.0, 2)


def test_rows_of_logits_come_in_chunks(cuda: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(cuda, *MANY)
    whole = compare_beam(model, 6, 3)
    monkeypatch.setattr(decoding, "LOGITS_BYTES", 7 * 60 * 4)
    for a, b in zip(compare_beam(model, 6, 3), whole, strict=True):
        assert a.tobytes() == b.tobytes()


def test_two_runs_agree_to_the_bit(cuda: ModuleType) -> None:
    model = Model(cuda, *MANY)
    decoder, *states = model.on_device()
    runs = [kernels.beam_decode(decoder, *states, START, END, NONE, 8, 4, 1.0, 2) for _ in range(2)]
    for a, b in zip(*runs, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("K", [7, 9, 40])
def test_a_beam_wider_than_the_vocabulary(cuda: ModuleType, K: int) -> None:
    compare_beam(Model(cuda, 7, 4, 4, 1, 3), 4, K, 1.0, K, np.array([0]))


def test_equal_words_come_in_their_order(cuda: ModuleType) -> None:
    """All words are equally likely in every state: rows, then words decide."""
    model = Model(cuda, 6, 4, 4, 1, 2)
    model.arrays[4][:], model.arrays[5][:] = 0, 0
    words, *_ = compare_greedy(model, 3)
    assert (words == 0).all()
    compare_beam(model, 3, 4, 1.0, 4)
    compare_beam(model, 3, 4, 1.0, 4, np.array([0]))
    compare_beam(model, 4, 5, 0.0, 3)


def spoil(model: Model, what: str) -> None:
    """A logit that is not a number, in some states or in all."""
    if what == "nan in all":
        model.arrays[5][3] = np.nan
    elif what == "infinity in all":
        model.arrays[5][3] = np.inf
    elif what == "-infinity":  # a word of probability 0: nothing bad
        model.arrays[5][3] = -np.inf
    elif what == "all -infinity":
        model.arrays[5][:] = -np.inf
    elif what == "after some words":
        model.arrays[0][3:8] = np.nan
    elif what == "in a sentence":
        model.h0[0, 1, 0] = np.nan


@pytest.mark.parametrize(
    "what", ["nan in all", "infinity in all", "-infinity", "all -infinity", "after some words", "in a sentence"]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_logits_that_are_not_numbers(cuda: ModuleType, what: str) -> None:
    model = Model(cuda, 12, 8, 12, 1, 6)
    spoil(model, what)
    log_probs = compare_greedy(model, 8)[2]
    assert np.isnan(log_probs).any() == (what != "-infinity")
    compare_beam(model, 8, 3, 1.0, 2)


def test_no_word_is_left(cuda: ModuleType) -> None:
    model = Model(cuda, 6, 4, 4, 1, 2)
    assert np.isnan(compare_greedy(model, 3, np.arange(6))[2]).all()
    assert (compare_beam(model, 3, 2, excluded=np.arange(6))[4] == 0).all()


def test_no_sentence(cuda: ModuleType) -> None:
    model = Model(cuda, 6, 4, 4, 2, 0)
    compare_greedy(model, 3)
    compare_beam(model, 3, 2, 1.0, 2)


def test_the_host_waits_seldom(cuda: ModuleType) -> None:
    """Not at every step; only the stand-in counts."""
    if not hasattr(cuda, "_memory"):
        pytest.skip("on a GPU nobody counts")
    decoder, *states = Model(cuda, 30, 8, 8, 1, 20).on_device()
    synchronisations = cuda._memory.synchronisations
    before = len(synchronisations)
    words, *_ = kernels.greedy_decode(decoder, *states, START, 29, np.array([29]), 40)
    assert (words >= 0).all()
    assert len(synchronisations) - before <= 40 // decoding.STEPS_BETWEEN + 4


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize(("M", "H", "V"), [(5, 8, 37), (1, 3, 1), (9, 16, 300), (0, 4, 5)])
def test_linear_argmax(cuda: ModuleType, M: int, H: int, V: int, bf16: bool, with_bias: bool) -> None:
    rng = np.random.default_rng([M, H, V])
    x, weight = (rng.standard_normal(shape).astype(np.float32) for shape in ((M, H), (V, H)))
    bias = rng.standard_normal(V).astype(np.float32) if with_bias else None
    arguments = cuda.asarray(x), cuda.asarray(weight), None if bias is None else cuda.asarray(bias)
    got = kernels.linear_argmax(*arguments, bf16)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got.get(), reference.linear_argmax(x, weight, bias, bf16))


def test_linear_argmax_of_what_is_not_a_number(cuda: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of equals, the first NaN; by chunks of rows, too."""
    logits = np.zeros((5, 700), np.float32)
    logits[0, [300, 600]] = 1
    logits[1, [400, 20]] = np.nan
    logits[1, 3] = np.inf
    logits[2] = -np.inf
    logits[3, 699] = np.inf
    for size in (1 << 20, 2 * 700 * 4):
        monkeypatch.setattr(ranking, "LOGITS_BYTES", size)
        weight, x = cuda.asarray(np.eye(700, dtype=np.float32)), cuda.asarray(np.zeros((5, 700), np.float32))
        got = [kernels.linear_argmax(x[m : m + 1], weight, cuda.asarray(logits[m])) for m in range(5)]
        assert [int(word.get()[0]) for word in got] == [300, 20, 0, 699, 0]
