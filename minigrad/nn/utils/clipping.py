"""Clipping of gradients, by their global norm or by value, in place.

Contract: PyTorch's formulas; the norm is summed in float64, and a NaN or infinite gradient is never hidden.
Source: Pascanu et al., "On the difficulty of training recurrent neural networks" (2013).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import kernels
from minigrad.grad_mode import no_grad
from minigrad.nn.checks import check_number, tensors_of
from minigrad.rows import RowGradient
from minigrad.tensor import Tensor


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)), norm that of all of them as one vector.

    Args:
        parameters: one Tensor or several; those without a gradient are skipped.
        max_norm: largest norm allowed.
        norm_type: p of the p-norm, above 0; ``inf`` is the largest absolute value.
        error_if_nonfinite: raise RuntimeError if the norm is NaN or infinite, instead of scaling by it.
        foreach: PyTorch's; accepted, since it changes no value.

    Returns:
        0-d: the norm before clipping, in the gradients' dtype.
    """
    check_number("clip_grad_norm_", "max_norm", max_norm)
    check_number("clip_grad_norm_", "norm_type", norm_type)
    grads = _gradients("clip_grad_norm_", parameters)
    norm, coefficient = norm_and_coefficient(grads, max_norm, float(norm_type))
    if error_if_nonfinite and not math.isfinite(float(kernels.to_host(norm))):
        raise RuntimeError(f"clip_grad_norm_: the total norm of order {norm_type} is {norm}; expected a finite number")
    if kernels.on_device(coefficient) or coefficient != 1:
        with np.errstate(invalid="ignore"):  # inf * 0: NaN is the honest result
            for grad in grads:
                scale_(grad, coefficient)
    return as_result(norm, grads)


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clamp every element of every gradient to [-clip_value, clip_value]; ``foreach`` as above."""
    check_number("clip_grad_value_", "clip_value", clip_value)
    for grad in _gradients("clip_grad_value_", parameters):
        grad.clamp_(-clip_value, clip_value)


def _gradients(owner: str, parameters: Tensor | Iterable[Tensor]) -> list[Tensor | RowGradient]:
    tensors = tensors_of(owner, "parameters", parameters)
    return [tensor.grad for tensor in tensors if tensor.grad is not None]


def elements(grad: Tensor | RowGradient) -> np.ndarray:
    """The memory of a gradient: all of it, or of a row-wise one the rows that it lists."""
    return grad.values if isinstance(grad, RowGradient) else grad.array


def scale_(grad: Tensor | RowGradient, factor: Any) -> None:
    """grad *= factor, a number or a 0-d array on the gradient's GPU, rounded to its dtype first."""
    values = elements(grad)
    values *= factor.astype(values.dtype) if kernels.on_device(factor) else values.dtype.type(factor)


def as_result(norm: Any, grads: Sequence[Tensor | RowGradient]) -> Tensor:
    """A norm as a 0-d Tensor of the gradients' dtype, where it was computed."""
    dtype = grads[0].dtype if grads else np.dtype(np.float32)
    return Tensor(norm.astype(dtype) if kernels.on_device(norm) else np.asarray(norm, dtype))


def norm_and_coefficient(
    grads: Sequence[Tensor | RowGradient], max_norm: float, norm_type: float = 2.0
) -> tuple[Any, Any]:
    """The p-norm of all gradients as one vector, and what they are multiplied with, min(1, max_norm / (norm + 1e-6)).

    Two numbers; for gradients on a GPU two 0-d arrays there, for which the host does not wait. NaN for a NaN. What a
    row-wise gradient does not list is zero and adds nothing.
    """
    if norm_type <= 0 or math.isnan(norm_type):
        raise ValueError(f"clip_grad_norm_: norm_type is {norm_type}; expected a number above 0")
    arrays = [elements(grad) for grad in grads]
    if not arrays:
        return 0.0, 1.0
    if norm_type == 2:
        return kernels.clip_coefficient(arrays, max_norm)
    sizes = [np.abs(array.astype(np.float64)) for array in arrays if array.size]
    if math.isinf(norm_type):
        norm = functools.reduce(np.maximum, [size.max() for size in sizes], np.float64(0))
    else:
        norm = sum((size**norm_type).sum() for size in sizes) ** (1 / norm_type)
    coefficient = np.minimum(1.0, max_norm / (norm + 1e-6))  # unlike min(), lets NaN through
    return (norm, coefficient) if kernels.on_device(norm) else (float(norm), float(coefficient))


clip_grad_norm = clip_grad_norm_  # the name in old programs
