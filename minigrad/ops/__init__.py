"""Every operation of the tape, as functions of Tensors with PyTorch's names and semantics."""

from minigrad.ops.elementwise import (
    abs, add, cast, clamp, clone, div, eq, exp, floor, floor_divide, ge, gt, isfinite, isinf, isnan, le, log, logical_and,
    logical_not, logical_or, lt, masked_fill, maximum, minimum, mul, ne, neg, pow, relu, remainder, round, sigmoid, sqrt,
    sub, tanh, where,
)  # fmt: skip
from minigrad.ops.fused import cross_entropy, dropout, embedding, gru_layer, lstm_layer
from minigrad.ops.index import gather, getitem, index_select, masked_select, setitem
from minigrad.ops.linalg import bmm, linear, matmul
from minigrad.ops.reduce import (
    all, amax, amin, any, argmax, argmin, cumsum, log_softmax, logsumexp, max, mean, min, norm, softmax, sort, std, sum,
    topk, var,
)  # fmt: skip
from minigrad.ops.shape import (
    cat, chunk, expand, expand_as, flatten, flip, permute, repeat, reshape, split, squeeze, stack, t, transpose, unsqueeze,
    view, view_as,
)  # fmt: skip

__all__ = [name for name, value in list(globals().items()) if callable(value)]
