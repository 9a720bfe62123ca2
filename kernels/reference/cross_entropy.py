"""Cross-entropy of logits against integer targets, per row, with label smoothing and ignored rows.

    q = softmax(logits),  p_j = (1 - eps) [j = target] + eps / V,  loss = -sum_j p_j log q_j,  dlogits = dloss (q - p)

Source of the smoothing: Szegedy et al. (2016), section 7.
"""

from typing import NamedTuple

import numpy as np


class CrossEntropyCache(NamedTuple):
    """What the backward needs."""

    log_probs: np.ndarray  # (M, V)
    target_probs: np.ndarray  # (M, V), the smoothed distribution p
    live: np.ndarray  # (M,) bool, False on ignored rows

    @property
    def logits(self) -> np.ndarray:
        """An array of their shape and dtype."""
        return self.log_probs


def cross_entropy_forward(
    logits: np.ndarray, targets: np.ndarray, ignore_index: int = -100, label_smoothing: float = 0.0
) -> tuple[np.ndarray, CrossEntropyCache]:
    """See `kernels.cross_entropy_forward`."""
    vocab_size = logits.shape[1]
    live = targets != ignore_index
    shifted = logits - (logits.max(axis=1, keepdims=True) if logits.size else 0)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    spread = np.full_like(logits, label_smoothing / max(vocab_size, 1))
    is_target = np.arange(vocab_size, like=targets) == targets[:, None]
    target_probs = np.where(is_target, spread + (1 - label_smoothing), spread)
    # p = 0 takes no part in the sum, also where log q is -inf.
    losses = -(target_probs * np.where(target_probs == 0, 0, log_probs)).sum(axis=1)
    return np.where(live, losses, 0), CrossEntropyCache(log_probs, target_probs, live)


def cross_entropy_backward(dlosses: np.ndarray, cache: CrossEntropyCache) -> np.ndarray:
    """See `kernels.cross_entropy_backward`."""
    probs = np.exp(cache.log_probs)
    dlogits = dlosses[:, None] * (probs - cache.target_probs)  # loss = -sum_j p_j log softmax(logits)_j
    return np.where(cache.live[:, None], dlogits, 0)  # losses = where(live, losses, 0)
