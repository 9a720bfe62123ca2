"""Every operation of the tape, as functions of Tensors with PyTorch's names and semantics."""

import inspect

from minigrad.ops import names
from minigrad.ops.compare import (
    allclose,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    ceil,
    eq,
    equal,
    floor,
    floor_divide,
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
    remainder,
    round,
    sign,
    trunc,
)
from minigrad.ops.contraction import einsum
from minigrad.ops.convert import cast, clone
from minigrad.ops.elementwise import (
    abs,
    add,
    clamp,
    div,
    exp,
    log,
    masked_fill,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    relu,
    sigmoid,
    sqrt,
    sub,
    tanh,
    where,
)
from minigrad.ops.embedding import embedding
from minigrad.ops.functions import clip, cos, expm1, log1p, reciprocal, rsqrt, sin, square
from minigrad.ops.fused import dropout, gru_layer, lstm_layer
from minigrad.ops.index import gather, getitem, index_select, masked_select, setitem
from minigrad.ops.linalg import baddbmm, bmm, dot, linear, matmul, mm, mv
from minigrad.ops.losses import cross_entropy, linear_argmax, linear_cross_entropy
from minigrad.ops.lstm_in_pieces import LSTMInPieces
from minigrad.ops.reduce import (
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    argsort,
    cumsum,
    log_softmax,
    logsumexp,
    max,
    mean,
    min,
    norm,
    prod,
    softmax,
    sort,
    std,
    sum,
    topk,
    var,
)
from minigrad.ops.select import multinomial, nonzero, repeat_interleave, scatter, scatter_add, tril, triu, unique
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

# Here and not in each file: within the engine, ops are called by their own arguments' names.
globals().update({name: names.with_other_names(op) for name, op in list(globals().items()) if inspect.isfunction(op)})

__all__ = [name for name, value in list(globals().items()) if callable(value)]
