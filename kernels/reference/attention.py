"""Attention of the steps of packed sequences over a memory for each sequence, and its gradient.

    e_s = scale * query . key_s,  or with v:  e_s = v . tanh(query + key_s + coverage_s w)
    alignment = softmax(e) over the real positions s,   context = sum over s of alignment_s value_s

Coverage is the sum of the alignments of the steps before.

Sources: Bahdanau et al., "Neural machine translation by jointly learning to align and translate" (2015), for the
additive score; Luong et al., "Effective approaches to attention-based neural machine translation" (2015), for products;
Vaswani et al., "Attention is all you need" (2017), for the scale; Tu et al., "Modeling coverage for neural machine
translation" (2016), and See et al., "Get to the point" (2017), for coverage.
"""

from typing import NamedTuple

import numpy as np

from kernels.arrays import like
from kernels.packing import Packing
from kernels.reference.lstm import steps_of
from kernels.reference.masked_softmax import MaskedSoftmaxCache, masked_softmax_backward, masked_softmax_forward
from kernels.reference.precision import round_bf16

Array = np.ndarray


class Score(NamedTuple):
    """How a query is compared with a key."""

    v: Array | None  # (A,) of the additive score
    coverage_weight: Array | None  # (A,)
    scale: float
    bf16: bool


class AttentionCache(NamedTuple):
    """What the backward needs."""

    query: Array  # (P, A)
    keys: Array  # (S, N, A)
    values: Array  # (S, N, D)
    lengths: Array  # (N,)
    packing: Packing
    score: Score
    alignment: Array  # (P, S)
    coverage: Array | None  # (P, S), that before each query


class Memory(NamedTuple):
    """What R rows attend to."""

    keys: Array  # (S, R, A), 0 past a length
    values: Array  # (S, R, D), likewise
    lengths: Array  # (R,)

    def of(self, rows: Array) -> "Memory":
        """That of some rows."""
        return Memory(self.keys[:, rows], self.values[:, rows], self.lengths[rows])


def memory_of(keys: Array, values: Array, lengths: Array) -> Memory:
    """A memory whose padding is 0."""
    counts = like(lengths.astype(np.int64), keys)
    live = (np.arange(len(keys), like=keys)[:, None] < counts)[:, :, None]
    return Memory(np.where(live, keys, 0), np.where(live, values, 0), counts)


def _rounded(x: Array, bf16: bool) -> Array:
    return round_bf16(x) if bf16 and x.dtype == np.float32 else x


def _activated(query: Array, keys: Array, score: Score, coverage: Array | None) -> Array:
    """tanh(query + key + coverage w), (S, R, A)."""
    inside = query + keys
    if coverage is not None:
        inside = inside + coverage.T[:, :, None] * score.coverage_weight
    return np.tanh(inside)


def attend(query: Array, memory: Memory, score: Score, coverage: Array | None) -> tuple[Array, Array]:
    """One step of R rows: query (R, A), coverage (R, S) -> context (R, D), alignment (R, S)."""
    keys, values, lengths = memory
    if score.v is None:
        scores = score.scale * (_rounded(query, score.bf16) * _rounded(keys, score.bf16)).sum(axis=2)
    else:
        scores = (_activated(query, keys, score, coverage) * score.v).sum(axis=2)
    alignment, _ = masked_softmax_forward(scores.T, lengths)
    context = (_rounded(alignment, score.bf16).T[:, :, None] * _rounded(values, score.bf16)).sum(axis=0)
    return context, alignment


def attend_backward(
    dcontext: Array, dalignment: Array, query: Array, memory: Memory, score: Score, coverage: Array | None,
    alignment: Array,
) -> tuple[Array, Array, Array, Array | None, Array | None, Array | None]:  # fmt: skip
    """Gradient of `attend`: of query, keys, values, v, coverage, coverage_weight."""
    (keys, values, lengths), bf16 = memory, score.bf16
    dcontext = _rounded(dcontext, bf16)
    dvalues = _rounded(alignment, bf16).T[:, :, None] * dcontext  # context = sum over s of alignment_s value_s
    dalignment = dalignment + (dcontext * _rounded(values, bf16)).sum(axis=2).T  # likewise
    live = np.arange(len(keys), like=keys) < lengths[:, None]
    dvalues = np.where(live.T[:, :, None], dvalues, 0)  # values = where(live, values, 0)
    dscores = masked_softmax_backward(dalignment, MaskedSoftmaxCache(alignment, live)).T[:, :, None]  # (S, R, 1)
    if score.v is None:
        dproducts = _rounded(score.scale * dscores, bf16)  # scores = scale * products
        dquery = (dproducts * _rounded(keys, bf16)).sum(axis=0)  # products = sum over a of query_a key_a
        return dquery, dproducts * _rounded(query, bf16), dvalues, None, None, None
    activated = _activated(query, keys, score, coverage)
    dv = (dscores * activated).sum(axis=(0, 1))  # scores = activated . v
    dinside = dscores * score.v * (1 - activated * activated)  # activated = tanh(inside)
    dquery = dinside.sum(axis=0)  # inside = query + keys + coverage w
    if coverage is None:
        return dquery, dinside, dvalues, dv, None, None
    dcoverage = (dinside * score.coverage_weight).sum(axis=2).T  # likewise
    dweight = (dinside * coverage.T[:, :, None]).sum(axis=(0, 1))  # likewise
    return dquery, dinside, dvalues, dv, dcoverage, dweight


def attention_forward(
    query: Array,
    keys: Array,
    values: Array,
    lengths: Array,
    packing: Packing,
    v: Array | None = None,
    coverage: Array | None = None,
    coverage_weight: Array | None = None,
    scale: float = 1.0,
    bf16: bool = False,
) -> tuple[Array, Array, AttentionCache]:
    """See `kernels.attention_forward`."""
    score, memory = Score(v, coverage_weight, scale, bf16), memory_of(keys, values, lengths)
    P, S, D = len(query), len(keys), values.shape[2]
    context, alignment = (np.empty((P, width), query.dtype, like=query) for width in (D, S))
    before = None if coverage is None else np.empty_like(alignment)
    covered = None if coverage is None else coverage.copy()
    for t, rows in steps_of(packing, query):
        now = None if covered is None else covered[rows]
        context[t], alignment[t] = attend(query[t], memory.of(rows), score, now)
        if before is not None and covered is not None:
            before[t], covered[rows] = now, now + alignment[t]
    return context, alignment, AttentionCache(query, keys, values, lengths.copy(), packing, score, alignment, before)


def attention_backward(
    dcontext: Array | None, dalignment: Array | None, cache: AttentionCache
) -> tuple[Array, Array, Array, Array | None, Array | None, Array | None]:
    """See `kernels.attention_backward`."""
    query, keys, values, lengths, packing, score, alignment, coverage = cache
    memory = memory_of(keys, values, lengths)
    dcontext = np.zeros((len(query), values.shape[2]), query.dtype, like=query) if dcontext is None else dcontext
    dalignment = np.zeros_like(alignment) if dalignment is None else dalignment
    dquery, dkeys, dvalues = np.empty_like(query), np.zeros_like(keys), np.zeros_like(values)
    dv, dweight = (None if part is None else np.zeros_like(part) for part in (score.v, score.coverage_weight))
    dcovered = np.zeros((packing.batch_size, len(keys)), query.dtype, like=query)
    for t, rows in reversed(list(steps_of(packing, query))):
        now = None if coverage is None else coverage[t]
        given = dalignment[t] + dcovered[rows]  # covered[rows] = now + alignment[t]
        dquery[t], dkeys_t, dvalues_t, dv_t, dcoverage, dweight_t = attend_backward(
            dcontext[t], given, query[t], memory.of(rows), score, now, alignment[t]
        )  # context[t], alignment[t] = attend(...)
        dkeys[:, rows] += dkeys_t
        dvalues[:, rows] += dvalues_t
        if dv is not None:
            dv += dv_t
        if dweight is not None:
            dweight += dweight_t
            dcovered[rows] += dcoverage  # now = covered[rows]
    return dquery, dkeys, dvalues, dv, None if coverage is None else dcovered, dweight
