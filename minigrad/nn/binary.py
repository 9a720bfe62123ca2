"""Binary cross-entropy as two ops, of a probability and of a logit; every element is its own problem.

Both have their own backward because the composed one is wrong at the ends: 0 * inf is NaN for a probability of exactly
0 or 1, and 1 - sigmoid(-x) has no correct digits left for a very negative logit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.function import Function

LOG_FLOOR = -100.0  # what PyTorch takes for log(0)
VARIANCE_FLOOR = float(np.float32(1e-12))  # smallest p (1 - p) PyTorch divides by, in every dtype


class BinaryCrossEntropy(Function):
    """loss = -(t log p + (1 - t) log(1 - p)), with both logarithms at least -100."""

    fresh_grads = True

    @staticmethod
    def forward(ctx: Any, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        ctx.save_for_backward(p, t)
        log_p, log_q = _clamped_logs(p)
        return -(t * log_p + (1 - t) * log_q)

    @staticmethod
    def backward(ctx: Any, grad_output: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        p, t = ctx.saved
        dp = dt = None
        if ctx.needs_input_grad[0]:
            # -(t log p + (1 - t) log(1 - p)), whose derivative is -t/p + (1 - t)/(1 - p), over one denominator
            dp = grad_output * (p - t) / np.maximum(p * (1 - p), p.dtype.type(VARIANCE_FLOOR))
        if ctx.needs_input_grad[1]:
            # -(t log_p + (1 - t) log_q)
            log_p, log_q = _clamped_logs(p)
            dt = grad_output * (log_q - log_p)
        return dp, dt


def _clamped_logs(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log p and log(1 - p), at least LOG_FLOOR."""
    floor = p.dtype.type(LOG_FLOOR)
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(p), floor), np.maximum(np.log1p(-p), floor)


class BinaryCrossEntropyWithLogits(Function):
    """loss = (1 - t) x + w softplus(-x) with w = 1 + (pos_weight - 1) t; pos_weight 1 is the plain loss.

    softplus(-x) = max(-x, 0) + log(1 + exp(-|x|)) overflows nowhere.
    """

    fresh_grads = True

    @staticmethod
    def forward(ctx: Any, x: np.ndarray, t: np.ndarray, pos_weight: np.ndarray) -> np.ndarray:
        ctx.save_for_backward(x, t, pos_weight)
        return (1 - t) * x + (1 + (pos_weight - 1) * t) * _softplus(-x)

    @staticmethod
    def backward(ctx: Any, grad_output: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None, None]:
        x, t, pos_weight = ctx.saved
        dx = dt = None
        if ctx.needs_input_grad[0]:
            # (1 - t) x + w softplus(-x), whose derivative is (1 - t) + w (sigmoid(x) - 1), without cancellation
            sigmoid = np.tanh(x * x.dtype.type(0.5)) * x.dtype.type(0.5) + x.dtype.type(0.5)
            dx = grad_output * ((1 - t + pos_weight * t) * sigmoid - pos_weight * t)
        if ctx.needs_input_grad[1]:
            # (1 - t) x + (1 + (pos_weight - 1) t) softplus(-x)
            dt = grad_output * ((pos_weight - 1) * _softplus(-x) - x)
        return dx, dt, None


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
