"""RMSprop: gradients divided by the root of a running average of their squares.

Source: Tieleman & Hinton, Coursera lecture 6.5 (2012); centred version: Graves, "Generating sequences with recurrent
neural networks" (2013), equations 38 to 41. As in PyTorch, eps is added after the root.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad.nn.checks import reject
from minigrad.optim.optimizer import Optimizer, add_slot, check_at_least_zero, count_step


class RMSprop(Optimizer):
    """param -= lr * grad / (sqrt(average of grad**2) + eps).

    Args:
        params: parameters or groups.
        lr: step size.
        alpha: decay of the averages.
        eps: added to the root.
        weight_decay: L2 penalty, added to the gradient.
        momentum: share of the last step kept in the next one.
        centered: divide by the root of the variance, the average of squares less the square of the average.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, {**options, "centered": centered})

    def _check_group(self, group: dict[str, Any]) -> None:
        super()._check_group(group)
        check_at_least_zero(self._name, group, "alpha", "eps", "momentum")
        reject(self._name, maximize=group.get("maximize"))

    def _update(self, param: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any]) -> None:
        count_step(state)
        alpha = group["alpha"]
        if group["weight_decay"]:
            grad = grad + group["weight_decay"] * param
        variance = _average(add_slot(state, "square_avg", param), grad * grad, alpha)
        if group["centered"]:
            mean = _average(add_slot(state, "grad_avg", param), grad, alpha)
            variance = variance - mean * mean
        update = grad / (np.sqrt(variance) + group["eps"])
        if group["momentum"]:
            velocity = add_slot(state, "momentum_buffer", param)
            velocity *= group["momentum"]
            velocity += update
            update = velocity
        param -= group["lr"] * update


def _average(average: np.ndarray, value: np.ndarray, alpha: float) -> np.ndarray:
    """``average = alpha * average + (1 - alpha) * value`` in place."""
    average *= alpha
    average += (1 - alpha) * value
    return average
