"""Schedules that go up and down: one cycle over the whole training, and cosines that start again."""

from __future__ import annotations

import math
from typing import Any

from minigrad.arguments import is_integer
from minigrad.naming import described
from minigrad.optim.checks import check_above_zero, check_number
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.schedule import LRScheduler
from minigrad.optim.schedule_checks import check_optimizer

_Phase = tuple[float, str, str, str, str]  # its last step; of the rate and of the momentum, from where to where


class OneCycleLR(LRScheduler):
    """Up to ``max_lr`` and down to next to nothing; the momentum goes the other way. ``step()`` after every batch.

    Args:
        optimizer: whose groups' "lr", and "momentum" or the first of "betas", are changed.
        max_lr: the highest rate, one number or one per group.
        total_steps: of the whole training; or ``epochs`` and ``steps_per_epoch``.
        pct_start: the share of the steps that goes up.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether the momentum is changed too.
        base_momentum, max_momentum: between which numbers, each one number or one per group.
        div_factor: the first rate is max_lr / div_factor.
        final_div_factor: the last one is the first / final_div_factor.
        three_phase: down in two parts: to the first rate, as long as it went up, and from there to the last.

    Raises:
        ValueError: a number out of range, no number of steps, an optimiser without momentum; a step after the last.

    Source: Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates"
    (2018); the shape is PyTorch's.
    """

    from_rates = False

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("OneCycleLR", optimizer)
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start is {pct_start}; expected 0 to 1")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy is {described(anneal_strategy)}; expected 'cos' or 'linear'")
        check_above_zero("OneCycleLR", "div_factor", div_factor)
        check_above_zero("OneCycleLR", "final_div_factor", final_div_factor)
        self._linear, self._momentum = anneal_strategy == "linear", None
        highest = _per_group(optimizer, "max_lr", max_lr)
        ends = {
            "max_lr": highest,
            "initial_lr": [lr / div_factor for lr in highest],
            "min_lr": [lr / div_factor / final_div_factor for lr in highest],
        }
        if cycle_momentum:
            self._momentum = _momentum_of(optimizer)
            ends["base_momentum"] = _per_group(optimizer, "base_momentum", base_momentum)
            ends["max_momentum"] = _per_group(optimizer, "max_momentum", max_momentum)
        self._ends = ends
        self._phases = _phases(self.total_steps, pct_start, three_phase)
        for number, group in enumerate(optimizer.param_groups):
            group.update({name: values[number] for name, values in ends.items()})
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ValueError(f"OneCycleLR: step {self.last_epoch} of total_steps={self.total_steps}; expected no more")
        self._set_momentum()
        return [self._between(number, 1) for number in range(len(self._starting_rates()))]

    def _between(self, number: int, kind: int) -> float:
        """Of a group, the rate (kind 1) or the momentum (kind 3) of this step."""
        start = 0.0
        for phase in self._phases:
            end = phase[0]
            if self.last_epoch <= end or phase is self._phases[-1]:
                break
            start = end
        first, last = (self._ends[str(phase[kind + side])][number] for side in (0, 1))
        share = (self.last_epoch - start) / (end - start)
        if self._linear:
            return (last - first) * share + first
        return last + (first - last) / 2 * (math.cos(math.pi * share) + 1)

    def _set_momentum(self) -> None:
        if self._momentum is None:
            return
        for number, group in enumerate(self.optimizer.param_groups):
            value = self._between(number, 3)
            group[self._momentum] = (value, *group["betas"][1:]) if self._momentum == "betas" else value

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        super().load_state_dict(state_dict)
        self._set_momentum()


def _total_steps(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is None and (epochs is None or steps_per_epoch is None):
        raise ValueError("OneCycleLR: expected total_steps, or epochs and steps_per_epoch")
    given = {"total_steps": total_steps} if total_steps is not None else {
        "epochs": epochs, "steps_per_epoch": steps_per_epoch,
    }  # fmt: skip
    for name, value in given.items():
        if not is_integer(value) or value <= 0:  # type: ignore[operator]  # None is no integer
            raise ValueError(f"OneCycleLR: {name} is {described(value)}; expected an integer above 0")
    return math.prod(given.values())  # type: ignore[arg-type]


def _per_group(optimizer: Optimizer, name: str, value: Any) -> list[float]:
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, list | tuple) else [value] * groups
    if len(values) != groups:
        raise ValueError(f"OneCycleLR: {name} has {len(values)} entries; expected {groups}, one per group")
    for each in values:
        check_number("OneCycleLR", name, each)
    return values


def _momentum_of(optimizer: Optimizer) -> str:
    """Under which name the groups keep a momentum."""
    for name in ("betas", "momentum"):
        if name in optimizer.param_groups[0]:
            return name
    raise ValueError("OneCycleLR: the optimiser has neither momentum nor betas; expected cycle_momentum=False")


def _phases(total: int, share: float, three: bool) -> list[_Phase]:
    up = (share * total - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")
    if not three:
        return [up, (total - 1, "max_lr", "min_lr", "base_momentum", "max_momentum")]
    down = (2 * share * total - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum")
    return [up, down, (total - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum")]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Down to ``eta_min`` along half a cosine in ``T_0`` epochs, then from the initial rate anew.

    Args:
        optimizer: whose groups' "lr" is changed.
        T_0: epochs of the first descent.
        T_mult: each descent is that many times as long as the one before.
        eta_min: the lowest rate.

    Source: Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), equation 5.
    """

    from_rates = False

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not is_integer(value) or value <= 0:
                raise ValueError(
                    f"CosineAnnealingWarmRestarts: {name} is {described(value)}; expected an integer above 0"
                )
        check_number("CosineAnnealingWarmRestarts", "eta_min", eta_min)
        self.T_0, self.T_mult, self.eta_min = int(T_0), int(T_mult), eta_min
        self.T_i, self.T_cur = self.T_0, 0.0
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self._starting_rates()]

    def step(self, epoch: float | None = None) -> None:
        """Go to the next epoch; or to ``epoch``, which may be a fraction, as in the midst of one: batch / batches."""
        if epoch is not None and epoch < 0:
            raise ValueError(f"CosineAnnealingWarmRestarts: epoch is {epoch}; expected 0 or more")
        if epoch is None and self.last_epoch >= 0 and self.T_cur >= 0:
            self._place(self.T_cur + 1, self.T_i)
            self.last_epoch += 1
        else:
            self._place(self.last_epoch + 1 if epoch is None else epoch, self.T_0)
            self.last_epoch = self.last_epoch + 1 if epoch is None else math.floor(epoch)
        self._last_lr = self.get_lr()
        self._set_rates(self._last_lr)

    def _place(self, epochs: float, length: int) -> None:
        """So many epochs behind the beginning of a descent of this length."""
        while epochs >= length:
            epochs, length = epochs - length, length * self.T_mult
        self.T_cur, self.T_i = epochs, length

    def _go_on(self) -> None:
        self._place(self.last_epoch, self.T_0)
        super()._go_on()
