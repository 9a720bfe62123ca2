"""What changes in the course of a run: the learning rate, and how often the decoder is given the right word.

Contract: each is a function of the settings, of the number of updates that are done, and where it looks at validations,
of their figures so far. Nothing else is kept, so a resumed run has the rates of the uninterrupted one, to the bit.
Formulae and sources: docs/training.md.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.training.figures import is_better


def check(config: Config) -> None:
    """UserError for settings of a schedule that contradict each other, or where one is missing."""
    over = config.lr_steps is not None and config.lr_steps <= config.warmup_steps and not config.resume
    if config.lr_schedule == "cosine" and over:
        raise UserError(f"lr_steps is {config.lr_steps}; expected more than warmup_steps = {config.warmup_steps}")
    if config.min_lr > config.lr:
        raise UserError(f"min_lr is {config.min_lr}; expected at most lr = {config.lr}")
    if config.lr_schedule in ("step", "exponential") and config.lr_steps is None:
        raise UserError(f"lr_schedule is {config.lr_schedule!r} without lr_steps, its speed; expected both")
    if config.forcing_decay == "constant":
        return
    if config.forcing_steps is None:
        raise UserError(f"forcing_decay is {config.forcing_decay!r} without forcing_steps, its speed; expected both")
    if config.forcing_end > config.teacher_forcing_ratio:
        ratio = config.teacher_forcing_ratio
        raise UserError(f"forcing_end is {config.forcing_end}; expected at most teacher_forcing_ratio = {ratio}")


def learning_rate(config: Config, step: int, figures: Sequence[float] = (), falls: int = 0) -> float:
    """The rate of the update after ``step`` others.

    Args:
        config: ``lr_steps`` of a cosine is known by then.
        figures: ``best_metric`` of every validation so far.
        falls: at plateaus of validations before those, on other data.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.lr_schedule == "cosine":
        return _cosine(config, step)
    if config.lr_schedule == "inverse-sqrt":
        return config.lr * math.sqrt(max(config.warmup_steps, 1) / (step + 1))
    if config.lr_schedule == "plateau":
        return _fallen(config, falls + plateaus(config.best_metric, config.lr_patience, figures))
    if config.lr_schedule in ("step", "exponential"):
        assert config.lr_steps is not None  # by ``check``
        passed = (step - config.warmup_steps) / config.lr_steps
        return _fallen(config, passed if config.lr_schedule == "exponential" else math.floor(passed))
    return config.lr


def settled(config: Config, total_steps: int) -> Config:
    """The settings with the length of a cosine, which is that of the run where nobody gave it."""
    if config.lr_schedule != "cosine" or config.lr_steps is not None:
        return config
    return dataclasses.replace(config, lr_steps=total_steps)


def _fallen(config: Config, falls: float) -> float:
    """After so many falls by ``lr_factor``, not below ``min_lr``."""
    return max(config.lr * config.lr_factor**falls, config.min_lr)


def _cosine(config: Config, step: int) -> float:
    """Down to ``min_lr`` along half a cosine, which begins after the warm-up and ends at ``lr_steps``."""
    assert config.lr_steps is not None  # settled when the run was started
    length = max(config.lr_steps - config.warmup_steps, 1)
    done = min((step - config.warmup_steps) / length, 1.0)
    return config.min_lr + (config.lr - config.min_lr) * (1 + math.cos(math.pi * done)) / 2


def plateaus(metric: str, patience: int, figures: Sequence[float]) -> int:
    """How often more than ``patience`` validations in a row were no better than the best one before them."""
    best, waited, found = None, 0, 0
    for figure in figures:
        if is_better(metric, figure, best):
            best, waited = figure, 0
        else:
            waited += 1
        if waited > patience:
            waited, found = 0, found + 1
    return found


def teacher_forcing_ratio(config: Config, step: int) -> float:
    """The probability of the right word in the update after ``step`` others."""
    start, end = config.teacher_forcing_ratio, config.forcing_end
    if config.forcing_decay == "constant":
        return start
    assert config.forcing_steps is not None  # by ``check``
    steps = config.forcing_steps
    if config.forcing_decay == "linear":
        return max(end, start - (start - end) * step / steps)
    fallen = math.exp(-step / steps)
    if config.forcing_decay == "inverse-sigmoid":  # k / (k + exp(i/k)), which cannot overflow so
        fallen = steps * fallen / (steps * fallen + 1)
    return max(end, start * fallen)


def least_forcing(config: Config) -> float:
    """The least probability of the right word that an update may have."""
    return config.teacher_forcing_ratio if config.forcing_decay == "constant" else config.forcing_end
