"""Stochastic gradient descent with momentum.

Source: Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013), in PyTorch's form:
the learning rate multiplies the velocity when it is applied, not when it is gathered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

import kernels
from minigrad.optim.checks import check_at_least_zero, check_number, reject_others
from minigrad.optim.optimizer import Optimizer, add_slot
from minigrad.rows import RowGradient
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
        maximize: climb: the gradient is taken with the other sign.
        others: PyTorch's ``foreach``, ``fused``, ``capturable`` and ``differentiable``, which must be off.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **others: Any,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        options |= {"nesterov": nesterov, "maximize": maximize}
        reject_others(self._name, others, *options)
        super().__init__(params, options)

    def _check_group(self, group: dict[str, Any]) -> None:
        super()._check_group(group)
        check_at_least_zero(self._name, group, "momentum")
        check_number(self._name, "dampening", group["dampening"])
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov=True; expected momentum above 0 and dampening 0")

    def _update(
        self, param: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any], grad_scale: Any
    ) -> None:
        first = state.get("momentum_buffer") is None
        velocity = add_slot(state, "momentum_buffer", param) if group["momentum"] else None
        scalars = kernels.SGDScalars(*[group[name] for name in kernels.SGDScalars._fields])
        kernels.sgd_step(param, grad, velocity, first, scalars, grad_scale)

    def _update_rows(
        self, param: Tensor, grad: RowGradient, state: dict[str, Any], group: dict[str, Any], grad_scale: Any
    ) -> None:
        """The other rows stay as they are, unless momentum or weight decay moves them: then all are updated."""
        if group["momentum"] or group["weight_decay"] or param.ndim != 2 or not math.isfinite(group["lr"]):
            return super()._update_rows(param, grad, state, group, grad_scale)
        return kernels.sgd_rows_step(param.array, grad.rows, grad.values, group["lr"], grad_scale)
