"""Matrix products and the linear layer."""

import numpy as np

from kernels.checks import check_dtypes, check_rank, check_shape
from kernels.dispatch.backend import backend_for, contiguous


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of two matrices.

    Args:
        a: (M, K) float32 or float64; a transposed view is read as it lies, other layouts are copied.
        b: (K, N), dtype of a; likewise.

    Returns:
        (M, N), dtype of a.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
    name = "matmul"
    backend = backend_for(a=a, b=b)
    check_dtypes(name, a=a, b=b)
    check_rank(name, "a", a, 2, "(M, K)")
    check_rank(name, "b", b, 2, "(K, N)")
    check_shape(name, "b", b, (a.shape[1], b.shape[1]), "(K, N)", a=a.shape)
    return backend.matmul(a, b)


def linear_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, bf16: bool = False) -> np.ndarray:
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
    name = "linear_forward"
    backend = backend_for(x=x, weight=weight, bias=bias)
    check_linear(name, x, weight, bias, "(M, I)", "(O, I)", "(O,)")
    return backend.linear_forward(contiguous(x), contiguous(weight), contiguous(bias), bf16)


def linear_backward(
    dy: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    needs: tuple[bool, bool, bool] = (True, True, True),
    bf16: bool = False,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
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
    name = "linear_backward"
    backend = backend_for(dy=dy, x=x, weight=weight)
    check_linear(name, x, weight, None, "(M, I)", "(O, I)", "(O,)")
    check_dtypes(name, x=x, dy=dy)
    check_shape(name, "dy", dy, (len(x), len(weight)), "(M, O)", x=x.shape, weight=weight.shape)
    return backend.linear_backward(contiguous(dy), contiguous(x), contiguous(weight), needs, bf16)


def check_linear(
    name: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, x_text: str, weight_text: str, bias_text: str
) -> None:
    """x, weight and bias of one dtype, in the shapes that the texts name. Raises TypeError or ValueError."""
    check_dtypes(name, x=x, weight=weight, bias=bias)
    check_rank(name, "x", x, 2, x_text)
    check_rank(name, "weight", weight, 2, weight_text)
    check_shape(name, "weight", weight, (len(weight), x.shape[1]), weight_text, x=x.shape)
    if bias is not None:
        check_shape(name, "bias", bias, weight.shape[:1], bias_text, weight=weight.shape)
