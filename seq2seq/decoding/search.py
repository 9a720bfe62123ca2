"""Decoding a batch of sources by a model: what the toolkit calls, and what a program may.

The searches themselves are the strategies (``seq2seq.decoding.strategies``), the same for every model.
"""

from __future__ import annotations

import math

from seq2seq.decoding.contract import Hypothesis, Search, Sources
from seq2seq.decoding.scorers import scorer_of
from seq2seq.decoding.strategies.beam import Beam, BeamOptions
from seq2seq.decoding.strategies.greedy import Greedy
from seq2seq.models.model import Seq2Seq

_MOST_EXPONENT = 300  # e**300 and log-probabilities times or divided by it are far from the ends of float64


def greedy_search(model: Seq2Seq, sources: Sources, max_length: int, form: str | None = None) -> list[Hypothesis]:
    """The hypothesis for each source that takes the likeliest token at each step; its score is its log_prob.

    Args:
        sources: N items of the model's source; of text, lists of ids without <sos> and <eos>.
        max_length: most target ids, <eos> counted; at least 1.
        form: "bf16" for products in bfloat16, sums and states in float32; others as of ``scorer_of``. None is the
            model's own.
    """
    if not sources:
        return []
    return [found for (found,) in Greedy().find(scorer_of(model, form), sources, Search(max_length))]


def beam_search(
    model: Seq2Seq, sources: Sources, max_length: int, beam_size: int = 5, length_penalty: float = 1.0,
    n_best: int = 1, form: str | None = None,
) -> list[list[Hypothesis]]:  # fmt: skip
    """The ``n_best`` best-scored hypotheses that a beam of ``beam_size`` finds for each source, best first.

    The score is log p, divided by length**length_penalty, <eos> counted. Other arguments as of ``greedy_search``.

    Raises:
        ValueError: n_best is not 1 to beam_size, or length_penalty no number that keeps the scores of all lengths
            finite and apart from 0.
    """
    if not 1 <= n_best <= beam_size:
        raise ValueError(f"beam_search: n_best is {n_best}; expected 1 to beam_size = {beam_size}")
    if not abs(length_penalty) * math.log(max(max_length, 2)) < _MOST_EXPONENT:
        most = f"{_MOST_EXPONENT / math.log(max(max_length, 2)):.3g}"
        raise ValueError(f"beam_search: length_penalty is {length_penalty}; expected -{most} to {most}")
    if not sources:
        return []
    beam = Beam(BeamOptions(beam_size=beam_size, length_penalty=length_penalty))
    return beam.find(scorer_of(model, form), sources, Search(max_length, n_best))
