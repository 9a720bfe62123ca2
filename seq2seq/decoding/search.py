"""Decoding a batch of sources: greedy and beam search, by the fastest way that a scorer has.

The search itself is ``seq2seq.decoding.strategies``, the same for every model.
"""

from __future__ import annotations

import math

from seq2seq.decoding.scorers import scorer_of
from seq2seq.decoding.strategies import Hypothesis, Scorer, Search, Sources
from seq2seq.models.model import Seq2Seq

_MOST_EXPONENT = 300  # e**300 and log-probabilities times or divided by it are far from the ends of float64


def search(scorer: Scorer, sources: Sources, asked: Search) -> list[list[Hypothesis]]:
    """For each source the hypotheses asked for, best first; a beam of one is greedy. Errors as ``beam_search``."""
    if not sources:
        return []
    if asked.beam_size == asked.n_best == 1:
        return [[found] for found in scorer.greedy(sources, asked)]
    return scorer.beam(sources, _checked(asked))


def greedy_search(model: Seq2Seq, sources: Sources, max_length: int, bf16: bool | None = None) -> list[Hypothesis]:
    """The hypothesis for each source that takes the likeliest token at each step; its score is its log_prob.

    Args:
        sources: N items of the model's source; of text, lists of ids without <sos> and <eos>.
        max_length: most target ids, <eos> counted; at least 1.
        bf16: products in bfloat16, sums and states in float32; None is the model's own precision.
    """
    return scorer_of(model, bf16).greedy(sources, Search(max_length)) if sources else []


def beam_search(
    model: Seq2Seq, sources: Sources, max_length: int, beam_size: int = 5, length_penalty: float = 1.0,
    n_best: int = 1, bf16: bool | None = None,
) -> list[list[Hypothesis]]:  # fmt: skip
    """The ``n_best`` best-scored hypotheses that a beam of ``beam_size`` finds for each source, best first.

    Other arguments as of ``greedy_search``.

    Raises:
        ValueError: n_best is not 1 to beam_size, or length_penalty no number that keeps the scores of all lengths
            finite and apart from 0.
    """
    asked = _checked(Search(max_length, beam_size, length_penalty, n_best))
    return scorer_of(model, bf16).beam(sources, asked) if sources else []


def _checked(asked: Search) -> Search:
    beam_size, n_best, penalty = asked.beam_size, asked.n_best, asked.length_penalty
    if not 1 <= n_best <= beam_size:
        raise ValueError(f"beam_search: n_best is {n_best}; expected 1 to beam_size = {beam_size}")
    if not abs(penalty) * math.log(max(asked.max_length, 2)) < _MOST_EXPONENT:
        most = f"{_MOST_EXPONENT / math.log(max(asked.max_length, 2)):.3g}"
        raise ValueError(f"beam_search: length_penalty is {penalty}; expected -{most} to {most}")
    return asked
