"""The figures of validations, and which is the better one: what chooses the best weights, and when a run has learnt.

``best_metric`` names the figure that counts. One that is not a number is worse than every other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

# Of the figures of a validation, those that are better when they are higher; the others are better when lower.
HIGHER_IS_BETTER = {"val_loss": False, "ppl_forced": False, "ppl_free": False, "bleu": True, "exact_match": True}


def is_better(metric: str, figure: float, than: float | None) -> bool:
    """Whether ``figure`` is better than the best one so far, which is None before the first."""
    if than is None or math.isnan(than):
        return True
    return figure > than if HIGHER_IS_BETTER[metric] else figure < than


def ranked(metric: str, figures: Sequence[float]) -> list[int]:
    """The numbers of the validations, the best first; of equal ones the earlier."""
    worst = -math.inf if HIGHER_IS_BETTER[metric] else math.inf
    known = [worst if math.isnan(figure) else figure for figure in figures]
    return sorted(range(len(known)), key=lambda number: -known[number] if HIGHER_IS_BETTER[metric] else known[number])


def waited(metric: str, figures: Sequence[float]) -> int:
    """How many validations there were since the best one."""
    best, count = None, 0
    for figure in figures:
        if is_better(metric, figure, best):
            best, count = figure, 0
        else:
            count += 1
    return count
