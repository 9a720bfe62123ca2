"""How the numbers of a step of Adam follow from its options, computed once in float64."""

from kernels.contracts.checks import BELOW_ONE, check_range
from kernels.scalars import AdamScalars


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
