"""Clipping of gradients, by their global norm or by value, in place.

Contract: PyTorch's formulas; the norm is summed in float64, and a NaN or infinite gradient is never hidden.
Source: Pascanu et al., "On the difficulty of training recurrent neural networks" (2013).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

import kernels
from minigrad.grad_mode import no_grad
from minigrad.rows import RowGradient
from minigrad.tensor import Tensor


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)), norm that of all of them as one vector.

    Args:
        parameters: one Tensor or several; those without a gradient are skipped.
        max_norm: largest norm allowed.
        norm_type: p of the p-norm, above 0; ``inf`` is the largest absolute value.
        error_if_nonfinite: raise RuntimeError if the norm is NaN or infinite, instead of scaling by it.

    Returns:
        0-d: the norm before clipping, in the gradients' dtype.
    """
    grads = _gradients(parameters)
    norm = total_norm(grads, float(norm_type))
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(f"clip_grad_norm_: the total norm of order {norm_type} is {norm}; expected a finite number")
    coefficient = clip_coefficient(norm, max_norm)
    if coefficient != 1:
        with np.errstate(invalid="ignore"):  # inf * 0: NaN is the honest result
            for grad in grads:
                values = elements(grad)
                values *= values.dtype.type(coefficient)
    return Tensor(np.asarray(norm, grads[0].dtype if grads else np.float32))


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clamp every element of every gradient to [-clip_value, clip_value]."""
    for grad in _gradients(parameters):
        grad.clamp_(-clip_value, clip_value)


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor | RowGradient]:
    tensors = [parameters] if isinstance(parameters, Tensor) else parameters
    return [tensor.grad for tensor in tensors if tensor.grad is not None]


def elements(grad: Tensor | RowGradient) -> np.ndarray:
    """The memory of a gradient: all of it, or of a row-wise one the rows that it lists."""
    return grad.values if isinstance(grad, RowGradient) else grad.array


def clip_coefficient(norm: float, max_norm: float) -> float:
    """What gradients of this norm are multiplied with: min(1, max_norm / (norm + 1e-6)), NaN for a NaN."""
    return float(np.minimum(1.0, max_norm / (norm + 1e-6)))  # unlike min(), lets NaN through


def total_norm(grads: Iterable[Tensor | RowGradient], norm_type: float = 2.0) -> float:
    """The p-norm of all gradients as one vector; what a row-wise one does not list is zero and adds nothing."""
    arrays = [elements(grad) for grad in grads]
    if norm_type == 2:
        return math.sqrt(sum(kernels.sum_of_squares(array) for array in arrays))
    if norm_type <= 0 or math.isnan(norm_type):
        raise ValueError(f"clip_grad_norm_: norm_type is {norm_type}; expected a number above 0")
    if math.isinf(norm_type):
        largest = [np.abs(array).max(initial=0) for array in arrays]
        return float(np.max(largest, initial=0))
    return float(sum((np.abs(array.astype(np.float64)) ** norm_type).sum() for array in arrays) ** (1 / norm_type))


clip_grad_norm = clip_grad_norm_  # the name in old programs
