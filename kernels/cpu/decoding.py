"""Greedy and beam search, compiled whole. See `kernels.reference.decoding` for the searches themselves.

The weights are packed once. Each thread takes its share of the sentences from the encoder's states to the end: per step
the embedding, the layers (one product with [x; h], the gates behind it), and the output layer by blocks of rows, whose
words are ranked while the logits are in cache. A row is a hypothesis going on; rows that end are gone in the next step,
and a row finds the state it continues by index: h is copied next to the new x, c is read where it lies.

A row's numbers have the same bits whichever rows are computed beside it (`kernels.cpu.gemm`), so what is found for a
sentence does not depend on its batch or on the number of threads.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.gemm import prepack
from kernels.cpu.jit import jit
from kernels.cpu.lstm import lstm_cell
from kernels.cpu.panels import panel_columns, per_element
from kernels.cpu.ranking import insert, log_sum_exp, offer_words
from kernels.cpu.team import Matrix, Rows, Team, make_team, multiply, run_teams, team_size
from kernels.threads import get_num_threads

BLOCK = 64  # rows whose gates or logits are computed together, and used while they are in cache
LEAST_ROWS = 4  # rows that one thread should have; with fewer, reading the weights twice costs too much


class DecoderWeights(NamedTuple):
    """A decoder whose matrices lie in panels, behind each other: [weight_ih, weight_hh] of each layer, the output."""

    embedding: np.ndarray  # (V, E)
    panels: np.ndarray  # flat
    starts: np.ndarray  # (L + 2,) where each matrix begins in panels, and the end
    bias: np.ndarray  # (L, 4H)
    output_bias: np.ndarray  # (V,)


class _States(NamedTuple):
    """Work space of one share for R rows. Of inputs and c there are two: before and after a step."""

    inputs: np.ndarray  # (2, L, R, max(E, H) + H): [x; h] of each layer, x ending where h begins
    c: np.ndarray  # (2, L, R, H)
    products: np.ndarray  # flat, for BLOCK rows of gates or of logits, filled up to whole panels
    exps: np.ndarray  # (V,)


class _Rows(NamedTuple):
    """The hypotheses going on, up to R of them. Row numbers change from step to step."""

    words: np.ndarray  # (R,) int64, the last word
    parents: np.ndarray  # (R,) int64, the row of the step before that is continued
    log_probs: np.ndarray  # (2, R) float64, before and after a step
    owner: np.ndarray  # (R,) int64, position of the sentence among those live
    said: np.ndarray  # (T, R) int64, the words of each step
    back: np.ndarray  # (T, R) int64, the parents of each step


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


class _Inputs(NamedTuple):
    """Rows first .. stop - 1 of the inputs of a layer, from a column on."""

    now: int
    layer: int
    first: int
    stop: int
    column: int


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

    h0: np.ndarray  # (L, N, H)
    c0: np.ndarray  # (L, N, H)
    start: int
    end: int
    excluded: np.ndarray  # int64
    max_length: int
    beam_size: int
    longest: int  # the length by which a hypothesis going on could profit most


def prepack_decoder(
    embedding: np.ndarray,
    weights_ih: Sequence[np.ndarray],
    weights_hh: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    output_weight: np.ndarray,
    output_bias: np.ndarray,
    bf16: bool = False,
) -> DecoderWeights:
    """See `kernels.prepack_decoder`."""
    stacked = [np.concatenate(pair, axis=1) for pair in zip(weights_ih, weights_hh, strict=True)]
    packed = [prepack(matrix, True, bf16).panels for matrix in (*stacked, output_weight)]
    starts = np.cumsum([0, *(len(panels) for panels in packed)])
    return DecoderWeights(embedding.copy(), np.concatenate(packed), starts, np.stack(biases), output_bias.copy())


def _make_shares(weights: DecoderWeights, task: _Task, shares: int, rows: int) -> tuple[list[_States], list[Team]]:
    """For each share work space for `rows` rows to a sentence, with the states of the sentences share, share + shares,
    ... in the first ones, and the team for its products. A single share has few rows: its matrices are shared out."""
    layers, sentences, size = task.h0.shape
    dtype, width = weights.embedding.dtype, panel_columns(weights.panels)
    vocab_size, embedding_size = weights.embedding.shape
    x_end, columns = max(embedding_size, size), max(4 * size, vocab_size)
    members = team_size(int(np.diff(weights.starts).min()) * per_element(weights.panels)) if shares == 1 else 1
    states, teams = [], []
    for share in range(shares):
        count = len(range(share, sentences, shares))
        inputs = np.zeros((2, layers, count * rows, x_end + size), dtype)
        c = np.zeros((2, layers, count * rows, size), dtype)
        inputs[0, :, :count, x_end:], c[0, :, :count] = task.h0[:, share::shares], task.c0[:, share::shares]
        products = np.empty(min(BLOCK, count * rows) * (-(-columns // width) * width), dtype)
        states.append(_States(inputs, c, products, np.empty(vocab_size, dtype)))
        teams.append(make_team(inputs, weights.panels, products, BLOCK, x_end + size, members))
    return states, teams


@jit
def _advance(
    weights: Any, states: Any, team: Any, before: int, words: np.ndarray, parents: np.ndarray, rows: int
) -> None:
    """One step of all layers: row r gets words[r] after the state of row parents[r] in the buffers `before`."""
    inputs, c, after = states.inputs, states.c, 1 - before
    layers, size = c.shape[1], c.shape[3]
    x_end = inputs.shape[3] - size
    for row in range(rows):
        inputs[after, 0, row, x_end - weights.embedding.shape[1] : x_end] = weights.embedding[words[row]]
        for layer in range(layers):
            inputs[after, layer, row, x_end:] = inputs[before, layer, parents[row], x_end:]
    for layer in range(layers):
        for first in range(0, rows, BLOCK):
            stop = min(first + BLOCK, rows)
            input_size = size if layer else weights.embedding.shape[1]
            given = _Inputs(after, layer, first, stop, x_end - input_size)
            gates = _multiply(weights, layer, states, team, given, 4 * size)
            for row in range(first, stop):
                h = inputs[after, layer, row, x_end:]
                c_prev = c[before, layer, parents[row]]
                lstm_cell(gates[row - first, : 4 * size], weights.bias[layer], c_prev, c[after, layer, row], h)
                if layer + 1 < layers:
                    inputs[after, layer + 1, row, x_end - size : x_end] = h


@jit
def _multiply(weights: Any, matrix: int, states: Any, team: Any, given: _Inputs, columns: int) -> np.ndarray:
    """The given inputs times a prepacked matrix of so many columns, which the result has filled up to whole panels."""
    inputs, width = states.inputs, panel_columns(weights.panels)
    now, layer, first, stop, column = given
    stride, padded = inputs.shape[3], (columns + width - 1) // width * width
    at = ((now * inputs.shape[1] + layer) * inputs.shape[2] + first) * stride + column
    rows, out = Rows(at, stride, stop - first), Rows(np.int64(0), padded, stop - first)
    panels = Matrix(weights.starts[matrix], weights.starts[matrix + 1], stride - column, padded)
    multiply(team, rows, panels, out, False)
    return states.products[: (stop - first) * padded].reshape(stop - first, padded)


@jit
def _rank(
    weights: Any, states: Any, team: Any, now: int, rows: Any, count: int, excluded: np.ndarray, candidates: Any
) -> None:
    """Offer every extension of the `count` rows to the candidates of their sentences, in the order of row and word."""
    layers, size = states.c.shape[1], states.c.shape[3]
    vocab_size, x_end = len(weights.output_bias), states.inputs.shape[3] - size
    for first in range(0, count, BLOCK):
        stop = min(first + BLOCK, count)
        given = _Inputs(now, layers - 1, first, stop, x_end)
        products = _multiply(weights, layers, states, team, given, vocab_size)
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
def _make_rows(task: Any, sentences: int, steps: int) -> Any:
    """One row for each sentence, before the first step."""
    count = sentences * task.beam_size
    words, order = np.full(count, task.start), np.arange(count)
    history = np.zeros((2, steps, count), np.int64)
    return _Rows(words, order, np.zeros((2, count)), order.copy(), history[0], history[1])


@jit
def _make_candidates(sentences: int, beam_size: int) -> Any:
    shape = (sentences, beam_size)
    counts = np.zeros(sentences, np.int64)
    return _Candidates(np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape, np.int64), counts)


@jit
def _greedy_share(share: int, shares: int, team: Any, weights: Any, states: Any, task: Any, found: _Greedy) -> None:
    """The sentences share, share + shares, ...; a row for each that goes on."""
    words, lengths, log_probs = found
    live = np.arange(share, task.h0.shape[1], shares)
    count, now = len(live), 0
    rows, candidates = _make_rows(task, count, 0), _make_candidates(count, 1)
    for step in range(task.max_length):
        _advance(weights, states, team, now, rows.words, rows.parents, count)
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
    count = h0.shape[1]
    found = _Greedy(np.full((count, max_length), -1), np.zeros(count, np.int64), np.zeros(count))
    shares = _num_shares(count, count)
    task = _Task(h0, c0, start, end, excluded, max_length, 1, 1)
    states, teams = _make_shares(decoder, task, shares, 1)
    run_teams(lambda share, team: _greedy_share(share, shares, team, decoder, states[share], task, found), teams)
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
        words[k], lengths[k], log_probs[k] = words[k - 1], lengths[k - 1], log_probs[k - 1]
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
        rows.said[step, new], rows.back[step, new] = word, parent
        new += 1
    if new == first:
        return 0
    scores = found.scores[sentence]
    full = found.counts[sentence] == len(scores)
    settled = full and scores[-1] >= rows.log_probs[now, first] / found.divisors[task.longest]
    return 0 if settled else new - first


@jit
def _beam_share(share: int, shares: int, team: Any, weights: Any, states: Any, task: Any, found: Any) -> None:
    """The sentences share, share + shares, ...; the rows of a sentence stand together, best first."""
    live = np.arange(share, task.h0.shape[1], shares)
    count, num_live, now = len(live), len(live), 0
    rows, candidates = _make_rows(task, count, task.max_length), _make_candidates(count, task.beam_size)
    for step in range(task.max_length):
        _advance(weights, states, team, now, rows.words, rows.parents, count)
        after = 1 - now
        rows.log_probs[after, :count] = rows.log_probs[now, :count]
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
    count = h0.shape[1]
    divisors = np.array([1.0, *(length**length_penalty for length in range(1, max_length + 1))])
    words, lengths = np.full((count, n_best, max_length), -1), np.zeros((count, n_best), np.int64)
    log_probs, scores = np.zeros((2, count, n_best))
    found = _Found(words, lengths, log_probs, scores, np.zeros(count, np.int64), divisors)
    longest = max_length if length_penalty > 0 else 1
    task = _Task(h0, c0, start, end, excluded, max_length, beam_size, longest)
    shares = _num_shares(count, count * beam_size)
    states, teams = _make_shares(decoder, task, shares, beam_size)
    run_teams(lambda share, team: _beam_share(share, shares, team, decoder, states[share], task, found), teams)
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
