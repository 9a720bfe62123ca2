"""Attention of queries over a memory for each sequence (kernels.attention_forward)."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from kernels.packing import Packing
from minigrad.arguments import Operand
from minigrad.autocast import bf16_enabled
from minigrad.function import Context, Function
from minigrad.ops.common import tensor_of
from minigrad.ops.op import CASES, op
from minigrad.ops.op_case import Dims, ErrorCase, OpCase, Rng, Sample, normal
from minigrad.ops.packed import packed, packing_of, padded
from minigrad.tensor import Tensor

Array = np.ndarray


class Attention(Function):
    """context and alignment of packed queries (kernels.attention_forward)"""

    fresh_grads = True

    @staticmethod
    def forward(
        ctx: Context, query: Array, keys: Array, values: Array, v: Any, coverage: Any, coverage_weight: Any,
        lengths: Array, packing: Packing, scale: float,
    ) -> tuple:  # fmt: skip
        scoring = (v, coverage, coverage_weight, scale, bf16_enabled())
        context, alignment, ctx.cache = kernels.attention_forward(query, keys, values, lengths, packing, *scoring)
        ctx.save_for_backward(query, keys, values, v, coverage_weight, alignment)
        return context, alignment

    @staticmethod
    def backward(ctx: Context, dcontext: Array | None, dalignment: Array | None) -> tuple:
        return (*kernels.attention_backward(dcontext, dalignment, ctx.cache), None, None, None)


@op(is_method=False)
def attention(
    query: Tensor, keys: Tensor, values: Tensor, memory_lengths: Operand, v: Tensor | None = None,
    coverage: Tensor | None = None, coverage_weight: Tensor | None = None, *, scale: float = 1.0,
    lengths: Operand | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """What queries read of a memory: query (T,N,A), keys (S,N,A), values (S,N,D) -> context (T,N,D), alignment (T,N,S).

    The score of a key is its product with the query times ``scale`` (Luong et al., 2015), or with ``v`` (A,) the
    additive one, v . tanh(query + key) (Bahdanau et al., 2015); the alignment is the softmax of the scores over the
    first ``memory_lengths`` (N,) positions, the context the sum of the values with these weights. What lies past a
    length is never used. With ``coverage`` (N,S), what was attended to before, and ``coverage_weight`` (A,) the
    additive score is v . tanh(query + key + coverage * coverage_weight), and each query adds its alignment to the
    coverage of the next (Tu et al., 2016).

    ``lengths`` (N,) integers: queries past their length cost nothing, and what they read is zero. With them query may
    be packed (P,A), the data of a PackedSequence; so are the results then, (P,D) and (P,S).
    """
    packing = packing_of("attention", query, lengths)
    counts = kernels.to_host(tensor_of(memory_lengths).array)
    found = Attention.apply(
        packed(query, packing), keys, values, v, coverage, coverage_weight, counts, packing, float(scale)
    )
    context, alignment = (padded(part, packing, query) for part in found)
    return context, alignment


def _sample(additive: bool, covered: bool) -> Any:
    """A keys' size and another one of values; lengths of 0 and all among those of the memory and the queries."""

    def sample(rng: Rng, dims: Dims) -> Sample:
        (T, N, S), A, D = dims, 3, 2
        weights = [normal(rng, (A,))] if additive else []
        weights += [normal(rng, (N, S)), normal(rng, (A,))] if covered else []
        arrays = normal(rng, (T, N, A)), normal(rng, (S, N, A)), normal(rng, (S, N, D)), rng.integers(0, S + 1, N)
        lengths = rng.integers(0, T + 1, N) if rng.integers(3) else None
        options: dict[str, Any] = {"lengths": lengths} | ({} if additive else {"scale": float(rng.choice([0.5, 1]))})
        return Sample((*arrays, *weights), options)

    return sample


def _oracle(
    query: Array, keys: Array, values: Array, memory_lengths: Array, v: Array | None = None,
    coverage: Array | None = None, weight: Array | None = None, *, scale: float = 1.0, lengths: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Query by query."""
    (T, N, _), (S, _, D) = query.shape, values.shape
    context, alignment = np.zeros((T, N, D), query.dtype), np.zeros((T, N, S), query.dtype)
    covered = np.zeros((N, S), query.dtype) if coverage is None else coverage.copy()
    for n in range(N):
        some, steps = slice(int(memory_lengths[n])), T if lengths is None else int(lengths[n])
        for t in range(steps if memory_lengths[n] else 0):
            inside = query[t, n] + keys[some, n] + (0 if weight is None else np.outer(covered[n, some], weight))
            scores = keys[some, n] @ query[t, n] * query.dtype.type(scale) if v is None else np.tanh(inside) @ v
            exps = np.exp(scores - scores.max())
            alignment[t, n, some] = exps / exps.sum()
            context[t, n] = alignment[t, n, some] @ values[some, n]
            covered[n] += alignment[t, n]
    return context, alignment


def _zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape))


def _call(**replaced: Any) -> Any:
    """A call with T = 4, N = 2, S = 5, A = 3, D = 6, some of its arguments replaced."""
    arguments: dict[str, Any] = {"query": _zeros(4, 2, 3), "keys": _zeros(5, 2, 3), "values": _zeros(5, 2, 6)}
    return lambda: attention(**arguments | {"memory_lengths": np.array([5, 0])} | replaced)


_ERRORS: list[tuple[dict[str, Any], str]] = [
    ({"keys": _zeros(5, 2, 4)}, r"keys has shape \(5, 2, 4\)"),
    ({"values": _zeros(4, 2, 6)}, r"values has shape \(4, 2, 6\)"),
    ({"query": _zeros(4, 3)}, r"lengths is None; .* x is packed, \(4, 3\)"),
    ({"memory_lengths": np.array([6, 0])}, "lengths holds 6; expected values in 0..S = 0..5 from keys"),
    ({"memory_lengths": np.array([1])}, r"lengths has shape \(1,\)"),
    ({"v": _zeros(4)}, r"v has shape \(4,\)"),
    ({"v": _zeros(3), "coverage": _zeros(2, 5)}, "coverage_weight is None but coverage is not"),
    ({"coverage": _zeros(2, 5), "coverage_weight": _zeros(3)}, "v is None but coverage is not"),
]

CASES.extend(
    OpCase(
        f"attention[{name}]",
        attention,
        _oracle,
        _sample(additive, covered),
        errors=tuple(ErrorCase(_call(**change), ValueError, text) for change, text in errors),
    )
    for name, additive, covered, errors in (
        ("product", False, False, _ERRORS), ("additive", True, False, []), ("coverage", True, True, [])
    )
)  # fmt: skip
