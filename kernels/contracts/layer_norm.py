"""Layer normalisation."""

from typing import Annotated, Any

from kernels.contracts.checks import between
from kernels.contracts.entry import Array, Fields, entry


@entry(by_reference=True)
def layer_norm_forward(
    x: Annotated[Array, "M H"],
    weight: Annotated[Array | None, "H"],
    bias: Annotated[Array | None, "H"],
    eps: Annotated[float, between(0.0)] = 1e-5,
) -> tuple[Annotated[Array, "M H"], Any]:
    """Each row with mean 0 and variance 1, then scaled and shifted. Equations: `kernels.reference.layer_norm`.

    Args:
        x: (M, H) float32 or float64.
        weight: (H,), dtype of x, or None for no scale.
        bias: (H,), likewise, or None for no shift.
        eps: added to the variance.

    Returns:
        y: (M, H), dtype of x; a row has the same bits whatever rows and threads are beside it.
        cache: for `layer_norm_backward`; it refers to x, which must stay unchanged until then.

    Raises:
        TypeError, ValueError: a dtype, a shape, or a negative eps.
    """


@entry(by_reference=True)
def layer_norm_backward(
    dy: Annotated[Array, "M H"],
    cache: Annotated[Any, Fields(x="M H")],
) -> tuple[Annotated[Array, "M H"], Annotated[Array | None, "H"], Annotated[Array | None, "H"]]:
    """Gradients of `layer_norm_forward`.

    Args:
        dy: (M, H) gradient with respect to y.
        cache: of the forward call.

    Returns:
        Gradients with respect to x (M, H), weight (H,) and bias (H,), None for what the forward had not. Those of
        weight and bias are added up from the first row to the last.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
