"""To another dtype, device or memory."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from minigrad.device import require_cpu
from minigrad.dtypes import is_floating
from minigrad.function import Context, Function
from minigrad.tensor import Tensor, sizes

Array = np.ndarray


class Cast(Function):
    """x in another dtype; the tape casts the gradient back"""

    @staticmethod
    def forward(ctx: Context, x: Array, dtype: np.dtype) -> Array:
        return x.astype(dtype)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        return grad, None


class Clone(Function):
    """a copy, on the tape"""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        return x.copy()

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return grad


def cast(x: Tensor, dtype: np.dtype) -> Tensor:
    """``x`` in another dtype; on the tape between floating dtypes."""
    if not is_floating(np.dtype(dtype)):
        return Tensor(x.array.astype(dtype))
    return Cast.apply(x, np.dtype(dtype))


def clone(x: Tensor) -> Tensor:
    """A copy with memory of its own, on the tape."""
    return Clone.apply(x)


def to(x: Tensor, *targets: Any, dtype: Any = None, device: Any = None, **_options: Any) -> Tensor:
    """``to(dtype)``, ``to(device)``, ``to(other)``: ``x`` itself where nothing changes."""
    for target in targets:
        if isinstance(target, Tensor):
            dtype = target.dtype
        elif isinstance(target, np.dtype | builtins.type):
            dtype = target
        else:
            device = target
    require_cpu(device)
    return x if dtype is None or np.dtype(dtype) == x.dtype else cast(x, np.dtype(dtype))


_TYPE_NAMES = {
    "FloatTensor": np.float32, "DoubleTensor": np.float64, "HalfTensor": np.float16, "LongTensor": np.int64,
    "IntTensor": np.int32, "BoolTensor": np.bool_, "ByteTensor": np.uint8,
}  # fmt: skip


def type(x: Tensor, dtype: Any = None) -> Any:
    """Without an argument PyTorch's name of the tensor's type, else ``x`` as that dtype, constructor or type name."""
    if dtype is None:
        return next((f"torch.{name}" for name, kind in _TYPE_NAMES.items() if kind == x.dtype), str(x.dtype))
    if isinstance(dtype, str) and dtype.rpartition(".")[2] in _TYPE_NAMES:
        dtype = _TYPE_NAMES[dtype.rpartition(".")[2]]
    constructed = getattr(dtype, "dtype", None)  # of torch.LongTensor and its like
    return to(x, dtype=constructed if isinstance(constructed, np.dtype) else dtype)


def type_as(x: Tensor, other: Tensor) -> Tensor:
    return to(x, dtype=other.dtype)


def cpu(x: Tensor) -> Tensor:
    return x


def cuda(x: Tensor, index: Any = None) -> Tensor:
    return to(x, device="cuda")


def contiguous(x: Tensor) -> Tensor:
    """``x`` itself if its elements lie in C order, else a copy."""
    return x if x.is_contiguous() else clone(x)


def new_tensor(x: Tensor, data: Any) -> Tensor:
    """A tensor of ``data`` with the dtype of ``x``."""
    return Tensor(np.array(data.array if isinstance(data, Tensor) else data, x.dtype))


def new_full(x: Tensor, size: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """A tensor of shape ``size`` filled with one value, of the dtype of ``x`` unless another is given."""
    return Tensor(np.full(sizes((size,)), fill_value, dtype or x.dtype))


def new_zeros(x: Tensor, *size: Any, dtype: Any = None) -> Tensor:
    """Zeros of shape ``size`` and the dtype of ``x`` unless another is given."""
    return new_full(x, sizes(size), 0, dtype)


def new_ones(x: Tensor, *size: Any, dtype: Any = None) -> Tensor:
    """Ones of shape ``size`` and the dtype of ``x`` unless another is given."""
    return new_full(x, sizes(size), 1, dtype)
