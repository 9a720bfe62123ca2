"""The Gaussian error linear unit, piece by piece. See `kernels.reference.gelu` for the equations.

Here no form subtracts numbers that are almost equal, so the far ends are as exact as the middle.
"""

import math

import numpy as np

from kernels.cpu.activations import erfc, exp
from kernels.cpu.chunks import CHUNK, run_chunks
from kernels.cpu.jit import jit
from kernels.reference.gelu import CUBIC, ROOT

MOST = 80.0  # exp of it is far from the end of float32, and of 1 / exp


def gelu_forward(x: np.ndarray, approximate: bool = False) -> np.ndarray:
    """See `kernels.gelu_forward`."""
    y = np.empty_like(x)
    kernel = _approximate_forward if approximate else _forward
    run_chunks(kernel, x.size, CHUNK, x.reshape(-1), _constants(x, approximate), y.reshape(-1))
    return y


def gelu_backward(dy: np.ndarray, x: np.ndarray, approximate: bool = False) -> np.ndarray:
    """See `kernels.gelu_backward`."""
    dx = np.empty_like(x)
    kernel = _approximate_backward if approximate else _backward
    run_chunks(kernel, x.size, CHUNK, dy.reshape(-1), x.reshape(-1), _constants(x, approximate), dx.reshape(-1))
    return dx


def erf(x: np.ndarray) -> np.ndarray:
    """See `kernels.erf`."""
    y = np.empty_like(x)
    run_chunks(_erf, x.size, CHUNK, x.reshape(-1), y.reshape(-1))
    return y


@jit
def _erf(x: np.ndarray, y: np.ndarray, start: int, stop: int) -> None:
    """Elements start .. stop - 1; by libm, which is exact near 0 too."""
    for k in range(start, stop):
        y[k] = math.erf(x[k])


def _constants(x: np.ndarray, approximate: bool) -> tuple[float, ...]:
    """In the dtype of x, or a loop over float32 would be one over float64."""
    exact = (0.5, math.sqrt(0.5), 1 / math.sqrt(2 * math.pi))
    return tuple(map(x.dtype.type, (1.0, -2 * ROOT, CUBIC, 3 * CUBIC, MOST) if approximate else exact))


@jit
def _forward(x: np.ndarray, constants: tuple[float, ...], y: np.ndarray, start: int, stop: int) -> None:
    """Elements start .. stop - 1."""
    half, root, _ = constants
    given, out = x[start:stop], y[start:stop]
    for k in range(out.shape[0]):
        out[k] = given[k] * half * erfc(-given[k] * root)  # erfc(-x) = 1 + erf(x), without its cancellation


@jit
def _backward(
    dy: np.ndarray, x: np.ndarray, constants: tuple[float, ...], dx: np.ndarray, start: int, stop: int
) -> None:
    """Elements start .. stop - 1."""
    half, root, peak = constants
    dgiven, given, out = dy[start:stop], x[start:stop], dx[start:stop]
    for k in range(out.shape[0]):
        density = peak * exp(-half * given[k] * given[k])
        out[k] = dgiven[k] * (half * erfc(-given[k] * root) + given[k] * density)  # y = x * half * erfc(-x * root)


@jit
def _approximate_forward(x: np.ndarray, constants: tuple[float, ...], y: np.ndarray, start: int, stop: int) -> None:
    """Elements start .. stop - 1."""
    one, root, cubic, _, most = constants
    given, out = x[start:stop], y[start:stop]
    for k in range(out.shape[0]):
        z = given[k]
        out[k] = z / (one + exp(_at_most(root * (z + cubic * z * z * z), most)))  # (1 + tanh(u)) / 2 = 1 / (1 + e^-2u)


@jit
def _approximate_backward(
    dy: np.ndarray, x: np.ndarray, constants: tuple[float, ...], dx: np.ndarray, start: int, stop: int
) -> None:
    """Elements start .. stop - 1."""
    one, root, cubic, thrice, most = constants
    dgiven, given, out = dy[start:stop], x[start:stop], dx[start:stop]
    for k in range(out.shape[0]):
        z = given[k]
        e = exp(_at_most(root * (z + cubic * z * z * z), most))
        p = one / (one + e)
        slope = -root * (one + thrice * z * z) * p * (e * p)  # of p, whose complement is e * p
        out[k] = dgiven[k] * (p + z * slope)  # y = x * p


@jit
def _at_most(x: float, most: float) -> float:
    """The smaller one; a NaN stays."""
    return most if x > most else x
