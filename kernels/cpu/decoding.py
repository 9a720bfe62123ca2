"""Greedy and beam search, compiled whole. See `kernels.reference.decoding` for the searches themselves.

The weights are packed once. Each thread takes its share of the sentences from the encoder's states to the end: per step
the decoder (`kernels.cpu.decoder_steps`), and the output layer by blocks of rows, whose words are ranked while the
logits are in cache. A row is a hypothesis going on; rows that end are gone in the next step.

A row's numbers have the same bits whichever rows are computed beside it (`kernels.cpu.gemm`), so what is found for a
sentence does not depend on its batch or on the number of threads.
"""

from typing import Any, NamedTuple

import numpy as np

from kernels.attentive import SearchState
from kernels.cpu.attention import make_memory
from kernels.cpu.decoder_steps import (
    BLOCK,
    DecoderWeights,
    Hypotheses,
    Inputs,
    Start,
    advance,
    make_shares,
    multiply_inputs,
)
from kernels.cpu.jit import jit
from kernels.cpu.ranking import insert, log_sum_exp, offer_words
from kernels.cpu.rows import copy_numbers
from kernels.cpu.team import run_teams
from kernels.threads import get_num_threads

LEAST_ROWS = 4  # rows that one thread should have; with fewer, reading the weights twice costs too much


class _Candidates(NamedTuple):
    """The best extensions of each of S sentences, best first."""

    totals: np.ndarray  # (S, K) float64
    rows: np.ndarray  # (S, K) int64
    words: np.ndarray  # (S, K) int64
    counts: np.ndarray  # (S,) int64


class _Greedy(NamedTuple):
    """The results of `greedy_decode`."""

    words: np.ndarray
    lengths: np.ndarray
    log_probs: np.ndarray


class _Place(NamedTuple):
    """Where the extensions of a sentence go."""

    step: int
    now: int  # the buffer of log_probs
    first: int  # their first row
    position: int  # of the sentence among those live


class _Found(NamedTuple):
    """The results of `beam_decode`, and where they are found again: score divisors by length, (T + 1,) float64."""

    words: np.ndarray
    lengths: np.ndarray
    log_probs: np.ndarray
    scores: np.ndarray
    counts: np.ndarray
    divisors: np.ndarray


class _Task(NamedTuple):
    """What is asked for."""

    first: Start
    start: int
    end: int
    excluded: np.ndarray  # int64
    max_length: int
    beam_size: int
    longest: int  # the length by which a hypothesis going on could profit most


@jit
def _rank(
    weights: Any, states: Any, team: Any, now: int, rows: Any, count: int, excluded: np.ndarray, candidates: Any
) -> None:
    """Offer every extension of the `count` rows to the candidates of their sentences, in the order of row and word."""
    layers, size = weights.bias.shape[0], weights.bias.shape[1] // 4
    vocab_size, x_end, last = len(weights.output_bias), states.inputs.shape[3] - size, states.inputs.shape[1] - 1
    for first in range(0, count, BLOCK):
        stop = min(first + BLOCK, count)
        given = Inputs(now, last, first, stop, x_end)
        products = multiply_inputs(weights, layers, states, team, given, vocab_size)
        for row in range(first, stop):
            logits = products[row - first, :vocab_size]
            log_sum = log_sum_exp(logits, weights.output_bias, states.exps)
            for word in excluded:
                logits[word] = -np.inf
            i = rows.owner[row]
            candidates.counts[i] = offer_words(
                logits, log_sum, rows.log_probs[now, row], row, candidates.totals[i], candidates.rows[i],
                candidates.words[i], candidates.counts[i],
            )  # fmt: skip


@jit
def _make_rows(task: Any, live: np.ndarray, steps: int) -> Any:
    """One row for each of the sentences `live`, before the first step."""
    count = len(live) * task.beam_size
    words, order, sentences = np.full(count, task.start), np.arange(count), np.empty(count, np.int64)
    copy_numbers(live, sentences[: len(live)])
    history = np.zeros((2, steps, count), np.int64)
    return Hypotheses(words, order, np.zeros((2, count)), order.copy(), sentences, history[0], history[1])


@jit
def _make_candidates(sentences: int, beam_size: int) -> Any:
    shape = (sentences, beam_size)
    counts = np.zeros(sentences, np.int64)
    return _Candidates(np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape, np.int64), counts)


@jit
def _greedy_share(
    share: int, shares: int, team: Any, weights: Any, reading: Any, states: Any, task: Any, found: _Greedy
) -> None:
    """The sentences share, share + shares, ...; a row for each that goes on."""
    words, lengths, log_probs = found
    live = np.arange(share, task.first.h.shape[1], shares)
    count, now = len(live), 0
    rows, candidates = _make_rows(task, live, 0), _make_candidates(count, 1)
    for step in range(task.max_length):
        advance(weights, reading, states, team, task.first.memory, now, rows, count)
        now, going = 1 - now, 0
        candidates.counts[:] = 0
        _rank(weights, states, team, now, rows, count, task.excluded, candidates)
        for row in range(count):
            sentence, word = live[row], candidates.words[row, 0]
            if candidates.counts[row] == 0:
                log_probs[sentence] = np.nan
                continue
            log_probs[sentence] += candidates.totals[row, 0]
            if word == task.end:
                continue
            words[sentence, step], lengths[sentence] = word, step + 1
            live[going], rows.words[going], rows.parents[going] = sentence, word, row
            rows.sentences[going] = sentence
            going += 1
        count = going
        if count == 0:
            break


def greedy_decode(
    decoder: DecoderWeights,
    h0: np.ndarray,
    c0: np.ndarray,
    start: int,
    end: int,
    excluded: np.ndarray,
    max_length: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `kernels.greedy_decode`."""
    return _greedy(decoder, _Task(_plain_start(h0, c0), start, end, excluded, max_length, 1, 1))


def attentive_greedy_decode(
    decoder: DecoderWeights,
    state: SearchState,
    lengths: np.ndarray,
    start: int,
    end: int,
    excluded: np.ndarray,
    max_length: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `kernels.attentive_greedy_decode`."""
    return _greedy(decoder, _Task(_start(decoder, state, lengths), start, end, excluded, max_length, 1, 1))


def _plain_start(h0: np.ndarray, c0: np.ndarray) -> Start:
    """Of a decoder that does not attend."""
    return Start(h0, c0, np.empty((h0.shape[1], 0), h0.dtype), None)


def _start(decoder: DecoderWeights, state: SearchState, lengths: np.ndarray) -> Start:
    (h, keys, values, c, context), reading = state, decoder.reading
    assert reading is not None  # by its contract
    cells = np.empty((*h.shape[:2], 0), h.dtype) if c is None else c
    contexts = np.zeros((h.shape[1], reading.context_size), h.dtype) if context is None else context
    v = reading.v if len(reading.v) else None
    return Start(h, cells, contexts, make_memory(keys, values, lengths, v, None, reading.scale, reading.bf16))


def _greedy(decoder: DecoderWeights, task: _Task) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = task.first.h.shape[1]
    found = _Greedy(np.full((count, task.max_length), -1), np.zeros(count, np.int64), np.zeros(count))
    shares = _num_shares(count, count)
    states, teams = make_shares(decoder, task.first, shares, 1)
    weights = decoder, decoder.reading
    run_teams(lambda share, team: _greedy_share(share, shares, team, *weights, states[share], task, found), teams)
    return found


def _num_shares(sentences: int, rows: int) -> int:
    """Threads that a batch is worth."""
    return max(1, min(get_num_threads(), sentences, rows // LEAST_ROWS))


@jit
def _finish(found: Any, sentence: int, rows: Any, parent: int, word: int, step: int, total: float, end: int) -> None:
    """Keep a hypothesis that ends with this word at this step, if it is among the n best so far."""
    score = total / found.divisors[step + 1]
    scores, count = found.scores[sentence], found.counts[sentence]
    place = insert(scores, count, score)
    if place == len(scores):
        return
    words, lengths, log_probs = found.words[sentence], found.lengths[sentence], found.log_probs[sentence]
    for k in range(min(count, len(scores) - 1), place, -1):
        copy_numbers(words[k - 1], words[k])
        lengths[k], log_probs[k] = lengths[k - 1], log_probs[k - 1]
    found.counts[sentence] = min(count + 1, len(scores))
    words[place], lengths[place], log_probs[place] = -1, step + (word != end), total
    if word != end:
        words[place, step] = word
    for earlier in range(step - 1, -1, -1):
        words[place, earlier] = rows.said[earlier, parent]
        parent = rows.back[earlier, parent]


@jit
def _extend(task: Any, found: Any, candidates: Any, rows: Any, i: int, sentence: int, place: _Place) -> int:
    """The candidates of sentence i end, or become rows at their place.

    Returns the number of these rows: 0 if the sentence is done, since no hypothesis going on could enter its n best,
    even if it gained nothing but length.
    """
    step, now, first, position = place
    new = first
    for k in range(candidates.counts[i]):
        parent, word, total = candidates.rows[i, k], candidates.words[i, k], candidates.totals[i, k]
        if word == task.end or step == task.max_length - 1:
            _finish(found, sentence, rows, parent, word, step, total, task.end)
            continue
        rows.words[new], rows.parents[new], rows.owner[new], rows.log_probs[now, new] = word, parent, position, total
        rows.sentences[new] = sentence
        rows.said[step, new], rows.back[step, new] = word, parent
        new += 1
    if new == first:
        return 0
    scores = found.scores[sentence]
    full = found.counts[sentence] == len(scores)
    settled = full and scores[-1] >= rows.log_probs[now, first] / found.divisors[task.longest]
    return 0 if settled else new - first


@jit
def _beam_share(
    share: int, shares: int, team: Any, weights: Any, reading: Any, states: Any, task: Any, found: Any
) -> None:
    """The sentences share, share + shares, ...; the rows of a sentence stand together, best first."""
    live = np.arange(share, task.first.h.shape[1], shares)
    count, num_live, now = len(live), len(live), 0
    rows, candidates = _make_rows(task, live, task.max_length), _make_candidates(count, task.beam_size)
    for step in range(task.max_length):
        advance(weights, reading, states, team, task.first.memory, now, rows, count)
        after = 1 - now
        copy_numbers(rows.log_probs[now, :count], rows.log_probs[after, :count])
        candidates.counts[:num_live] = 0
        _rank(weights, states, team, after, rows, count, task.excluded, candidates)
        count, still = 0, 0
        for i in range(num_live):
            new = _extend(task, found, candidates, rows, i, live[i], _Place(step, after, count, still))
            if new > 0:
                live[still] = live[i]
                count, still = count + new, still + 1
        num_live, now = still, after
        if count == 0:
            break


def beam_decode(
    decoder: DecoderWeights,
    h0: np.ndarray,
    c0: np.ndarray,
    start: int,
    end: int,
    excluded: np.ndarray,
    max_length: int,
    beam_size: int,
    length_penalty: float = 1.0,
    n_best: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """See `kernels.beam_decode`."""
    longest = max_length if length_penalty > 0 else 1
    task = _Task(_plain_start(h0, c0), start, end, excluded, max_length, beam_size, longest)
    return _beam(decoder, task, length_penalty, n_best)


def attentive_beam_decode(
    decoder: DecoderWeights,
    state: SearchState,
    lengths: np.ndarray,
    start: int,
    end: int,
    excluded: np.ndarray,
    max_length: int,
    beam_size: int,
    length_penalty: float = 1.0,
    n_best: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """See `kernels.attentive_beam_decode`."""
    longest = max_length if length_penalty > 0 else 1
    task = _Task(_start(decoder, state, lengths), start, end, excluded, max_length, beam_size, longest)
    return _beam(decoder, task, length_penalty, n_best)


def _beam(
    decoder: DecoderWeights, task: _Task, length_penalty: float, n_best: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    (_, count, _), steps = task.first.h.shape, task.max_length
    divisors = np.array([1.0, *(length**length_penalty for length in range(1, steps + 1))])
    words, lengths = np.full((count, n_best, steps), -1), np.zeros((count, n_best), np.int64)
    log_probs, scores = np.zeros((2, count, n_best))
    found = _Found(words, lengths, log_probs, scores, np.zeros(count, np.int64), divisors)
    shares = _num_shares(count, count * task.beam_size)
    states, teams = make_shares(decoder, task.first, shares, task.beam_size)
    weights = decoder, decoder.reading
    run_teams(lambda share, team: _beam_share(share, shares, team, *weights, states[share], task, found), teams)
    return found[:5]


def best_extensions(log_probs: np.ndarray, totals: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """See `kernels.best_extensions`."""
    rows, words = np.empty(count, np.int64), np.empty(count, np.int64)
    found = _best_of_rows(log_probs, totals.astype(np.float64), np.empty(count), rows, words)
    return rows[:found], words[:found]


@jit
def _best_of_rows(
    log_probs: np.ndarray, totals: np.ndarray, best: np.ndarray, rows: np.ndarray, words: np.ndarray
) -> int:
    """Fill best, rows and words (K,); how many there are."""
    count, nothing = 0, log_probs.dtype.type(0)
    for r in range(len(log_probs)):
        count = offer_words(log_probs[r], nothing, totals[r], r, best, rows, words, count)
    return count
