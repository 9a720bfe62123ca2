"""The Gaussian error linear unit and the error function. See `kernels.reference.gelu` for the equations."""

from typing import Any

import numpy as np

from kernels.cuda.runtime import geometry
from kernels.cuda.runtime.launcher import module


def gelu_forward(x: Any, approximate: bool = False) -> Any:
    """See `kernels.gelu_forward`."""
    return _each("gelu_forward_tanh" if approximate else "gelu_forward", x)


def gelu_backward(dy: Any, x: Any, approximate: bool = False) -> Any:
    """See `kernels.gelu_backward`."""
    return _each("gelu_backward_tanh" if approximate else "gelu_backward", dy, x)


def erf(x: Any) -> Any:
    """See `kernels.erf`."""
    return _each("error_function", x)


def _each(name: str, *given: Any) -> Any:
    """What a kernel makes of each element of arrays of one shape."""
    out, size = np.empty(given[0].shape, given[0].dtype, like=given[0]), given[0].size
    getattr(module("layers/gelu"), name)(geometry.elements(size), (*given, out, np.uint64(size)))
    return out
