"""The kernels of a search one by one: the best words of rows, one selection of a beam, slots that are made compact.

Whole searches are compared with kernels.reference in tests/kernels/cuda/?/test_decoding.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import OUT_OF_RANGE, Arrays, Rig, device, no_error, poisoned

from kernels.cuda.runtime import geometry

NO_WORD = 2**31 - 1
MAIN = (300, 304, 4)  # V, stride, K
SHAPES = [(MAIN, True), ((1, 4, 3), False), ((130, 130, 1), False), ((33000, 33000, 3), False), ((5, 8, 7), False)]


def rows_of_logits(V: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seven rows: plain, with ties in and between segments, all equal, NaN, infinity, one that is finite, plain."""
    rng = np.random.default_rng(V)
    logits = (rng.integers(-8, 9, (7, V)) / 4).astype(np.float32)
    logits[0] += rng.standard_normal(V).astype(np.float32) / 16
    logits[2] = 1
    logits[3, V // 2], logits[4, V - 1] = np.nan, np.inf
    logits[5, : V - 1] = -np.inf
    return logits, np.float32(rng.integers(0, 2, V)), rng.choice(V, V // 5, replace=False)


def ranked_words(logits: np.ndarray, bias: np.ndarray, excluded: np.ndarray, K: int) -> list[list[int]]:
    """Of each row, in the order of log p and word."""
    summed = (logits + bias).astype(float)
    with np.errstate(invalid="ignore"):
        log_p = summed - summed.max(axis=1, keepdims=True)
    log_p[:, excluded] = -np.inf
    log_p[~np.isfinite(summed.max(axis=1))] = -np.inf
    order = np.argsort(-log_p, axis=1, kind="stable")[:, :K]
    return [[int(word) for word in words if row[word] > -np.inf] for words, row in zip(order, log_p, strict=True)]


def check_rank(rig: Rig, shape: tuple[int, int, int], main: bool) -> None:
    """The last seven of ten rows; a row beyond what goes on of its sentence is left alone."""
    V, stride, K = shape
    logits, bias, excluded = rows_of_logits(V)
    ranked = bias.copy()
    ranked[excluded] = -np.inf
    padded = poisoned((7, stride), np.float32)
    padded[:, :V] = logits
    going = np.full(10, K, np.int32)
    going[9 // K] = 9 % K  # so the last row does not go on

    def run(schedule: int) -> Arrays:
        log_probs, words = poisoned((10, K), np.float32), poisoned((10, K), np.int32)
        inputs = padded, device(bias), device(ranked), device(going)
        sizes = np.int32(3), np.int32(V), np.int32(stride), np.int32(K)
        rig.module("search/ranking.cu").rank_words(
            geometry.rank_words(7), (*inputs, log_probs, words, *sizes), schedule
        )
        return log_probs, words

    log_probs, words = rig.same_bits(run, main)
    untouched = [0, 1, 2, 9]
    assert (words[untouched] == -1).all()
    assert np.isnan(log_probs[untouched]).all()
    with np.errstate(invalid="ignore"):
        wide = (logits + bias).astype(float)
        want = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    for row, best in enumerate(ranked_words(logits, bias, excluded, K)[:6]):
        got, spare = words[3 + row], K - len(best)
        np.testing.assert_array_equal(got, best + [NO_WORD] * spare)
        np.testing.assert_allclose(log_probs[3 + row, : len(best)], want[row, best], rtol=2e-6, atol=2e-6)
        assert (log_probs[3 + row, len(best) :] == -np.inf).all()


@pytest.mark.parametrize(("shape", "main"), SHAPES)
def test_rank_words(rig: Rig, shape: tuple[int, int, int], main: bool) -> None:
    check_rank(rig, shape, main)


@pytest.mark.parametrize("V", [1, 7, 300, 1000])
def test_argmax_rows(rig: Rig, V: int) -> None:
    check_argmax(rig, V)


def check_argmax(rig: Rig, V: int) -> None:
    logits, bias, _ = rows_of_logits(V)
    x = poisoned((7, V + 3), np.float32)
    x[:, :V] = logits
    for given in (None, bias):

        def run(schedule: int, given: Any = given) -> Arrays:
            out, sizes = poisoned(7, np.int64), (np.int32(V), np.int32(V + 3))
            arguments = x, None if given is None else device(given), out, *sizes
            rig.module("search/ranking.cu").argmax_rows(geometry.argmax_rows(7), arguments, schedule)
            return (out,)

        want = logits if given is None else logits + given
        np.testing.assert_array_equal(rig.same_bits(run, main=False)[0], want.argmax(axis=1))


def test_excluded_words(rig: Rig) -> None:
    ranked, error = device(np.ones(10, np.float32)), no_error()
    kernel, launch = rig.module("search/ranking.cu").exclude_words, geometry.exclude_words(3)
    kernel(launch, (ranked, device(np.array([9, 0, 9])), np.int32(3), np.int32(10), error))
    np.testing.assert_array_equal(ranked, [-np.inf, *[1] * 8, -np.inf])
    assert error[0] == 0
    kernel(launch, (ranked, device(np.array([3, 10, -1])), np.int32(3), np.int32(10), error))
    assert np.isinf(ranked).sum() == 3
    assert error[0] == OUT_OF_RANGE


@pytest.mark.parametrize(("S", "K", "threads"), [(1, 1, 32), (50, 3, 32), (100, 1, 64), (70, 40, 32)])
def test_compact_slots(rig: Rig, S: int, K: int, threads: int) -> None:
    check_compact(rig, S, K, threads, main=False)


def check_compact(rig: Rig, S: int, K: int, threads: int, main: bool) -> None:
    rng = np.random.default_rng(S)
    going = (rng.integers(0, K + 1, S) * rng.integers(0, 2, S)).astype(np.int32)
    owner, parents = rng.permutation(S).astype(np.int32), rng.permutation(S * K).astype(np.int32)
    totals, words = rng.standard_normal(S * K), rng.integers(0, 99, S * K).astype(np.int32)

    def run(schedule: int) -> Arrays:
        arrays, alive = [device(array) for array in (owner, going, totals, words, parents)], poisoned(1, np.int32)
        arguments = *arrays, np.int32(S), np.int32(K), alive
        rig.module("search/search.cu").compact_slots(geometry.compact_slots(threads), arguments, schedule)
        return *arrays, alive

    got_owner, got_going, *others, alive = rig.same_bits(run, main)
    kept = np.flatnonzero(going)
    assert alive[0] == len(kept)
    np.testing.assert_array_equal(got_owner[: len(kept)], owner[kept])
    np.testing.assert_array_equal(got_going, [*going[kept], *[0] * (S - len(kept))])
    for got, before in zip(others, (totals, words, parents), strict=True):
        for to, slot in enumerate(kept):
            first, rows = slot * K, going[slot]
            np.testing.assert_array_equal(got[to * K : to * K + rows], before[first : first + rows])


class Selection:
    """One step of a beam: N sentences in S = N + 1 slots, one of which is done; ties between rows and within them."""

    def __init__(self, N: int, K: int, T: int, B: int, step: int, penalty: float) -> None:
        rng = np.random.default_rng([N, K, B, step])
        S = N + 1
        self.N, self.S, self.K, self.T, self.B, self.step, self.end = N, S, K, T, B, step, 2
        self.going = rng.integers(1, K + 1, S).astype(np.int32)
        self.owner = rng.permutation(S).astype(np.int32)
        self.going[self.owner == N] = 0
        self.totals = -rng.integers(0, 4, S * K) / 2.0
        log_probs = -np.sort(rng.integers(1, 7, (S * K, K)) / 2.0, axis=1)
        log_probs[rng.random((S * K, K)) < 0.1] = -np.inf
        self.log_probs = -np.sort(-log_probs, axis=1).astype(np.float32)
        self.candidates = rng.integers(0, 5, (S * K, K)).astype(np.int32)
        self.counts = rng.integers(0, B + 1, N).astype(np.int32)
        self.scores = -np.sort(rng.integers(1, 9, (N, B)) / 4.0, axis=1)
        self.log_p, self.found = rng.standard_normal((N, B)), rng.integers(0, 9, (N, B, 3)).astype(np.int32)
        self.divisors = np.array([1.0, *(length**penalty for length in range(1, T + 1))])

    def wanted(self, slot: int) -> tuple[list[Any], list[Any], bool]:
        """Of the sentence of a slot: rows that go on, the best that have ended, whether it is settled."""
        n, going, extensions = self.owner[slot], [], []
        kept = range(self.counts[n])
        ended = [(self.scores[n, k], self.log_p[n, k], *self.found[n, k].tolist()) for k in kept]
        for row in range(self.going[slot]):
            at = slot * self.K + row
            for k in range(self.K):
                total = self.totals[at] + float(self.log_probs[at, k])
                extensions.append((total, row, int(self.candidates[at, k])))
        extensions.sort(key=lambda extension: (-extension[0], extension[1]))  # stable: within a row as they come
        for total, row, word in extensions[: self.K]:
            if total == -np.inf:
                break
            if word == self.end or self.step + 1 == self.T:
                ended.append((total / self.divisors[self.step + 1], total, self.step, row, word))
            else:
                going.append((total, row, word))
        ended = sorted(ended, key=lambda one: -one[0])[: self.B]
        settled = len(ended) == self.B and going and ended[-1][0] >= going[0][0] / self.divisors[self.T]
        return going, ended, bool(settled)


SELECTIONS = [
    (5, 4, 6, 3, 2, 0.7),
    (1, 1, 3, 1, 0, 1.0),
    (7, 40, 9, 5, 3, 2.0),
    (4, 3, 3, 3, 2, 0.7),
    (40, 3, 8, 3, 1, 0),
]


@pytest.mark.parametrize("sizes", SELECTIONS)
def test_beam_select(rig: Rig, sizes: tuple[Any, ...]) -> None:
    check_select(rig, sizes)


def check_selections(rig: Rig) -> None:
    for sizes in SELECTIONS:
        check_select(rig, sizes)


def check_select(rig: Rig, sizes: tuple[Any, ...]) -> None:
    given = Selection(*sizes)
    N, S, K, T, B = given.N, given.S, given.K, given.T, given.B

    def run(schedule: int) -> Arrays:
        going, totals = device(given.going), device(given.totals)
        words, parents = poisoned(S * K, np.int32), poisoned(S * K, np.int32)
        history = poisoned((T, N, K, 2), np.int32)
        kept = [device(array) for array in (given.scores, given.log_p, given.found, given.counts)]
        states = device(given.log_probs), device(given.candidates), device(given.owner), going, totals, words, parents
        numbers = (np.int32(number) for number in (S, K, N, T, B, given.end, T))
        step = device([given.step], np.int32)
        arguments = *states, step, history, *kept, device(given.divisors), *numbers
        rig.module("search/search.cu").beam_select(geometry.beam_select(S, K), arguments, schedule)
        return going, totals, words, parents, history, *kept

    going, totals, words, parents, history, scores, log_p, found, counts = rig.same_bits(run, main=False)
    for slot, n in enumerate(given.owner):
        if given.going[slot] == 0:
            assert going[slot] == 0
            continue
        on, ended, settled = given.wanted(slot)
        rows = slice(slot * K, slot * K + len(on))
        assert going[slot] == (0 if settled else len(on))
        np.testing.assert_array_equal(totals[rows], [total for total, _, _ in on])
        np.testing.assert_array_equal(words[rows], [word for _, _, word in on])
        np.testing.assert_array_equal(parents[rows], [slot * K + row for _, row, _ in on])
        said = history[given.step, n]
        np.testing.assert_array_equal(said[: len(on)].tolist(), [[word, row] for _, row, word in on])
        assert (said[len(on) :] == -1).all()
        assert counts[n] == len(ended)
        np.testing.assert_allclose(scores[n, : len(ended)], [one[0] for one in ended], rtol=1e-15)
        np.testing.assert_array_equal(log_p[n, : len(ended)], [one[1] for one in ended])
        np.testing.assert_array_equal(found[n, : len(ended)].tolist(), [list(one[2:]) for one in ended])
