"""The numbers of one Adam step, computed once in float64 and shared by all elements and all backends."""

from typing import NamedTuple

import numpy as np

from kernels.contracts.checks import BELOW_ONE, check_range


class AdamScalars(NamedTuple):
    """What one step of Adam does with every element, see `kernels.reference.adam`. Made by `adam_scalars`."""

    shrink: float  # 1 - lr weight_decay if the decay is decoupled, else 1
    l2: float  # the weight decay if it enters the gradient, else 0
    beta1: float
    rest1: float  # 1 - beta1
    beta2: float
    rest2: float  # 1 - beta2
    step_size: float  # lr / (1 - beta1^step)
    root_correction: float  # (1 - beta2^step)^(-1/2)
    eps: float

    def rounded(self, dtype: np.dtype) -> "AdamScalars":
        """In the dtype of a parameter."""
        return AdamScalars(*map(dtype.type, self))


def adam_scalars(
    step: int, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool
) -> AdamScalars:
    """The scalars of one step of Adam, or of AdamW.

    Args:
        step: number of this update, from 1.
        lr: learning rate.
        beta1: decay of the running mean of the gradient, in [0, 1).
        beta2: decay of that of its square, in [0, 1).
        eps: added to the bias-corrected square root.
        weight_decay: coefficient of the decay.
        decoupled: False: the weight decay enters the gradient (Adam); True: it shrinks the parameter (AdamW).

    Raises:
        ValueError: a number out of its range.
    """
    check_range("adam_scalars", "step", step, 1)
    for name, beta in (("beta1", beta1), ("beta2", beta2)):
        check_range("adam_scalars", name, beta, 0.0, BELOW_ONE)
    shrink, l2 = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    step_size, root_correction = lr / (1 - beta1**step), (1 - beta2**step) ** -0.5
    return AdamScalars(shrink, l2, beta1, 1 - beta1, beta2, 1 - beta2, step_size, root_correction, eps)
