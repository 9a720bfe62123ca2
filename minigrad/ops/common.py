"""What ops share: operands to Tensors of one dtype, and dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from minigrad.broadcasting import broadcast_shape
from minigrad.device import together
from minigrad.device import use as device_use
from minigrad.dtypes import DEFAULT_FLOAT, check_fits, is_floating, result_type, wrapped
from minigrad.tensor import Tensor


def tensor_of(value: Any) -> Tensor:
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
    if (common := _common_dtype(operands)) is not None and (is_floating(common) or not floating):
        return [o if isinstance(o, Tensor) else Tensor(np.asarray(o, common)) for o in operands]
    operands = tuple(tensor_of(o) if isinstance(o, list | tuple | np.ndarray | np.generic) else o for o in operands)
    dtype = result_type(*[o.array if isinstance(o, Tensor) else o for o in operands])
    if floating and not is_floating(dtype):
        dtype = DEFAULT_FLOAT
    return [to_dtype(o, dtype) for o in operands]


def _common_dtype(operands: tuple[Any, ...]) -> np.dtype | None:
    """The dtype of Tensors of one and, if that is a floating one, of Python's numbers beside them; else None."""
    found: np.dtype | None = None
    numbers = False
    for operand in operands:
        if isinstance(operand, Tensor):
            if found is not None and operand.array.dtype is not found:
                return None
            found = operand.array.dtype
        elif type(operand) in (int, float):
            numbers = True
        else:
            return None
    return None if numbers and (found is None or found.kind != "f") else found


def pair(user: str, a: Any, b: Any, floating: bool = False) -> list[Tensor]:
    """Two operands of an elementwise op, promoted; RuntimeError where their shapes do not broadcast."""
    tensors = promote(a, b, floating=floating)
    broadcast_shape(user, tensors[0].shape, tensors[1].shape)
    return tensors


def no_bool(user: str, x: Tensor, instead: str = "bitwise_not or logical_not") -> Tensor:
    """``x`` itself; RuntimeError for a bool tensor, of which there is no arithmetic."""
    if x.dtype == np.bool_:
        raise RuntimeError(f"{user}: got dtype bool; expected numbers; for truths use {instead}")
    return x


def to_dtype(value: Any, dtype: np.dtype) -> Tensor:
    if isinstance(value, Tensor):
        return value if value.dtype == dtype else value.to(dtype=dtype)
    if not isinstance(value, int | float | bool | np.generic):
        raise TypeError(f"expected a tensor or a number; got {type(value).__name__}")
    number = wrapped(value, dtype) if isinstance(value, int) and dtype.kind in "iu" else value
    return Tensor(np.asarray(number, dtype=dtype))


def check_number(user: str, name: str, value: Any, dtype: np.dtype) -> None:
    """RuntimeError where ``value`` is a Python number that ``dtype`` cannot hold."""
    if isinstance(value, int | float):
        check_fits(f"{user}: {name}", np.asarray(value), dtype, numbers=True)


def filler(user: str, value: Any, dtype: np.dtype) -> Tensor:
    """What is written into a tensor of ``dtype``: numbers, an array or a tensor, converted.

    RuntimeError for NaN, inf or numbers out of its range where ``dtype`` is an integer's.
    """
    if isinstance(value, Tensor) or kernels.on_device(value):
        return to_dtype(tensor_of(value), dtype)
    values = np.asarray(value)
    check_fits(user, values, dtype, numbers=not isinstance(value, np.ndarray))
    return Tensor(values.astype(dtype))


def floating(x: Any) -> Tensor:
    """``x`` as a floating Tensor: what exp, log and their like work on."""
    x = tensor_of(x)
    return x if is_floating(x.dtype) else x.to(dtype=DEFAULT_FLOAT)


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


def normalize_dim(dim: int, ndim: int, user: str, name: str = "dim") -> int:
    """``dim`` counted from 0; IndexError outside [-ndim, ndim). ``user`` and ``name`` stand in the message."""
    limit = max(ndim, 1)
    if not -limit <= dim < limit:
        raise IndexError(
            f"{user}: {name} is out of range: got {dim}; expected {-limit} to {limit - 1} for {ndim} dimensions"
        )
    return int(dim) % limit


def normalize_dims(dim: Any, ndim: int, user: str, name: str = "dim") -> tuple[int, ...]:
    """``dim`` (one, several, or None for all) as different dimensions counted from 0."""
    if dim is None:
        return tuple(range(ndim))
    dims = dim if isinstance(dim, list | tuple) else (dim,)
    found = tuple(normalize_dim(d, ndim, user, name) for d in dims)
    if len(found) != len({*found}):
        raise RuntimeError(f"{user}: {name} {tuple(dims)} names a dimension twice; expected each once")
    return found if ndim else ()
