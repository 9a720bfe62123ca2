"""Sampling: each token is drawn from the model's probabilities, as they are or cut to the likeliest tokens (top-k: Fan
et al., "Hierarchical neural story generation", 2018; top-p: Holtzman et al., "The curious case of neural text
degeneration", 2020).

What is drawn for a sentence is a function of the seed, the sentence, the number of the sample and that of the step, by
a counter-based generator (Philox): no matter what stands beside it, and however many samples are drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seq2seq.decoding.contract import Array, Hypothesis, Scorer, Search, Sources, Steps, Strategy
from seq2seq.decoding.strategies.greedy import extend
from seq2seq.run.registry import option, register


@dataclass(frozen=True)
class SampleOptions:
    """From what is drawn."""

    temperature: float = option(1.0, "log p is divided by it; below 1 the likely becomes likelier", 0.001, 1000.0)
    top_k: int = option(0, "draw from so many of the likeliest tokens; 0 is all", 0, 1_000_000_000)
    top_p: float = option(1.0, "draw from the fewest likeliest tokens that have this probability together", 0.0, 1.0)


@register("strategy", "sample")
class Sample(Strategy):
    """``n_best`` samples, in the order in which they are drawn; the score is log p, of the model as it is."""

    Options = SampleOptions

    def find(self, scorer: Scorer, sources: Sources, search: Search) -> list[list[Hypothesis]]:
        steps = Steps(scorer, sources, search)
        rows = [row for row in steps.rows for _ in range(search.n_best)]
        streams = [stream for source in sources for stream in _streams(search.seed, source, search.n_best)]

        def choose(log_probs: Array, numbers: Sequence[int]) -> Array:
            drawn = np.array([streams[number].random() for number in numbers])
            return draw(kept_probabilities(log_probs, self.options), drawn)

        found = [row.hypothesis(row.log_prob) for row in extend(steps, rows, choose)]
        return [found[start : start + search.n_best] for start in range(0, len(found), search.n_best)]


def _streams(seed: int, source: Any, count: int) -> list[np.random.Generator]:
    """Uniform numbers for each of the samples of a source."""
    content = np.ascontiguousarray(source)
    content = content.astype(np.int64) if content.dtype.kind in "iu" else content
    digest = int.from_bytes(hashlib.sha256(content.tobytes()).digest()[:8], "little")
    keys = np.array([seed, digest], np.uint64)
    return [np.random.Generator(np.random.Philox(key=keys, counter=[0, 0, 0, number])) for number in range(count)]


def kept_probabilities(log_probs: Array, options: SampleOptions) -> Array:
    """log p (R, V) -> the probabilities (R, V) float64 from which the options let draw; of equal tokens the first ones
    are kept. A row of which a NaN, or nothing, is left is one of NaN."""
    order = np.argsort(-log_probs, axis=1, kind="stable")
    scaled = np.take_along_axis(log_probs, order, 1).astype(np.float64) / options.temperature
    with np.errstate(invalid="ignore"):  # -inf - -inf, where nothing is left
        probs = np.exp(scaled - scaled[:, :1])
    if options.top_k:
        probs[:, options.top_k :] *= 0  # and not = 0: a NaN stays one
    probs /= probs.sum(1, keepdims=True)
    if options.top_p < 1:
        before = np.cumsum(probs[:, :-1], axis=1)  # of the tokens from the second on
        probs[:, 1:] *= ~(before >= options.top_p)
        probs /= probs.sum(1, keepdims=True)
    kept = np.empty_like(probs)
    np.put_along_axis(kept, order, probs, 1)
    return kept


def draw(probs: Array, drawn: Array) -> Array:
    """Probabilities (R, V) and uniform numbers (R,) in [0, 1) -> a token (R,) of each row; of NaN the first."""
    ends = np.cumsum(probs, axis=1)
    below = np.minimum(drawn * ends[:, -1], np.nextafter(ends[:, -1], 0))
    tokens: Array = (ends <= below[:, None]).sum(1)
    return tokens
