"""tanh, sigmoid, exp and erfc for use inside kernels, chosen by type: a rational or polynomial in float32, libm in
float64.

A call of libm does not vectorise; in float32 these forms do, within 3e-7 of the exact value (tanh and sigmoid absolute,
exp relative; erfc within 5e-7, and up to 3 within 1e-6 of itself). Clipping is by comparisons that are False for a NaN,
so a NaN passes through.

Sources: the rational form of tanh, an odd numerator of degree 13 over an even denominator of degree 6, is that of the
Eigen library; its coefficients here are an own fit of least maximal relative error on [-8.1, 8.1], beyond which the
rounded value is constant. exp(x) = 2^n exp(r) with |r| <= ln(2) / 2 and a polynomial fitted likewise (Cody and Waite,
1980). erfc(x) = exp(-x^2) p(t), t = 1 / (1 + c x) for x >= 0, the form of Abramowitz and Stegun, 7.1.26, with a longer
polynomial fitted likewise up to the x where exp(-x^2) is no float32.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from kernels.cpu.jit import FLAGS

# Typed constants: a bare literal is float64 and would pull a float32 loop up with it.
HALF, ONE = np.float32(0.5), np.float32(1)

TANH_LIMIT = np.float32(8.1)
P0, P1, P2, P3 = np.float32(0.999999998), np.float32(0.131205362), np.float32(0.00314505007), np.float32(1.15951928e-05)
P4, P5, P6 = np.float32(-2.21047238e-08), np.float32(6.25012409e-11), np.float32(-1.12153887e-13)
Q1, Q2, Q3 = np.float32(0.464538675), np.float32(0.0246579773), np.float32(0.000260657888)

EXP_LOW, EXP_HIGH = np.float32(-86.9), np.float32(88.7)
LOG2_E = np.float32(1.44269504)
LN_2_HIGH, LN_2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)  # n * LN_2_HIGH is exact
E2, E3, E4 = np.float32(0.499999934), np.float32(0.166665204), np.float32(0.0416683908)
E5, E6 = np.float32(0.00836874513), np.float32(0.00138145399)
ERFC_SCALE, TWO = np.float32(0.425), np.float32(2)
R1, R2, R3, R4 = np.float32(0.239669114), np.float32(0.241986036), np.float32(0.199800834), np.float32(0.258067757)
R5, R6, R7, R8 = np.float32(-0.108877964), np.float32(0.413725108), np.float32(-0.316698998), np.float32(0.0723279715)
INFINITY, ZERO = np.float32(np.inf), np.float32(0)


def _tanh32(x: Any) -> Any:
    x = -TANH_LIMIT if x < -TANH_LIMIT else x
    x = TANH_LIMIT if x > TANH_LIMIT else x
    s = x * x
    p = P0 + s * (P1 + s * (P2 + s * (P3 + s * (P4 + s * (P5 + s * P6)))))
    q = ONE + s * (Q1 + s * (Q2 + s * Q3))
    return x * p / q


def _tanh64(x: Any) -> Any:
    return math.tanh(x)


def _sigmoid32(x: Any) -> Any:
    return HALF * tanh(HALF * x) + HALF


def _sigmoid64(x: Any) -> Any:
    return 0.5 * tanh(0.5 * x) + 0.5


def _exp32(x: Any) -> Any:
    clipped = EXP_LOW if x < EXP_LOW else x
    clipped = EXP_HIGH if clipped > EXP_HIGH else clipped
    n = np.floor(clipped * LOG2_E + HALF)
    n = n if n == n else ZERO  # a NaN has no integer; it comes back through r
    r = (clipped - n * LN_2_HIGH) - n * LN_2_LOW
    mantissa = ONE + r + r * r * (E2 + r * (E3 + r * (E4 + r * (E5 + r * E6))))
    # Two factors: 2^128 is no float32, but exp(88.7) is.
    power = np.int32((np.int32(n) + np.int32(126)) << np.int32(23)).view(np.float32)
    result = mantissa * power * np.float32(2)
    result = ZERO if x < EXP_LOW else result
    return INFINITY if x > EXP_HIGH else result


def _exp64(x: Any) -> Any:
    return math.exp(x)


def _erfc32(x: Any) -> Any:
    z = abs(x)
    t = ONE / (ONE + ERFC_SCALE * z)
    tail = t * (R1 + t * (R2 + t * (R3 + t * (R4 + t * (R5 + t * (R6 + t * (R7 + t * R8)))))))
    above = tail * exp(-z * z)
    return TWO - above if x < ZERO else above


def _erfc64(x: Any) -> Any:
    return math.erfc(x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent of a float32 or float64 scalar."""
    return _tanh32(x) if isinstance(x, np.float32) else _tanh64(x)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) of a float32 or float64 scalar, by tanh: it cannot overflow."""
    return _sigmoid32(x) if isinstance(x, np.float32) else _sigmoid64(x)


def exp(x: Any) -> Any:
    """exp of a float32 or float64 scalar; in float32 below -86.9, next to the subnormal numbers, 0."""
    return _exp32(x) if isinstance(x, np.float32) else _exp64(x)


def erfc(x: Any) -> Any:
    """1 - erf(x) of a float32 or float64 scalar."""
    return _erfc32(x) if isinstance(x, np.float32) else _erfc64(x)


def _choose_by_type(function: Callable[..., Any], single: Callable[..., Any], double: Callable[..., Any]) -> None:
    """Inside a kernel, `function` compiles to `single` for float32 and to `double` for float64."""

    @overload(function, jit_options=FLAGS)
    def choose(x: Any) -> Any:
        return single if x == types.float32 else double


_choose_by_type(tanh, _tanh32, _tanh64)
_choose_by_type(sigmoid, _sigmoid32, _sigmoid64)
_choose_by_type(exp, _exp32, _exp64)
_choose_by_type(erfc, _erfc32, _erfc64)
