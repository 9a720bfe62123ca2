"""dtypes and the promotion rule of mixed operands.

NumPy and PyTorch differ: NumPy turns int64 + float32 into float64, PyTorch into float32. The tape follows PyTorch:
the highest category (bool < integer < floating) wins, and inside it operands with dimensions outrank 0-d tensors,
which outrank Python scalars.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import on_device

float16 = half = np.dtype(np.float16)
float32 = np.dtype(np.float32)
float64 = double = np.dtype(np.float64)
int8 = np.dtype(np.int8)
uint8 = np.dtype(np.uint8)
int16 = short = np.dtype(np.int16)
int32 = np.dtype(np.int32)
int64 = long = np.dtype(np.int64)
bool_ = np.dtype(np.bool_)

DEFAULT_FLOAT = float32
# What tensors hold. float16 is a name alone, so that asking for it is answered: half precision belongs to products
# (``autocast``), no tensor has it.
SUPPORTED = frozenset(np.dtype(kind) for kind in ["?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "f", "d"])
_CATEGORIES = {"b": 0, "i": 1, "u": 1, "f": 2}
_NAMES = {dtype.name for dtype in SUPPORTED}


def unsupported(user: str, dtype: Any) -> TypeError:
    """The error for a dtype that no tensor has, bfloat16 and float16 among them."""
    named = dtype is None or isinstance(dtype, np.dtype | str) or str(dtype) == "bfloat16"
    name = f"dtype {dtype}" if named else f"a dtype of type {type(dtype).__name__}"
    half = "; for half precision use autocast" if "float16" in name else ""
    return TypeError(f"{user}: {name} is not supported; expected bool, an integer dtype, float32 or float64{half}")


def as_dtype(user: str, dtype: Any) -> np.dtype:
    """``dtype`` (a dtype, a type of NumPy or Python, a name) as a dtype that tensors have; TypeError for any other."""
    if isinstance(dtype, np.dtype | type) or (isinstance(dtype, str) and dtype in _NAMES):
        try:
            found = np.dtype(dtype)
        except TypeError:
            raise unsupported(user, dtype) from None
        if found in SUPPORTED:
            return found
        dtype = found
    raise unsupported(user, dtype)


def check_fits(user: str, value: np.ndarray, dtype: np.dtype, numbers: bool = False) -> None:
    """RuntimeError for what an integer dtype cannot hold: NaN, inf and, of Python's ``numbers``, some out of range.

    As in PyTorch, arrays and tensors wrap around instead, and an unsigned dtype takes negative numbers from the end.
    """
    if dtype.kind not in "iu" or not value.size:
        return
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise RuntimeError(f"{user}: NaN or inf is among the values; dtype {dtype} cannot hold them")
    if numbers:
        limits = np.iinfo(dtype)
        for number in (value.min(), value.max()):
            number = number.item() if isinstance(number, np.generic) else number  # Python compares without rounding
            if not min(limits.min, -limits.max) <= number <= limits.max:
                raise RuntimeError(f"{user}: a value is {number}; dtype {dtype} holds {limits.min} to {limits.max}")


def wrapped(number: int, dtype: np.dtype) -> int:
    """An operand of integers, in two's complement of their size, as PyTorch takes it.

    Raises OverflowError for one of more than 64 bits.
    """
    if not -(1 << 63) <= number < 1 << 64:
        raise OverflowError(f"an operand is {number}; expected a number of at most 64 bits")
    modulus, limits = 1 << 8 * dtype.itemsize, np.iinfo(dtype)
    return (number - int(limits.min)) % modulus + int(limits.min)


def category(dtype: np.dtype) -> int:
    """0 for bool, 1 for integers, 2 for floating point; TypeError for anything else."""
    try:
        return _CATEGORIES[dtype.kind]
    except KeyError:
        raise TypeError(f"dtype {dtype} is not supported; expected bool, an integer or a floating dtype") from None


def is_floating(dtype: np.dtype) -> bool:
    """Whether its values are floating-point numbers."""
    return dtype.kind == "f"


def scalar_dtype(value: Any) -> np.dtype:
    """The dtype PyTorch gives a Python scalar."""
    if isinstance(value, bool | np.bool_):
        return bool_
    return int64 if isinstance(value, int | np.integer) else DEFAULT_FLOAT


def result_type(*operands: Any) -> np.dtype:
    """The common dtype of arrays and Python scalars under PyTorch's rule (module head)."""
    tiers: tuple[list[np.dtype], list[np.dtype], list[np.dtype]] = ([], [], [])
    for operand in operands:
        if isinstance(operand, np.ndarray) or on_device(operand):
            tiers[0 if operand.ndim else 1].append(operand.dtype)
        else:
            tiers[2].append(scalar_dtype(operand))
    result: np.dtype | None = None
    for tier in tiers:
        if not tier:
            continue
        dtype = tier[0]
        for other in tier[1:]:
            dtype = _promote_pair(dtype, other)
        if result is None or category(dtype) > category(result):
            result = dtype
    assert result is not None
    return result


class finfo:  # noqa: N801  (PyTorch's name)
    """The range and the precision of a floating dtype, as Python's numbers: ``finfo(x.dtype).min``.

    Attributes:
        bits: of a number. dtype: its name.
        eps: from 1 to the next number. resolution: as a power of ten.
        min, max: the lowest and the highest number.
        tiny, smallest_normal: the smallest positive number of full precision.
    """

    def __init__(self, dtype: Any = DEFAULT_FLOAT) -> None:
        kind = as_dtype("finfo", dtype)
        if not is_floating(kind):
            raise TypeError(f"finfo: dtype is {kind}; expected a floating dtype, for others use iinfo")
        found = np.finfo(kind)
        self.bits, self.dtype = int(found.bits), kind.name
        self.eps, self.resolution = float(found.eps), float(found.resolution)
        self.min, self.max, self.tiny = float(found.min), float(found.max), float(found.tiny)
        self.smallest_normal = self.tiny

    def __repr__(self) -> str:
        numbers = (f"{name}={getattr(self, name):g}" for name in ("resolution", "min", "max", "eps", "smallest_normal"))
        return f"finfo({', '.join(numbers)}, tiny={self.tiny:g}, dtype={self.dtype})"


class iinfo:  # noqa: N801  (PyTorch's name)
    """The range of an integer dtype: ``bits``, ``min``, ``max``, and ``dtype``, its name."""

    def __init__(self, dtype: Any) -> None:
        kind = as_dtype("iinfo", dtype)
        if kind.kind not in "iu":
            raise TypeError(f"iinfo: dtype is {kind}; expected an integer dtype, for others use finfo")
        found = np.iinfo(kind)
        self.bits, self.dtype, self.min, self.max = int(found.bits), kind.name, int(found.min), int(found.max)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def _promote_pair(a: np.dtype, b: np.dtype) -> np.dtype:
    if category(a) != category(b):
        return a if category(a) > category(b) else b
    return np.promote_types(a, b)
