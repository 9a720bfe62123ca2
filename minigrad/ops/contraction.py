"""einsum: sums of products over named indices, differentiated for every operand."""

from __future__ import annotations

import string
from typing import Any

import numpy as np

from kernels import as_array
from minigrad.broadcasting import unbroadcast
from minigrad.function import Context, Function
from minigrad.naming import described
from minigrad.ops.common import promote
from minigrad.ops.op import op
from minigrad.tensor import Tensor

Array = np.ndarray


class Einsum(Function):
    """y = the product of all operands, summed over the letters that ``result`` lacks

    The gradient of one operand is the einsum of dy and the other operands. A letter that stands in this operand alone
    was summed (its gradient is the same everywhere), one that stands in it twice took the diagonal.
    """

    @staticmethod
    def forward(ctx: Context, terms: tuple[str, ...], result: str, *arrays: Array) -> Array:
        ctx.save_for_backward(*arrays)
        ctx.terms, ctx.result = terms, result
        y = np.einsum(f"{','.join(terms)}->{result}", *arrays, optimize=True)
        return as_array(y.copy() if len(arrays) == 1 else y)  # of one operand, NumPy's result may be a view

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        needed = enumerate(ctx.needs_input_grad[2:])
        return None, None, *(_gradient(ctx, grad, position) if need else None for position, need in needed)


def _gradient(ctx: Context, grad: Array, position: int) -> Array:
    """The gradient of the operand at ``position``."""
    terms = [*ctx.terms[:position], ctx.result, *ctx.terms[position + 1 :]]
    arrays = [*ctx.saved[:position], grad, *ctx.saved[position + 1 :]]
    term, x = ctx.terms[position], ctx.saved[position]
    letters = "".join(dict.fromkeys(term))
    known = "".join(letter for letter in letters if any(letter in other for other in terms))
    dy = np.einsum(f"{','.join(terms)}->{known}", *arrays, optimize=True)
    dy = np.expand_dims(dy, tuple(axis for axis, letter in enumerate(letters) if letter not in known))
    if letters == term:
        return np.broadcast_to(unbroadcast(dy, x.shape), x.shape)
    dx = np.zeros(x.shape, grad.dtype, like=grad)
    diagonal = np.einsum(f"{term}->{letters}", dx)  # a view that may be written
    diagonal[...] = unbroadcast(dy, diagonal.shape)
    return dx


def _parsed(equation: str, ndims: list[int]) -> tuple[tuple[str, ...], str]:
    """The letters of each operand and of the result, with ``...`` spelled out (aligned at the right)."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum: equation {equation!r} names {len(terms)} operands; got {len(ndims)}")
    free = [letter for letter in string.ascii_letters if letter not in equation]
    hidden = [n - len(term.replace("...", "")) if "..." in term else 0 for term, n in zip(terms, ndims, strict=True)]
    dots = "".join(free[: max(0, *hidden)])
    spelled = tuple(t.replace("...", dots[len(dots) - max(0, n) :]) for t, n in zip(terms, hidden, strict=True))
    for position, (term, n) in enumerate(zip(spelled, ndims, strict=True)):
        if len(term) != n:
            raise ValueError(f"einsum: operand {position} has {n} dimensions; expected {terms[position]!r}")
    if arrow:
        return spelled, result.replace("...", dots)
    written = left.replace("...", "").replace(",", "")
    return spelled, dots + "".join(sorted(letter for letter in set(written) if written.count(letter) == 1))


@op(is_method=False)
def einsum(equation: str, *operands: Any) -> Tensor:
    """Einstein's summation.

    Args:
        equation: a letter for each dimension of each operand, operands divided by commas, and after ``->`` the letters
            of the result (without it: those that occur once, sorted); ``...`` stands for leading dimensions.
        operands: the tensors, or one list of them; their common dtype is the result's.

    Raises:
        ValueError: the equation does not fit the operands.
    """
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    if not isinstance(equation, str) or not operands:
        raise TypeError(
            f"einsum: got {described(equation)} and {len(operands)} operands; expected an equation and one or more"
        )
    for operand in operands:
        if not isinstance(operand, Tensor):
            raise TypeError(f"einsum: an operand is {described(operand)}; expected a tensor")
    tensors = promote(*operands)
    return Einsum.apply(*_parsed(equation, [x.ndim for x in tensors]), *tensors)
