"""Cross-entropy of logits."""

from typing import Any

import numpy as np

from kernels.checks import check_dtypes, check_ids, check_integer, check_range, check_rank, check_shape
from kernels.dispatch.backend import backend_for, contiguous


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
    check_integer(name, "targets", targets)
    check_rank(name, "logits", logits, 2, "(M, V)")
    check_shape(name, "targets", targets, logits.shape[:1], "(M,)", logits=logits.shape)
    check_ids(name, "targets", targets[targets != ignore_index], logits.shape[1], "V")
    check_range(name, "label_smoothing", label_smoothing, 0.0, 1.0)
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
