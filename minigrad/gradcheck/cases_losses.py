"""Op table, cross-entropy: of logits, and of the output layer that makes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import ops
from minigrad.ops.op_case import Dims, ErrorCase, OpCase, Rng, Sample, distinct, normal
from minigrad.tensor import Tensor

Array = np.ndarray


# --- samples ----------------------------------------------------------------------------------------------------------
def classified(rng: Rng, dims: Dims) -> Sample:
    """Some targets ignored; smoothing or none."""
    rows, num_classes = dims[0] * 2, dims[1] + 2
    targets = np.where(rng.random(rows) < 0.3, 1, rng.integers(0, num_classes, rows))
    options = {"ignore_index": 1 if rng.integers(2) else -100, "label_smoothing": float(rng.choice([0.0, 0.1]))}
    return Sample((normal(rng, (rows, num_classes)), targets), options)


def classified_rows(rng: Rng, dims: Dims) -> Sample:
    """The same with x (M, H), weight (C, H) and a bias or none in place of logits."""
    logits, targets = (sample := classified(rng, dims)).arrays
    reduction = "sum" if rng.integers(2) or not (targets != sample.options["ignore_index"]).any() else "mean"
    return Sample(
        (*_layer(rng, len(logits), logits.shape[1], dims[2]), targets), sample.options | {"reduction": reduction}
    )


def layer_without_ties(rng: Rng, dims: Dims) -> Sample:
    """x (M, 1) of ones, weight (C, 1) and a bias or none whose sums differ from each other."""
    num_classes = dims[1] + 1
    weight = distinct(rng, (num_classes, 1))
    bias = (np.sign(weight[:, 0]),) if rng.integers(2) else ()
    return Sample((np.ones((dims[0], 1)), weight, *bias))


def _layer(rng: Rng, rows: int, num_classes: int, size: int) -> tuple[Array, ...]:
    bias = (normal(rng, (num_classes,)),) if rng.integers(2) else ()
    return normal(rng, (rows, size)), normal(rng, (num_classes, size)), *bias


# --- ops and oracles in the table's calling convention ----------------------------------------------------------------
def _cross_entropy_oracle(logits: Array, targets: Array, ignore_index: int, label_smoothing: float) -> Array:
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    q = np.eye(logits.shape[1], dtype=logits.dtype)[targets] * (1 - label_smoothing) + label_smoothing / logits.shape[1]
    return np.where(targets == ignore_index, 0, -(q * log_p).sum(axis=1)).astype(logits.dtype)


def _linear_cross_entropy(x: Tensor, weight: Tensor, *bias_and_targets: Tensor, **options: Any) -> Tensor:
    *bias, targets = bias_and_targets
    return ops.linear_cross_entropy(x, weight, bias[0] if bias else None, targets, **options)


def _linear_cross_entropy_oracle(
    x: Array, weight: Array, *bias_and_targets: Array, reduction: str, ignore_index: int, label_smoothing: float
) -> Array:
    *bias, targets = bias_and_targets
    losses = _cross_entropy_oracle(sum(bias, x @ weight.T), targets, ignore_index, label_smoothing)
    count = 1 if reduction == "sum" else (targets != ignore_index).sum()
    return np.asarray(losses.sum() / count, x.dtype)


# --- errors -----------------------------------------------------------------------------------------------------------
def _zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape))


def _loss_of_zeros(*shapes: tuple[int, ...], target: int = 0, reduction: str = "sum") -> Any:
    """A call with zeros as x, weight and bias and one target."""
    x, weight, bias = (_zeros(*shape) for shape in shapes)
    return lambda: ops.linear_cross_entropy(x, weight, bias, Tensor(np.array([target])), reduction=reduction)


CASES = [
    OpCase(
        "cross_entropy",
        ops.cross_entropy,
        _cross_entropy_oracle,
        classified,
        errors=(
            ErrorCase(lambda: ops.cross_entropy(_zeros(1, 2), Tensor(np.array([2]))), IndexError, "targets holds 2"),
        ),
    ),
    OpCase(
        "linear_cross_entropy",
        _linear_cross_entropy,
        _linear_cross_entropy_oracle,
        classified_rows,
        errors=(
            ErrorCase(_loss_of_zeros((1, 2), (3, 4), (3,)), ValueError, r"weight has shape \(3, 4\)"),
            ErrorCase(_loss_of_zeros((1, 2), (3, 2), (4,)), ValueError, r"bias has shape \(4,\)"),
            ErrorCase(_loss_of_zeros((2, 2), (3, 2), (3,)), ValueError, r"targets has shape \(1,\)"),
            ErrorCase(_loss_of_zeros((1, 2), (3, 2), (3,), target=3), IndexError, "targets holds 3"),
            ErrorCase(_loss_of_zeros((1, 2), (3, 2), (3,), reduction="none"), ValueError, "reduction is 'none'"),
        ),
    ),
    OpCase(
        "linear_argmax",
        ops.linear_argmax,
        lambda x, weight, bias=0: (x @ weight.T + bias).argmax(axis=1),
        layer_without_ties,
        differentiable=False,
        errors=(ErrorCase(lambda: ops.linear_argmax(_zeros(1, 2), _zeros(0, 2)), ValueError, "expected V >= 1"),),
    ),
]
