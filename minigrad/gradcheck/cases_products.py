"""Op table, products of vectors and matrices by their own names, and einsum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minigrad import ops
from minigrad.ops.op_case import Dims, ErrorCase, OpCase, Rng, Sample, broadcastable, normal
from minigrad.tensor import Tensor

EQUATIONS = (
    "ij,jk->ik", "ij,jk", "kij,kjl->kil", "ii->i", "iji->j", "ij->", "ij->j", "ij->ji", "i,ij,j->", "ij,kl->ik",
    "ij,ij->ij", "...ij,jk->...ik", "...i,...i", "i...->...", "...,...->...",
)  # fmt: skip


def shaped(*terms: str) -> Callable[[Rng, Dims], Sample]:
    """Arrays whose dimensions are named by letters: i, j and k are the three sizes, l is the first again."""

    def sample(rng: Rng, dims: Dims) -> Sample:
        size = dict(zip("ijkl", (*dims, dims[0]), strict=True))
        return Sample(tuple(normal(rng, tuple(size[letter] for letter in term)) for term in terms))

    return sample


def contracted(rng: Rng, dims: Dims) -> Sample:
    """An equation and operands that fit it; dots are dimensions j and l, or fewer."""
    equation = EQUATIONS[int(rng.integers(len(EQUATIONS)))]
    terms = equation.partition("->")[0].split(",")
    dots = ["jl"[int(rng.integers(3)) :] for _ in terms]
    sample = shaped(*(term.replace("...", d) for term, d in zip(terms, dots, strict=True)))(rng, dims)
    return Sample(sample.arrays, {"equation": equation})


def added(rng: Rng, dims: Dims) -> Sample:
    first, second = shaped("kij", "kjl")(rng, dims).arrays
    x = normal(rng, broadcastable(rng, (dims[2], dims[0], dims[0])))
    return Sample((x, first, second), {"beta": 0.5, "alpha": -2.0})


def _baddbmm_oracle(x: np.ndarray, first: np.ndarray, second: np.ndarray, beta: float, alpha: float) -> np.ndarray:
    return beta * x + alpha * np.matmul(first, second)


def _zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape))


def _refused(call: Callable, exception: type[Exception], match: str) -> tuple[ErrorCase, ...]:
    return (ErrorCase(call, exception, match),)


CASES = [
    OpCase(
        "mm",
        ops.mm,
        np.dot,
        shaped("ij", "jk"),
        errors=_refused(lambda: ops.mm(_zeros(2, 3), _zeros(3)), RuntimeError, r"mm: .*\(3,\); expected 2 and 2"),
    ),
    OpCase("mv", ops.mv, np.dot, shaped("ij", "j")),
    OpCase("dot", ops.dot, np.dot, shaped("j", "j")),
    OpCase("baddbmm", ops.baddbmm, _baddbmm_oracle, added),
    OpCase(
        "einsum",
        lambda *operands, equation: ops.einsum(equation, *operands),
        lambda *operands, equation: np.einsum(equation, *operands),
        contracted,
        errors=(
            *_refused(lambda: ops.einsum("ij,j", _zeros(2, 3)), ValueError, "names 2 operands; got 1"),
            *_refused(lambda: ops.einsum("ij->i", _zeros(2)), ValueError, "operand 0 has 1 dimensions; expected 'ij'"),
        ),
    ),
]
