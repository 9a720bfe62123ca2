"""Clipping and parameter vectors: by hand, at the ends, and against PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn.utils import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value_,
    parameters_to_vector,
    vector_to_parameters,
)

GRADS = [np.array([[3.0, 0.0], [0.0, -4.0]]), np.array([12.0]), np.array(0.0)]  # norm 13


def params_with(grads: list[np.ndarray], lib: Any = mg, dtype: str = "float64") -> list[Any]:
    params = []
    for grad in grads:
        param = lib.nn.Parameter(lib.zeros(grad.shape, dtype=getattr(lib, dtype)))
        param.grad = lib.tensor(grad.astype(dtype))
        params.append(param)
    return params


def test_norm_by_hand() -> None:
    params = [*params_with(GRADS), nn.Parameter(mg.zeros(2))]
    norm = clip_grad_norm_(params, 6.5)
    assert norm.item() == 13
    assert norm.shape == ()
    for param, grad in zip(params, GRADS, strict=False):
        np.testing.assert_allclose(param.grad.numpy(), grad / 2, rtol=1e-6)
    assert params[3].grad is None
    assert clip_grad_norm_(params, 100).item() == pytest.approx(6.5)
    np.testing.assert_allclose(params[1].grad.numpy(), [6.0], rtol=1e-6)


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.5, math.inf])
@pytest.mark.parametrize("max_norm", [0.0, 1.0, 12.9999995, 100.0])
def test_norms_equal_torch(dtype: str, norm_type: float, max_norm: float) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = params_with(GRADS, mg, dtype), params_with(GRADS, torch, dtype)
    norms = [
        lib.nn.utils.clip_grad_norm_(params, max_norm, norm_type).item()
        for lib, params in ((mg, ours), (torch, theirs))
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("norm_type", [2.0, math.inf])
def test_bad_gradients_are_not_hidden(bad: float, norm_type: float) -> None:
    params = params_with([np.array([1.0, bad])])
    with pytest.raises(RuntimeError, match="expected a finite number"):
        clip_grad_norm_(params, 1.0, norm_type, error_if_nonfinite=True)
    np.testing.assert_array_equal(params[0].grad.numpy(), [1.0, bad])
    norm = clip_grad_norm_(params, 1.0, norm_type)
    assert not math.isfinite(norm.item())
    assert math.isnan(params[0].grad.numpy()[1])


def test_one_tensor_no_gradient_and_bad_order() -> None:
    assert clip_grad_norm_(params_with(GRADS)[1], 1.0).item() == 12
    assert clip_grad_norm_([], 1.0).item() == 0
    with pytest.raises(ValueError, match="norm_type is 0"):
        clip_grad_norm_(params_with(GRADS), 1.0, 0)


def test_values() -> None:
    params = params_with(GRADS)
    clip_grad_value_(params, 3.5)
    np.testing.assert_array_equal(params[0].grad.numpy(), [[3.0, 0.0], [0.0, -3.5]])
    np.testing.assert_array_equal(params[1].grad.numpy(), [3.5])


def test_parameters_as_a_vector() -> None:
    net = nn.Linear(2, 3)
    vector = parameters_to_vector(net.parameters())
    np.testing.assert_array_equal(vector.detach().numpy(), [*net.weight.array.ravel(), *net.bias.array])
    (vector * mg.arange(9.0)).sum().backward()
    np.testing.assert_array_equal(net.bias.grad.numpy(), [6.0, 7.0, 8.0])
    vector_to_parameters(mg.arange(9.0), net.parameters())
    np.testing.assert_array_equal(net.weight.detach().numpy(), [[0, 1], [2, 3], [4, 5]])
    assert net.bias.requires_grad
    with pytest.raises(ValueError, match=r"vec has shape \(8,\); expected \(9,\)"):
        vector_to_parameters(mg.zeros(8), net.parameters())


def test_the_old_name() -> None:
    (param,) = params_with([np.array([3.0, 4.0])])
    assert clip_grad_norm(param, 10.0).item() == 5.0


def test_foreach_changes_nothing() -> None:
    for foreach in (None, False, True):
        params = params_with(GRADS)
        assert clip_grad_norm_(params, 1, foreach=foreach).item() == 13
        clip_grad_value_(params, 0.1, foreach=foreach)
        assert max(abs(param.grad.numpy()).max() for param in params) == 0.1
