"""The methods that make a tensor of another dtype, on another device, or like another one."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import creation
from minigrad.arguments import sizes
from minigrad.device import CPU, resolve
from minigrad.device import device as Device
from minigrad.dtypes import as_dtype
from minigrad.ops.copies import Move, cast, clone
from minigrad.ops.op import method
from minigrad.tensor import Tensor


@method
def to(x: Tensor, *targets: Any, dtype: Any = None, device: Any = None, **_options: Any) -> Tensor:
    """``to(dtype)``, ``to(device)``, ``to(other)``: ``x`` itself where nothing changes."""
    dtype, device = wanted(*targets, dtype=dtype, device=device)
    if device is not None:
        where = resolve(device)
        x = x if x.is_cuda == (where.type == "cuda") else Move.apply(x, where)
    return x if dtype is None or dtype == x.dtype else cast(x, dtype)


def wanted(*targets: Any, dtype: Any = None, device: Any = None, **_options: Any) -> tuple[Any, Any]:
    """The dtype and the device that the arguments of ``to`` name, each None where they name none."""
    for target in targets:
        if isinstance(target, Tensor):
            dtype, device = target.dtype, target.device
        elif isinstance(target, str | Device | int) and not isinstance(target, bool):
            device = target
        elif target is not None:
            dtype = target
    return None if dtype is None else as_dtype("to", dtype), device


_TYPE_NAMES = {
    "FloatTensor": np.float32, "DoubleTensor": np.float64, "HalfTensor": np.float16, "LongTensor": np.int64,
    "IntTensor": np.int32, "BoolTensor": np.bool_, "ByteTensor": np.uint8,
}  # fmt: skip


@method
def type(x: Tensor, dtype: Any = None) -> Any:
    """Without an argument PyTorch's name of the tensor's type, else ``x`` as that dtype, constructor or type name."""
    if dtype is None:
        package = "torch.cuda" if x.is_cuda else "torch"
        return next((f"{package}.{name}" for name, kind in _TYPE_NAMES.items() if kind == x.dtype), str(x.dtype))
    if isinstance(dtype, str) and dtype.rpartition(".")[2] in _TYPE_NAMES:
        package, _, name = dtype.rpartition(".")
        return to(x, dtype=_TYPE_NAMES[name], device="cuda" if package == "torch.cuda" else "cpu")
    constructed = getattr(dtype, "dtype", None)  # of torch.LongTensor and its like
    return to(x, dtype=constructed if isinstance(constructed, np.dtype) else dtype)


@method
def type_as(x: Tensor, other: Tensor) -> Tensor:
    """``x`` in the dtype and on the device of ``other``."""
    return to(x, other)


@method
def cpu(x: Tensor) -> Tensor:
    """``x`` itself on the host, else a copy there, on the tape."""
    return to(x, device=CPU) if x.is_cuda else x


@method
def cuda(x: Tensor, device: Any = None, **_options: Any) -> Tensor:
    """``x`` itself on the GPU, else a copy there, on the tape; RuntimeError where there is none."""
    return to(x, device="cuda" if device is None else device)


@method
def contiguous(x: Tensor) -> Tensor:
    """``x`` itself if its elements lie in C order, else a copy."""
    return x if x.is_contiguous() else clone(x)


@method
def new_tensor(x: Tensor, data: Any) -> Tensor:
    """A tensor of ``data`` with the dtype of ``x``, where it lies."""
    return creation.tensor(data, dtype=x.dtype, device=creation.device_like(x))


@method
def new_full(x: Tensor, size: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """A tensor of shape ``size`` filled with one value, where ``x`` lies, of its dtype unless another is given."""
    return creation.full(
        sizes("new_full", (size,)), fill_value, x.dtype if dtype is None else dtype, creation.device_like(x)
    )


@method
def new_zeros(x: Tensor, *size: Any, dtype: Any = None) -> Tensor:
    """Zeros of shape ``size`` and the dtype of ``x`` unless another is given."""
    return new_full(x, sizes("new_zeros", size), 0, dtype)


@method
def new_ones(x: Tensor, *size: Any, dtype: Any = None) -> Tensor:
    """Ones of shape ``size`` and the dtype of ``x`` unless another is given."""
    return new_full(x, sizes("new_ones", size), 1, dtype)
