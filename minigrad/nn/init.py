"""Initialisation: fill a tensor in place from a named distribution, off the tape, and return it.

Contract: PyTorch's names, arguments and distributions; the numbers come from minigrad's own random stream.
Sources: Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010);
He et al., "Delving deep into rectifiers" (2015);
Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks" (2013).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from minigrad import random
from minigrad.grad_mode import no_grad
from minigrad.missing import for_module as _for_module
from minigrad.nn.checks import check_number, check_tensor
from minigrad.shapes_only import is_shapes_only
from minigrad.tensor import Tensor

_GAINS: dict[str, Callable[[float], float]] = {
    "linear": lambda slope: 1.0,
    "sigmoid": lambda slope: 1.0,
    "tanh": lambda slope: 5.0 / 3.0,
    "relu": lambda slope: math.sqrt(2.0),
    "leaky_relu": lambda slope: math.sqrt(2.0 / (1.0 + slope**2)),
    "selu": lambda slope: 3.0 / 4.0,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Factor that keeps the variance of activations through ``nonlinearity``.

    Args:
        nonlinearity: "linear", "sigmoid", "tanh", "relu", "leaky_relu" or "selu".
        param: negative slope of "leaky_relu" (default 0.01).
    """
    if not isinstance(nonlinearity, str) or nonlinearity not in _GAINS:
        raise ValueError(f"calculate_gain: nonlinearity is {nonlinearity!r}; expected one of {sorted(_GAINS)}")
    return _GAINS[nonlinearity](0.01 if param is None else param)


def fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Inputs and outputs per unit of a weight (out, in, *kernel)."""
    check_tensor("init", "tensor", tensor)
    if tensor.dim() < 2:
        raise ValueError(f"fan in and fan out need a tensor of 2 or more dimensions; got shape {tuple(tensor.shape)}")
    receptive_field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive_field, tensor.shape[0] * receptive_field


def _check(name: str, tensor: Tensor, **numbers: float) -> None:
    check_tensor(name, "tensor", tensor)
    for argument, number in numbers.items():
        check_number(name, argument, number)


Fill = TypeVar("Fill", bound=Callable[..., Tensor])


def _filling(function: Fill) -> Fill:
    """Off the tape; a tensor without memory is left as it is."""

    @functools.wraps(function)
    def fill(tensor: Tensor, *args: Any, **keywords: Any) -> Tensor:
        if is_shapes_only():
            return tensor
        with no_grad():
            return function(tensor, *args, **keywords)

    return cast(Fill, fill)


@_filling
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Fill from U[a, b)."""
    _check("uniform_", tensor, a=a, b=b)
    if not a <= b:
        raise ValueError(f"uniform_: a is {a} and b is {b}; expected a <= b")
    return tensor.uniform_(a, b)


@_filling
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill from N(mean, std**2)."""
    _check("normal_", tensor, mean=mean, std=std)
    if not std >= 0:
        raise ValueError(f"normal_: std is {std}; expected 0 or more")
    return tensor.normal_(mean, std)


@_filling
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with ``val``."""
    _check("constant_", tensor, val=val)
    return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


@_filling
def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on its diagonal and zeros elsewhere."""
    _check("eye_", tensor)
    if tensor.dim() != 2:
        raise ValueError(f"eye_: tensor has shape {tuple(tensor.shape)}; expected 2 dimensions")
    return tensor.copy_(Tensor(np.eye(*tensor.shape, dtype=tensor.dtype)))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill from U(-a, a), a = gain * sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    bound = gain * math.sqrt(6.0 / sum(fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill from N(0, gain**2 * 2 / (fan_in + fan_out))."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fan_in_and_fan_out(tensor))))


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """Fill from U(-b, b), b = sqrt(3) * gain / sqrt(fan) (He et al. 2015).

    Args:
        tensor: weight (out, in, ...), filled in place.
        a: negative slope of the leaky ReLU that follows.
        mode: "fan_in" keeps the variance forward, "fan_out" backward.
        nonlinearity: name for ``calculate_gain``.
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """Fill from N(0, gain**2 / fan); arguments as ``kaiming_uniform_``."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: mode is {mode!r}; expected 'fan_in' or 'fan_out'")
    fan_in, fan_out = fan_in_and_fan_out(tensor)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan_in if mode == "fan_in" else fan_out)


@_filling
def orthogonal_(tensor: Tensor, gain: float = 1) -> Tensor:
    """Fill with a (semi-)orthogonal matrix times ``gain``; later dimensions are flattened (Saxe et al. 2013)."""
    _check("orthogonal_", tensor, gain=gain)
    if tensor.dim() < 2:
        raise ValueError(f"orthogonal_: tensor has shape {tuple(tensor.shape)}; expected 2 or more dimensions")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    gaussian = random.generator().standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(gaussian)
    q *= np.sign(np.diag(r))  # makes the decomposition unique, hence q uniform over orthogonal matrices
    matrix = q if rows >= columns else q.T
    return tensor.copy_(Tensor((gain * matrix).reshape(tensor.shape).astype(tensor.dtype)))


if not TYPE_CHECKING:  # a checker would take every name for known
    __path__: list[str] = []  # or ``from ... import`` would not ask on for a name that is not here
    __getattr__ = _for_module(__name__)
