"""Attention of packed queries over a memory for each sequence. See `kernels.reference.attention` for the equations.

A query is worked on by itself, its keys and values read as they lie, and every loop over a memory ends at its length:
so its bits depend on nothing beside it. Of what grows with the memory the alignment alone is kept: the backward of the
additive score computes each tanh again. Threads share the sequences; a sequence's gradients are added up from its last
query to its first, those of the weights over the sequences afterwards.
"""

from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.activations import tanh
from kernels.cpu.chunks import CHUNK, run_chunks
from kernels.cpu.gemm import SERIAL_WORK
from kernels.cpu.jit import jit
from kernels.cpu.masked_softmax import normalise
from kernels.cpu.panels import to_bf16
from kernels.cpu.sums import column_sums, dot
from kernels.packing import Packing
from kernels.threads import get_num_threads, run


class Memory(NamedTuple):
    """What is attended to, and how queries are compared with keys."""

    keys: np.ndarray  # (S, N, A), rounded to bfloat16 if products are
    values: np.ndarray  # (S, N, D), likewise
    lengths: np.ndarray  # (N,) int64
    v: np.ndarray  # (A,) of the additive score, or (0,) for products
    coverage_weight: np.ndarray  # (A,), or (0,) without coverage
    scale: Any  # of products, of the arrays' dtype
    bf16: bool


class MemoryGradients(NamedTuple):
    """Those of a memory, sequence by sequence."""

    keys: np.ndarray  # (S, N, A)
    values: np.ndarray  # (S, N, D)
    v: np.ndarray  # (N, A), or (N, 0)
    coverage_weight: np.ndarray  # (N, A), or (N, 0)


class Queries(NamedTuple):
    """All queries, and what they read."""

    steps: np.ndarray  # (T, 3), of a `Packing`
    order: np.ndarray  # (N,) the sequence at each sorted position
    query: np.ndarray  # (P, A)
    coverage: np.ndarray  # (N + P, S) as a state buffer, or (N + P, 0)
    alignment: np.ndarray  # (P, S)
    context: np.ndarray  # (P, D)


class QueriesBack(NamedTuple):
    """The gradients that go in and out beside those of the memory."""

    dcontext: np.ndarray  # (P, D)
    dalignment: np.ndarray  # (P, S), or (0, S) for zero
    dquery: np.ndarray  # (P, A)
    dcoverage: np.ndarray  # (N, S) in sorted order; also without coverage, as work space


class AttentionCache(NamedTuple):
    """What the backward needs."""

    query: np.ndarray  # (P, A)
    keys: np.ndarray  # (S, N, A), as given
    values: np.ndarray  # (S, N, D), as given
    memory: Memory
    packing: Packing
    queries: Queries


@jit
def attend(
    memory: Memory, n: int, query: np.ndarray, coverage: np.ndarray, scratch: np.ndarray, alignment: np.ndarray,
    context: np.ndarray,
) -> None:  # fmt: skip
    """One query (A,) of sequence n: alignment (S,) and context (D,) are written. coverage (S,), scratch (A,)."""
    length = memory.lengths[n]
    scores = alignment[:length]
    if memory.v.shape[0] > 0:
        for s in range(length):
            _activate(memory, memory.keys[s, n], query, coverage, s, scratch)
            scores[s] = dot(scratch, memory.v)
    else:
        _copy_rounded(query, memory.bf16, scratch)
        for s in range(length):
            scores[s] = dot(scratch, memory.keys[s, n]) * memory.scale
    normalise(scores, scores)
    alignment[length:] = 0
    context[:] = 0
    for s in range(length):
        weight, value = _as_factor(alignment[s], memory), memory.values[s, n]
        for k in range(context.shape[0]):
            context[k] += weight * value[k]


@jit
def attend_backward(
    memory: Memory, n: int, query: np.ndarray, coverage: np.ndarray, alignment: np.ndarray, dcontext: np.ndarray,
    scratch: np.ndarray, work: np.ndarray, dscores: np.ndarray, grads: MemoryGradients, dquery: np.ndarray,
    dcoverage: np.ndarray,
) -> None:  # fmt: skip
    """Gradient of `attend`: dquery (A,) is written, those of memory and coverage are added to.

    dscores (S,): holds the gradient of alignment, save for the part through context; becomes that of the scores.
    scratch (A,), work (D,): overwritten.
    """
    length = memory.lengths[n]
    weights, dweights = alignment[:length], dscores[:length]
    _copy_rounded(dcontext, memory.bf16, work)
    for s in range(length):
        weight, dvalue = _as_factor(weights[s], memory), grads.values[s, n]
        dweights[s] += dot(work, memory.values[s, n])  # context = sum of weight * value
        for k in range(work.shape[0]):
            dvalue[k] += weight * work[k]  # likewise
    total = dot(dweights, weights)
    for s in range(length):
        dweights[s] = weights[s] * (dweights[s] - total)  # normalise(scores, scores)
    dquery[:] = 0
    if memory.v.shape[0] > 0:
        _additive_backward(memory, n, query, coverage, dweights, scratch, grads, dquery, dcoverage)
        return
    _copy_rounded(query, memory.bf16, scratch)
    for s in range(length):
        key, dkey = memory.keys[s, n], grads.keys[s, n]
        dproduct = _as_factor(dweights[s] * memory.scale, memory)  # score = product * scale
        for k in range(scratch.shape[0]):
            dquery[k] += dproduct * key[k]  # product = dot(query, key)
        for k in range(scratch.shape[0]):
            dkey[k] += dproduct * scratch[k]  # likewise


@jit
def _additive_backward(
    memory: Memory, n: int, query: np.ndarray, coverage: np.ndarray, dscores: np.ndarray, activated: np.ndarray,
    grads: MemoryGradients, dquery: np.ndarray, dcoverage: np.ndarray,
) -> None:  # fmt: skip
    """The part of `attend_backward` through v . tanh(query + key + coverage w); dscores (length,)."""
    one, v, weight, dv = query.dtype.type(1), memory.v, memory.coverage_weight, grads.v[n]
    for s in range(dscores.shape[0]):
        _activate(memory, memory.keys[s, n], query, coverage, s, activated)
        dscore, dkey = dscores[s], grads.keys[s, n]
        for k in range(v.shape[0]):
            dv[k] += dscore * activated[k]  # score = dot(activated, v)
        for k in range(v.shape[0]):
            activated[k] = dscore * v[k] * (one - activated[k] * activated[k])  # activated = tanh(inside)
        dinside = activated
        for k in range(v.shape[0]):
            dquery[k] += dinside[k]  # inside = query + key + coverage * weight
        for k in range(v.shape[0]):
            dkey[k] += dinside[k]  # likewise
        if weight.shape[0] > 0:
            dweight = grads.coverage_weight[n]
            dcoverage[s] += dot(dinside, weight)  # likewise
            for k in range(v.shape[0]):
                dweight[k] += dinside[k] * coverage[s]  # likewise


@jit
def _activate(
    memory: Memory, key: np.ndarray, query: np.ndarray, coverage: np.ndarray, s: int, out: np.ndarray
) -> None:
    """out (A,) = tanh(query + key + coverage[s] w)."""
    if memory.coverage_weight.shape[0] > 0:
        covered, weight = coverage[s], memory.coverage_weight
        for k in range(out.shape[0]):
            out[k] = tanh(query[k] + key[k] + covered * weight[k])
    else:
        for k in range(out.shape[0]):
            out[k] = tanh(query[k] + key[k])


@jit
def _as_factor(x: Any, memory: Memory) -> Any:
    """A number as it goes into products: rounded to bfloat16 if they are in that."""
    return memory.values.dtype.type(_round(x)) if memory.bf16 else x


@jit
def _round(x: Any) -> Any:
    """A number rounded to bfloat16, as float32."""
    return np.uint32(to_bf16(np.float32(x)) << np.uint32(16)).view(np.float32)


@jit
def _copy_rounded(source: np.ndarray, bf16: bool, out: np.ndarray) -> None:
    """out (F,) = source, rounded to bfloat16 if asked for."""
    if bf16:
        for k in range(out.shape[0]):
            out[k] = _round(source[k])
    else:
        for k in range(out.shape[0]):
            out[k] = source[k]


@jit
def _round_all(source: np.ndarray, out: np.ndarray, start: int, stop: int) -> None:
    """out[start:stop] = source rounded to bfloat16, both flat."""
    _copy_rounded(source[start:stop], True, out[start:stop])


@jit
def _attend_sequences(share: int, shares: int, memory: Memory, queries: Queries) -> None:
    """All queries of the sorted sequences share, share + shares, ..."""
    steps, order, query, coverage, alignment, context = queries
    scratch = np.empty(query.shape[1], query.dtype)
    for position in range(share, order.shape[0], shares):
        for t in range(steps.shape[0]):
            if steps[t, 2] <= position:
                break
            token = steps[t, 1] - order.shape[0] + position
            before, after = coverage[steps[t, 0] + position], coverage[steps[t, 1] + position]
            attend(memory, order[position], query[token], before, scratch, alignment[token], context[token])
            for s in range(after.shape[0]):
                after[s] = before[s] + alignment[token, s]


@jit
def _attend_sequences_backward(
    share: int, shares: int, memory: Memory, queries: Queries, back: QueriesBack, grads: MemoryGradients
) -> None:
    """The gradients of `_attend_sequences`, last query first; those of sequences without queries stay 0."""
    steps, order, query, coverage, alignment, _ = queries
    scratch, work = np.empty(query.shape[1], query.dtype), np.empty(back.dcontext.shape[1], query.dtype)
    dscores = np.empty(alignment.shape[1], query.dtype)
    for position in range(share, order.shape[0], shares):
        dcoverage = back.dcoverage[position]
        for t in range(steps.shape[0] - 1, -1, -1):
            if steps[t, 2] <= position:
                continue
            token = steps[t, 1] - order.shape[0] + position
            for s in range(dscores.shape[0]):
                dscores[s] = dcoverage[s]  # after = before + alignment
            if back.dalignment.shape[0] > 0:
                for s in range(dscores.shape[0]):
                    dscores[s] += back.dalignment[token, s]
            attend_backward(
                memory, order[position], query[token], coverage[steps[t, 0] + position], alignment[token],
                back.dcontext[token], scratch, work, dscores, grads, back.dquery[token], dcoverage,
            )  # fmt: skip


def make_memory(
    keys: np.ndarray, values: np.ndarray, lengths: np.ndarray, v: np.ndarray | None,
    coverage_weight: np.ndarray | None, scale: float, bf16: bool,
) -> Memory:  # fmt: skip
    """The memory as compiled code reads it; keys are rounded only where they are in a product."""
    bf16, none = bf16 and keys.dtype == np.float32, np.empty(0, keys.dtype)
    rounded_keys = _rounded(keys) if bf16 and v is None else keys
    return Memory(
        rounded_keys, rounded_keys if values is keys and v is None else _rounded(values) if bf16 else values,
        lengths.astype(np.int64), none if v is None else v, none if coverage_weight is None else coverage_weight,
        keys.dtype.type(scale), bf16,
    )  # fmt: skip


def _rounded(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    run_chunks(_round_all, x.size, CHUNK, x.reshape(-1), out.reshape(-1))
    return out


def zero_gradients(memory: Memory) -> MemoryGradients:
    """To be added to."""
    batch_size, dtype = len(memory.lengths), memory.keys.dtype
    of_weights = (np.zeros((batch_size, len(part)), dtype) for part in (memory.v, memory.coverage_weight))
    return MemoryGradients(np.zeros_like(memory.keys), np.zeros_like(memory.values), *of_weights)


def sorted_order(packing: Packing) -> np.ndarray:
    """(N,) the sequence at each sorted position."""
    return np.arange(packing.batch_size) if packing.order is None else packing.order


def coverage_buffer(coverage: np.ndarray | None, packing: Packing, dtype: np.dtype) -> np.ndarray:
    """(N + P, S) with the coverage before the first step; (N + P, 0) where there is none."""
    return packing.state_buffer(np.empty((packing.batch_size, 0), dtype) if coverage is None else coverage)


def _num_shares(memory: Memory, packing: Packing) -> int:
    """Shares that the sequences are cut into."""
    (positions, batch_size, key_size), value_size = memory.keys.shape, memory.values.shape[2]
    work = packing.num_tokens * positions * (key_size + value_size) * (8 if len(memory.v) else 1)  # a tanh takes longer
    return max(1, min(get_num_threads(), batch_size)) if work > SERIAL_WORK else 1


def attention_forward(
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    lengths: np.ndarray,
    packing: Packing,
    v: np.ndarray | None = None,
    coverage: np.ndarray | None = None,
    coverage_weight: np.ndarray | None = None,
    scale: float = 1.0,
    bf16: bool = False,
) -> tuple[np.ndarray, np.ndarray, AttentionCache]:
    """See `kernels.attention_forward`."""
    memory = make_memory(keys, values, lengths, v, coverage_weight, scale, bf16)
    alignment, context = (np.empty((len(query), width), query.dtype) for width in (len(keys), values.shape[2]))
    covered = coverage_buffer(coverage, packing, query.dtype)
    queries = Queries(packing.steps, sorted_order(packing), query, covered, alignment, context)
    shares = _num_shares(memory, packing)
    run(lambda share: _attend_sequences(share, shares, memory, queries), shares)
    return context, alignment, AttentionCache(query, keys, values, memory, packing, queries)


def attention_backward(
    dcontext: np.ndarray | None, dalignment: np.ndarray | None, cache: AttentionCache
) -> tuple[
    np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None
]:  # fmt: skip
    """See `kernels.attention_backward`."""
    query, _, _, memory, packing, queries = cache
    context, alignment = queries.context, queries.alignment
    dcontext = np.zeros_like(context) if dcontext is None else dcontext
    dalignment = np.empty((0, alignment.shape[1]), query.dtype) if dalignment is None else dalignment
    dcoverage = np.zeros((packing.batch_size, alignment.shape[1]), query.dtype)
    back = QueriesBack(dcontext, dalignment, np.empty_like(query), dcoverage)
    grads, shares = zero_gradients(memory), _num_shares(memory, packing)
    run(lambda share: _attend_sequences_backward(share, shares, memory, queries, back, grads), shares)
    dv = column_sums(grads.v) if len(memory.v) else None
    if not len(memory.coverage_weight):
        return back.dquery, grads.keys, grads.values, dv, None, None
    dweight = column_sums(grads.coverage_weight)
    return back.dquery, grads.keys, grads.values, dv, packing.unsort(dcoverage), dweight
