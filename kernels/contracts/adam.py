"""Adam's updates of parameters in place: whole arrays, some rows, and the replay of steps that rows have missed."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from kernels.contracts.checks import check_range, check_shape, made_as
from kernels.contracts.entry import Array, entry
from kernels.contracts.optimisers import Rows
from kernels.contracts.plan import integers, on_host, updated
from kernels.scalars import AdamScalars

Arrays = Sequence[Array]
Scalars = Annotated[AdamScalars, made_as(AdamScalars)]


def alike(function: str, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, *others: Any) -> None:
    """As many gradients and moments as parameters, item by item of one shape. Raises ValueError."""
    if not len(params) == len(grads) == len(m) == len(v):
        counts = f"{len(grads)}, {len(m)} and {len(v)}"
        raise ValueError(f"{function}: grads, m and v hold {counts} arrays; expected {len(params)} as params")
    for name, arrays in (("grads", grads), ("m", m), ("v", v)):
        for item, (param, array) in enumerate(zip(params, arrays, strict=True)):
            if array.shape != param.shape:
                check_shape(function, f"{name}[{item}]", array, param.shape, "param.shape", param=param.shape)


def first_is_in_history(
    function: str, param: Array, m: Array, v: Array, rows: Array, first: Array, history: Array
) -> None:
    """Every row on the host begins at a step of the history, or behind it. Raises ValueError."""
    if isinstance(first, np.ndarray) and len(first):
        for extreme in (int(first.min()), int(first.max())):
            check_range(function, "first", extreme, 0, len(history))


@entry(alike)
def adam_step_all(
    params: Annotated[Arrays, "*", updated],
    grads: Annotated[Arrays, "*"],
    m: Annotated[Arrays, "*", updated],
    v: Annotated[Arrays, "*", updated],
    scalars: Scalars,
    grad_scale: Any = 1.0,
) -> None:
    """One update of params, m and v in place, by Adam or AdamW; what a call costs beside arithmetic is paid once.

    Args:
        params: arrays of any shapes, all of one dtype, updated.
        grads: as many; item by item of the same shape and dtype, the gradient with respect to it.
        m: likewise, running mean of the gradient, updated; zeros before step 1.
        v: likewise, running mean of its square, updated; zeros before step 1.
        scalars: of `adam_scalars`, rounded to the dtype.
        grad_scale: what grads are multiplied with where they are read, rounded as a multiplication of its own. On a GPU
            also a 0-d array there, of any floating dtype, rounded to that of params; if a NaN, nothing is updated.

    Every operation is rounded on its own, in the order of `kernels.reference.adam`.

    Raises:
        TypeError, ValueError: a dtype, a shape, or lists of unequal lengths.
    """


@entry()
def adam_rows_step(
    param: Annotated[Array, "V E", updated],
    rows: Rows,
    values: Annotated[Array, "R E"],
    m: Annotated[Array, "V E", updated],
    v: Annotated[Array, "V E", updated],
    scalars: Scalars,
    grad_scale: Any = 1.0,
) -> None:
    """`adam_step_all` of some rows of param, m and v in place, to the same bits; the others are not touched.

    Args:
        param: (V, E), updated.
        rows: (R,) int64, distinct and ascending, each in 0..V-1.
        values: (R, E), the gradient with respect to these rows.
        m: (V, E) running mean of the gradient, updated.
        v: (V, E) running mean of its square, updated.
        scalars: of `adam_scalars`, rounded to param's dtype.
        grad_scale: what values are multiplied with where they are read; otherwise as in `adam_step_all`.

    Raises:
        TypeError, ValueError, IndexError: a dtype, a shape, or rows that are not as above.
    """


@entry(first_is_in_history)
def adam_replay(
    param: Annotated[Array, "V E", updated],
    m: Annotated[Array, "V E", updated],
    v: Annotated[Array, "V E", updated],
    rows: Rows,
    first: Annotated[Array, "R", integers],
    history: Annotated[Array, "S 9", on_host],
) -> None:
    """The steps without a gradient that some rows have missed, to the bits of `adam_step_all` with zeros as gradient.

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
