"""Functional forms: everything the layers compute, without their parameters. Usually imported as ``F``.

Contract: PyTorch's names, argument order and defaults; results and gradients are recorded on the tape. Losses live in
``minigrad.nn.loss_functions``, attention in ``minigrad.nn.attention_functions``; both are re-exported here, where users
look for them.
``inplace=True`` writes the result over the input, on the tape; it saves no memory here.

Arguments are checked here, under the names that users give them, and not once more: the ops are called as the engine
calls them, by the files that hold them.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

import kernels
from minigrad.arguments import Operand, checked
from minigrad.missing import for_module as _for_module
from minigrad.naming import described
from minigrad.nn.attention_functions import scaled_dot_product_attention
from minigrad.nn.checks import check_int, check_probability, row_index
from minigrad.nn.loss_functions import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    linear_cross_entropy,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from minigrad.nn.variational import variational_dropout
from minigrad.ops import choose, elementwise, fused, linalg, losses, moments, reduce
from minigrad.ops.embedding import embedding as _look_up
from minigrad.ops.gelu import gelu as _gelu
from minigrad.ops.layer_norm import layer_norm as _layer_norm
from minigrad.ops.masked_softmax import masked_softmax as _masked_softmax
from minigrad.ops.softmax import log_softmax as _log_softmax
from minigrad.ops.softmax import softmax as _softmax
from minigrad.tensor import Tensor

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "elu",
    "embedding",
    "gelu",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "linear_argmax",
    "linear_cross_entropy",
    "log_softmax",
    "masked_softmax",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "relu",
    "scaled_dot_product_attention",
    "sigmoid",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
]


def _given(input: Tensor, result: Tensor, inplace: bool) -> Tensor:
    """``result``, written over ``input`` if that is asked for."""
    return input.copy_(result) if inplace else result


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input weight^T + bias: (..., I) and (O, I) -> (..., O); ``bias`` (O,), or None for no bias."""
    return linalg.linear(input, weight, bias)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), elementwise."""
    return elementwise.sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """tanh(x), elementwise."""
    return elementwise.tanh(input)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), elementwise."""
    return _given(input, elementwise.relu(input), inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where positive, ``negative_slope`` * x elsewhere."""
    return _given(input, choose.where(input > 0, input, input * negative_slope), inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, ``alpha`` * (exp(x) - 1) elsewhere."""
    return _given(input, choose.where(input > 0, input, elementwise.expm1(choose.clamp(input, max=0)) * alpha), inplace)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the distribution function of N(0, 1) at x, elementwise; "tanh" is a form that differs by 5e-4 at most."""
    return _gelu(input, approximate)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta; x itself where beta x is above ``threshold``."""
    scaled = input * beta
    smooth = elementwise.log1p(elementwise.exp(choose.clamp(scaled, max=threshold))) / beta
    return choose.where(scaled > threshold, input, smooth)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(its p-norm along ``dim``, ``eps``)."""
    return input / choose.clamp(moments.norm(input, p, dim, keepdim=True), min=eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along ``dim``; the inputs broadcast."""
    return reduce.sum(normalize(x1, 2, dim, eps) * normalize(x2, 2, dim, eps), dim)


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along ``dim``; ``input`` is cast to ``dtype`` before, if given."""
    return _softmax(input, _dim_or_guess("softmax", input, dim), dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """x - log(sum(exp(x))) along ``dim``; ``input`` is cast to ``dtype`` before, if given."""
    return _log_softmax(input, _dim_or_guess("log_softmax", input, dim), dtype)


def masked_softmax(input: Tensor, lengths: Operand) -> Tensor:
    """Softmax along the last dimension over the first ``lengths`` elements, exactly 0 in the others.

    Args:
        input: (..., S); what lies past a length is never used.
        lengths: integers in 0..S, of the shape of the leading dimensions of ``input``, or of some of them from the
            left: for (N, T, S) it may be (N, T) or (N,). A row of length 0 is all zeros.
    """
    return _masked_softmax(input, lengths)


def layer_norm(
    input: Tensor,
    normalized_shape: tuple[int, ...] | list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + ``eps``) over the last dimensions, times ``weight`` plus ``bias``.

    Args:
        input: (..., *normalized_shape), floating point.
        normalized_shape: the sizes of the last dimensions.
        weight, bias: of shape ``normalized_shape``, or None for no scale or no shift.
        eps: added to the variance.
    """
    return _layer_norm(input, normalized_shape, weight, bias, eps)


def _dim_or_guess(name: str, input: Tensor, dim: int | None) -> int:
    """``dim``, or PyTorch's old guess (0 for 0, 1 and 3 dimensions, else 1), with its warning."""
    if dim is not None:
        check_int(name, "dim", dim)
        return dim
    warnings.warn(f"{name}: implicit dimension choice is deprecated; pass dim", stacklevel=3)
    return 0 if input.dim() in (0, 1, 3) else 1


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each element with probability ``p`` and scale the others by 1 / (1 - p); no change if not training.

    In ``nn.variational_dropout`` a sequence has one mask for all of its steps.
    """
    check_probability("dropout", "p", p)
    if not training or p == 0:
        return input
    masks = variational_dropout.active()
    return _given(input, fused.dropout(input, p) if masks is None else masks.mask(p)(input), inplace)


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None, *, sparse: bool = False) -> Tensor:
    """Rows of ``weight``.

    Args:
        input: ids, any shape, integer, each in [0, V).
        weight: (V, E).
        padding_idx: row that receives no gradient; negative counts from the end.
        sparse: whether the gradient of ``weight`` is a RowGradient, of the rows used only.

    Returns:
        (*input.shape, E), dtype of ``weight``.
    """
    row = row_index("embedding", padding_idx, weight.shape[0]) if weight.dim() else None  # which the op refuses
    return _look_up(weight, input, row, sparse)


def linear_argmax(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The likeliest class of each row of an output layer, ``linear(input, weight, bias).argmax(-1)``.

    The logits are not stored, and nothing is recorded.

    Args:
        input: (..., H), floating point.
        weight: (C, H), of one dtype with ``input``, C at least 1.
        bias: (C,), or None for no bias.

    Returns:
        (...) int64: the first of equal ones; a NaN counts as the largest.
    """
    if not input.dim():
        raise ValueError("linear_argmax: input is 0-d; expected (..., H)")
    rows = input.reshape(-1, input.shape[-1]) if input.dim() != 2 else input
    return losses.linear_argmax(rows, weight, bias).reshape(input.shape[:-1])


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """(*) int64 ids -> (*, num_classes) int64 of zeros with a one at each id; -1 takes the largest id plus one."""
    ids = tensor.array
    if num_classes == -1 and not ids.size:
        raise RuntimeError("one_hot: tensor is empty; expected num_classes, which cannot be told from it")
    if num_classes == -1:
        num_classes = int(kernels.to_host(ids).max()) + 1
    result = (ids[..., None] == kernels.like(np.arange(num_classes), ids)).astype(np.int64)
    if tensor.is_cuda:  # the host does not wait to look at values
        kernels.report_ids((ids < 0) | (ids >= num_classes))
        return Tensor(result)
    if ids.size and ids.min() < 0:
        raise RuntimeError(f"one_hot: tensor contains {ids.min()}; expected ids of 0 or more")
    if ids.size and ids.max() >= num_classes:
        raise RuntimeError(f"one_hot: tensor contains {ids.max()}; expected ids below num_classes = {num_classes}")
    return Tensor(result)


def pad(input: Tensor, pad: tuple[int, ...] | list[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Surround with a constant, or take away.

    Args:
        input: any shape.
        pad: (before, after) of the last dimension, then of the one before it, and so on; of a negative one so many
            elements are left out.
        mode: only "constant".
        value: the constant, 0 by default.
    """
    if not isinstance(mode, str) or mode != "constant":
        raise NotImplementedError(f"pad: mode={described(mode)} is not supported; expected 'constant'")
    if len(pad) % 2 or len(pad) > 2 * input.dim():
        raise ValueError(f"pad: pad is {tuple(pad)}; expected pairs of sizes, at most one per dimension of the input")
    pairs = [(0, 0)] * (input.dim() - len(pad) // 2) + list(zip(pad[-2::-2], pad[::-2], strict=True))
    shape = [before + size + after for (before, after), size in zip(pairs, input.shape, strict=True)]
    if min(shape, default=0) < 0:
        raise ValueError(f"pad: pad is {tuple(pad)} for shape {input.shape}; expected sizes that leave 0 or more")
    result = input.new_full(shape, 0 if value is None else value)
    result[_inside(pairs, shape)] = input[_inside([(-before, -after) for before, after in pairs], input.shape)]
    return result


def _inside(pairs: list[tuple[int, int]], shape: Any) -> Any:
    """The index of what lies between the borders (before, after); negative ones are none."""
    return tuple(slice(max(a, 0), max(size - max(b, 0), 0)) for (a, b), size in zip(pairs, shape, strict=True))


# What comes from ``loss_functions`` and ``attention_functions`` has been checked there.
globals().update({name: checked(globals()[name]) for name in __all__ if not hasattr(globals()[name], "__wrapped__")})

if not TYPE_CHECKING:  # a checker would take every name for known
    __path__: list[str] = []  # or ``from ... import`` would not ask on for a name that is not here
    __getattr__ = _for_module(__name__)
