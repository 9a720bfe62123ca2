"""Softmax over the first elements of each row: the weights of an attention over sequences of unequal lengths."""

from typing import Annotated, Any

from kernels.contracts.entry import Array, Fields, entry
from kernels.contracts.plan import integers, on_host


def lengths_in_rows(function: str, name: str, lengths: Any, sizes: dict[str, int]) -> None:
    """Every length is in 0..S. Raises ValueError."""
    if lengths.size and (lengths.min() < 0 or lengths.max() > sizes["S"]):
        worst = int(lengths.min() if lengths.min() < 0 else lengths.max())
        raise ValueError(f"{function}: {name} holds {worst}; expected values in 0..S = 0..{sizes['S']} from x")


@entry()
def masked_softmax_forward(
    x: Annotated[Array, "M S"],
    lengths: Annotated[Array, "M", integers, on_host, lengths_in_rows],
) -> tuple[Annotated[Array, "M S"], Any]:
    """Softmax of each row's first elements. Equations: `kernels.reference.masked_softmax`.

    Args:
        x: (M, S) float32 or float64; what lies past a row's length is never used.
        lengths: (M,) integers in 0..S on the host.

    Returns:
        y: (M, S), dtype of x: exactly 0 past a row's length, so a row of length 0 is all zeros. The other elements have
            the same bits however far a row is padded, and whatever rows and threads are beside it. A NaN or an infinity
            among them makes all of them NaN, as does a row of nothing but -inf.
        cache: for `masked_softmax_backward`; it refers to y, which must stay unchanged until then.

    Raises:
        TypeError, ValueError: a dtype, a shape, or a length out of 0..S. CaptureError: a CUDA graph is being captured.
    """


@entry(by_reference=True)
def masked_softmax_backward(
    dy: Annotated[Array, "M S"],
    cache: Annotated[Any, Fields(y="M S")],
) -> Annotated[Array, "M S"]:
    """Gradient of `masked_softmax_forward`.

    Args:
        dy: (M, S) gradient with respect to y; ignored past a row's length.
        cache: of the forward call.

    Returns:
        (M, S) gradient with respect to x, exactly 0 past a row's length.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
