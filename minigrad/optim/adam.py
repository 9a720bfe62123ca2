"""Adam and AdamW; the arithmetic is ``kernels.adam_step``.

Sources: Kingma & Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1;
Loshchilov & Hutter, "Decoupled weight decay regularization" (2019), algorithm 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

import kernels
from minigrad.nn.checks import reject
from minigrad.optim.optimizer import Optimizer, add_slot, check_at_least_zero, check_fraction, count_step


class Adam(Optimizer):
    """Steps scaled by running averages of the gradient and its square.

    Args:
        params: parameters or groups.
        lr: step size.
        betas: decay of the two averages, each in [0, 1).
        eps: added to the root of the second average.
        weight_decay: L2 penalty, added to the gradient.
        amsgrad: not supported, must be False.
    """

    decoupled: ClassVar[bool] = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, {**defaults, "decoupled_weight_decay": self.decoupled})

    def _check_group(self, group: dict[str, Any]) -> None:
        super()._check_group(group)
        check_at_least_zero(self._name, group, "eps")
        for index, beta in enumerate(group["betas"]):
            check_fraction(self._name, f"betas[{index}]", beta)
        reject(self._name, amsgrad=group.get("amsgrad"), maximize=group.get("maximize"))

    def _update(self, param: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any]) -> None:
        step = count_step(state)
        m, v = add_slot(state, "exp_avg", param), add_slot(state, "exp_avg_sq", param)
        beta1, beta2 = group["betas"]
        kernels.adam_step(
            param, grad, m, v, step, group["lr"], beta1, beta2, group["eps"], group["weight_decay"], self.decoupled
        )


class AdamW(Adam):
    """Adam whose ``weight_decay`` shrinks the parameters directly, apart from the gradient."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)
