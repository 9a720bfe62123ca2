"""What ops share: operands to Tensors of one dtype, dimensions, and the adjoint of broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from minigrad.device import together
from minigrad.device import use as device_use
from minigrad.dtypes import DEFAULT_FLOAT, is_floating, result_type
from minigrad.tensor import Tensor


def as_tensor(value: Any) -> Tensor:
    """A Tensor of ``value``: Tensors as they are, arrays without a copy, Python numbers as PyTorch types them."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return Tensor(np.asarray(value))
    if kernels.on_device(value):
        return Tensor(value)
    array = np.asarray(value)
    return Tensor(array.astype(DEFAULT_FLOAT) if array.dtype == np.float64 else array)


def promote(*operands: Any, floating: bool = False) -> list[Tensor]:
    """The operands as Tensors of their common dtype (``dtypes.result_type``); ``floating``: integers become floats."""
    operands = tuple(as_tensor(o) if isinstance(o, list | tuple | np.ndarray | np.generic) else o for o in operands)
    dtype = result_type(*[o.array if isinstance(o, Tensor) else o for o in operands])
    if floating and not is_floating(dtype):
        dtype = DEFAULT_FLOAT
    return [to_dtype(o, dtype) for o in operands]


def to_dtype(value: Any, dtype: np.dtype) -> Tensor:
    if isinstance(value, Tensor):
        return value if value.dtype == dtype else value.to(dtype=dtype)
    if not isinstance(value, int | float | bool | np.generic):
        raise TypeError(f"expected a tensor or a number; got {type(value).__name__}")
    return Tensor(np.asarray(value, dtype=dtype))


def floating(x: Any) -> Tensor:
    """``x`` as a floating Tensor: what exp, log and their like work on."""
    x = as_tensor(x)
    return x if is_floating(x.dtype) else x.to(dtype=DEFAULT_FLOAT)


def unbroadcast(grad: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The adjoint of broadcasting from ``shape``: sum over the axes that broadcasting added or stretched."""
    if grad.shape == shape:
        return grad
    if grad.ndim > len(shape):
        grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    stretched = tuple(axis for axis, size in enumerate(shape) if size == 1 and grad.shape[axis] != 1)
    return grad.sum(axis=stretched, keepdims=True) if stretched else grad


def arrays_of(user: str, *tensors: Tensor) -> list[Any]:
    """Their arrays, which lie on one device; see ``device.together``."""
    arrays = [tensor.array for tensor in tensors]
    return together(user, arrays) if device_use.started else arrays


def constant(values: Any, x: Tensor) -> Tensor:
    """A tensor of an array of the host, off the tape, where ``x`` lies."""
    return Tensor(kernels.like(values, x.array) if device_use.started else values)


def axes(dims: tuple[int, ...]) -> tuple[int, ...] | None:
    """Dimensions as an array's reductions take them: of no dimension there is nothing to name."""
    return dims or None


def normalize_dim(dim: int, ndim: int) -> int:
    """``dim`` counted from 0; IndexError outside [-ndim, ndim)."""
    limit = max(ndim, 1)
    if not -limit <= dim < limit:
        raise IndexError(f"dimension out of range: got {dim}; expected {-limit} to {limit - 1}")
    return dim % limit


def normalize_dims(dim: int | tuple[int, ...] | list[int] | None, ndim: int) -> tuple[int, ...]:
    """``dim`` as a tuple of dimensions counted from 0; None means all of them."""
    if dim is None:
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, int | np.integer) else tuple(dim)
    return tuple(normalize_dim(int(d), ndim) for d in dims) if ndim else ()
