"""The array of the stand-in: a NumPy array that nobody reaches but through CuPy's names."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

from ._memory import allocate, memory_of, refuse_under_capture, synchronisations
from ._recording import in_place, recorded

IMPLICIT = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
)


def to_device(a: Any) -> ndarray:
    """A copy of a NumPy result in memory of the device, or the view of such memory that it already is."""
    a = np.asarray(a)
    if a.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {a.dtype}")
    if memory_of(a) is None:
        out = allocate(a.shape, a.dtype, poison=False)
        out[...] = a
        a = out
    return ndarray._wrap(a)


def scalar(value: Any) -> Any:
    """A number as CuPy takes it beside an array: Python's or NumPy's scalars; everything else is refused."""
    if isinstance(value, (bool, int, float, complex, np.generic)):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def operand(value: Any) -> Any:
    """The NumPy side of an argument of an elementwise operation."""
    return value._a if isinstance(value, ndarray) else scalar(value)


def only_arrays(value: Any) -> Any:
    """The NumPy side of an argument that has to be a device array."""
    if not isinstance(value, ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    return value._a


def index_of(key: Any, shape: tuple[int, ...]) -> Any:
    """A NumPy index from a CuPy one. Indices out of range wrap around, as they do on the device."""
    parts = list(key) if isinstance(key, tuple) else [key]
    parts = [np.asarray(part) if isinstance(part, list) else part for part in parts]
    used = sum(_axes(part) for part in parts)
    out: list[Any] = []
    axis = 0
    for part in parts:
        if part is Ellipsis:
            axis += len(shape) - used
            out.append(part)
            continue
        values = part._a if isinstance(part, ndarray) else part
        if isinstance(values, np.ndarray) and not isinstance(part, ndarray):
            synchronisations.append("index by an array of the host")
        if isinstance(values, np.ndarray) and values.dtype.kind == "b":
            synchronisations.append("boolean index")
        elif isinstance(values, np.ndarray) and values.dtype.kind in "iu" and axis < len(shape):
            values = values.astype(np.int64) % max(shape[axis], 1)
        elif isinstance(values, np.ndarray):
            raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {values.dtype})")
        out.append(values)
        axis += _axes(part)
    return tuple(out) if isinstance(key, tuple) else out[0]


def _axes(part: Any) -> int:
    """How many axes of the array a part of an index speaks of."""
    if part is None or part is Ellipsis or isinstance(part, (bool, np.bool_)):
        return 0
    if isinstance(part, (ndarray, np.ndarray)) and part.dtype.kind == "b":
        return part.ndim
    return 1


def _binary(name: str) -> tuple[Any, Any, Any]:
    def forward(self: ndarray, other: Any) -> Any:
        return _ufunc(name)(self, other)

    def reflected(self: ndarray, other: Any) -> Any:
        return _ufunc(name)(other, self)

    def in_place(self: ndarray, other: Any) -> Any:
        return _ufunc(name)(self, other, out=self)

    return forward, reflected, in_place


def _ufunc(name: str) -> Any:
    return getattr(sys.modules["cupy"], name)


def _method(name: str) -> Any:
    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        return _ufunc(name)(self, *args, **kwargs)

    method.__name__ = name
    return method


class ndarray:  # noqa: N801, its name in CuPy
    """CuPy's array. `data.ptr` is the address of memory that a kernel of the simulator may read and write."""

    __module__ = "cupy"
    __array_priority__ = 100
    __slots__ = ("__weakref__", "_a", "base")
    __hash__ = None  # type: ignore[assignment]

    def __new__(cls, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: str = "C") -> Any:
        if memptr is not None or strides is not None or order != "C":
            raise NotImplementedError("the stand-in makes C-contiguous arrays of their own memory only")
        return cls._wrap(allocate(shape, dtype))

    @classmethod
    def _wrap(cls, a: np.ndarray, base: ndarray | None = None) -> ndarray:
        self = object.__new__(cls)
        self._a, self.base = a, base
        return self

    # What it is.
    shape = property(lambda self: self._a.shape)
    dtype = property(lambda self: self._a.dtype)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    itemsize = property(lambda self: self._a.itemsize)
    nbytes = property(lambda self: self._a.nbytes)
    strides = property(lambda self: self._a.strides)
    T = property(lambda self: self._view(self._a.T))
    mT = property(lambda self: self._view(self._a.mT))  # noqa: N815

    @property
    def flags(self) -> Any:
        flags = self._a.flags
        return SimpleNamespace(
            c_contiguous=flags.c_contiguous,
            f_contiguous=flags.f_contiguous,
            forc=flags.forc,
            fnc=flags.fnc,
            owndata=self.base is None,
        )

    @property
    def data(self) -> Any:
        address = self._a.ctypes.data
        return SimpleNamespace(ptr=address, mem=SimpleNamespace(ptr=address, size=self.nbytes), device_id=0)

    @property
    def device(self) -> Any:
        return sys.modules["cupy"].cuda.Device(0)

    def __len__(self) -> int:
        return len(self._a)

    def __repr__(self) -> str:
        return repr(self._a)

    def __str__(self) -> str:
        return str(self._a)

    # Across the border, always by name.
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(IMPLICIT)

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        refuse_under_capture("get()")
        synchronisations.append("get")
        if out is not None:
            out[...] = self._a
            return out
        return np.array(self._a, order="C" if order == "A" else order)  # type: ignore[call-overload]

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        refuse_under_capture("set()")
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        self._a[...] = arr

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self.get().tobytes()

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ndarray:
        return self.copy()

    def __reduce__(self) -> Any:
        return sys.modules["cupy"].array, (self.get(),)

    # NumPy's protocols.
    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        ours = getattr(sys.modules["cupy"], ufunc.__name__, None)
        if ours is None:
            return NotImplemented
        if isinstance(out := kwargs.get("out"), tuple):
            if len(out) != 1:
                raise ValueError("The 'out' parameter must have exactly one array value")
            kwargs["out"] = out[0]
        if method == "__call__":
            return ours(*inputs, **kwargs)
        return getattr(ours, method)(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = ".".join([*func.__module__.split(".")[1:], func.__name__])
        ours = sys.modules["cupy"]
        for part in name.split("."):
            ours = getattr(ours, part, None)
        if ours is None or not all(t in (ndarray, np.ndarray) for t in types):
            return NotImplemented
        return ours(*args, **kwargs)

    # Elements.
    @recorded
    def __getitem__(self, key: Any) -> ndarray:
        result = self._a[index_of(key, self.shape)]
        if isinstance(result, np.ndarray) and np.may_share_memory(result, self._a) and memory_of(result) is not None:
            return self._view(result)
        if isinstance(result, np.generic) and all(
            _is_whole(part) for part in (key if isinstance(key, tuple) else (key,))
        ):
            return self._view(self._a[(*(key if isinstance(key, tuple) else (key,)), ...)])  # one element is a view too
        return to_device(result)

    @in_place
    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, (np.ndarray, list)) and np.ndim(value):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        if isinstance(value, np.ndarray):
            value = value[()]
        index = index_of(key, self.shape)
        _refuse_ambiguous(self._a, index, value)
        self._a[index] = value._a if isinstance(value, ndarray) else scalar(value)

    def __iter__(self) -> Any:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[k] for k in range(len(self)))

    def _view(self, a: np.ndarray) -> ndarray:
        return ndarray._wrap(a, self if self.base is None else self.base)

    def view(self, dtype: Any = None, type: Any = None) -> ndarray:
        return self._view(self._a.view() if dtype is None else self._a.view(dtype))

    @recorded
    def reshape(self, *shape: Any, order: str = "C", copy: Any = None) -> ndarray:
        a = self._a.reshape(*shape, order=order)
        return self._view(a) if memory_of(a) is not None else to_device(a)

    def transpose(self, *axes: Any) -> ndarray:
        return self._view(self._a.transpose(*axes))

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return self._view(self._a.swapaxes(axis1, axis2))

    def squeeze(self, axis: Any = None) -> ndarray:
        return self._view(self._a.squeeze(axis))

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> ndarray:
        return self._view(self._a.diagonal(offset, axis1, axis2))

    @recorded
    def flatten(self, order: str = "C") -> ndarray:
        return to_device(self._a.flatten())

    @recorded
    def copy(self, order: str = "C") -> ndarray:
        return to_device(np.array(self._a, order="C" if order == "A" else order))  # type: ignore[call-overload]

    @recorded
    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True
    ) -> ndarray:
        if not copy and self.dtype == np.dtype(dtype):
            return self
        return to_device(self._a.astype(dtype))

    @in_place
    def fill(self, value: Any) -> None:
        self._a[...] = value._a if isinstance(value, ndarray) else scalar(value)

    def nonzero(self) -> tuple[ndarray, ...]:
        return _ufunc("nonzero")(self)

    @in_place
    def sort(self, axis: int = -1, kind: Any = None) -> None:
        self._a[...] = _ufunc("sort")(self, axis, kind)._a

    def clip(self, min: Any = None, max: Any = None, out: Any = None) -> ndarray:
        return _ufunc("clip")(self, min, max, out)

    def dot(self, b: ndarray, out: Any = None) -> ndarray:
        return _ufunc("dot")(self, b, out)

    def __matmul__(self, other: Any) -> ndarray:
        return _ufunc("matmul")(self, other)

    def __rmatmul__(self, other: Any) -> ndarray:
        return _ufunc("matmul")(other, self)


def _is_whole(part: Any) -> bool:
    return isinstance(part, (int, np.integer)) and not isinstance(part, bool)


def _refuse_ambiguous(a: np.ndarray, index: Any, value: Any) -> None:
    """An assignment that writes different values to one element has no defined outcome on a device."""
    parts = index if isinstance(index, tuple) else (index,)
    if not isinstance(value, ndarray) or not any(isinstance(p, np.ndarray) and p.dtype.kind in "iu" for p in parts):
        return
    places = np.arange(a.size).reshape(a.shape)[index].reshape(-1)
    values = np.broadcast_to(value._a, a[index].shape).reshape(-1)
    order = np.argsort(places, kind="stable")
    same = places[order][1:] == places[order][:-1]
    first, second = values[order][1:][same], values[order][:-1][same]
    if first.tobytes() != second.tobytes():
        raise ValueError("different values for one element: their order is not defined on a device")


for _symbol, _name in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "left_shift", "rshift": "right_shift",
}.items():  # fmt: skip
    for _prefix, _function in zip(("", "r", "i"), _binary(_name), strict=True):
        setattr(ndarray, f"__{_prefix}{_symbol}__", _function)
for _symbol, _name in {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
}.items():  # fmt: skip
    setattr(ndarray, f"__{_symbol}__", _binary(_name)[0])
for _symbol, _name in {"neg": "negative", "abs": "absolute", "invert": "invert", "pos": "positive"}.items():
    setattr(ndarray, f"__{_symbol}__", _method(_name))
for _name in (
    "all", "any", "argmax", "argmin", "argsort", "cumprod", "cumsum", "max", "mean", "min", "prod", "ravel", "repeat",
    "round", "searchsorted", "std", "sum", "take", "trace", "var", "conj",
):  # fmt: skip
    setattr(ndarray, _name, _method(_name))
