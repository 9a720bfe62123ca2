"""``@op``: the one place that names an op. ``@unary`` makes one of a NumPy function and its derivative.

From the name follow ``minigrad.NAME``, the method ``Tensor.NAME`` and, with its oracle, the row of the op table. A
function that is a method and nothing else, as ``x.add_()`` and ``x.to()``, stands below ``@method``. The engine itself
goes on calling the function as it was written; what users call checks its arguments first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import numpy as np

from kernels import as_array
from minigrad.arguments import Operand, checked
from minigrad.function import Context, Function
from minigrad.ops.common import floating, no_bool, tensor_of
from minigrad.ops.op_case import ErrorCase, OpCase, Values, normal, operand
from minigrad.tensor import Tensor

Array = np.ndarray
F = TypeVar("F", bound=Callable)

OPS: dict[str, Callable[..., Any]] = {}  # by name, as users call them
METHODS: dict[str, Callable[..., Any]] = {}  # by name, likewise: the methods of a Tensor
CASES: list[OpCase] = []  # rows of the op table that stand beside their op


def refuses_dim(name: str, **options: Any) -> ErrorCase:
    """A call of an op, given by its name, for a dimension that a matrix has not."""
    matrix = Tensor(np.zeros((2, 3)))
    return ErrorCase(lambda: OPS[name](matrix, dim=2, **options), IndexError, "got 2; expected -2 to 1")


def op(*, is_method: bool = True, **case: Any) -> Callable[[F], F]:
    """Make an op of a function of tensors.

    Args:
        is_method: whether it is a method of Tensor too; the tensor is its first argument.
        case: ``oracle``, ``sample`` and what else ``OpCase`` takes: the row of the op table. Without it the row is one
            of those in ``minigrad.gradcheck``.
    """

    def register(function: F) -> F:
        name = function.__name__
        OPS[name] = checked(function)
        if is_method:
            METHODS[name] = OPS[name]
        if case:
            CASES.append(OpCase(name, OPS[name], **case))
        return function

    return register


def method(function: F) -> F:
    """Make a method of a function whose first argument is the tensor, and of nothing else."""
    METHODS[function.__name__] = checked(function)
    return function


class Unary(Function):
    """y = function(x), elementwise"""

    function: ClassVar[Callable[[Array], Array]]
    derivative: ClassVar[Callable[..., Array]]
    saved: ClassVar[tuple[str, ...]]  # which of x and y the derivative reads

    @classmethod
    def forward(cls, ctx: Context, x: Array) -> Array:
        y = as_array(cls.function(x))
        ctx.save_for_backward(*(x if name == "x" else y for name in cls.saved))
        return y

    @classmethod
    def backward(cls, ctx: Context, grad: Array) -> Array:
        return as_array(cls.derivative(grad, *ctx.saved))


def unary(
    derivative: Callable[..., Array], *, oracle: Callable, values: Values = normal, integers: bool = False
) -> Callable[[Callable[[Array], Array]], Callable[[Operand], Tensor]]:
    """Make an op of an elementwise function of one array.

    Args:
        derivative: the incoming gradient, and those of ``x`` (the array) and ``y`` (the result) that it names -> the
            gradient of x. Only what it names is kept.
        oracle: the function once more, in other words.
        values: where it may be checked, at a distance from its kinks.
        integers: whether integers stay what they are, and bool is refused; else both become float32.
    """
    saved = derivative.__code__.co_varnames[1 : derivative.__code__.co_argcount]
    if not {*saved} <= {"x", "y"}:
        raise TypeError(f"unary: the derivative reads {', '.join(saved)}; expected x, y, both or none")

    def make(function: Callable[[Array], Array]) -> Callable[[Operand], Tensor]:
        name = function.__name__
        parts = {"function": staticmethod(function), "derivative": staticmethod(derivative), "saved": saved}
        node: Any = type(name.capitalize(), (Unary,), {"__doc__": function.__doc__, **parts})

        def apply(x: Operand) -> Tensor:
            return node.apply(no_bool(name, tensor_of(x)) if integers else floating(x))

        apply.__name__ = apply.__qualname__ = name
        apply.__module__, apply.__doc__ = function.__module__, function.__doc__
        return op(oracle=oracle, sample=operand(values))(apply)

    return make
