"""Updates of parameters in place, and the norm that clipping needs."""

import math

import numpy as np

from kernels.checks import check_dtypes, check_range, check_shape
from kernels.dispatch.backend import backend_for, contiguous


def adam_step(
    param: np.ndarray,
    grad: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    """One Adam (decoupled False: weight decay enters the gradient) or AdamW (True) update of param, m and v in place.

    Args:
        param: array of any shape, updated.
        grad: same shape and dtype, the gradient with respect to param.
        m: same shape and dtype, running mean of the gradient, updated; zeros before step 1.
        v: same shape and dtype, running mean of its square, updated; zeros before step 1.
        step: number of this update, from 1.
        lr: learning rate.
        beta1: decay of m, in [0, 1).
        beta2: decay of v, in [0, 1).
        eps: added to the bias-corrected square root.
        weight_decay: coefficient of the decay.
        decoupled: see above.

    Raises:
        TypeError, ValueError: a dtype, a shape, or a number out of its range.
    """
    name = "adam_step"
    backend = backend_for(param=param, grad=grad, m=m, v=v)
    check_dtypes(name, param=param, grad=grad, m=m, v=v)
    for array_name, array in (("grad", grad), ("m", m), ("v", v)):
        check_shape(name, array_name, array, param.shape, "param.shape", param=param.shape)
    check_range(name, "step", step, 1, math.inf)
    for beta_name, beta in (("beta1", beta1), ("beta2", beta2)):
        check_range(name, beta_name, beta, 0.0, math.nextafter(1.0, 0.0))
    updated = [(array, contiguous(array)) for array in (param, m, v)]
    work_param, work_m, work_v = (work for _, work in updated)
    backend.adam_step(
        work_param, contiguous(grad), work_m, work_v, step, lr, beta1, beta2, eps, weight_decay, decoupled
    )  # fmt: skip
    for array, work in updated:
        if work is not array:
            array[...] = work


def sum_of_squares(x: np.ndarray) -> float:
    """Sum of the squares of all elements, accumulated in float64 in a fixed order.

    Args:
        x: floating array of any shape.

    Returns:
        A Python float; 0.0 for an empty array.

    Raises:
        TypeError: a dtype.
    """
    backend = backend_for(x=x)
    check_dtypes("sum_of_squares", x=x)
    return backend.sum_of_squares(contiguous(x))
