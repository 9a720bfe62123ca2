"""A budget of time: how many updates fit in it, and when to stop so that it is kept.

Contract: what is planned is written down as epochs, updates and the length of the schedule, so a run can be repeated
without a clock. Where the plan was too bold, the run stops in time, validates, and says after how many updates.
"""

from __future__ import annotations

import dataclasses
import re
import time

from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown
from seq2seq.training.timing import Pace, duration

_FORM = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_PLANNED = 0.97  # of the time; the rest is for what was not foreseen, such as saving
_PART = 0.1  # of an epoch: less of it is not worth a validation
_LAST = 1.5  # seconds for what is said after the last validation
_CAREFUL = 1.25  # a validation may take so many times as long as the longest before


def seconds_of(text: str) -> float:
    """ "1h30m", "20m" or "90s" in seconds; UserError for another form, or none at all."""
    match = _FORM.fullmatch(text)
    parts = [float(part or 0) for part in match.groups()] if match and text else []
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if not 1 <= seconds <= 1e9:
        raise UserError(f"budget is {shown(text)}; expected a time of 1 s or more, such as 20m, 1h30m or 90s")
    return seconds


class Clock:
    """The time that a run has.

    Args:
        budget: as of the setting; None for as long as it takes.
        began: when the time began to run, on the clock of ``time.monotonic``; by default now.

    Attributes:
        stopped: whether it said that the time is up.
    """

    def __init__(self, budget: str | None, began: float | None = None) -> None:
        self.text, self.stopped = budget, False
        self._start = time.monotonic() if began is None else began
        self._seconds = None if budget is None else seconds_of(budget)
        self._reserve, self._update = 0.0, 0.0

    @property
    def left(self) -> float:
        """Seconds; only where there is a budget."""
        assert self._seconds is not None
        return self._seconds - (time.monotonic() - self._start)

    def validated(self, seconds: float) -> None:
        """A validation, with what is saved after it, took so long."""
        self._reserve = max(self._reserve, _CAREFUL * seconds)

    def updated(self, seconds: float) -> None:
        """An update took so long."""
        self._update = seconds

    def is_up(self) -> bool:
        """Whether there is no time for another update and a validation."""
        if self._seconds is not None and self.left < self._update + self._reserve + _LAST:
            self.stopped = True
        return self.stopped

    def limit(self, pace: Pace) -> None:
        """How long updates and validations take, before the first ones of this process."""
        self.validated(pace.validation)
        self.updated(pace.update)

    def planned(self, config: Config, pace: Pace) -> Config:
        """``config`` with as many epochs and updates as fit.

        Raises:
            UserError: not even one does.
        """
        self.limit(pace)
        time_left = max(0.0, _PLANNED * self.left - _LAST)  # compiling may have taken all of it, and more
        epochs = int(time_left / pace.epoch)
        rest = max(0, int((time_left - epochs * pace.epoch - pace.validation) / pace.update))
        if epochs and rest < _PART * pace.steps:
            rest = 0
        steps = epochs * pace.steps + rest
        if not steps or self.is_up():
            least = pace.update + _CAREFUL * pace.validation + _LAST
            raise UserError(
                f"budget is {self.text!r}; {duration(max(self.left, 0))} are left, and one update with its validation "
                f"takes {duration(least)}; expected more time, or a smaller model"
            )
        return dataclasses.replace(
            config, epochs=-(-steps // pace.steps), max_steps=steps if rest else None, budget=None
        )
