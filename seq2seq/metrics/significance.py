"""Whether one system is better than another, or just luckier: the paired bootstrap (Koehn, "Statistical significance
tests for machine translation evaluation", 2004), as sacreBLEU has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from seq2seq.metrics.contract import Array, Metric, References, Sentences, check

SEED = 12345  # sacreBLEU's


class Comparison(NamedTuple):
    """Two systems' figures, and how sure their difference is; what means nothing is NaN."""

    first: float
    second: float
    low: float  # between low and high lies the difference second - first in 95 % of the resampled sets
    high: float
    p: float  # how often a difference as large comes about where there is none


def paired_bootstrap(
    metric: Metric, first: Sentences, second: Sentences, references: References, resamples: int = 1000, seed: int = SEED
) -> Comparison:
    """Compare two systems on the same N sentences, drawn anew ``resamples`` times with replacement.

    p is two-sided: the share of sets whose difference, less the mean over all sets, is as large as the one observed, or
    larger; the observed set counts as one of them. (sacreBLEU counts the larger ones alone, and so finds a system
    significantly different from itself.)

    Raises:
        TypeError, ValueError: as of ``Metric.score``; or no sentences, or fewer than one resample.
    """
    for hypotheses in (first, second):
        check(metric.name, hypotheses, references)
    if not references or resamples < 1:
        what = "no sentences" if not references else f"resamples = {resamples}"
        raise ValueError(f"paired_bootstrap: got {what}; expected at least one")
    statistics = [metric.statistics(hypotheses, references) for hypotheses in (first, second)]
    figures = metric.value(statistics[0].sum(axis=0)), metric.value(statistics[1].sum(axis=0))
    drawn = list(_resampled(len(references), resamples, seed))
    values = np.array([[metric.value(counts @ one) for counts in drawn] for one in statistics])
    differences = values[1] - values[0]
    if not np.isfinite(differences).all():
        return Comparison(*figures, np.nan, np.nan, np.nan)
    sizes = np.abs(differences)
    as_large = int(np.sum(sizes - sizes.mean() >= abs(figures[1] - figures[0])))
    low, high = np.quantile(differences, (0.025, 0.975)).tolist()
    return Comparison(*figures, low, high, (as_large + 1) / (resamples + 1))


def _resampled(size: int, resamples: int, seed: int) -> Iterator[Array]:
    """For each resampled set, (N,) float64: how often it holds each sentence."""
    drawn = np.random.default_rng(seed).choice(size, size=(resamples, size), replace=True)
    for indices in drawn:
        yield np.bincount(indices, minlength=size).astype(np.float64)
