"""Softmax of rows, and its logarithm."""

from typing import Annotated

from kernels.contracts.entry import Array, entry


@entry(by_reference=True)
def softmax_forward(x: Annotated[Array, "M S"], log: bool = False) -> Annotated[Array, "M S"]:
    """Softmax of each row, or its logarithm without leaving the log domain. Equations: `kernels.reference.softmax`.

    Args:
        x: (M, S) float32 or float64.
        log: the logarithm.

    Returns:
        y: (M, S), dtype of x. A NaN or inf in a row makes all of it NaN, as does a row of nothing but -inf.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """


@entry(by_reference=True)
def softmax_backward(
    dy: Annotated[Array, "M S"], y: Annotated[Array, "M S"], log: bool = False
) -> Annotated[Array, "M S"]:
    """Gradient of `softmax_forward`.

    Args:
        dy: (M, S) gradient with respect to y.
        y, log: of the forward call.

    Returns:
        (M, S) gradient with respect to x.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
