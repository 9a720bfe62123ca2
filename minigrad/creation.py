"""Making tensors. Random numbers are drawn on the host, so that they are the same on every device."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from minigrad import random
from minigrad.device import CPU, moved, resolve
from minigrad.dtypes import DEFAULT_FLOAT, int64, is_floating
from minigrad.tensor import Tensor, sizes


def _made(array: np.ndarray, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    """A tensor of an array of the host, on the host or moved to ``device``."""
    array = array if dtype is None else array.astype(dtype, copy=False)
    return Tensor(array if device is None else moved(array, resolve(device)), requires_grad=requires_grad)


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A copy of ``data`` (numbers, nested lists, arrays, Tensors). Python floats become float32, integers int64."""
    if isinstance(data, Tensor) and data.is_cuda:
        return Tensor(data.detach().to(dtype=dtype, device=device).array.copy(), requires_grad=requires_grad)
    if isinstance(data, Tensor):
        data = data.array
    elif isinstance(data, list | tuple):
        data = [kernels.to_host(item.array) if isinstance(item, Tensor) else item for item in data]
    array = np.array(data)
    if array.dtype == object:
        raise ValueError("tensor: expected numbers or nested lists of one length per level")
    given_by_numpy = isinstance(data, np.ndarray | np.generic)
    if dtype is None and not given_by_numpy and (array.dtype == np.float64 or array.size == 0):
        dtype = DEFAULT_FLOAT
    return _made(array, dtype, device, requires_grad)


as_tensor = tensor


def from_numpy(array: np.ndarray) -> Tensor:
    """A Tensor that shares the array's memory."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected an ndarray; got {type(array).__name__}")
    return Tensor(array)


class _Legacy:
    """PyTorch's old constructors: ``FloatTensor([1, 2])`` holds these values, ``FloatTensor(2, 3)`` has that shape.

    PyTorch leaves the latter uninitialised; here it is zeros, so that nothing depends on what lay in memory.
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)

    def __call__(self, *data: Any) -> Tensor:
        if len(data) == 1 and not isinstance(data[0], int):
            return tensor(data[0], dtype=self.dtype)
        return zeros(*data, dtype=self.dtype)


FloatTensor, DoubleTensor = _Legacy(np.float32), _Legacy(np.float64)
LongTensor, IntTensor = _Legacy(np.int64), _Legacy(np.int32)
BoolTensor, ByteTensor = _Legacy(np.bool_), _Legacy(np.uint8)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All zeros, of shape ``size``; float32 unless ``dtype`` says otherwise."""
    if device is None:
        return Tensor(np.zeros(sizes(size), dtype or DEFAULT_FLOAT), requires_grad=requires_grad)
    return Tensor(_zeros_on(sizes(size), dtype or DEFAULT_FLOAT, device), requires_grad=requires_grad)


def _zeros_on(shape: tuple[int, ...], dtype: Any, device: Any) -> Any:
    """Zeros made where they are to lie."""
    return np.zeros(shape, dtype) if resolve(device) is CPU else kernels.zeros_on_device(shape, dtype)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All ones, of shape ``size``; float32 unless ``dtype`` says otherwise."""
    return full(sizes(size), 1, dtype or DEFAULT_FLOAT, device, requires_grad)


def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Uninitialised memory; zeros on a GPU."""
    if device is None:
        return Tensor(np.empty(sizes(size), dtype or DEFAULT_FLOAT), requires_grad=requires_grad)
    return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)


def full(size: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All ``fill_value``, of shape ``size``; floats make float32, integers int64."""
    value = np.asarray(fill_value)
    if dtype is None:
        dtype = DEFAULT_FLOAT if value.dtype == np.float64 else value.dtype
    if device is None or resolve(device) is CPU:
        return Tensor(np.full(sizes((size,)), value.astype(dtype)), requires_grad=requires_grad)
    result = zeros(sizes((size,)), dtype=dtype, device=device)
    result.array.fill(value.astype(dtype)[()])
    return result.requires_grad_(requires_grad)


def arange(
    *bounds: Any, start: Any = 0, end: Any = None, step: Any = 1, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``arange(end)``, ``arange(start, end)``, ``arange(start, end, step)``; floats make float32."""
    values = np.arange(*bounds) if bounds else np.arange(start, end, step)
    return _made(values, dtype or (DEFAULT_FLOAT if is_floating(values.dtype) else int64), device, requires_grad)


def linspace(start: float, end: float, steps: int, dtype: Any = None, device: Any = None) -> Tensor:
    """``steps`` evenly spaced values from ``start`` to ``end``, both included, (steps,)."""
    return _made(np.linspace(start, end, steps), dtype or DEFAULT_FLOAT, device, False)


def eye(n: int, m: int | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """The (n, m) matrix with ones on its diagonal; m is n by default."""
    return _made(np.eye(n, m), dtype or DEFAULT_FLOAT, device, False)


def place_of(x: Tensor) -> Any:
    """The device of ``x``, to make tensors on; None for the host."""
    return x.device if x.is_cuda else None


def zeros_like(x: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape and dtype of ``x``."""
    return zeros(x.shape, dtype=dtype or x.dtype, device=device or place_of(x), requires_grad=requires_grad)


def ones_like(x: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape and dtype of ``x``."""
    return ones(x.shape, dtype=dtype or x.dtype, device=device or place_of(x), requires_grad=requires_grad)


def empty_like(x: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Uninitialised memory of the shape and dtype of ``x``."""
    return empty(x.shape, dtype=dtype or x.dtype, device=device or place_of(x), requires_grad=requires_grad)


def full_like(x: Tensor, fill_value: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """All ``fill_value``, of the shape and dtype of ``x``."""
    return full(x.shape, fill_value, dtype=dtype or x.dtype, device=device or place_of(x))


def rand(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Draws from U[0, 1)."""
    return _made(random.generator().random(sizes(size), np.float32), dtype, device, requires_grad)


def randn(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Draws from N(0, 1)."""
    values = random.generator().standard_normal(sizes(size))
    return _made(values, dtype or DEFAULT_FLOAT, device, requires_grad)


def rand_like(x: Tensor) -> Tensor:
    """Draws from U[0, 1) of the shape and dtype of ``x``, where it lies."""
    return rand(x.shape, dtype=x.dtype, device=place_of(x))


def randn_like(x: Tensor) -> Tensor:
    """Draws from N(0, 1) of the shape and dtype of ``x``, where it lies."""
    return randn(x.shape, dtype=x.dtype, device=place_of(x))


def randint(low: int, high: Any = None, size: Any = None, dtype: Any = None, device: Any = None) -> Tensor:
    """``randint(high, size)`` or ``randint(low, high, size)``: integers from low (0) to high - 1."""
    if size is None:
        low, high, size = 0, low, high
    return _made(random.generator().integers(low, high, sizes((size,))), dtype or int64, device, False)


def randperm(n: int, dtype: Any = None, device: Any = None) -> Tensor:
    """A random order of 0 to n - 1."""
    return _made(random.generator().permutation(n), dtype, device, False)


def is_tensor(value: object) -> bool:
    """Whether ``value`` is a Tensor."""
    return isinstance(value, Tensor)
