"""The Gaussian error linear unit, a number times the probability that a normal one is smaller; the error function."""

from typing import Annotated

from kernels.contracts.entry import Array, entry


@entry()
def gelu_forward(x: Annotated[Array, "*S"], approximate: bool = False) -> Annotated[Array, "*S"]:
    """x times the distribution function of N(0, 1) at x. Equations: `kernels.reference.gelu`.

    Args:
        x: float32 or float64 of any shape.
        approximate: the form with tanh, which differs by 5e-4 at most.

    Returns:
        Array of the shape and dtype of x.

    Raises:
        TypeError: a dtype.
    """


@entry()
def erf(x: Annotated[Array, "*S"]) -> Annotated[Array, "*S"]:
    """The error function: 2 P(x sqrt 2) - 1, P the distribution function of N(0, 1).

    Args:
        x: float32 or float64 of any shape.

    Returns:
        Array of the shape and dtype of x.

    Raises:
        TypeError: a dtype.
    """


@entry()
def gelu_backward(
    dy: Annotated[Array, "*S"], x: Annotated[Array, "*S"], approximate: bool = False
) -> Annotated[Array, "*S"]:
    """Gradient of `gelu_forward`.

    Args:
        dy: gradient with respect to the result.
        x, approximate: of the forward call.

    Returns:
        Gradient with respect to x.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
