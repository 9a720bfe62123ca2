"""Updates of parameters in place by SGD and RMSprop, and what clipping needs. Adam's stand in `adam.py`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.checks import check_dtypes, check_rank, check_rows, check_shape
from kernels.dispatch.backend import backend_for, contiguous
from kernels.dispatch.in_place import updating


def sgd_step(
    param: np.ndarray,
    grad: np.ndarray,
    velocity: np.ndarray | None,
    first: bool,
    lr: float,
    momentum: float,
    dampening: float,
    nesterov: bool,
    weight_decay: float,
    grad_scale: Any = 1.0,
) -> None:
    """One step of gradient descent, param and velocity in place.

    Args:
        param: array of any shape, updated.
        grad: same shape and dtype, the gradient with respect to param.
        velocity: same shape and dtype, updated; None: no momentum, the gradient itself is the velocity.
        first: whether velocity is still to be set, to the gradient.
        lr: learning rate.
        momentum: share of the velocity that is kept.
        dampening: share of the gradient that stays out of the velocity, save for the first.
        nesterov: whether the step is grad + momentum * velocity instead of velocity.
        weight_decay: what param is multiplied with and added to the gradient.
        grad_scale: as in `adam_step`.

    Raises:
        TypeError, ValueError: a dtype or a shape.
    """
    backend = backend_for(param=param, grad=grad, velocity=velocity)
    _check_alike("sgd_step", param, grad=grad, velocity=velocity)
    with updating(param, velocity) as (work_param, work_velocity):
        numbers = first, lr, momentum, dampening, nesterov, weight_decay, grad_scale
        backend.sgd_step(work_param, contiguous(grad), work_velocity, *numbers)


def sgd_rows_step(param: np.ndarray, rows: np.ndarray, values: np.ndarray, lr: float, grad_scale: Any = 1.0) -> None:
    """param[rows] -= lr * (grad_scale * values), in place.

    Args:
        param: (V, E), updated.
        rows: (R,) int64, distinct and ascending, each in 0..V-1.
        values: (R, E), the gradient with respect to these rows.
        lr: learning rate.
        grad_scale: as in `adam_step`.

    Raises:
        TypeError, ValueError, IndexError: a dtype, a shape, or rows that are not as above.
    """
    name = "sgd_rows_step"
    backend = backend_for(param=param, rows=rows, values=values)
    check_dtypes(name, param=param, values=values)
    check_rank(name, "param", param, 2, "(V, E)")
    check_rows(name, rows, param.shape[0])
    check_shape(
        name, "values", values, (len(rows), param.shape[1]), "(R, E)", rows=rows.shape, param=param.shape
    )  # fmt: skip
    with updating(param) as (work_param,):
        backend.sgd_rows_step(work_param, contiguous(rows), contiguous(values), lr, grad_scale)


def rmsprop_step(
    param: np.ndarray,
    grad: np.ndarray,
    square: np.ndarray,
    mean: np.ndarray | None,
    velocity: np.ndarray | None,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    grad_scale: Any = 1.0,
) -> None:
    """One step of RMSprop; param, square, mean and velocity in place.

    Args:
        param: array of any shape, updated.
        grad: same shape and dtype, the gradient with respect to param.
        square: same shape and dtype, running mean of the gradient's square, updated; zeros at first.
        mean: the same of the gradient, for the centred form that divides by the deviation; or None.
        velocity: same shape and dtype, updated; zeros at first; None: no momentum.
        lr: learning rate.
        alpha: decay of the running means.
        eps: added to the root.
        weight_decay: what param is multiplied with and added to the gradient.
        momentum: share of the velocity that is kept.
        grad_scale: as in `adam_step`.

    Raises:
        TypeError, ValueError: a dtype or a shape.
    """
    backend = backend_for(param=param, grad=grad, square=square, mean=mean, velocity=velocity)
    _check_alike("rmsprop_step", param, grad=grad, square=square, mean=mean, velocity=velocity)
    with updating(param, square, mean, velocity) as (work_param, *works):
        numbers = lr, alpha, eps, weight_decay, momentum, grad_scale
        backend.rmsprop_step(work_param, contiguous(grad), *works, *numbers)


def _check_alike(name: str, param: np.ndarray, **others: np.ndarray | None) -> None:
    """All arrays have param's shape and dtype; None is skipped."""
    check_dtypes(name, param=param, **others)
    for array_name, array in others.items():
        if array is not None:
            check_shape(name, array_name, array, param.shape, "param.shape", param=param.shape)


def sum_of_squares(x: np.ndarray) -> Any:
    """Sum of the squares of all elements, accumulated in float64 in a fixed order.

    Args:
        x: floating array of any shape.

    Returns:
        A Python float, on a GPU a 0-d float64 array; 0.0 for an empty array. The same bits for any number of threads.

    Raises:
        TypeError: a dtype.
    """
    backend = backend_for(x=x)
    check_dtypes("sum_of_squares", x=x)
    return backend.sum_of_squares(contiguous(x))


def clip_coefficient(grads: Sequence[np.ndarray], max_norm: float) -> tuple[Any, Any]:
    """The norm of all gradients as one vector, and what they are multiplied with so that it is at most max_norm.

    Args:
        grads: one floating array or more, of any shapes.
        max_norm: the largest norm that takes effect.

    Returns:
        norm: the root of the sum of all squares, summed in float64.
        coefficient: min(1, max_norm / (norm + 1e-6)); NaN for a NaN, 0 for an infinite norm.
        Two Python floats; on a GPU two 0-d arrays of the gradients' dtype, for which the host does not wait.

    Raises:
        TypeError: a dtype, or arrays on the host and on a GPU.
    """
    backend = backend_for(*grads)
    for position, grad in enumerate(grads):
        check_dtypes("clip_coefficient", **{f"grads[{position}]": grad})
    return backend.clip_coefficient([contiguous(grad) for grad in grads], max_norm)
