"""The Gaussian error linear unit.

    y = x P(x),   dx = dy (P(x) + x p(x)),   P and p distribution function and density of N(0, 1)
    P(x) = (1 + erf(x / sqrt 2)) / 2,   p(x) = exp(-x^2 / 2) / sqrt(2 pi)

The approximate form has (1 + tanh(u)) / 2 for P(x), u = sqrt(2 / pi) (x + 0.044715 x^3), and its derivative for p(x).

Source: Hendrycks and Gimpel, "Gaussian error linear units (GELUs)" (2016).
"""

import math

import numpy as np

TERMS = 110  # of the series below; those behind add nothing to a float64 up to FAR
FAR = 6.0  # where erf is 1 in float64
ROOT = math.sqrt(2 / math.pi)
CUBIC = 0.044715


def gelu_forward(x: np.ndarray, approximate: bool = False) -> np.ndarray:
    """See `kernels.gelu_forward`."""
    probability, _ = _distribution(x.astype(np.float64), approximate)
    return (x * probability).astype(x.dtype)


def gelu_backward(dy: np.ndarray, x: np.ndarray, approximate: bool = False) -> np.ndarray:
    """See `kernels.gelu_backward`."""
    probability, density = _distribution(x.astype(np.float64), approximate)
    return (dy * (probability + x * density)).astype(x.dtype)  # y = x * probability


def erf(x: np.ndarray) -> np.ndarray:
    """See `kernels.erf`."""
    return _erf(x.astype(np.float64)).astype(x.dtype)


def _distribution(x: np.ndarray, approximate: bool) -> tuple[np.ndarray, np.ndarray]:
    """P(x) and its derivative."""
    if not approximate:
        return (1 + _erf(x / math.sqrt(2))) / 2, np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    t = np.tanh(ROOT * (x + CUBIC * x**3))
    return (1 + t) / 2, (1 - t * t) / 2 * ROOT * (1 + 3 * CUBIC * x**2)


def _erf(x: np.ndarray) -> np.ndarray:
    """erf(x) = 2 / sqrt(pi) exp(-x^2) (x + 2 x^3 / 3 + 4 x^5 / 15 + ...), whose terms are all of one sign."""
    z = np.clip(x, -FAR, FAR)
    term = total = z
    for n in range(1, TERMS):
        term = term * (2 * z * z) / (2 * n + 1)
        total = total + term
    return 2 / math.sqrt(math.pi) * np.exp(-z * z) * total
