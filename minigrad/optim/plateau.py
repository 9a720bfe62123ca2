"""The schedule that looks at a result: lower rates once it stops improving. PyTorch's class and values."""

from __future__ import annotations

import math
from typing import Any

from minigrad.naming import described
from minigrad.optim.checks import check_number
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.schedule_checks import check_optimizer, check_schedule_state


class ReduceLROnPlateau:
    """Times ``factor`` when a quantity given to ``step`` has not improved for more than ``patience`` calls.

    Args:
        optimizer: whose groups' "lr" is changed.
        mode: "min" if smaller is better, "max" if larger is.
        factor: below 1.
        patience: calls without improvement that are tolerated.
        threshold: how much better counts as better.
        threshold_mode: "rel": by that share of the best value; "abs": by that amount.
        cooldown: calls after a reduction during which nothing is counted.
        min_lr: lower bound, one number or one per group.
        eps: a reduction smaller than this is not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        check_optimizer("ReduceLROnPlateau", optimizer)
        _check_plateau(mode, factor, threshold_mode)
        groups = len(optimizer.param_groups)
        self.optimizer = optimizer
        self.mode, self.factor, self.patience, self.cooldown, self.eps = mode, factor, patience, cooldown, eps
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.min_lrs = list(min_lr) if isinstance(min_lr, list | tuple) else [min_lr] * groups
        if len(self.min_lrs) != groups:
            raise ValueError(
                f"ReduceLROnPlateau: min_lr has {len(self.min_lrs)} entries; expected {groups}, one per group"
            )
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        """The rates after the last ``step``, one per group."""
        return self._last_lr

    def step(self, metrics: Any) -> None:
        """Take note of the quantity (a number or 0-d Tensor) and reduce the rates if it is time to."""
        if metrics is None or isinstance(metrics, str | list | tuple | dict):
            raise TypeError(f"ReduceLROnPlateau: metrics is {described(metrics)}; expected a number or a 0-d Tensor")
        value = float(metrics)
        self.last_epoch += 1
        if self._is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _is_better(self, value: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs":
            return sign * value > sign * self.best + self.threshold
        return sign * value > sign * (self.best * (1 + sign * self.threshold))

    def _reduce(self) -> None:
        groups = len(self.optimizer.param_groups)
        if len(self.min_lrs) != groups:
            raise ValueError(
                f"ReduceLROnPlateau: the optimiser has {groups} parameter groups; "
                f"expected {len(self.min_lrs)}, as when the schedule was made"
            )
        for group, minimum in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            lr = max(group["lr"] * self.factor, minimum)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned.

        Raises:
            TypeError: no dict. ValueError: of no schedule, or of one over another number of groups.
        """
        check_schedule_state(self, state_dict, "min_lrs")
        self.__dict__.update(state_dict)


def _check_plateau(mode: str, factor: float, threshold_mode: str) -> None:
    if mode not in ("min", "max"):
        raise ValueError(f"ReduceLROnPlateau: mode is {mode!r}; expected 'min' or 'max'")
    check_number("ReduceLROnPlateau", "factor", factor)
    if not factor < 1:
        raise ValueError(f"ReduceLROnPlateau: factor is {factor}; expected below 1")
    if threshold_mode not in ("rel", "abs"):
        raise ValueError(f"ReduceLROnPlateau: threshold_mode is {threshold_mode!r}; expected 'rel' or 'abs'")
