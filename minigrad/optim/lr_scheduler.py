"""Learning-rate schedules: call ``step()`` after each epoch (or step) of training.

Contract: PyTorch's classes and values. Every rule says how a group's learning rate goes from one epoch to the next, so
schedules can be combined and a rate changed by hand stays changed. State dicts hold numbers, not the optimiser and not
functions.

A run goes on in one of two ways, whichever epoch's rates the groups hold:

- ``load_state_dict`` of the optimiser and of the schedule, before or after the schedule is made: rates changed by hand,
  and several schedules over one optimiser, are kept.
- ``last_epoch=k`` over an optimiser that was restored: the rates become those of epoch k + 1 of this schedule alone, to
  the bit, from the groups' "initial_lr".
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from minigrad.missing import for_module as _for_module
from minigrad.naming import described
from minigrad.optim.checks import check_above_zero, check_number
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.plateau import ReduceLROnPlateau as ReduceLROnPlateau
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


class LambdaLR(LRScheduler):
    """Initial rate times ``lr_lambda(epoch)``; one function, or one per group."""

    from_rates = False

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("LambdaLR", optimizer)
        groups = len(optimizer.param_groups)
        if not callable(lr_lambda) and not isinstance(lr_lambda, list | tuple):
            raise TypeError(f"LambdaLR: lr_lambda is {described(lr_lambda)}; expected a function, or one per group")
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(
                f"LambdaLR: lr_lambda has {len(self.lr_lambdas)} functions; expected {groups}, one per group"
            )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * fn(self.last_epoch) for base, fn in zip(self._starting_rates(), self.lr_lambdas, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().state_dict().items() if name != "lr_lambdas"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned; the functions stay."""
        own = self.lr_lambdas
        super().load_state_dict(state_dict)
        self.lr_lambdas = own


class _FactorLR(LRScheduler):
    """Schedules that multiply every group's rate by the same factor at each epoch."""

    def get_lr(self) -> list[float]:
        factor = self._factor()
        return [lr * factor for lr in self._rates()]

    def _factor(self) -> float:
        raise NotImplementedError


class StepLR(_FactorLR):
    """Times ``gamma`` every ``step_size`` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        check_above_zero("StepLR", "step_size", step_size)
        check_number("StepLR", "gamma", gamma)
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float:
        return self.gamma if self.last_epoch > 0 and self.last_epoch % self.step_size == 0 else 1.0


class MultiStepLR(_FactorLR):
    """Times ``gamma`` at each of the epochs ``milestones``."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if isinstance(milestones, str) or not isinstance(milestones, Iterable):
            raise TypeError(f"MultiStepLR: milestones is {milestones!r}; expected a list of epochs")
        check_number("MultiStepLR", "gamma", gamma)
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float:
        passed = bisect_right(self.milestones, self.last_epoch) - bisect_right(self.milestones, self.last_epoch - 1)
        return self.gamma**passed


class ExponentialLR(_FactorLR):
    """Times ``gamma`` at every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        check_number("ExponentialLR", "gamma", gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float:
        return self.gamma if self.last_epoch > 0 else 1.0


class LinearLR(_FactorLR):
    """From ``start_factor`` to ``end_factor`` times the initial rate in ``total_iters`` equal steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor is {start_factor}; expected 0 < start_factor <= 1")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor is {end_factor}; expected 0 <= end_factor <= 1")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float:
        if self.last_epoch == 0:
            return self.start_factor
        if self.last_epoch > self.total_iters:
            return 1.0
        return self._at(self.last_epoch) / self._at(self.last_epoch - 1)

    def _at(self, epoch: int) -> float:
        return self.start_factor + (self.end_factor - self.start_factor) * epoch / self.total_iters


class CosineAnnealingLR(LRScheduler):
    """Down to ``eta_min`` along half a cosine in ``T_max`` epochs, and up again.

    Source: Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), equation 5, no restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        check_above_zero("CosineAnnealingLR", "T_max", T_max)
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._rates()
        new, old = self._height(self.last_epoch), self._height(self.last_epoch - 1)
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # old is 0: the way up starts from the base rate
            pairs = zip(self._rates(), self._starting_rates(), strict=True)
            return [lr + (base - self.eta_min) * new for lr, base in pairs]
        return [self.eta_min + (lr - self.eta_min) * new / old for lr in self._rates()]

    def _height(self, epoch: int) -> float:
        return (1 + math.cos(math.pi * epoch / self.T_max)) / 2


if not TYPE_CHECKING:  # a checker would take every name for known
    __path__: list[str] = []  # or ``from ... import`` would not ask on for a name that is not here
    __getattr__ = _for_module(__name__)
