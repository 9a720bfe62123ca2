"""What learning-rate schedules have in common: how a rule becomes rates, and how a run is taken up again."""

from __future__ import annotations

from typing import Any, ClassVar

from minigrad.optim.optimizer import Optimizer
from minigrad.optim.schedule_checks import check_optimizer, check_schedule_state


class LRScheduler:
    """Base class: subclasses compute the new rates in ``get_lr`` from ``self.last_epoch`` and the groups' rates.

    Args:
        optimizer: whose groups' "lr" is changed.
        last_epoch: epochs already done, counted from 0; -1 starts anew. The rates that the schedule starts from are
            ``base_lrs``: the groups' "initial_lr", which is the present rate where no schedule has been before.

    Raises:
        TypeError: no optimiser, or ``last_epoch`` is no integer.
        KeyError: ``last_epoch`` is given, and a group has no "initial_lr".
    """

    from_rates: ClassVar[bool] = True  # whether ``get_lr`` goes on from the groups' rates

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        name = type(self).__name__
        check_optimizer(name, optimizer)
        if isinstance(last_epoch, bool) or not isinstance(last_epoch, int) or last_epoch < -1:
            raise TypeError(f"{name}: last_epoch is {last_epoch!r}; expected an integer of at least -1")
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"{name}: last_epoch={last_epoch} needs 'initial_lr' in every param group")
        self.optimizer = optimizer
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        if last_epoch == -1:
            with optimizer.schedule_being_made():
                self.step()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Go to the epoch after ``last_epoch``: by all the steps of a run without interruption, where they matter."""
        first = -1 if self.from_rates else self.last_epoch
        steps = self.last_epoch - first + 1
        self._set_rates(self.base_lrs)
        self.last_epoch = first
        for _ in range(steps):
            self.step()

    def get_lr(self) -> list[float]:
        """The rate of each group for epoch ``self.last_epoch``."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to compute the learning rate")

    def get_last_lr(self) -> list[float]:
        """The rates set by the last ``step``, one per group."""
        return self._last_lr

    def restart(self) -> None:
        """Begin at epoch 0, from the rates that the schedule starts from."""
        self._set_rates(self._starting_rates())
        self.last_epoch = -1
        self.step()

    def step(self) -> None:
        """Go to the next epoch."""
        self.last_epoch += 1
        self._last_lr = self.get_lr()
        self._set_rates(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned; the groups' rates come with the optimiser's own state dict.

        Raises:
            TypeError: no dict. ValueError: of no schedule, or of one over another number of groups.
        """
        check_schedule_state(self, state_dict, "base_lrs")
        self.__dict__.update(state_dict)
        self.optimizer.undo_schedules_made()

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def _set_rates(self, rates: list[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr

    def _starting_rates(self) -> list[float]:
        """``base_lrs``, one for each of the optimiser's groups."""
        groups = len(self.optimizer.param_groups)
        if len(self.base_lrs) != groups:
            raise ValueError(
                f"{type(self).__name__}: the optimiser has {groups} parameter groups; "
                f"expected {len(self.base_lrs)}, as when the schedule was made"
            )
        return self.base_lrs


class FactorLR(LRScheduler):
    """Schedules that multiply every group's rate by the same factor at each epoch."""

    def get_lr(self) -> list[float]:
        factor = self._factor()
        return [lr * factor for lr in self._rates()]

    def _factor(self) -> float:
        raise NotImplementedError
