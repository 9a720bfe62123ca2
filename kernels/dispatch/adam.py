"""Adam's updates of parameters in place: whole arrays, some rows, and the replay of steps that rows have missed."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.adam_scalars import NUM_ADAM_SCALARS
from kernels.checks import check_dtypes, check_integer, check_range, check_rank, check_rows, check_shape
from kernels.dispatch.backend import backend_for, contiguous
from kernels.dispatch.in_place import updating


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
    _check_numbers("adam_scalars", step, beta1, beta2)
    return backend_for().adam_scalars(step, lr, beta1, beta2, eps, weight_decay, decoupled)


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
    grad_scale: Any = 1.0,
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
        grad_scale: what grad is multiplied with where it is read, rounded as a multiplication of its own. On a GPU also
            a 0-d array there, of any floating dtype, rounded to that of param; if it is a NaN, nothing is updated.

    Every operation is rounded on its own, in the order of `kernels.reference.adam`.

    Raises:
        TypeError, ValueError: a dtype, a shape, or a number out of its range.
    """
    name = "adam_step"
    backend = backend_for(param=param, grad=grad, m=m, v=v)
    _check_arrays(name, param, grad, m, v)
    _check_numbers(name, step, beta1, beta2)
    with updating(param, m, v) as (work_param, work_m, work_v):
        numbers = step, lr, beta1, beta2, eps, weight_decay, decoupled, grad_scale
        backend.adam_step(work_param, contiguous(grad), work_m, work_v, *numbers)


def adam_step_all(
    params: Sequence[np.ndarray],
    grads: Sequence[np.ndarray],
    m: Sequence[np.ndarray],
    v: Sequence[np.ndarray],
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    grad_scale: Any = 1.0,
) -> None:
    """`adam_step` of many arrays, to the same bits; what a call costs beside the arithmetic is paid once for all.

    Args:
        params, grads, m, v: lists of equal length; item by item as in `adam_step`, all of one dtype.
        others: as in `adam_step`.

    Raises:
        TypeError, ValueError: a dtype, a shape, a number out of its range, or lists of unequal lengths.
    """
    name = "adam_step_all"
    backend = backend_for(*params, *grads, *m, *v)
    if not len(params) == len(grads) == len(m) == len(v):
        counts = f"{len(grads)}, {len(m)} and {len(v)}"
        raise ValueError(f"{name}: grads, m and v hold {counts} arrays; expected {len(params)} as params")
    for arrays in zip(params, grads, m, v, strict=True):
        _check_arrays(name, *arrays, dtype=params[0].dtype)
    _check_numbers(name, step, beta1, beta2)
    numbers = step, lr, beta1, beta2, eps, weight_decay, decoupled, grad_scale
    count = len(params)
    with updating(*params, *m, *v) as works:
        moments = works[count : 2 * count], works[2 * count :]
        backend.adam_step_all(works[:count], [contiguous(grad) for grad in grads], *moments, *numbers)


def _check_arrays(name: str, param: Any, grad: Any, m: Any, v: Any, dtype: Any = None) -> None:
    """Four arrays of one shape and dtype, which is `dtype` where that is given."""
    check_dtypes(name, param=param, grad=grad, m=m, v=v)
    for array_name, array in (("grad", grad), ("m", m), ("v", v)):
        check_shape(name, array_name, array, param.shape, "param.shape", param=param.shape)
    if dtype is not None and param.dtype != dtype:
        raise TypeError(f"{name}: params hold dtypes {dtype} and {param.dtype}; expected one dtype in a call")


def _check_numbers(name: str, step: int, beta1: float, beta2: float) -> None:
    check_range(name, "step", step, 1, math.inf)
    for beta_name, beta in (("beta1", beta1), ("beta2", beta2)):
        check_range(name, beta_name, beta, 0.0, math.nextafter(1.0, 0.0))


def adam_rows_step(
    param: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    scalars: np.ndarray,
    grad_scale: Any = 1.0,
) -> None:
    """`adam_step` of some rows of param, m and v in place, to the same bits; the others are not touched.

    Args:
        param: (V, E), updated.
        rows: (R,) int64, distinct and ascending, each in 0..V-1.
        values: (R, E), the gradient with respect to these rows.
        m: (V, E) running mean of the gradient, updated.
        v: (V, E) running mean of its square, updated.
        scalars: (9,) of `adam_scalars`, on the host, float32 or float64; rounded to param's dtype.
        grad_scale: what values are multiplied with where they are read; otherwise as in `adam_step`.

    Raises:
        TypeError, ValueError, IndexError: a dtype, a shape, or rows that are not as above.
    """
    name = "adam_rows_step"
    backend = backend_for(param=param, rows=rows, values=values, m=m, v=v)
    _check_table(name, param, m, v)
    check_dtypes(name, param=param, values=values)
    check_dtypes(name, scalars=scalars)
    check_rows(name, rows, param.shape[0])
    check_shape(
        name, "values", values, (len(rows), param.shape[1]), "(R, E)", rows=rows.shape, param=param.shape
    )  # fmt: skip
    check_shape(name, "scalars", scalars, (NUM_ADAM_SCALARS,), "(9,)", adam_scalars=(NUM_ADAM_SCALARS,))
    with updating(param, m, v) as (work_param, work_m, work_v):
        backend.adam_rows_step(work_param, contiguous(rows), contiguous(values), work_m, work_v, scalars, grad_scale)


def adam_replay(
    param: np.ndarray, m: np.ndarray, v: np.ndarray, rows: np.ndarray, first: np.ndarray, history: np.ndarray
) -> None:
    """The steps without a gradient that some rows have missed, to the bits of `adam_step` with zeros as gradient.

    Args:
        param: (V, E), updated.
        m: (V, E) running mean of the gradient, updated.
        v: (V, E) running mean of its square, updated.
        rows: (R,) int64, distinct and ascending, each in 0..V-1.
        first: (R,) integers in 0..S, the first missed step of each row; it is replayed from there to the end.
        history: (S, 9) float32 or float64, on the host, `adam_scalars` of each step in order; rounded to param's dtype.

    Raises:
        TypeError, ValueError, IndexError: a dtype, a shape, or rows or first that are not as above.
    """
    name = "adam_replay"
    backend = backend_for(param=param, m=m, v=v, rows=rows, first=first)
    _check_table(name, param, m, v)
    check_dtypes(name, history=history)
    check_rank(name, "history", history, 2, "(S, 9)")
    check_shape(
        name, "history", history, (len(history), NUM_ADAM_SCALARS), "(S, 9)", adam_scalars=(NUM_ADAM_SCALARS,)
    )  # fmt: skip
    check_rows(name, rows, param.shape[0])
    check_integer(name, "first", first)
    check_shape(name, "first", first, rows.shape, "(R,)", rows=rows.shape)
    if isinstance(first, np.ndarray) and len(first):
        check_range(name, "first", int(first.min()), 0, len(history))
        check_range(name, "first", int(first.max()), 0, len(history))
    with updating(param, m, v) as (work_param, work_m, work_v):
        backend.adam_replay(work_param, work_m, work_v, contiguous(rows), contiguous(first), history)


def _check_table(name: str, param: np.ndarray, m: np.ndarray, v: np.ndarray) -> None:
    """A table (V, E) and its two moments."""
    check_dtypes(name, param=param, m=m, v=v)
    check_rank(name, "param", param, 2, "(V, E)")
    for array_name, array in (("m", m), ("v", v)):
        check_shape(name, array_name, array, param.shape, "param.shape", param=param.shape)
