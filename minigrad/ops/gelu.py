"""The Gaussian error linear unit (kernels.gelu_forward) and the error function (kernels.erf)."""

from __future__ import annotations

import math

import numpy as np

import kernels
from minigrad.function import Context, Function
from minigrad.naming import described
from minigrad.ops.op import CASES, op, unary
from minigrad.ops.op_case import Dims, ErrorCase, OpCase, Rng, Sample, normal, some_shape
from minigrad.ops.reduce import require_floating
from minigrad.tensor import Tensor

Array = np.ndarray


class GELU(Function):
    """x times the distribution function of N(0, 1) at x (kernels.gelu_forward)"""

    fresh_grads = True

    @staticmethod
    def forward(ctx: Context, x: Array, approximate: bool) -> Array:
        ctx.save_for_backward(x)
        ctx.approximate = approximate
        return kernels.gelu_forward(x, approximate)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return kernels.gelu_backward(grad, ctx.saved[0], ctx.approximate), None


def _sample(rng: Rng, dims: Dims) -> Sample:
    return Sample((normal(rng, some_shape(rng, dims)),), {"approximate": ["none", "tanh"][int(rng.integers(2))]})


def _oracle(x: Array, approximate: str) -> Array:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + _erf(x / np.sqrt(x.dtype.type(2))))


def _erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


@op(is_method=False)
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x P(x), elementwise, P the distribution function of N(0, 1); "tanh" is the form that differs by 5e-4 at most.

    RuntimeError for another ``approximate`` or an input that is not floating. Source: Hendrycks and Gimpel, "Gaussian
    error linear units (GELUs)" (2016).
    """
    require_floating("gelu", input)
    if not isinstance(approximate, str) or approximate not in ("none", "tanh"):
        raise RuntimeError(f"gelu: approximate is {described(approximate)}; expected 'none' or 'tanh'")
    return GELU.apply(input, approximate == "tanh")


CASES.append(
    OpCase(
        "gelu",
        gelu,
        _oracle,
        _sample,
        errors=(
            ErrorCase(lambda: gelu(Tensor(np.zeros(2)), "exact"), RuntimeError, "'exact'; expected 'none' or 'tanh'"),
            ErrorCase(lambda: gelu(Tensor(np.zeros(2, int))), RuntimeError, "gelu"),
        ),
    )
)


@unary(lambda grad, x: grad * (2 / math.sqrt(math.pi) * np.exp(-x * x)).astype(x.dtype), oracle=lambda x: _erf(x))
def erf(x: Array) -> Array:
    """The error function, elementwise: 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return kernels.erf(x)
