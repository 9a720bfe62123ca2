"""Attaches ops to Tensor: as methods under their own names, as operators, and as the dtype conversions.

The functions that ``@op`` and ``@method`` name (``METHODS``) take the tensor first and have the signatures of PyTorch's
methods, so attaching is all there is to do. Imported once, by the package.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import (
    dtypes,
    gradient_hooks,  # noqa: F401  (which names further methods, as do convert and inplace)
    ops,
)
from minigrad.autocast import bfloat16
from minigrad.missing import tensor_attribute
from minigrad.ops import convert, inplace  # noqa: F401
from minigrad.ops.op import METHODS
from minigrad.tensor import Tensor

CONVERSIONS: dict[str, Any] = {  # of 16 bits: to say that there is none
    "float": dtypes.float32, "double": dtypes.float64, "half": dtypes.float16, "bfloat16": bfloat16,
    "int": dtypes.int32, "long": dtypes.int64, "bool": dtypes.bool_,
}  # fmt: skip

OPERATORS: dict[str, Callable] = {
    "__add__": ops.add, "__sub__": ops.sub, "__mul__": ops.mul, "__truediv__": ops.div, "__pow__": ops.pow,
    "__matmul__": ops.matmul, "__neg__": ops.neg, "__abs__": ops.abs, "__getitem__": ops.getitem,
    "__invert__": ops.bitwise_not, "__and__": ops.bitwise_and, "__or__": ops.bitwise_or, "__xor__": ops.bitwise_xor,
    "__floordiv__": ops.floor_divide, "__mod__": ops.remainder, "__setitem__": ops.setitem,
}  # fmt: skip

REFLECTED: dict[str, Callable] = {
    "__radd__": ops.add, "__rsub__": ops.sub, "__rmul__": ops.mul, "__rtruediv__": ops.div, "__rpow__": ops.pow,
    "__rfloordiv__": ops.floor_divide, "__rmod__": ops.remainder, "__rmatmul__": ops.matmul,
    "__rand__": ops.bitwise_and, "__ror__": ops.bitwise_or, "__rxor__": ops.bitwise_xor,
}  # fmt: skip

ASSIGNMENTS = {
    "__iadd__": "add_", "__isub__": "sub_", "__imul__": "mul_", "__itruediv__": "div_",
    "__ifloordiv__": "floor_divide_", "__imod__": "remainder_", "__ipow__": "pow_",
    "__iand__": "bitwise_and_", "__ior__": "bitwise_or_", "__ixor__": "bitwise_xor_",
}  # fmt: skip

COMPARISONS: dict[str, Callable] = {
    "__eq__": ops.eq, "__ne__": ops.ne, "__lt__": ops.lt, "__le__": ops.le, "__gt__": ops.gt, "__ge__": ops.ge,
}  # fmt: skip
COMPARABLE = Tensor | int | float | np.ndarray | np.generic


def _deepcopied(self: Tensor, memo: dict[int, Any]) -> Tensor:
    """A leaf with memory and a gradient of its own. Tensors of one array have one in the copy too; views do not."""
    if not self.is_leaf:
        raise RuntimeError("deepcopy: the tensor is a result on the tape; expected a leaf, such as its detach()")
    copied = type(self).__new__(type(self))
    Tensor.__init__(copied, copy.deepcopy(self.array, memo), requires_grad=self.requires_grad)
    memo[id(self)] = copied
    copied.grad = copy.deepcopy(self.grad, memo)
    for name, value in getattr(self, "__dict__", {}).items():  # of a subclass
        setattr(copied, name, copy.deepcopy(value, memo))
    return copied


def _conversion(dtype: Any) -> Callable[[Tensor], Tensor]:
    return lambda self: self.to(dtype=dtype)


def _reflected(function: Callable) -> Callable[[Tensor, Any], Tensor]:
    return lambda self, other: function(other, self)


def _comparison(function: Callable) -> Callable[[Tensor, Any], Any]:
    """With anything but numbers and arrays, Python decides: ``== None`` is False, ``< None`` a TypeError."""
    return lambda self, other: function(self, other) if isinstance(other, COMPARABLE) else NotImplemented


def _where(self: Tensor, condition: Any, other: Any) -> Tensor:
    """This tensor where ``condition`` holds, else ``other``."""
    return ops.where(condition, self, other)


def _attach(name: str, value: Any) -> None:
    setattr(Tensor, name, value)


def attach() -> None:
    for name, function in METHODS.items():
        _attach(name, function)
    for name, method in ASSIGNMENTS.items():
        _attach(name, METHODS[method])
    for name, function in OPERATORS.items():
        _attach(name, function)
    for name, function in REFLECTED.items():
        _attach(name, _reflected(function))
    for name, function in COMPARISONS.items():
        _attach(name, _comparison(function))
    for name, dtype in CONVERSIONS.items():
        _attach(name, _conversion(dtype))
    _attach("where", _where)
    _attach("__deepcopy__", _deepcopied)
    _attach("__getattr__", tensor_attribute)
    _attach("T", property(lambda self: ops.permute(self, tuple(reversed(range(self.ndim))))))
    _attach("mT", property(lambda self: ops.transpose(self, -2, -1)))


attach()
