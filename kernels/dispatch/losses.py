"""Cross-entropy of logits, and of the output layer that makes them."""

from typing import Any

import numpy as np

from kernels.checks import check_dtypes, check_ids, check_integer, check_range, check_rank, check_shape
from kernels.dispatch.backend import backend_for, contiguous
from kernels.dispatch.linear import check_linear


def cross_entropy_forward(
    logits: np.ndarray, targets: np.ndarray, ignore_index: int = -100, label_smoothing: float = 0.0
) -> tuple[np.ndarray, Any]:
    """Cross-entropy of each row in nats. Equations: `kernels.reference.cross_entropy`.

    Args:
        logits: (M, V) float32 or float64, unnormalised; large magnitudes are safe.
        targets: (M,) integers, each in 0..V-1 or equal to ignore_index.
        ignore_index: a row with this target has loss and gradient zero.
        label_smoothing: eps in [0, 1], the share of the target distribution spread evenly over all V classes.

    Returns:
        losses: (M,), dtype of logits.
        cache: for `cross_entropy_backward`; it refers to logits, which must stay unchanged until then.

    Raises:
        TypeError, ValueError: a dtype, a shape, eps out of [0, 1]; IndexError: a target out of 0..V-1, which it names.
    """
    name = "cross_entropy_forward"
    backend = backend_for(logits=logits, targets=targets)
    check_dtypes(name, logits=logits)
    check_rank(name, "logits", logits, 2, "(M, V)")
    _check_targets(name, targets, ignore_index, label_smoothing, logits.shape[1], logits=logits.shape)
    return backend.cross_entropy_forward(contiguous(logits), contiguous(targets), ignore_index, label_smoothing)


def cross_entropy_backward(dlosses: np.ndarray, cache: Any) -> np.ndarray:
    """Gradient of `cross_entropy_forward`.

    Args:
        dlosses: (M,) gradient with respect to losses.
        cache: of the forward call.

    Returns:
        (M, V) gradient with respect to logits, zero on ignored rows; a new array.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
    name = "cross_entropy_backward"
    backend = backend_for(dlosses=dlosses, logits=cache.logits)
    check_dtypes(name, cache=cache.logits, dlosses=dlosses)
    check_shape(name, "dlosses", dlosses, cache.logits.shape[:1], "(M,)", logits=cache.logits.shape)
    return backend.cross_entropy_backward(contiguous(dlosses), cache)


def linear_cross_entropy_forward(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    targets: np.ndarray,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "sum",
    bf16: bool = False,
    need_gradients: bool = True,
) -> tuple[np.ndarray, Any]:
    """The loss of an output layer in nats, without storing its logits. Equations: `kernels.reference.output_layer`.

    Args:
        x: (M, H) float32 or float64, what the layer is given.
        weight: (V, H), dtype of x.
        bias: (V,), likewise, or None for no bias.
        targets: (M,) integers, each in 0..V-1 or equal to ignore_index.
        ignore_index: a row with this target has loss and gradient zero, and costs no product.
        label_smoothing: as in `cross_entropy_forward`.
        reduction: "sum" over all rows, or "mean" over those that are not ignored, NaN if there is none.
        bf16: products of bfloat16-rounded operands, summed in float32, here and in the backward; softmax and loss are
            float32. float64 ignores it.
        need_gradients: compute the gradients along with the loss, where each logit is at hand. Without it a backward
            is possible, but repeats the work of the forward.

    Returns:
        loss: 0-d array, dtype of x; rows are added up in float64.
        cache: for `linear_cross_entropy_backward`; it refers to the arguments, which must stay unchanged until then.

    Raises:
        TypeError, ValueError: a dtype, a shape, eps out of [0, 1], another reduction; IndexError: a target out of
            0..V-1, which it names.
    """
    name = "linear_cross_entropy_forward"
    backend = backend_for(x=x, weight=weight, bias=bias, targets=targets)
    check_linear(name, x, weight, bias, "(M, H)", "(V, H)", "(V,)")
    _check_targets(name, targets, ignore_index, label_smoothing, len(weight), x=x.shape)
    if reduction not in ("sum", "mean"):
        raise ValueError(f"{name}: reduction is {reduction!r}; expected 'sum' or 'mean'")
    arrays = (contiguous(array) for array in (x, weight, bias, targets))
    return backend.linear_cross_entropy_forward(*arrays, ignore_index, label_smoothing, reduction, bf16, need_gradients)


def linear_cross_entropy_backward(dloss: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Gradients of `linear_cross_entropy_forward`.

    Args:
        dloss: 0-d, gradient with respect to loss.
        cache: of the forward call.

    Returns:
        Gradients with respect to x (M, H), zero on ignored rows; weight (V, H); bias (V,), or None where the forward
        had none. New arrays that nobody else holds.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
    name = "linear_cross_entropy_backward"
    backend = backend_for(dloss=dloss, x=cache.x)
    check_dtypes(name, cache=cache.x, dloss=dloss)
    check_shape(name, "dloss", dloss, (), "()", loss=())
    return backend.linear_cross_entropy_backward(dloss, cache)


def linear_argmax(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, bf16: bool = False) -> np.ndarray:
    """The likeliest word of each row of an output layer, without storing its logits.

    Args:
        x: (M, H) float32 or float64.
        weight: (V, H), dtype of x, V at least 1.
        bias: (V,), likewise, or None for no bias.
        bf16: as in `linear_forward`.

    Returns:
        (M,) int64, the argmax of each row of x W^T + b: the first of equal ones; a NaN counts as the largest.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
    name = "linear_argmax"
    backend = backend_for(x=x, weight=weight, bias=bias)
    check_linear(name, x, weight, bias, "(M, H)", "(V, H)", "(V,)")
    if len(weight) == 0:
        raise ValueError(f"{name}: weight has shape {weight.shape}; expected V >= 1 rows")
    return backend.linear_argmax(contiguous(x), contiguous(weight), contiguous(bias), bf16)


def _check_targets(
    name: str, targets: np.ndarray, ignore_index: int, label_smoothing: float, num_classes: int, **rows: tuple[int, ...]
) -> None:
    """One target for each row, a class or ignore_index; eps in [0, 1]. `rows` names the shape that counts the rows."""
    check_integer(name, "targets", targets)
    ((_, shape),) = rows.items()
    check_shape(name, "targets", targets, shape[:1], "(M,)", **rows)
    if isinstance(targets, np.ndarray):
        check_ids(name, "targets", targets[targets != ignore_index], num_classes, "V")
    check_range(name, "label_smoothing", label_smoothing, 0.0, 1.0)
