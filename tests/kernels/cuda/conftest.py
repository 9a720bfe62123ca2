"""Shared by the tests of the CUDA backend: arrays there and back, and comparisons."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import kernels


class Bench:
    """The device, and what tests do with it all the time."""

    def __init__(self, cuda: ModuleType) -> None:
        self.cupy = cuda
        self.rng = np.random.default_rng(20)

    def normal(self, *shape: int, dtype: Any = np.float32) -> np.ndarray:
        return (0.7 * self.rng.standard_normal(shape)).astype(dtype)

    def to(self, value: Any) -> Any:
        """NumPy arrays, in lists too, to the device; everything else as it is."""
        if isinstance(value, (list, tuple)):
            return type(value)(map(self.to, value))
        return self.cupy.asarray(value) if isinstance(value, np.ndarray) else value

    def back(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return tuple(map(self.back, value))
        return kernels.to_host(value) if type(value) is self.cupy.ndarray else value

    @staticmethod
    def close(got: Any, want: Any, tolerance: float, what: str = "", least: float = 1e-30) -> None:
        """Shape and dtype are equal, and no element is further off than the tolerance times the largest, or `least`."""
        if want is None:
            assert got is None, what
            return
        assert got.shape == want.shape, what
        assert got.dtype == want.dtype, what
        if got.size:
            error = np.abs(got.astype(np.float64) - want).max() / max(float(np.abs(want).max()), least)
            assert error <= tolerance, f"{what}: {error:.1e} > {tolerance:.1e}"


@pytest.fixture
def bench(cuda: ModuleType) -> Bench:
    return Bench(cuda)
