"""Losses as functions; ``minigrad.nn.functional`` re-exports them and the modules of ``minigrad.nn.losses`` call them.

Contract: values, gradients and reductions of PyTorch. Class losses work on rows: (N, C, d1, ...) becomes (N*d1*..., C).
The plain cross-entropy is one fused op; class weights and probability targets are composed from log_softmax.
N batch, C classes, M rows.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

import kernels
from minigrad.arguments import checked
from minigrad.nn.binary import BinaryCrossEntropy, BinaryCrossEntropyWithLogits
from minigrad.nn.checks import check_reduction
from minigrad.ops import choose, elementwise, index
from minigrad.ops import losses as loss_ops
from minigrad.ops.common import no_bool
from minigrad.ops.softmax import log_softmax
from minigrad.tensor import Tensor


@checked
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Negative log-likelihood of the target classes under softmax(input).

    Args:
        input: logits (C,), (N, C) or (N, C, d1, ...), floating point.
        target: class ids (), (N,) or (N, d1, ...), integer in [0, C); or probabilities of the shape of ``input``.
        weight: (C,) factor of each class.
        ignore_index: target that contributes neither loss nor gradient (class ids only).
        reduction: "mean" (over the not ignored, by their weights), "sum" or "none".
        label_smoothing: share of each target spread evenly over all classes, 0 to 1 (Szegedy et al. 2016, section 7).

    Returns:
        0-d, or the shape of the class ids for "none".
    """
    check_reduction("cross_entropy", reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is {label_smoothing}; expected 0 to 1")
    _require_floating("cross_entropy", "input", input)
    if weight is not None:
        _check_class_weight("cross_entropy", weight, input)
    if target.is_floating_point() and target.shape == input.shape:
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    rows, ids = _rows_and_ids("cross_entropy", input, target)
    if weight is None:
        losses = loss_ops.cross_entropy(rows, ids, ignore_index, label_smoothing)
    else:
        log_probs = log_softmax(rows, 1)
        spread = (log_probs * weight).sum(1) * (-label_smoothing / rows.shape[1])
        nll = _picked_losses("cross_entropy", log_probs, ids, weight, ignore_index)
        losses = nll * (1 - label_smoothing) + choose.masked_fill(spread, ids == ignore_index, 0.0)
    return _reduce_classes(losses, ids, target, weight, ignore_index, reduction)


@checked
def linear_cross_entropy(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """``cross_entropy(linear(input, weight, bias), target)`` without storing the logits: an output layer and its loss.

    The gradients are computed along with the value, a few hundred rows at a time; rows with ``ignore_index`` cost
    nothing. Under ``autocast`` the products are in bfloat16, the softmax and the loss in float32.

    Args:
        input: (..., H), floating point, what the layer is given.
        weight: (C, H), of one dtype with ``input``.
        bias: (C,), or None for no bias.
        target: class ids (...), integer in [0, C).
        ignore_index: target that contributes neither loss nor gradient.
        reduction: "mean" (over the targets that are not ignored; NaN if there is none) or "sum".
        label_smoothing: as in ``cross_entropy``.

    Returns:
        0-d, dtype of ``input``.

    Raises:
        ValueError, TypeError, IndexError: a shape, a dtype, another reduction, a target out of range.
    """
    name = "linear_cross_entropy"
    if input.dim() == 0 or target.shape != input.shape[:-1]:
        expected = input.shape[:-1]
        raise ValueError(f"{name}: target has shape {target.shape}; expected {expected} from input {input.shape}")
    rows, ids = input.reshape(-1, input.shape[-1]) if input.dim() != 2 else input, target.reshape(-1)
    return loss_ops.linear_cross_entropy(rows, weight, bias, ids, ignore_index, label_smoothing, reduction)


@checked
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Negative of the target classes' entries of ``input`` (log-probabilities); arguments as ``cross_entropy``."""
    check_reduction("nll_loss", reduction)
    _require_floating("nll_loss", "input", input)
    if weight is not None:
        _check_class_weight("nll_loss", weight, input)
    rows, ids = _rows_and_ids("nll_loss", input, target)
    losses = _picked_losses("nll_loss", rows, ids, weight, ignore_index)
    return _reduce_classes(losses, ids, target, weight, ignore_index, reduction)


@checked
def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """(input - target)**2, same shapes."""
    check_reduction("mse_loss", reduction)
    _warn_if_broadcast("mse_loss", input, target)
    return _reduce((input - target) ** 2, reduction)


@checked
def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """|input - target|, same shapes."""
    check_reduction("l1_loss", reduction)
    _warn_if_broadcast("l1_loss", input, target)
    return _reduce(elementwise.abs(input - target), reduction)


@checked
def smooth_l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """(input - target)**2 / (2 beta) where they are less than ``beta`` apart, |input - target| - beta / 2 elsewhere."""
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta is {beta}; expected 0 or more")
    if beta == 0:
        return l1_loss.__wrapped__(input, target, reduction=reduction)  # type: ignore[attr-defined]
    check_reduction("smooth_l1_loss", reduction)
    _warn_if_broadcast("smooth_l1_loss", input, target)
    return _reduce(_huber(input - target, beta) / beta, reduction)


@checked
def huber_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """(input - target)**2 / 2 where they are less than ``delta`` apart, delta (|input - target| - delta / 2) beyond."""
    if not delta > 0:
        raise ValueError(f"huber_loss: delta is {delta}; expected more than 0")
    check_reduction("huber_loss", reduction)
    _warn_if_broadcast("huber_loss", input, target)
    return _reduce(_huber(input - target, delta), reduction)


def _huber(difference: Tensor, delta: float) -> Tensor:
    distance = elementwise.abs(difference)
    return choose.where(distance < delta, distance * distance / 2, (distance - delta / 2) * delta)


@checked
def kl_div(input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """The divergence of Kullback and Leibler, target (log target - input), elementwise.

    Args:
        input: log-probabilities, floating.
        target: probabilities of the same shape; 0 log 0 is 0, and below 0 the loss is NaN, which tells where
            ``log_target`` was forgotten. With ``log_target`` their logarithms.
        reduction: "batchmean" (the divergence: the sum by the size of the first dimension), "mean" (over all elements,
            which is seldom meant), "sum" or "none".
    """
    is_divergence = isinstance(reduction, str) and reduction == "batchmean"
    if not is_divergence:
        check_reduction("kl_div", reduction)
    _require_floating("kl_div", "input", input)
    _warn_if_broadcast("kl_div", input, target)
    if log_target:
        losses = elementwise.exp(target) * (target - input)
    else:
        safe = choose.where(target != 0, target, elementwise.abs(target) + 1)
        losses = target * (elementwise.log(safe) - input)
    return losses.sum() / input.shape[0] if is_divergence else _reduce(losses, reduction)


@checked
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)), logarithms clamped at -100.

    Args:
        input: probabilities p in [0, 1], any shape.
        target: t, same shape and dtype.
        weight: factor of each element, broadcast against ``input``.
        reduction: "mean" (over all elements), "sum" or "none".

    Raises:
        ValueError: another shape. RuntimeError: another dtype, integers among them, or a p outside [0, 1].
    """
    check_reduction("binary_cross_entropy", reduction)
    _check_same_shape("binary_cross_entropy", input, target)
    _require_floating("binary_cross_entropy", "input", input)
    if target.dtype != input.dtype:
        raise RuntimeError(f"binary_cross_entropy: target has dtype {target.dtype}; expected {input.dtype} as input")
    p = input.array
    if not input.is_cuda and ((p < 0) | (p > 1)).any():
        raise RuntimeError("binary_cross_entropy: all elements of input should be between 0 and 1")
    losses = BinaryCrossEntropy.apply(input, target)
    return _reduce(_weighted("binary_cross_entropy", losses, weight), reduction)


@checked
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """``binary_cross_entropy(sigmoid(input), target)`` without its rounding; ``pos_weight`` scales the t log p part.

    All of ``input`` and ``target`` are floating; the result has the dtype of ``target``, as in PyTorch. RuntimeError
    for integers: convert class ids with ``float()``.
    """
    check_reduction("binary_cross_entropy_with_logits", reduction)
    _check_same_shape("binary_cross_entropy_with_logits", input, target)
    name, dtype = "binary_cross_entropy_with_logits", target.dtype
    _require_floating(name, "input", input)
    _require_floating(name, "target", target)
    positive: Any = dtype.type(1)
    if pos_weight is not None:
        _check_factor(name, "pos_weight", no_bool(name, pos_weight, "a tensor of numbers"), input)
        positive = pos_weight.to(dtype=dtype).array
    losses = BinaryCrossEntropyWithLogits.apply(input.to(dtype=dtype), target, positive)
    return _reduce(_weighted(name, losses, weight), reduction)


def _rows_and_ids(name: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Logits as rows (M, C) and class ids as (M,)."""
    expected = input.shape[:1] + input.shape[2:] if input.dim() > 1 else ()
    if input.dim() == 0 or target.shape != expected:
        raise ValueError(f"{name}: target has shape {target.shape}; expected {expected} from input {input.shape}")
    if target.is_floating_point() or target.dtype == np.bool_:
        raise TypeError(f"{name}: target has dtype {target.dtype}; expected integer class ids")
    if input.dim() > 2:
        input = input.permute(0, *range(2, input.dim()), 1)
    return input.reshape(-1, input.shape[-1]) if input.dim() != 2 else input, target.reshape(-1)


def _picked_losses(name: str, log_probs: Tensor, ids: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """(M,): -weight[id] * log_probs[m, id]; zero at ignored ids."""
    classes = log_probs.shape[1]
    ignored = ids.array == ignore_index
    wrong = ~ignored & ((ids.array < 0) | (ids.array >= classes))
    if ids.is_cuda:
        kernels.report_ids(wrong)
    elif wrong.any():
        raise IndexError(f"{name}: target {ids.array[wrong][0]} is out of bounds for {classes} classes")
    safe = Tensor(np.where(ignored, 0, ids.array).astype(np.int64))
    factors = np.ones_like(log_probs.array[:, 0]) if weight is None else weight.array[safe.array]
    picked = index.gather(log_probs, 1, safe.unsqueeze(1)).squeeze(1)
    return choose.masked_fill(picked * Tensor(-factors), Tensor(ignored), 0.0)


def _reduce_classes(
    losses: Tensor, ids: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str
) -> Tensor:
    """ "mean" divides by the number (with ``weight``: the weights) of the targets that count; NaN if none does."""
    if reduction == "none":
        return losses.reshape(target.shape)
    if reduction == "sum":
        return losses.sum()
    if losses.is_cuda:
        return losses.sum() / _total(ids.array, losses.array, weight, ignore_index)
    counted = ids.array[ids.array != ignore_index]
    total = len(counted) if weight is None else float(weight.array[counted].sum())
    return losses.sum() / (total or math.nan)


def _total(ids: Any, losses: Any, weight: Tensor | None, ignore_index: int) -> Tensor:
    """What "mean" divides by, on a GPU: 0-d, for which the host does not wait."""
    counts = ids != ignore_index
    shares = counts if weight is None else np.where(counts, weight.array[np.where(counts, ids, 0)], 0)
    total = shares.sum()
    return Tensor(np.where(total == 0, np.nan, total).astype(losses.dtype))


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    """Cross-entropy against a distribution per row; "mean" divides by the number of rows."""
    dim = min(1, input.dim() - 1)
    classes = input.shape[dim]
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    terms = target * log_softmax(input, dim)
    if weight is not None:
        terms = terms * weight.reshape([classes] + [1] * (input.dim() - dim - 1))
    losses = -terms.sum(dim)
    return losses.sum() / (losses.numel() or math.nan) if reduction == "mean" else _reduce(losses, reduction)


def _reduce(losses: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


def _weighted(name: str, losses: Tensor, weight: Tensor | None) -> Tensor:
    """``losses`` times ``weight``, in the dtype of the losses."""
    if weight is None:
        return losses
    _check_factor(name, "weight", weight, losses)
    return losses * weight.to(dtype=losses.dtype)


def _check_factor(name: str, argument: str, factor: Tensor, losses: Tensor) -> None:
    """RuntimeError unless ``factor`` broadcasts to the losses."""
    shapes = zip(reversed(factor.shape), reversed(losses.shape), strict=False)
    if factor.dim() > losses.dim() or any(n not in (1, size) for n, size in shapes):
        raise RuntimeError(
            f"{name}: {argument} has shape {factor.shape}; expected one that broadcasts to {losses.shape}"
        )


def _check_class_weight(name: str, weight: Tensor, input: Tensor) -> None:
    """RuntimeError unless there is a weight for each class, of the dtype of ``input``."""
    classes = input.shape[min(1, input.dim() - 1)] if input.dim() else 0
    if weight.shape != (classes,) or weight.dtype != input.dtype:
        raise RuntimeError(
            f"{name}: weight has shape {weight.shape} and dtype {weight.dtype}; "
            f"expected ({classes},) and {input.dtype}, one for each class"
        )


def _require_floating(name: str, argument: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        raise RuntimeError(f"{name}: {argument} has dtype {tensor.dtype}; expected a floating dtype, as float() gives")


def _check_same_shape(name: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise ValueError(f"{name}: target has shape {target.shape}; expected {input.shape} as input")


def _warn_if_broadcast(name: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        warnings.warn(
            f"{name}: target has shape {target.shape} and input {input.shape}; they are broadcast, "
            "which is seldom meant",
            stacklevel=3,
        )
