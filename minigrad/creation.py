"""Making tensors. Random numbers are drawn on the host, so that they are the same on every device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import kernels
from minigrad import random
from minigrad.arguments import checked, sizes
from minigrad.device import CPU, moved, resolve
from minigrad.dtypes import DEFAULT_FLOAT, as_dtype, check_fits, int64, is_floating
from minigrad.naming import described
from minigrad.random import Generator
from minigrad.shapes_only import is_shapes_only, without_memory
from minigrad.tensor import Tensor

Size = int | tuple[int, ...] | list[int]


def _made(user: str, array: np.ndarray, dtype: Any, device: Any, requires_grad: bool, numbers: bool = False) -> Tensor:
    """A tensor of an array of the host, on the host or moved to ``device``; ``numbers``: the array is of Python's."""
    if dtype is not None:
        dtype = as_dtype(user, dtype)
        check_fits(user, array, dtype, numbers)
        array = array.astype(dtype, copy=False)
    return Tensor(array if device is None else moved(array, resolve(device)), requires_grad=requires_grad)


def _like(x: Tensor, dtype: Any, device: Any) -> dict[str, Any]:
    """The dtype and the device that are asked for, else those of ``x``."""
    kind, where = x.dtype if dtype is None else dtype, device_like(x) if device is None else device
    return {"dtype": kind, "device": where}


def _default(dtype: np.dtype) -> np.dtype:
    """What Python's numbers become: floats float32."""
    return DEFAULT_FLOAT if dtype == np.float64 else dtype


def _shape(user: str, size: Sequence[Any]) -> tuple[int, ...]:
    """The sizes of a new tensor; RuntimeError for a negative one."""
    shape = sizes(user, size)
    if min(shape, default=0) < 0:
        raise RuntimeError(f"{user}: sizes are {shape}; expected 0 or more")
    return shape


def _count(user: str, name: str, value: int) -> int:
    """A number of elements; RuntimeError if it is negative."""
    if value < 0:
        raise RuntimeError(f"{user}: {name} is {value}; expected 0 or more")
    return int(value)


@checked
def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A copy of ``data`` (numbers, nested lists, arrays, Tensors). Python floats become float32, integers int64.

    Raises:
        ValueError: nested lists of unequal lengths.
        TypeError: what is no number, or a dtype that tensors do not have.
        RuntimeError: numbers that the dtype cannot hold.
    """
    if isinstance(data, Tensor) and data.is_cuda:
        return Tensor(data.detach().to(dtype=dtype, device=device).array.copy(), requires_grad=requires_grad)
    array = _array_of(data)
    given_by_numpy = isinstance(data, Tensor | np.ndarray | np.generic)
    if dtype is None and not given_by_numpy:
        dtype = DEFAULT_FLOAT if array.dtype == np.float64 or array.size == 0 else array.dtype
        dtype = int64 if dtype.kind in "uO" else dtype  # as NumPy reads integers that are too large
    numbers = not isinstance(data, Tensor | np.ndarray)
    return _made("tensor", array, dtype, device, requires_grad, numbers)


def _array_of(data: Any) -> np.ndarray:
    """A copy of ``data`` on the host."""
    if isinstance(data, list | tuple):
        data = [kernels.to_host(item.array) if isinstance(item, Tensor) else item for item in data]
    try:
        array = np.array(data.array if isinstance(data, Tensor) else data)
    except ValueError:
        raise ValueError("tensor: data is nested unequally; expected lists of one length per level") from None
    if isinstance(data, list | tuple) and _may_be_large(array):
        array = _of_large(np.array(data, object), array)
    large = array.dtype == object and all(isinstance(number, int) for number in array.flat)
    if array.dtype.kind not in "biuf" and not large:
        raise TypeError(f"tensor: data is {described(data)}; expected numbers, or nested lists of them")
    return array


def _may_be_large(array: np.ndarray) -> bool:
    """Whether NumPy may have read integers too large for int64: as objects or, where it wants two dtypes, as floats."""
    return array.dtype == object or (array.dtype == np.float64 and bool((np.abs(array) >= 2.0**63).any()))


def _of_large(numbers: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Numbers, some beyond int64, which NumPy read as ``array``: floats if one is a float, else Python's integers."""
    plain = [
        number.item() if isinstance(number, np.generic | np.ndarray | Tensor) else number for number in numbers.flat
    ]
    kinds = {type(number) for number in plain}
    if not kinds <= {int, bool, float}:
        return array
    return np.array(plain, np.float64 if float in kinds else object).reshape(numbers.shape)


@checked
def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of ``data``, as ``tensor`` makes it, but without a copy where none is needed.

    A Tensor of this dtype and on this device is returned itself, else converted on the tape; an array of this dtype
    shares its memory with the result.
    """
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    if isinstance(data, np.ndarray):
        return _made("as_tensor", data, dtype, device, False)
    return tensor(data, dtype, device)


def from_numpy(array: np.ndarray) -> Tensor:
    """A Tensor that shares the array's memory."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: array is {described(array)}; expected an ndarray")
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


@checked
def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All zeros, of shape ``size``; float32 unless ``dtype`` says otherwise."""
    shape, dtype = _shape("zeros", size), as_dtype("zeros", DEFAULT_FLOAT if dtype is None else dtype)
    array = np.zeros(shape, dtype) if device is None else _zeros_on(shape, dtype, device)
    return Tensor(array, requires_grad=requires_grad)


def _zeros_on(shape: tuple[int, ...], dtype: Any, device: Any) -> Any:
    """Zeros made where they are to lie."""
    return np.zeros(shape, dtype) if resolve(device) is CPU else kernels.zeros_on_device(shape, dtype)


@checked
def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All ones, of shape ``size``; float32 unless ``dtype`` says otherwise."""
    return full(_shape("ones", size), 1, DEFAULT_FLOAT if dtype is None else dtype, device, requires_grad)


@checked
def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Uninitialised memory; zeros on a GPU."""
    if device is None:
        dtype = as_dtype("empty", DEFAULT_FLOAT if dtype is None else dtype)
        make = without_memory if is_shapes_only() else np.empty
        return Tensor(make(_shape("empty", size), dtype), requires_grad=requires_grad)
    return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)


@checked
def full(size: Size, fill_value: float, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """All ``fill_value``, of shape ``size``; floats make float32, integers int64."""
    shape = _shape("full", (size,))
    value = np.asarray(fill_value.item() if isinstance(fill_value, Tensor) else fill_value)
    dtype = as_dtype("full", _default(value.dtype) if dtype is None else dtype)
    check_fits("full", value, dtype, numbers=not isinstance(fill_value, Tensor))
    if device is None or resolve(device) is CPU:
        return Tensor(np.full(shape, value.astype(dtype)), requires_grad=requires_grad)
    result = zeros(shape, dtype=dtype, device=device)
    result.array.fill(value.astype(dtype)[()])
    return result.requires_grad_(requires_grad)


@checked
def arange(
    *bounds: float, start: float | None = None, end: float | None = None, step: float | None = None,
    dtype: Any = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``arange(end)``, ``arange(start, end)``, ``arange(start, end, step)``, also by name; floats make float32."""
    numbers = _range_of(bounds, {"start": start, "end": end, "step": step})
    real = all(isinstance(value, int | float | np.number) and math.isfinite(value) for value in numbers)
    if not real or numbers[2] == 0:
        raise TypeError(
            f"arange: got {', '.join(map(described, numbers))}; expected start, end and step, finite, no step 0"
        )
    first, last, stride = numbers
    if (last - first) * stride < 0:
        raise RuntimeError(f"arange: from {first} to {last} by {stride}; expected a step that leads there")
    values = np.arange(*numbers)
    kind = DEFAULT_FLOAT if is_floating(values.dtype) else int64
    return _made("arange", values, kind if dtype is None else dtype, device, requires_grad)


def _range_of(bounds: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
    """Start, end and step, given by place and by name; one number by place is the end, if no name is that."""
    places = ("end",) if len(bounds) == 1 and named["end"] is None else ("start", "end", "step")
    by_place, by_name = dict(zip(places, bounds, strict=False)), {k: v for k, v in named.items() if v is not None}
    if len(bounds) > len(places) or by_place.keys() & by_name:
        names = ", ".join(by_name) or "nothing"
        raise TypeError(f"arange: got {bounds} by place and {names} by name; expected start, end, step once each")
    whole = {"start": 0, "end": None, "step": 1} | by_name | by_place
    return [value.item() if isinstance(value, Tensor) else value for value in whole.values()]


@checked
def linspace(start: float, end: float, steps: int, dtype: Any = None, device: Any = None) -> Tensor:
    """``steps`` evenly spaced values from ``start`` to ``end``, both included, (steps,)."""
    values = np.linspace(float(start), float(end), _count("linspace", "steps", steps))
    return _made("linspace", values, DEFAULT_FLOAT if dtype is None else dtype, device, False)


@checked
def eye(n: int, m: int | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """The (n, m) matrix with ones on its diagonal; m is n by default."""
    rows = _count("eye", "n", n)
    return _made(
        "eye",
        np.eye(rows, rows if m is None else _count("eye", "m", m)),
        DEFAULT_FLOAT if dtype is None else dtype,
        device,
        False,
    )


def device_like(x: Tensor) -> Any:
    """The device of ``x``, to make tensors on; None for the host."""
    return x.device if x.is_cuda else None


@checked
def zeros_like(x: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape and dtype of ``x``."""
    return zeros(x.shape, **_like(x, dtype, device), requires_grad=requires_grad)


@checked
def ones_like(x: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape and dtype of ``x``."""
    return ones(x.shape, **_like(x, dtype, device), requires_grad=requires_grad)


@checked
def empty_like(x: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Uninitialised memory of the shape and dtype of ``x``."""
    return empty(x.shape, **_like(x, dtype, device), requires_grad=requires_grad)


@checked
def full_like(x: Tensor, fill_value: float, dtype: Any = None, device: Any = None) -> Tensor:
    """All ``fill_value``, of the shape and dtype of ``x``."""
    return full(x.shape, fill_value, **_like(x, dtype, device))


@checked
def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draws from U[0, 1)."""
    values = random.generator(generator).random(_shape("rand", size), np.float32)
    return _made("rand", values, dtype, device, requires_grad)


@checked
def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draws from N(0, 1)."""
    values = random.generator(generator).standard_normal(_shape("randn", size))
    return _made("randn", values, DEFAULT_FLOAT if dtype is None else dtype, device, requires_grad)


@checked
def rand_like(x: Tensor) -> Tensor:
    """Draws from U[0, 1) of the shape and dtype of ``x``, where it lies."""
    return rand(x.shape, dtype=x.dtype, device=device_like(x))


@checked
def randn_like(x: Tensor) -> Tensor:
    """Draws from N(0, 1) of the shape and dtype of ``x``, where it lies."""
    return randn(x.shape, dtype=x.dtype, device=device_like(x))


@checked
def randint(
    *bounds: Any,
    low: int | None = None,
    high: int | None = None,
    size: Size | None = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
) -> Tensor:
    """``randint(high, size)`` or ``randint(low, high, size)``, also by name: integers from low (0) to high - 1."""
    given = [*bounds]
    size = given.pop() if size is None and given else size
    high = given.pop() if high is None and given else high
    low = given.pop() if low is None and given else low or 0
    counted = all(isinstance(bound, int | np.integer) for bound in (low, high))
    if given or size is None or not counted or low >= high:  # type: ignore[operator]  # counted
        got = f"low {described(low)}, high {described(high)}, size {described(size)}"
        raise RuntimeError(f"randint: got {got}; expected low below high, and a size")
    shape = _shape("randint", (size,))
    values = random.generator(generator).integers(low, high, shape)
    return _made("randint", values, int64 if dtype is None else dtype, device, False)


@checked
def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """A random order of 0 to n - 1."""
    order = random.generator(generator).permutation(_count("randperm", "n", n))
    return _made("randperm", order, dtype, device, False)


def is_tensor(value: object) -> bool:
    """Whether ``value`` is a Tensor."""
    return isinstance(value, Tensor)
