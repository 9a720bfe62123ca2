"""Updates of parameters in place by SGD and RMSprop, and what clipping needs. Adam's stand in `adam.py`."""

from collections.abc import Sequence
from typing import Annotated, Any

from kernels.contracts.checks import ascending, ids_below, made_as
from kernels.contracts.entry import Array, entry
from kernels.contracts.plan import int64, mixed, updated
from kernels.scalars import RMSpropScalars, SGDScalars

Rows = Annotated[Array, "R", int64, ascending, ids_below("V")]  # of a table, distinct


@entry()
def sgd_step(
    param: Annotated[Array, "*S", updated],
    grad: Annotated[Array, "*S"],
    velocity: Annotated[Array | None, "*S", updated],
    first: bool,
    scalars: Annotated[SGDScalars, made_as(SGDScalars)],
    grad_scale: Any = 1.0,
) -> None:
    """One step of gradient descent, param and velocity in place.

    Args:
        param: array of any shape, updated.
        grad: same shape and dtype, the gradient with respect to param.
        velocity: same shape and dtype, updated; None: no momentum, the gradient itself is the velocity.
        first: whether velocity is still to be set, to the gradient.
        scalars: the options; rounded to param's dtype.
        grad_scale: as in `adam_step_all`.

    Raises:
        TypeError, ValueError: a dtype or a shape.
    """


@entry()
def sgd_rows_step(
    param: Annotated[Array, "V E", updated],
    rows: Rows,
    values: Annotated[Array, "R E"],
    lr: float,
    grad_scale: Any = 1.0,
) -> None:
    """param[rows] -= lr * (grad_scale * values), in place.

    Args:
        param: (V, E), updated.
        rows: (R,) int64, distinct and ascending, each in 0..V-1.
        values: (R, E), the gradient with respect to these rows.
        lr: learning rate.
        grad_scale: as in `adam_step_all`.

    Raises:
        TypeError, ValueError, IndexError: a dtype, a shape, or rows that are not as above.
    """


@entry()
def rmsprop_step(
    param: Annotated[Array, "*S", updated],
    grad: Annotated[Array, "*S"],
    square: Annotated[Array, "*S", updated],
    mean: Annotated[Array | None, "*S", updated],
    velocity: Annotated[Array | None, "*S", updated],
    scalars: Annotated[RMSpropScalars, made_as(RMSpropScalars)],
    grad_scale: Any = 1.0,
) -> None:
    """One step of RMSprop; param, square, mean and velocity in place.

    Args:
        param: array of any shape, updated.
        grad: same shape and dtype, the gradient with respect to param.
        square: same shape and dtype, running mean of the gradient's square, updated; zeros at first.
        mean: the same of the gradient, for the centred form that divides by the deviation; or None.
        velocity: same shape and dtype, updated; zeros at first; None: no momentum.
        scalars: the options; rounded to param's dtype.
        grad_scale: as in `adam_step_all`.

    Raises:
        TypeError, ValueError: a dtype or a shape.
    """


@entry()
def sum_of_squares(
    x: Annotated[Array, "*"],
) -> Any:
    """Sum of the squares of all elements, accumulated in float64 in a fixed order.

    Args:
        x: floating array of any shape.

    Returns:
        A Python float, on a GPU a 0-d float64 array; 0.0 for an empty array. The same bits for any number of threads.

    Raises:
        TypeError: a dtype.
    """


@entry()
def clip_coefficient(
    grads: Annotated[Sequence[Array], "*", mixed],
    max_norm: float,
) -> tuple[Any, Any]:
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
