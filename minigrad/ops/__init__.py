"""Every operation of the tape, as functions of Tensors with PyTorch's names and semantics."""

import inspect

from minigrad.arguments import checked
from minigrad.ops.choose import clamp, clip, masked_fill, maximum, minimum, where
from minigrad.ops.compare import (
    allclose,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    eq,
    equal,
    ge,
    gt,
    isclose,
    isfinite,
    isinf,
    isnan,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    ne,
)
from minigrad.ops.contraction import einsum
from minigrad.ops.convert import cast, clone
from minigrad.ops.elementwise import abs, add, div, exp, log, mul, neg, pow, relu, sigmoid, sqrt, sub, tanh
from minigrad.ops.embedding import embedding
from minigrad.ops.functions import cos, expm1, log1p, reciprocal, rsqrt, sin, square
from minigrad.ops.fused import dropout, gru_layer, lstm_layer
from minigrad.ops.index import gather, getitem, index_select, setitem
from minigrad.ops.linalg import baddbmm, bmm, dot, linear, matmul, mm, mv
from minigrad.ops.losses import cross_entropy, linear_argmax, linear_cross_entropy
from minigrad.ops.moments import norm, std, var
from minigrad.ops.order import argmax, argmin, argsort, max, min, sort, topk
from minigrad.ops.reduce import all, amax, amin, any, cumsum, log_softmax, logsumexp, mean, prod, softmax, sum
from minigrad.ops.rounding import ceil, floor, floor_divide, remainder, round, sign, trunc
from minigrad.ops.select import (
    masked_select,
    multinomial,
    nonzero,
    repeat_interleave,
    scatter,
    scatter_add,
    tril,
    triu,
    unique,
)
from minigrad.ops.shape import (
    cat,
    chunk,
    expand,
    expand_as,
    flatten,
    flip,
    movedim,
    permute,
    repeat,
    reshape,
    split,
    squeeze,
    stack,
    swapaxes,
    t,
    transpose,
    unbind,
    unsqueeze,
    view,
    view_as,
)

# Here and not in each file: within the engine, ops are called with what they expect.
globals().update(
    {name: checked(op) for name, op in list(globals().items()) if inspect.isfunction(op) and op is not checked}
)

__all__ = [name for name, value in list(globals().items()) if callable(value) and name != "checked"]
