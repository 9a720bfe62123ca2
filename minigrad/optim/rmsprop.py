"""RMSprop: gradients divided by the root of a running average of their squares.

Source: Tieleman & Hinton, Coursera lecture 6.5 (2012); centred version: Graves, "Generating sequences with recurrent
neural networks" (2013), equations 38 to 41. As in PyTorch, eps is added after the root.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import kernels
from minigrad.optim.checks import check_at_least_zero, reject_others
from minigrad.optim.optimizer import Optimizer, add_slot, count_step


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
        maximize: climb: the gradient is taken with the other sign.
        others: PyTorch's ``foreach``, ``fused``, ``capturable`` and ``differentiable``, which must be off.
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
        *,
        maximize: bool = False,
        **others: Any,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        options |= {"centered": centered, "maximize": maximize}
        reject_others(self._name, others, *options)
        super().__init__(params, options)

    def _check_group(self, group: dict[str, Any]) -> None:
        super()._check_group(group)
        check_at_least_zero(self._name, group, "alpha", "eps", "momentum")

    def _update(
        self, param: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any], grad_scale: Any
    ) -> None:
        count_step(state)
        square = add_slot(state, "square_avg", param)
        mean = add_slot(state, "grad_avg", param) if group["centered"] else None
        velocity = add_slot(state, "momentum_buffer", param) if group["momentum"] else None
        scalars = kernels.RMSpropScalars(*[group[name] for name in kernels.RMSpropScalars._fields])
        kernels.rmsprop_step(param, grad, square, mean, velocity, scalars, grad_scale)
