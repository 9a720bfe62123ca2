"""Greedy and beam search of an LSTM decoder, one sentence after the other.

A decoder step is: embedding row -> LSTM layers -> h @ output_weight.T + output_bias -> log-softmax. Excluded words are
then given probability 0, the others keep theirs. log p is in the decoder's dtype, sums of it in float64.

Beam search keeps the K extensions of highest total log p (equal ones in the order of hypothesis and word). One that
ends, by the end word or at the greatest length, leaves the beam with its score: total / length**length_penalty, the
end word counted (Wu et al., "Google's neural machine translation system", 2016, equation 14, with a plain power of the
length). A sentence is done when none going on could enter its n best, even if it gained nothing but length.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kernels.arrays import to_host
from kernels.reference.lstm import lstm_step
from kernels.reference.precision import product


class DecoderWeights(NamedTuple):
    """The arguments of `prepack_decoder`."""

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
    bf16: bool = False,
) -> DecoderWeights:
    """See `kernels.prepack_decoder`."""
    ih, hh = [weight.copy() for weight in weights_ih], [weight.copy() for weight in weights_hh]
    return DecoderWeights(embedding.copy(), ih, hh, np.stack(biases), output_weight.copy(), output_bias.copy(), bf16)


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
    logits = product(x, decoder.output_weight.T, decoder.bf16) + decoder.output_bias
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    log_probs[:, excluded] = -np.inf
    return log_probs, h, c


def greedy_decode(
    decoder: DecoderWeights, h0: np.ndarray, c0: np.ndarray, start: int, end: int, excluded: np.ndarray, max_length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `kernels.greedy_decode`."""
    decoder, h0, c0 = _on_host(decoder), to_host(h0), to_host(c0)
    count = h0.shape[1]
    words, lengths, totals = np.full((count, max_length), -1), np.zeros(count, np.int64), np.zeros(count)
    for n in range(count):
        h, c, word = h0[:, n : n + 1], c0[:, n : n + 1], start
        for step in range(max_length):
            log_probs, h, c = decoder_step(decoder, np.array([word]), h, c, excluded)
            word = int(log_probs[0].argmax())
            totals[n] += log_probs[0, word] if log_probs[0, word] > -np.inf else np.nan
            if np.isnan(totals[n]) or word == end:
                break
            words[n, step], lengths[n] = word, step + 1
    return words, lengths, totals


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
    decoder, h0, c0 = _on_host(decoder), to_host(h0), to_host(c0)
    count = h0.shape[1]
    words, lengths = np.full((count, n_best, max_length), -1), np.zeros((count, n_best), np.int64)
    (totals, scores), counts = np.zeros((2, count, n_best)), np.zeros(count, np.int64)
    for n in range(count):
        finished: list[Hypothesis] = []
        going, h, c = [Hypothesis((), 0.0, 0.0)], h0[:, n : n + 1], c0[:, n : n + 1]
        while going and not _settled(finished, going, max_length, length_penalty, n_best):
            previous = np.array([([start, *hypothesis.words])[-1] for hypothesis in going])
            log_probs, h, c = decoder_step(decoder, previous, h, c, excluded)
            extended = _extensions(going, log_probs, beam_size)
            ended = [len(e.words) == max_length or e.words[-1] == end for _, e in extended]
            finished += [_scored(e, length_penalty) for (_, e), done in zip(extended, ended, strict=True) if done]
            rows = [row for (row, _), done in zip(extended, ended, strict=True) if not done]
            going = [e for (_, e), done in zip(extended, ended, strict=True) if not done]
            h, c = h[:, rows], c[:, rows]
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
