"""GELU, its gradient and the error function: every element written, by libm in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from harness import Rig, device, poisoned

from kernels import reference
from kernels.cuda.runtime import geometry

SIZES = [0, 1, 1024, 1025, 5000]
FORMS = pytest.mark.parametrize("approximate", [False, True], ids=["exact", "tanh"])


def numbers(size: int) -> np.ndarray:
    """float32 of every kind that matters: around zero, where both ends begin, and far out."""
    x = np.random.default_rng(size).normal(0, 3, size).astype(np.float32)
    special = np.float32([np.nan, -0.0, 1e-30, -1e-4, 50, -50, 9, -9])
    x[: special.size] = special[:size]
    return x


def close(found: np.ndarray, want: np.ndarray) -> None:
    """Each product of float32 adds 6e-8; the device's exp has 1e-6 where its argument is -20."""
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


@FORMS
@pytest.mark.parametrize("size", SIZES)
def test_gelu_and_its_gradient(rig: Rig, size: int, approximate: bool) -> None:
    check(rig, size, approximate)


def check(rig: Rig, size: int, approximate: bool) -> None:
    kernels, form = rig.module("layers/gelu.cu"), "_tanh" if approximate else ""
    x, dy = numbers(size), np.random.default_rng(1).standard_normal(size).astype(np.float32)
    y, dx, launch = poisoned(size, np.float32), poisoned(size, np.float32), geometry.elements(size)
    getattr(kernels, f"gelu_forward{form}")(launch, (device(x), y, np.uint64(size)))
    getattr(kernels, f"gelu_backward{form}")(launch, (device(dy), device(x), dx, np.uint64(size)))
    exact = x.astype(np.float64)
    close(y, reference.gelu_forward(exact, approximate))
    close(dx, reference.gelu_backward(dy.astype(np.float64), exact, approximate))


@pytest.mark.parametrize("size", SIZES)
def test_error_function(rig: Rig, size: int) -> None:
    check_erf(rig, size)


def check_erf(rig: Rig, size: int) -> None:
    x, y = numbers(size), poisoned(size, np.float32)
    rig.module("layers/gelu.cu").error_function(geometry.elements(size), (device(x), y, np.uint64(size)))
    want = [math.erf(number) for number in x.tolist()]
    np.testing.assert_allclose(y, want, rtol=4e-7)
