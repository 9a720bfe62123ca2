"""The functions of the stand-in, each with the parameters that CuPy's has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._arrays import ndarray, only_arrays, operand, to_device
from ._memory import Pool, allocate, memory_of, pool, refuse_under_capture, synchronisations
from ._recording import in_place, recorded
from ._signatures import CREATION, SIGNATURES, UFUNC_NAMES

NO_IDENTITY = {"max", "min", "amax", "amin", "argmax", "argmin"}
WAITING = {"nonzero", "flatnonzero", "argwhere", "unique", "bincount"}
# Parameters that NumPy and CuPy name differently.
RENAMED = {"reshape": {"newshape": "shape"}}


class ufunc:  # noqa: N801, its name in CuPy
    """An elementwise operation: device arrays and numbers in, a new device array or `out` back."""

    def __init__(self, name: str) -> None:
        self.name, self.__name__, self._np = name, name, getattr(np, name)

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> ndarray:
        if len(args) > self._np.nin:
            *args, out = args  # type: ignore[assignment]
        return self._compute(*args, out=out, **kwargs)

    @recorded
    def _compute(self, *args: Any, out: Any = None, **kwargs: Any) -> ndarray:
        if wrong := kwargs.keys() - {"dtype", "casting", "where"}:
            raise TypeError(f"Wrong arguments {wrong}")
        values = [operand(a) for a in args]
        if "where" in kwargs:
            kwargs["where"] = only_arrays(kwargs["where"])
        with np.errstate(all="ignore"):
            if out is None:
                return to_device(self._np(*values, **kwargs))
            self._np(*values, out=only_arrays(out), **kwargs)
        return out

    @recorded
    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        return to_device(self._np.reduce(only_arrays(array), axis=axis, dtype=dtype, keepdims=keepdims))

    @in_place
    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        if a.dtype.kind == "f" and self.name == "add":
            raise TypeError("add.at on floats adds in an order of chance on a device")
        self._np.at(only_arrays(a), indices._a if isinstance(indices, ndarray) else indices, operand(b))


def _unwrap(value: Any) -> Any:
    """The NumPy side of a device array, or of a sequence of them."""
    if isinstance(value, (list, tuple)):
        return type(value)(_unwrap(v) for v in value)
    return only_arrays(value)


def _result(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_result(v) for v in value) if type(value) in (list, tuple) else tuple(map(_result, value))
    if isinstance(value, (np.ndarray, np.generic, bool)):
        if isinstance(value, np.ndarray) and memory_of(value) is not None:
            return ndarray._wrap(value, ndarray._wrap(value))
        return to_device(value)
    return value  # a shape, a size


def _function(name: str, signature: str) -> Callable[..., Any]:
    names = [part.lstrip("*") for part in signature.split()]
    arrays = {part[1:] for part in signature.split() if part.startswith("*")}
    run = getattr(np, name)
    renamed = RENAMED.get(name, {})
    leading = [part[1:] for part in signature.split() if part.startswith("*")]

    def function(*args: Any, **kwargs: Any) -> Any:
        if name in WAITING:
            refuse_under_capture(name)
        if len(args) > len(names) or kwargs.keys() - set(names):
            raise TypeError(f"{name}() got an unexpected argument; CuPy's takes {', '.join(names)}")
        given = dict(zip(names, args, strict=False)) | kwargs
        out = given.get("out")
        for key, value in given.items():
            if key in arrays:
                given[key] = _unwrap(value)
            elif isinstance(value, np.ndarray) and not (name.endswith("split") or value.ndim == 0):
                raise TypeError(f"{name}: {key!r} does not accept numpy.ndarray")
            elif isinstance(value, ndarray):
                given[key] = value._a
        if isinstance(given.get("repeats"), np.ndarray) or name in WAITING:
            synchronisations.append(name)
        if name in {"sort", "argsort"} and given.get("kind") not in (None, "stable"):
            raise ValueError("kind can only be None or 'stable'")
        if name == "argsort":
            given["kind"] = "stable"
        if name in NO_IDENTITY and not given[names[0]].size:
            raise ValueError(f"zero-size array to reduction operation cupy_{name} which has no identity")
        first = [given.pop(key) for key in leading]  # NumPy names some of them otherwise, or not at all
        with np.errstate(all="ignore"):
            value = run(*first, **{renamed.get(key, key): value for key, value in given.items()})
        if name.endswith("share_memory") or name == "shares_memory":
            return value
        return out if out is not None else _result(value)

    function.__name__ = name
    return recorded(function)


def _creation(name: str, signature: str) -> Callable[..., Any]:
    names = signature.split()
    run = getattr(np, name)

    def function(*args: Any, **kwargs: Any) -> ndarray:
        if len(args) > len(names) or (wrong := kwargs.keys() - set(names)):
            raise TypeError(f"{name}() got an unexpected keyword argument; CuPy's takes {', '.join(names)}: {wrong}")
        given = [a.item() if isinstance(a, ndarray) else a for a in args]
        if any(isinstance(a, np.ndarray) and a.ndim for a in given):
            raise TypeError(f"{name}: non-scalar numpy.ndarray cannot be used for fill")
        if name == "empty":
            bound = dict(zip(names, given, strict=False)) | kwargs
            return ndarray._wrap(allocate(bound["shape"], bound.get("dtype", float)))
        return to_device(run(*given, **kwargs))

    function.__name__ = name
    return function if name == "empty" else recorded(function)


def array(
    obj: Any, dtype: Any = None, copy: bool = True, order: str = "K", subok: bool = False, ndmin: int = 0
) -> ndarray:
    if not isinstance(obj, ndarray) and not (isinstance(obj, (list, tuple)) and obj and isinstance(obj[0], ndarray)):
        refuse_under_capture("a copy from the host")  # a replay would read memory that is no longer there
    return _array(obj, dtype, copy, order, subok, ndmin)


@recorded
def _array(obj: Any, dtype: Any, copy: bool, order: str, subok: bool, ndmin: int) -> ndarray:
    if isinstance(obj, ndarray):
        if not copy and (dtype is None or obj.dtype == np.dtype(dtype)):
            return obj
        return to_device(np.array(obj._a, dtype, ndmin=ndmin))
    if isinstance(obj, (list, tuple)) and obj and isinstance(obj[0], ndarray):
        return to_device(np.stack([only_arrays(o) for o in obj]).astype(dtype or obj[0].dtype))
    return _from_host(obj, dtype, ndmin)


def _from_host(obj: Any, dtype: Any, ndmin: int) -> ndarray:
    return to_device(np.array(obj, dtype, ndmin=ndmin))


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False) -> ndarray:
    return array(a, dtype, copy=bool(copy))


@recorded
def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    if isinstance(a, ndarray) and a.flags.c_contiguous and a.ndim and (dtype is None or a.dtype == np.dtype(dtype)):
        return a
    value = a._a if isinstance(a, ndarray) else np.asarray(a)
    return to_device(np.array(value, dtype, order="C", ndmin=1))


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> np.ndarray:
    return a.get(stream, order, out) if isinstance(a, ndarray) else np.asarray(a)


def copy(a: ndarray, order: str = "K") -> ndarray:
    return a.copy(order)


@in_place
def copyto(dst: ndarray, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    value = operand(src)
    np.copyto(only_arrays(dst), value, casting=casting, **({} if where is None else {"where": only_arrays(where)}))  # type: ignore[arg-type]


def where(condition: ndarray, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        return FUNCTIONS["nonzero"](condition)
    return _select(condition, x, y)


@recorded
def _select(condition: ndarray, x: Any, y: Any) -> ndarray:
    return to_device(np.where(only_arrays(condition), operand(x), operand(y)))


@recorded
def take(a: ndarray, indices: Any, axis: Any = None, out: Any = None) -> ndarray:
    length = a.size if axis is None else a.shape[axis]
    index = indices._a if isinstance(indices, ndarray) else np.asarray(indices)
    result = np.take(only_arrays(a), index % max(length, 1), axis)
    if out is None:
        return to_device(result)
    only_arrays(out)[...] = result
    return out


@in_place
def put_along_axis(arr: ndarray, indices: ndarray, values: Any, axis: Any) -> None:
    np.put_along_axis(only_arrays(arr), only_arrays(indices), operand(values), axis)


@recorded
def matmul(a: ndarray, b: ndarray, out: Any = None, **kwargs: Any) -> ndarray:
    result = np.matmul(only_arrays(a), only_arrays(b), **kwargs)
    if out is None:
        return to_device(result)
    only_arrays(out)[...] = result
    return out


@recorded
def einsum(*operands: Any, optimize: Any = None, dtype: Any = None) -> ndarray:
    pattern, *arrays = operands
    return to_device(np.einsum(pattern, *[only_arrays(a) for a in arrays]))


def broadcast_arrays(*args: ndarray) -> tuple[ndarray, ...]:
    return tuple(_result(a) for a in np.broadcast_arrays(*[only_arrays(a) for a in args]))


def atleast_1d(*arys: ndarray) -> Any:
    return _result(np.atleast_1d(*[only_arrays(a) for a in arys]))


def result_type(*args: Any) -> np.dtype:
    return np.result_type(*[a.dtype if isinstance(a, ndarray) else a for a in args])


def can_cast(from_: Any, to: Any, casting: str = "safe") -> bool:
    return np.can_cast(from_.dtype if isinstance(from_, ndarray) else from_, to, casting)  # type: ignore[arg-type]


def get_default_memory_pool() -> Pool:
    return pool


def get_default_pinned_memory_pool() -> Pool:
    return Pool()


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _function(name, signature) for name, signature in SIGNATURES.items()},
    **{name: _creation(name, signature) for name, signature in CREATION.items()},
    **{
        f.__name__: f
        for f in (
            array, asarray, ascontiguousarray, asnumpy, copy, copyto, where, take, put_along_axis, matmul, einsum,
            broadcast_arrays, atleast_1d, result_type, can_cast,
        )
    },
}  # fmt: skip
UFUNCS = {name: ufunc(name) for name in UFUNC_NAMES}
