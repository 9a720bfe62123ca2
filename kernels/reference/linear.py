"""Matrix products and the linear layer.

y = x W^T + b,   dx = dy W,   dW = dy^T x,   db = the sum of the rows of dy
"""

from typing import NamedTuple

import numpy as np

from kernels.reference.precision import product


def matmul(a: np.ndarray, b: np.ndarray, bf16: bool = False) -> np.ndarray:
    """See `kernels.matmul`."""
    return product(a, b, bf16)


def bmm(a: np.ndarray, b: np.ndarray, bf16: bool = False) -> np.ndarray:
    """See `kernels.bmm`."""
    return product(a, b, bf16)


def linear_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, bf16: bool = False) -> np.ndarray:
    """See `kernels.linear_forward`."""
    y = product(x, weight.T, bf16)
    return y if bias is None else y + bias


class LinearWeights(NamedTuple):
    """The arguments of `prepack_linear`; no bias is one of zeros."""

    weight: np.ndarray  # (O, I)
    bias: np.ndarray  # (O,)
    bf16: bool

    @property
    def input_size(self) -> int:
        return self.weight.shape[1]


def prepack_linear(weight: np.ndarray, bias: np.ndarray | None, bf16: bool = False) -> LinearWeights:
    """See `kernels.prepack_linear`."""
    zeros = np.zeros(len(weight), weight.dtype, like=weight)
    return LinearWeights(weight.copy(), zeros if bias is None else bias.copy(), bf16)


def linear_prepacked(x: np.ndarray, weights: LinearWeights) -> np.ndarray:
    """See `kernels.linear_prepacked`."""
    return linear_forward(x, *weights)


def linear_backward(
    dy: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    needs: tuple[bool, bool, bool] = (True, True, True),
    bf16: bool = False,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """See `kernels.linear_backward`."""
    dx = product(dy, weight, bf16) if needs[0] else None  # y = x W^T + b
    dweight = product(dy.T, x, bf16) if needs[1] else None  # y = x W^T + b
    dbias = dy.sum(axis=0) if needs[2] else None  # y = x W^T + b
    return dx, dweight, dbias
