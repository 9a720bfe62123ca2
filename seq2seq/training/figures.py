"""The figures of validations, and which is the better one: what chooses the best weights, and ends a run early.

``best_metric`` names the figure that counts: a loss, or a metric of ``seq2seq.metrics``. One that is not a number is
worse than every other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from seq2seq.metrics import METRICS, Score
from seq2seq.run.checkpoint import Progress
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown
from seq2seq.run.parser import suggestion
from seq2seq.sources import Dataset

LOSSES = ("val_loss", "ppl_forced", "ppl_free")
HIGHER_IS_BETTER = dict.fromkeys(LOSSES, False) | {name: kind.higher_is_better for name, kind in METRICS.items()}


def check(config: Config) -> None:
    """UserError where ``best_metric`` is no figure of a validation."""
    if config.best_metric not in HIGHER_IS_BETTER:
        near = suggestion(config.best_metric, HIGHER_IS_BETTER) or f"expected {', '.join(HIGHER_IS_BETTER)}"
        raise UserError(f"best_metric is {shown(config.best_metric)}; {near}")


def require_meaning(config: Config, dataset: Dataset) -> None:
    """UserError where ``best_metric`` means nothing on the targets of the validation, so that nothing were best."""
    if config.best_metric not in METRICS:
        return
    references = dataset.references("valid")
    copied = [accepted[0] for accepted in references]
    score = METRICS[config.best_metric].suited(False, dataset.trg_language).score(copied, references)
    if math.isnan(score.value):
        raise UserError(
            f"best_metric is {config.best_metric!r}, which means nothing for the targets of valid{_why(score)}"
        )


def _why(score: Score) -> str:
    return f": {score.note}" if score.note else ""


def is_better(metric: str, figure: float, than: float | None) -> bool:
    """Whether ``figure`` is better than the best one so far, which is None before the first."""
    if than is None or math.isnan(than):
        return than is None or not math.isnan(figure)
    return figure > than if HIGHER_IS_BETTER[metric] else figure < than


def ranked(metric: str, figures: Sequence[float]) -> list[int]:
    """The numbers of the validations, the best first; of equal ones the earlier."""
    worst = -math.inf if HIGHER_IS_BETTER[metric] else math.inf
    known = [worst if math.isnan(figure) else figure for figure in figures]
    return sorted(range(len(known)), key=lambda number: -known[number] if HIGHER_IS_BETTER[metric] else known[number])


def best_epochs(config: Config, progress: Progress, kept: Sequence[int]) -> list[int]:
    """The numbers, from 1, of the ``keep_best`` best epochs; none where that is one, which is kept apart. Of epochs
    that were validated on other data those that are ``kept`` come after the others, the last first."""
    if config.keep_best == 1:
        return []
    before = progress.epoch - len(progress.figures)
    known = [before + number + 1 for number in ranked(config.best_metric, progress.figures)]
    return [*known, *sorted((epoch for epoch in kept if epoch <= before), reverse=True)][: config.keep_best]


def waited(metric: str, figures: Sequence[float]) -> int:
    """How many validations there were since the best one."""
    best, count = None, 0
    for figure in figures:
        if is_better(metric, figure, best):
            best, count = figure, 0
        else:
            count += 1
    return count
