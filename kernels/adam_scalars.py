"""The numbers of one Adam step, computed once in float64 and shared by all elements and all backends."""

import numpy as np

NUM_ADAM_SCALARS = 9


def adam_scalars(
    step: int, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool
) -> np.ndarray:
    """See `kernels.adam_scalars`."""
    shrink, l2 = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    step_size, root_correction = lr / (1 - beta1**step), (1 - beta2**step) ** -0.5
    return np.array([shrink, l2, beta1, 1 - beta1, beta2, 1 - beta2, step_size, root_correction, eps], np.float64)
