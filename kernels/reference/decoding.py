"""Greedy and beam search of a recurrent decoder, one sentence after the other.

A decoder step is: embedding row -> LSTM layers -> h @ output_weight.T + output_bias -> log-softmax. Excluded words are
then given probability 0, the others keep theirs. log p is in the decoder's dtype, sums of it in float64.

With attention (`attentive_step`) the layers may be those of a GRU, and features take the place of h:

    features = tanh(combine @ [context; h] + bias),   context = attend(h of the last layer)

Where contexts are fed, the first layer attends with its state, and reads beside the embedding what the step before
attended to; the second one reads, beside the h below, and so does `combine`, the context of this step, or `before` that
which the first layer has read.

Beam search keeps the K extensions of highest total log p (equal ones in the order of hypothesis and word). One that
ends, by the end word or at the greatest length, leaves the beam with its score: total / length**length_penalty, the
end word counted (Wu et al., "Google's neural machine translation system", 2016, equation 14, with a plain power of the
length). A sentence is done when none going on could enter its n best, even if it gained nothing but length.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kernels.arrays import to_host
from kernels.attentive import DecoderReading, SearchState
from kernels.forms import rounded
from kernels.reference.attention import Memory as AttendedMemory
from kernels.reference.attention import Score, attend, memory_of
from kernels.reference.gru import gru_step
from kernels.reference.lstm import lstm_step
from kernels.reference.precision import product

State = Sequence[np.ndarray]  # arrays whose second axis is that of rows
Step = Callable[[np.ndarray, State], tuple[np.ndarray, State]]  # words (R,), state -> log p (R, V), the next state


class DecoderWeights(NamedTuple):
    """The arguments of `prepack_decoder`, matrices rounded to a narrow form."""

    embedding: np.ndarray  # (V, E)
    weights_ih: Sequence[np.ndarray]  # (4H, E), then (4H, H)
    weights_hh: Sequence[np.ndarray]  # (4H, H)
    bias: np.ndarray  # (L, 4H)
    output_weight: np.ndarray  # (V, H)
    output_bias: np.ndarray  # (V,)
    bf16: bool


class Hypothesis(NamedTuple):
    """Words without the start word; score only where it is finished."""

    words: tuple[int, ...]
    log_prob: float
    score: float


def prepack_decoder(
    embedding: np.ndarray,
    weights_ih: Sequence[np.ndarray],
    weights_hh: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    output_weight: np.ndarray,
    output_bias: np.ndarray,
    form: str = "full",
) -> DecoderWeights:
    """See `kernels.prepack_decoder`."""
    ih, hh = ([rounded(weight.copy(), form) for weight in weights] for weights in (weights_ih, weights_hh))
    output = rounded(output_weight.copy(), form)
    return DecoderWeights(embedding.copy(), ih, hh, np.stack(biases), output, output_bias.copy(), form == "bf16")


def _on_host(decoder: DecoderWeights) -> DecoderWeights:
    """The same decoder; a search asks for numbers at every step."""
    embedding, weights_ih, weights_hh, bias, output_weight, output_bias, bf16 = decoder
    ih, hh = [to_host(weight) for weight in weights_ih], [to_host(weight) for weight in weights_hh]
    return DecoderWeights(
        to_host(embedding), ih, hh, to_host(bias), to_host(output_weight), to_host(output_bias), bf16
    )  # fmt: skip


def decoder_step(
    decoder: DecoderWeights, words: np.ndarray, h: np.ndarray, c: np.ndarray, excluded: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """words (N,), h and c (L, N, H) -> log p of the next word (N, V), next h and c."""
    x, h, c = decoder.embedding[words], h.copy(), c.copy()
    for layer, (weight_ih, weight_hh) in enumerate(zip(decoder.weights_ih, decoder.weights_hh, strict=True)):
        recurrent = product(h[layer], weight_hh.T, decoder.bf16)
        gates_pre = product(x, weight_ih.T, decoder.bf16) + recurrent + decoder.bias[layer]
        _, h[layer], c[layer] = lstm_step(gates_pre, c[layer])
        x = h[layer]
    return _log_probs(decoder, x, excluded), h, c


def _log_probs(decoder: DecoderWeights, features: np.ndarray, excluded: np.ndarray) -> np.ndarray:
    """features (N, H) -> log p of the next word (N, V)."""
    logits = product(features, decoder.output_weight.T, decoder.bf16) + decoder.output_bias
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    log_probs[:, excluded] = -np.inf
    return log_probs


def greedy_decode(
    decoder: DecoderWeights, h0: np.ndarray, c0: np.ndarray, start: int, end: int, excluded: np.ndarray, max_length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `kernels.greedy_decode`."""
    return _greedy(_plain_step(decoder, excluded), (to_host(h0), to_host(c0)), start, end, max_length)


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
    beam = max_length, beam_size, length_penalty, n_best
    return _beam(_plain_step(decoder, excluded), (to_host(h0), to_host(c0)), start, end, *beam)


def _plain_step(decoder: DecoderWeights, excluded: np.ndarray) -> Step:
    decoder = _on_host(decoder)

    def step(words: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        h, c = state
        log_probs, *after = decoder_step(decoder, words, h, c, excluded)
        return log_probs, after

    return step


class AttentiveDecoderWeights(NamedTuple):
    """The arguments of `prepack_attentive_decoder`."""

    decoder: DecoderWeights
    reading: DecoderReading

    @property
    def embedding(self) -> np.ndarray:
        return self.decoder.embedding

    @property
    def bias(self) -> np.ndarray:
        return self.decoder.bias

    @property
    def key_size(self) -> int:
        query, size = self.reading.query, self.decoder.output_weight.shape[1]
        return size if query is None else len(query)

    @property
    def context_size(self) -> int:
        rows, columns = self.reading.combine.shape
        return int(columns - rows)

    @property
    def has_cells(self) -> bool:
        return len(self.decoder.weights_hh[0]) == self.decoder.bias.shape[1]

    @property
    def feeds(self) -> bool:
        return self.reading.feeds


def prepack_attentive_decoder(
    embedding: np.ndarray,
    weights_ih: Sequence[np.ndarray],
    weights_hh: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    output_weight: np.ndarray,
    output_bias: np.ndarray,
    reading: DecoderReading,
    form: str = "full",
) -> AttentiveDecoderWeights:
    """See `kernels.prepack_attentive_decoder`."""
    decoder = prepack_decoder(embedding, weights_ih, weights_hh, biases, output_weight, output_bias, form)
    return AttentiveDecoderWeights(
        decoder, _reading_by(lambda part: rounded(part.copy(), form) if part.ndim == 2 else part.copy(), reading)
    )


def _reading_by(change: Callable[[Any], Any], reading: DecoderReading) -> DecoderReading:
    """The same with its arrays changed."""
    parts: Any = [change(part) if hasattr(part, "dtype") else part for part in reading]
    return DecoderReading(*parts)


def attentive_step(
    weights: AttentiveDecoderWeights, words: np.ndarray, state: State, excluded: np.ndarray
) -> tuple[np.ndarray, State]:
    """words (N,), state of h and c (L, N, H), context (1, N, D), and the memory -> log p (N, V), the next state."""
    (decoder, reading), (h, c, (before,), *memory) = weights, state
    h, c, context = h.copy(), c.copy(), before

    def attend_with(h: np.ndarray) -> np.ndarray:
        query = h if reading.query is None else product(h, reading.query.T, decoder.bf16)
        score = Score(reading.v, None, reading.scale, decoder.bf16)
        return attend(query, AttendedMemory(memory[0], memory[1], memory[2][0]), score, None)[0]

    read, x = before, decoder.embedding[words]
    for layer in range(len(h)):
        x = np.hstack([x, read]) if reading.feeds and layer < 2 else x
        h[layer], c[layer] = _cell(decoder, layer, x, h[layer], c[layer])
        if layer == (0 if reading.feeds else len(h) - 1):
            context = attend_with(h[layer])
            read = before if reading.before else context
        x = h[layer]
    features = np.tanh(product(np.hstack([read, x]), reading.combine.T, decoder.bf16) + reading.bias)
    return _log_probs(decoder, features, excluded), (h, c, context[None], *memory)


def _cell(
    decoder: DecoderWeights, layer: int, x: np.ndarray, h: np.ndarray, c: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """x (N, I), h and c (N, H) -> the next h and c of an LSTM, or of a GRU, which has no c."""
    weight_hh, bias, size = decoder.weights_hh[layer], decoder.bias[layer], h.shape[1]
    given = product(x, decoder.weights_ih[layer].T, decoder.bf16)
    recurrent = product(h, weight_hh.T, decoder.bf16)
    if len(weight_hh) == 4 * size:
        _, h, c = lstm_step(given + recurrent + bias, c)
        return h, c
    of_h = np.concatenate([np.zeros_like(bias[: 2 * size]), bias[3 * size :]])
    return gru_step(given + bias[: 3 * size], recurrent + of_h, h)[2], c


def attentive_greedy_decode(
    decoder: AttentiveDecoderWeights,
    state: SearchState,
    lengths: np.ndarray,
    start: int,
    end: int,
    excluded: np.ndarray,
    max_length: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `kernels.attentive_greedy_decode`."""
    step = partial(attentive_step, _attentive_on_host(decoder), excluded=excluded)
    return _greedy(step, _attentive_start(decoder, state, lengths), start, end, max_length)


def attentive_beam_decode(
    decoder: AttentiveDecoderWeights,
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
    step = partial(attentive_step, _attentive_on_host(decoder), excluded=excluded)
    beam = max_length, beam_size, length_penalty, n_best
    return _beam(step, _attentive_start(decoder, state, lengths), start, end, *beam)


def _attentive_on_host(weights: AttentiveDecoderWeights) -> AttentiveDecoderWeights:
    return AttentiveDecoderWeights(_on_host(weights.decoder), _reading_by(to_host, weights.reading))


def _attentive_start(decoder: AttentiveDecoderWeights, state: SearchState, lengths: np.ndarray) -> State:
    """The state before the first step, each array with the sentences on its second axis."""
    arrays: Any = [None if part is None else to_host(part) for part in state]
    h, keys, values, c, context = arrays
    memory = memory_of(keys, values, lengths)
    cells = np.zeros((len(h), h.shape[1], 0), h.dtype) if c is None else c
    first = np.zeros((h.shape[1], decoder.context_size), h.dtype) if context is None else context
    return h, cells, first[None], memory.keys, memory.values, memory.lengths[None]


def _rows(state: State, rows: Any) -> State:
    return [part[:, rows] for part in state]


def _greedy(
    step: Step, state: State, start: int, end: int, max_length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The likeliest next word of each sentence, again and again."""
    count = state[0].shape[1]
    words, lengths, totals = np.full((count, max_length), -1), np.zeros(count, np.int64), np.zeros(count)
    for n in range(count):
        own, word = _rows(state, slice(n, n + 1)), start
        for t in range(max_length):
            log_probs, own = step(np.array([word]), own)
            word = int(log_probs[0].argmax())
            totals[n] += log_probs[0, word] if log_probs[0, word] > -np.inf else np.nan
            if np.isnan(totals[n]) or word == end:
                break
            words[n, t], lengths[n] = word, t + 1
    return words, lengths, totals


def _beam(
    step: Step, state: State, start: int, end: int, max_length: int, beam_size: int, length_penalty: float, n_best: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The n best hypotheses of each sentence that a beam finds."""
    count = state[0].shape[1]
    words, lengths = np.full((count, n_best, max_length), -1), np.zeros((count, n_best), np.int64)
    (totals, scores), counts = np.zeros((2, count, n_best)), np.zeros(count, np.int64)
    for n in range(count):
        finished: list[Hypothesis] = []
        going, own = [Hypothesis((), 0.0, 0.0)], _rows(state, slice(n, n + 1))
        while going and not _settled(finished, going, max_length, length_penalty, n_best):
            previous = np.array([([start, *hypothesis.words])[-1] for hypothesis in going])
            log_probs, own = step(previous, own)
            extended = _extensions(going, log_probs, beam_size)
            ended = [len(e.words) == max_length or e.words[-1] == end for _, e in extended]
            finished += [_scored(e, length_penalty) for (_, e), done in zip(extended, ended, strict=True) if done]
            going = [e for (_, e), done in zip(extended, ended, strict=True) if not done]
            own = _rows(own, [row for (row, _), done in zip(extended, ended, strict=True) if not done])
        best = sorted(finished, key=lambda hypothesis: -hypothesis.score)[:n_best]
        counts[n] = len(best)
        for k, hypothesis in enumerate(best):
            ids = hypothesis.words[:-1] if hypothesis.words[-1] == end else hypothesis.words
            words[n, k, : len(ids)], lengths[n, k] = ids, len(ids)
            totals[n, k], scores[n, k] = hypothesis.log_prob, hypothesis.score
    return words, lengths, totals, scores, counts


def _extensions(going: list[Hypothesis], log_probs: np.ndarray, beam_size: int) -> list[tuple[int, Hypothesis]]:
    """The best hypotheses one word longer, and which of those going on each continues; impossible ones are left out."""
    totals = np.array([hypothesis.log_prob for hypothesis in going])[:, None] + log_probs
    order = np.argsort(-totals, axis=None, kind="stable")[:beam_size]
    best = [divmod(int(i), totals.shape[1]) for i in order if totals.flat[i] > -np.inf]
    return [(row, Hypothesis((*going[row].words, word), float(totals[row, word]), 0.0)) for row, word in best]


def _scored(hypothesis: Hypothesis, length_penalty: float) -> Hypothesis:
    return hypothesis._replace(score=hypothesis.log_prob / len(hypothesis.words) ** length_penalty)


def _settled(
    finished: list[Hypothesis], going: list[Hypothesis], max_length: int, length_penalty: float, n_best: int
) -> bool:
    """Whether the n best are finished and none going on can come before them any more."""
    if len(finished) < n_best:
        return False
    worst_of_best = sorted((hypothesis.score for hypothesis in finished), reverse=True)[n_best - 1]
    longest = max_length if length_penalty > 0 else 1
    return worst_of_best >= max(hypothesis.log_prob for hypothesis in going) / longest**length_penalty


def best_extensions(log_probs: np.ndarray, totals: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """See `kernels.best_extensions`."""
    sums = totals.astype(np.float64)[:, None] + to_host(log_probs)
    possible = np.flatnonzero(sums > -np.inf)
    best = possible[np.argsort(-sums.reshape(-1)[possible], kind="stable")[:count]]
    rows, words = np.divmod(best, log_probs.shape[1]) if len(best) else (best, best)
    return rows, words
