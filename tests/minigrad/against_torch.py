"""One function of several leaves in this engine and in PyTorch: values, dtypes, shapes and every gradient alike."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minigrad
import minigrad.nn.functional

Results = tuple[list[Any], list[Any]]


def outputs_of(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def run(t: ModuleType, function: Callable[..., Any], arrays: Sequence[Any]) -> Results:
    """The outputs as arrays, and the gradients for weights 1, 2, 3, ... of their elements; None where there is none."""
    leaves = [t.tensor(array, dtype=t.float64, requires_grad=True) for array in arrays]
    outputs = outputs_of(function(t, *leaves))
    differentiable = [y for y in outputs if y.requires_grad]
    weights = [t.arange(1, y.numel() + 1).reshape(y.shape).to(y.dtype) for y in differentiable]
    if differentiable:
        t.autograd.backward(differentiable, weights)
    values = [np.asarray(y.detach().numpy()) for y in outputs]
    return values, [None if x.grad is None else np.asarray(x.grad.detach().numpy()) for x in leaves]


def check(function: Callable[..., Any], *arrays: Any, rtol: float = 1e-9) -> None:
    """``function(t, *leaves)`` with t one library and the other."""
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        (ours, our_grads), (theirs, their_grads) = (run(t, function, arrays) for t in (minigrad, torch))
    for a, b in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12)
    for a, b in zip(our_grads, their_grads, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12)
