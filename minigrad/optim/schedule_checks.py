"""What every schedule asks of the optimiser and of the state that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minigrad.naming import described
from minigrad.optim.optimizer import Optimizer


def check_optimizer(owner: str, optimizer: Any) -> None:
    """Raise TypeError unless it is an optimiser."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{owner}: optimizer is {described(optimizer)}; expected an Optimizer")


def check_schedule_state(scheduler: Any, state_dict: Any, per_group: str) -> None:
    """Raise TypeError or ValueError unless it is a state dict of a schedule with entry ``per_group`` for each group."""
    name, groups = type(scheduler).__name__, len(scheduler.optimizer.param_groups)
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"{name}: state_dict is {described(state_dict)}; expected what state_dict() returned")
    missing = [key for key in ("last_epoch", per_group) if key not in state_dict]
    if missing:
        raise ValueError(f"{name}: state_dict has no {missing[0]!r}; expected what state_dict() of a {name} returned")
    if len(state_dict[per_group]) != groups:
        raise ValueError(
            f"{name}: state_dict is of {len(state_dict[per_group])} parameter groups; expected {groups}, "
            "those of the optimiser"
        )
