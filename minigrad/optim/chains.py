"""Schedules made of schedules: one after the other, or several at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from minigrad.arguments import is_integer
from minigrad.naming import described
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.schedule import LRScheduler
from minigrad.optim.schedule_checks import check_optimizer


class _Chain(LRScheduler):
    """What both have: members over one optimiser, whose states go along."""

    def __init__(self, optimizer: Optimizer | None, schedulers: Sequence[LRScheduler]) -> None:
        name = type(self).__name__
        self._schedulers: list[Any] = list(schedulers) if isinstance(schedulers, list | tuple) else [schedulers]
        if not self._schedulers:
            raise ValueError(f"{name}: schedulers is empty; expected one or more")
        for position, each in enumerate(self._schedulers):
            if not isinstance(each, LRScheduler):
                raise TypeError(f"{name}: scheduler {position} is {described(each)}; expected one that needs no metric")
        self.optimizer = self._schedulers[0].optimizer if optimizer is None else optimizer
        check_optimizer(name, self.optimizer)
        for position, each in enumerate(self._schedulers):
            if each.optimizer is not self.optimizer:
                raise ValueError(f"{name}: scheduler {position} is of another optimiser; expected one for all")
        self.base_lrs = [group["initial_lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser, the members' states among it."""
        return {**super().state_dict(), "_schedulers": [each.state_dict() for each in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        states = state_dict.get("_schedulers") if isinstance(state_dict, Mapping) else None
        members = self._schedulers
        if states is not None and len(states) != len(members):
            raise ValueError(
                f"{type(self).__name__}: state_dict is of {len(states)} schedulers; expected {len(members)}"
            )
        super().load_state_dict(state_dict)
        self._schedulers = members
        for each, state in zip(members, states or (), strict=False):
            each.load_state_dict(state)


class SequentialLR(_Chain):
    """Schedules one after the other: each begins, at its epoch 0 and from the initial rates, at its milestone.

    Args:
        optimizer: of all of them.
        schedulers: made for it, in order.
        milestones: the epochs at which the second, third, ... begin.
        last_epoch: epochs already done, counted from 0; -1 starts anew.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        super().__init__(optimizer, schedulers)
        rising = all(a < b for a, b in pairwise(milestones))
        if len(milestones) != len(self._schedulers) - 1 or not all(map(is_integer, milestones)) or not rising:
            raise ValueError(
                f"SequentialLR: milestones are {list(milestones)}; expected {len(self._schedulers) - 1} rising epochs, "
                "one less than there are schedulers"
            )
        self._milestones = list(milestones)
        self.restart()
        for _ in range(last_epoch + 1):
            self.step()

    def restart(self) -> None:
        """Begin at epoch 0 with the first schedule."""
        with self.optimizer.schedule_being_made():
            self._schedulers[0].restart()
        self.last_epoch, self._last_lr = 0, self._schedulers[0].get_last_lr()

    def step(self) -> None:
        """Go to the next epoch, of the schedule whose turn it is."""
        self.last_epoch += 1
        number = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[number]
        if number and self._milestones[number - 1] == self.last_epoch:
            scheduler.restart()
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Chain):
    """Schedules that all take every step, one on the rates of the other.

    Args:
        schedulers: made for one optimiser, in order.
        optimizer: theirs.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        super().__init__(optimizer, schedulers)
        self.last_epoch = self._schedulers[-1].last_epoch
        self._last_lr = self._rates()

    def step(self) -> None:
        """Go to the next epoch."""
        self.last_epoch += 1
        for each in self._schedulers:
            each.step()
        self._last_lr = self._rates()
