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
from typing import TYPE_CHECKING, Any

from minigrad.missing import for_module as _for_module
from minigrad.naming import described
from minigrad.optim.chains import ChainedScheduler as ChainedScheduler
from minigrad.optim.chains import SequentialLR as SequentialLR
from minigrad.optim.checks import check_above_zero, check_number
from minigrad.optim.cycles import CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts
from minigrad.optim.cycles import OneCycleLR as OneCycleLR
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.plateau import ReduceLROnPlateau as ReduceLROnPlateau
from minigrad.optim.schedule import FactorLR
from minigrad.optim.schedule import LRScheduler as LRScheduler
from minigrad.optim.schedule_checks import check_optimizer


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


class StepLR(FactorLR):
    """Times ``gamma`` every ``step_size`` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        check_above_zero("StepLR", "step_size", step_size)
        check_number("StepLR", "gamma", gamma)
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float:
        return self.gamma if self.last_epoch > 0 and self.last_epoch % self.step_size == 0 else 1.0


class MultiStepLR(FactorLR):
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


class ExponentialLR(FactorLR):
    """Times ``gamma`` at every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        check_number("ExponentialLR", "gamma", gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float:
        return self.gamma if self.last_epoch > 0 else 1.0


class LinearLR(FactorLR):
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
        return self.start_factor + (self.end_factor - self.start_factor) * (
            epoch / self.total_iters
        )  # at the end 0 is 0


class ConstantLR(FactorLR):
    """``factor`` times the initial rate for ``total_iters`` epochs, then the initial rate."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 < factor <= 1:
            raise ValueError(f"ConstantLR: factor is {factor}; expected 0 < factor <= 1")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float:
        if self.last_epoch == 0:
            return self.factor
        return 1 / self.factor if self.last_epoch == self.total_iters else 1.0


class PolynomialLR(FactorLR):
    """Down to 0 in ``total_iters`` epochs, as (1 - epoch / total_iters) to the power of ``power``."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        check_above_zero("PolynomialLR", "total_iters", total_iters)
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float:
        if self.last_epoch == 0 or self.last_epoch > self.total_iters:
            return 1.0
        left = self.total_iters - self.last_epoch
        return (left / (left + 1)) ** self.power


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
