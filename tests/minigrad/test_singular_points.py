"""Values and gradients where formulas break down, as PyTorch has them: equal numbers, zeros, infinities, nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor
from tests.minigrad.against_torch import check

inf, nan = math.inf, math.nan
POINTS = {
    "equal": [[2.0, 2.0, 2.0], [1.0, 1.0, 1.0]],
    "zeros": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
    "one zero": [[0.0, 2.0, -3.0], [1.0, -4.0, 5.0]],
    "two zeros": [[0.0, 2.0, 0.0], [1.0, 0.0, 5.0]],
    "ties": [[3.0, 1.0, 3.0], [3.0, 3.0, -3.0]],
    "one column": [[5.0], [0.0]],
}
INFINITE = {
    "-inf": [[-inf, -inf, -inf], [1.0, -inf, 2.0]],
    "inf": [[inf, 1.0, 2.0], [inf, inf, -inf]],
}
ORDERS = [0.5, 1, 1.5, 2, 3, inf, -inf, -1, -2]
MOMENTS = {
    "std": lambda t, x: x.std(),
    "std along": lambda t, x: x.std(1),
    "std kept": lambda t, x: x.std(0, keepdim=True),
    "std biased": lambda t, x: x.std(1, unbiased=False),
    "std(False)": lambda t, x: x.std(False),
    "std of both": lambda t, x: x.std((0, 1)),
    "std corrected": lambda t, x: x.std(dim=1, correction=0),
    "var(False)": lambda t, x: x.var(False),
    "var(True)": lambda t, x: x.var(True),
    "var along": lambda t, x: x.var(1),
}
FUNCTIONS = {
    **MOMENTS,
    "prod": lambda t, x: x.prod(),
    "prod along": lambda t, x: x.prod(1),
    "prod kept": lambda t, x: x.prod(0, keepdim=True),
    "max": lambda t, x: x.max(),
    "min": lambda t, x: x.min(),
    "max along": lambda t, x: x.max(1),
    "min along": lambda t, x: x.min(0),
    "amax": lambda t, x: x.amax(1),
    "amin": lambda t, x: x.amin((0, 1)),
    "maximum": lambda t, x: t.maximum(x, x.flip(1)),
    "minimum": lambda t, x: t.minimum(x, x.flip(1)),
    "clamp": lambda t, x: x.clamp(0, 3),
    "clamp below": lambda t, x: x.clamp(min=1),
    "clamp crossed": lambda t, x: x.clamp(3, 1),
    "clamp between tensors": lambda t, x: t.clamp(x, x.flip(1) - 1, x.flip(1) + 1),
    "clamp above a tensor": lambda t, x: t.clamp(x, max=x.flip(0)),
    "clamp of integers": lambda t, x: x.long().clamp(0.5),
    "sqrt": lambda t, x: x.sqrt(),
    "abs": lambda t, x: x.abs(),
    "square": lambda t, x: x.square(),
    "relu": lambda t, x: x.relu(),
    "rsqrt": lambda t, x: x.rsqrt(),
    "log": lambda t, x: x.log(),
    "reciprocal": lambda t, x: x.reciprocal(),
    "division": lambda t, x: x / x.flip(1),
    "power 0": lambda t, x: x**0,
    "power 2": lambda t, x: x**2,
    "power -1": lambda t, x: x**-1,
    "root": lambda t, x: x**0.5,
    "2 to the": lambda t, x: 2**x,
    "0 to the": lambda t, x: 0**x,
    "x to the x": lambda t, x: x**x,
    "logsumexp": lambda t, x: x.logsumexp(1),
    "logsumexp of all": lambda t, x: x.logsumexp((0, 1)),
    "softmax": lambda t, x: x.softmax(1),
    "log_softmax": lambda t, x: x.log_softmax(1),
    "cumsum": lambda t, x: x.cumsum(1),
    "normalize": lambda t, x: t.nn.functional.normalize(x),
    "normalize by sums": lambda t, x: t.nn.functional.normalize(x, 1.0),
    "normalize by roots": lambda t, x: t.nn.functional.normalize(x, 0.5),
    "cosine": lambda t, x: t.nn.functional.cosine_similarity(x, x.flip(1)),
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_equal_torch(name: str, point: str) -> None:
    check(FUNCTIONS[name], POINTS[point])


@pytest.mark.parametrize("point", INFINITE)
@pytest.mark.parametrize(
    "name",
    ["max", "min", "amax", "maximum", "minimum", "clamp", "relu", "logsumexp", "softmax", "log_softmax", "abs", "std"],
)
def test_infinite_values_equal_torch(name: str, point: str) -> None:
    check(FUNCTIONS[name], INFINITE[point])


CHOOSING = {
    "maximum": lambda t, x, y: t.maximum(x, y),
    "minimum": lambda t, x, y: t.minimum(x, y),
    "clamp": lambda t, x, y: x.clamp(-1, 1),
    "clamp below": lambda t, x, y: x.clamp(min=-1),
    "clamp between tensors": lambda t, x, y: t.clamp(x, y - 1, y + 1),
    "where": lambda t, x, y: t.where(x > 0, x, y),
    "masked_fill": lambda t, x, y: x.masked_fill(x > 0, 1.0),
    "relu": lambda t, x, y: x.relu(),
    "leaky_relu": lambda t, x, y: t.nn.functional.leaky_relu(x, 0.1),
    "elu": lambda t, x, y: t.nn.functional.elu(x),
    "smooth_l1": lambda t, x, y: t.nn.functional.smooth_l1_loss(x, y, reduction="none"),
    "power": lambda t, x, y: x.abs() ** y,
    "max": lambda t, x, y: x.max(),
    "min": lambda t, x, y: x.min(),
    "max along": lambda t, x, y: x.view(2, 4).max(1)[0],
    "median": lambda t, x, y: x.median(),
    "sort": lambda t, x, y: x.sort()[0],
    "index": lambda t, x, y: x[2:5],
}


@pytest.mark.parametrize("infinite", [inf, -inf, nan])
@pytest.mark.parametrize("name", CHOOSING)
def test_what_is_not_chosen_gets_nothing_of_a_gradient_that_is_infinite(name: str, infinite: float) -> None:
    """0 times it is NaN; so the root of a number that was limited at 0 had a gradient of NaN."""
    x, y = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0], [-1.0, -1.0, 0.5, 0.0, 0.5, -1.0, 3.0, 0.0]

    def sum_of(t: Any, x: Any, y: Any, at: int) -> Any:
        result = CHOOSING[name](t, x, y).reshape(-1)
        weights = t.ones(result.numel(), dtype=t.float64)
        weights[at % result.numel()] = infinite
        result.register_hook(lambda gradient: weights)
        return result.sum()

    for at in range(len(x)):
        check(lambda t, x, y, at=at: sum_of(t, x, y, at), x, y)


def test_the_root_of_a_limited_number_has_a_gradient() -> None:
    x = minigrad.tensor([-1.0, 4.0], requires_grad=True)
    x.clamp(min=0).sqrt().sum().backward()
    assert x.grad.tolist() == [0.0, 0.25]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("dim", [None, 0, 1, (0, 1)])
@pytest.mark.parametrize("p", ORDERS)
def test_norms_of_every_order_equal_torch(p: float, dim: Any, point: str) -> None:
    check(lambda t, x: x.norm(p) if dim is None else x.norm(p, dim), POINTS[point])


@pytest.mark.parametrize("p", ORDERS)
def test_norms_against_differences(p: float) -> None:
    x = Tensor(np.array([[0.5, -1.5, 2.0], [1.0, 0.7, -3.0]]), requires_grad=True)
    assert minigrad.gradcheck(lambda x: x.norm(p, 1), x, mode="jacobian")
    assert minigrad.gradcheck(lambda x: x.norm(p), x, mode="jacobian")


def test_a_norm_of_order_0_counts() -> None:
    x = minigrad.tensor([[0.0, 2.0, -1.0]], requires_grad=True)
    assert x.norm(0).item() == 2
    (x.norm(0) + x.sum()).backward()
    assert x.grad.tolist() == [[1.0, 1.0, 1.0]]


@pytest.mark.parametrize("p", ["nuc", None, [2]])
def test_other_norms_are_refused(p: Any) -> None:
    with pytest.raises(NotImplementedError, match=r"norm: p is .*; expected a number or 'fro'"):
        minigrad.ones(2, 2).norm(p)


def test_the_deviation_of_equal_numbers_without_torch() -> None:
    x = minigrad.full((4,), 0.3, requires_grad=True)
    (x.std() + 2 * x.sum()).backward()
    assert x.grad.tolist() == [2.0] * 4


@pytest.mark.parametrize("name", ["std", "var"])
def test_one_element_has_no_deviation(name: str) -> None:
    x = minigrad.tensor([3.0], requires_grad=True)
    with pytest.warns(UserWarning, match=f"{name}: of 1 elements there are no degrees of freedom left"):
        result = getattr(x, name)()
    assert math.isnan(result.item())
    assert getattr(x, name)(unbiased=False).item() == 0


EMPTY = {
    "sum": lambda t, x: x.sum(),
    "prod": lambda t, x: x.prod(),
    "mean": lambda t, x: x.mean(),
    "norm": lambda t, x: x.norm(),
    "logsumexp": lambda t, x: x.logsumexp(0),
    "softmax": lambda t, x: x.softmax(0),
    "any": lambda t, x: x.any(),
    "all": lambda t, x: x.all(),
    "cumsum": lambda t, x: x.cumsum(0),
    "sort": lambda t, x: x.sort(),
    "topk": lambda t, x: x.topk(0),
    "unique": lambda t, x: x.detach().unique(),
    "std": lambda t, x: x.std(),
    "mse": lambda t, x: t.nn.functional.mse_loss(x, x),
}


@pytest.mark.parametrize("name", EMPTY)
def test_of_nothing_it_is_what_torch_has(name: str) -> None:
    check(EMPTY[name], [])


@pytest.mark.parametrize("name", ["max", "min", "amax", "amin", "argmax", "argmin"])
def test_nothing_has_no_extreme(name: str) -> None:
    for call in (lambda x: getattr(x[:0], name)(), lambda x: getattr(x[:0], name)(0)):
        with pytest.raises(RuntimeError, match=f"{name}: no elements to compare"):
            call(minigrad.ones(2, 3))
    assert getattr(minigrad.ones(0, 3), name)(1) is not None


ZERO_D = {
    "max": lambda t, x: x.max(0),
    "min": lambda t, x: x.min(-1),
    "topk": lambda t, x: x.topk(1),
    "sort": lambda t, x: x.sort(),
    "cumsum": lambda t, x: x.cumsum(0),
    "prod": lambda t, x: x.prod(0),
    "flip": lambda t, x: x.flip(0),
    "argmax": lambda t, x: x.argmax(0),
    "argsort": lambda t, x: x.argsort(),
    "softmax": lambda t, x: x.softmax(0),
    "gather": lambda t, x: x.gather(0, t.tensor(0)),
    "index_select": lambda t, x: x.index_select(0, t.tensor([0])),
    "scatter": lambda t, x: x.scatter(0, t.tensor(0), 5.0),
    "scatter_add": lambda t, x: x.scatter_add(0, t.tensor(0), x * 2),
    "repeat_interleave": lambda t, x: x.repeat_interleave(2),
    "logsumexp": lambda t, x: x.logsumexp(0),
    "norm": lambda t, x: x.norm(),
    "flatten": lambda t, x: x.flatten(),
    "var": lambda t, x: x.var(0, unbiased=False),
    "amax": lambda t, x: x.amax(0),
    "unsqueeze": lambda t, x: x.unsqueeze(-1),
    "masked_select": lambda t, x: x.masked_select(t.tensor([True, True])),
}


@pytest.mark.parametrize("name", ZERO_D)
def test_a_0d_tensor_is_one_element(name: str) -> None:
    check(ZERO_D[name], -3.0)
