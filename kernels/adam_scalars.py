"""The numbers of one Adam step, computed once in float64 and shared by all elements and all backends."""

import numpy as np

from kernels.contracts.checks import BELOW_ONE, check_range


def adam_scalars(
    step: int, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool
) -> np.ndarray:
    """The numbers of one step that `adam_rows_step` and `adam_replay` take; arguments as for `adam_step`.

    Returns:
        (9,) float64: shrink, l2, beta1, 1 - beta1, beta2, 1 - beta2, step_size, root_correction, eps, where step_size =
        lr / (1 - beta1^step), root_correction = (1 - beta2^step)^(-1/2), and the weight decay is shrink = 1 - lr
        weight_decay if decoupled, else l2.

    Raises:
        ValueError: a number out of its range.
    """
    check_range("adam_scalars", "step", step, 1)
    for name, beta in (("beta1", beta1), ("beta2", beta2)):
        check_range("adam_scalars", name, beta, 0.0, BELOW_ONE)
    shrink, l2 = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    step_size, root_correction = lr / (1 - beta1**step), (1 - beta2**step) ** -0.5
    return np.array([shrink, l2, beta1, 1 - beta1, beta2, 1 - beta2, step_size, root_correction, eps], np.float64)
