"""Matrix products and the linear layer."""

from typing import Annotated, Any

from kernels.contracts.entry import Array, Counts, Fields, entry
from kernels.contracts.plan import as_it_lies, gradient


@entry()
def matmul(
    a: Annotated[Array, "M K", as_it_lies],
    b: Annotated[Array, "K N", as_it_lies],
    bf16: bool = False,
) -> Annotated[Array, "M N"]:
    """The product of two matrices.

    Args:
        a: (M, K) float32 or float64; a transposed view is read as it lies, other layouts are copied.
        b: (K, N), dtype of a; likewise.
        bf16: the product of bfloat16-rounded operands, summed in float32; float64 ignores it.

    Returns:
        (M, N), dtype of a. On the host the sum over K runs from front to back: an element has the same bits whatever
        rows, columns and threads are beside it, and however many zeros K is padded with.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """


@entry()
def bmm(
    a: Annotated[Array, "B M K", as_it_lies],
    b: Annotated[Array, "B K N", as_it_lies],
    bf16: bool = False,
) -> Annotated[Array, "B M N"]:
    """`matmul` of each pair of a batch of matrices, to the same bits.

    Args:
        a: (B, M, K) float32 or float64. Any view whose rows, or whose columns, are pieces of memory is read as it lies:
            transposed, cut, or broadcast along B. Other layouts are copied.
        b: (B, K, N), dtype of a; likewise.
        bf16: as in `matmul`.

    Returns:
        (B, M, N), dtype of a.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """


@entry()
def linear_forward(
    x: Annotated[Array, "M I"],
    weight: Annotated[Array, "O I"],
    bias: Annotated[Array | None, "O"],
    bf16: bool = False,
) -> Annotated[Array, "M O"]:
    """x W^T + b. Equations: `kernels.reference.linear`.

    Args:
        x: (M, I) float32 or float64.
        weight: (O, I), dtype of x.
        bias: (O,), likewise, or None for no bias.
        bf16: the product of bfloat16-rounded operands, summed in float32; float64 ignores it.

    Returns:
        (M, O), dtype of x.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """


@entry(by_reference=True)
def prepack_linear(weight: Annotated[Array, "O I"], bias: Annotated[Array | None, "O"], bf16: bool = False) -> Any:
    """A layer's weight in the order in which `linear_prepacked` reads it; a copy, made once for many calls.

    Args:
        weight: (O, I) float32 or float64.
        bias: (O,), dtype of weight, or None for no bias.
        bf16: keep the weight in bfloat16 and round what it is multiplied with; float64 ignores it.

    Returns:
        a named tuple that belongs to the backend, with `bias` (O,) and `input_size`.

    Raises:
        TypeError, ValueError: a dtype or a shape.
    """


@entry(by_reference=True)
def linear_prepacked(
    x: Annotated[Array, "M I"], weights: Annotated[Any, Fields(bias="O"), Counts(I="input_size")]
) -> Annotated[Array, "M O"]:
    """`linear_forward` with a prepacked weight; a row has the same bits whatever rows are beside it, few or many.

    Args:
        x: (M, I), dtype of the weights.
        weights: of `prepack_linear`.

    Returns:
        (M, O), dtype of x.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """


@entry()
def linear_backward(
    dy: Annotated[Array, "M O", gradient],
    x: Annotated[Array, "M I"],
    weight: Annotated[Array, "O I"],
    needs: tuple[bool, bool, bool] = (True, True, True),
    bf16: bool = False,
) -> tuple[Annotated[Array | None, "M I"], Annotated[Array | None, "O I"], Annotated[Array | None, "O"]]:
    """Gradients of `linear_forward`.

    Args:
        dy: (M, O) gradient with respect to y, dtype of x.
        x: (M, I), of the forward.
        weight: (O, I), of the forward.
        needs: which of the gradients are wanted; the others are None.
        bf16: of the forward; rounds the operands of both products. The gradient of bias is a plain sum.

    Returns:
        Gradients with respect to x (M, I), weight (O, I) and bias (O,).

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
