"""Stochastic gradient descent with momentum.

Source: Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013), in PyTorch's form:
the learning rate multiplies the velocity when it is applied, not when it is gathered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad.nn.checks import reject
from minigrad.optim.optimizer import Optimizer, check_at_least_zero
from minigrad.tensor import Tensor


class SGD(Optimizer):
    """param -= lr * velocity, velocity = momentum * velocity + (1 - dampening) * grad.

    Args:
        params: parameters or groups.
        lr: step size.
        momentum: share of the velocity kept at each step; 0 uses the gradient itself.
        dampening: share of the gradient left out of the velocity (not at the first step).
        weight_decay: L2 penalty, added to the gradient.
        nesterov: look ahead by one step; needs momentum and no dampening.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**options, "nesterov": nesterov})

    def _check_group(self, group: dict[str, Any]) -> None:
        super()._check_group(group)
        check_at_least_zero(self._name, group, "momentum")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov=True; expected momentum above 0 and dampening 0")
        reject(self._name, maximize=group.get("maximize"))

    def _update(self, param: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any]) -> None:
        momentum = group["momentum"]
        if group["weight_decay"]:
            grad = grad + group["weight_decay"] * param
        if momentum:
            velocity = _velocity(grad, state, momentum, group["dampening"])
            grad = grad + momentum * velocity if group["nesterov"] else velocity
        param -= group["lr"] * grad


def _velocity(grad: np.ndarray, state: dict[str, Any], momentum: float, dampening: float) -> np.ndarray:
    """The velocity after ``grad``; the first gradient is taken whole."""
    if state.get("momentum_buffer") is None:
        state["momentum_buffer"] = Tensor(grad.copy())
        return state["momentum_buffer"].array
    velocity = state["momentum_buffer"].array
    velocity *= momentum
    velocity += (1 - dampening) * grad
    return velocity
