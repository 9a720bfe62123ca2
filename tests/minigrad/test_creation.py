"""Making tensors: values, dtypes and errors; the random stream."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigrad
from minigrad import random

CALLS = {
    "tensor of floats": lambda t: t.tensor([[1.0, 2.5], [3.0, 4.0]]),
    "tensor of integers": lambda t: t.tensor([1, 2, 3]),
    "tensor of truths": lambda t: t.tensor([True, False]),
    "tensor of a number": lambda t: t.tensor(2.5),
    "tensor of nothing": lambda t: t.tensor([]),
    "tensor of an array": lambda t: t.tensor(np.array([1.5, 2.0])),
    "tensor with a dtype": lambda t: t.tensor([1, 2], dtype=t.float64),
    "tensor of tensors": lambda t: t.tensor([t.tensor(1.0), t.tensor(2.0)]),
    "zeros": lambda t: t.zeros(2, 3),
    "zeros of a tuple": lambda t: t.zeros((2, 0, 3), dtype=t.long),
    "ones": lambda t: t.ones(3, dtype=t.float64),
    "full": lambda t: t.full((2, 2), 3.5),
    "full of integers": lambda t: t.full((2,), 7),
    "arange": lambda t: t.arange(5),
    "arange from": lambda t: t.arange(2, 8, 3),
    "arange of floats": lambda t: t.arange(0, 1, 0.25),
    "linspace": lambda t: t.linspace(-1, 1, 5),
    "eye": lambda t: t.eye(3),
    "eye of two sizes": lambda t: t.eye(2, 3),
    "zeros_like": lambda t: t.zeros_like(t.arange(3)),
    "ones_like": lambda t: t.ones_like(t.zeros(2, 2, dtype=t.float64)),
    "full_like": lambda t: t.full_like(t.zeros(2), 4.0),
    "LongTensor": lambda t: t.LongTensor([3, 1]),
    "FloatTensor": lambda t: t.FloatTensor([3, 1]),
    "from_numpy": lambda t: t.from_numpy(np.arange(3, dtype=np.float64)),
}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_values_and_dtypes_equal_torch(name):
    torch = pytest.importorskip("torch")
    result, expected = CALLS[name](minigrad), CALLS[name](torch)
    assert str(expected.dtype) == f"torch.{result.dtype}"
    np.testing.assert_array_equal(result.array, expected.numpy(), strict=True)


def test_values_without_torch():
    np.testing.assert_array_equal(minigrad.tensor([[1, 2], [3, 4]]).array, np.array([[1, 2], [3, 4]]), strict=True)
    np.testing.assert_array_equal(minigrad.zeros(2, 3).array, np.zeros((2, 3), np.float32), strict=True)
    np.testing.assert_array_equal(minigrad.arange(2, 8, 3).array, np.array([2, 5]), strict=True)
    np.testing.assert_array_equal(minigrad.full((2,), 1.5).array, np.array([1.5, 1.5], np.float32), strict=True)


def test_tensor_copies_and_from_numpy_shares():
    array = np.zeros(3, np.float32)
    copied, shared = minigrad.tensor(array), minigrad.from_numpy(array)
    array[0] = 1.0
    assert copied[0].item() == 0.0
    assert shared[0].item() == 1.0
    assert shared.numpy() is array


def test_requires_grad_is_asked_for():
    assert minigrad.ones(2, requires_grad=True).requires_grad
    assert not minigrad.ones(2).requires_grad
    with pytest.raises(RuntimeError, match="only floating tensors"):
        minigrad.zeros(2, dtype=minigrad.long, requires_grad=True)


def test_ragged_lists_are_refused():
    with pytest.raises(ValueError, match=r"(?i)nested|inhomogeneous"):
        minigrad.tensor([[1, 2], [3]])


def test_cuda_is_one_clear_error():
    assert not minigrad.cuda.is_available()
    for call in (
        lambda: minigrad.zeros(2, device="cuda"),
        lambda: minigrad.zeros(2).cuda(),
        lambda: minigrad.zeros(2).to("cuda:0"),
    ):
        with pytest.raises(RuntimeError, match="not available"):
            call()
    assert minigrad.zeros(2).to(minigrad.device("cpu")).device == minigrad.device("cpu")


def test_conversions():
    x = minigrad.tensor([1.7, -1.7, 0.0])
    np.testing.assert_array_equal(x.long().array, np.array([1, -1, 0]), strict=True)
    np.testing.assert_array_equal(x.bool().array, np.array([True, True, False]), strict=True)
    assert x.double().dtype == np.float64
    assert x.double().float().dtype == np.float32
    assert x.to(minigrad.float32) is x
    assert x.item.__self__ is x
    assert x.tolist() == pytest.approx([1.7, -1.7, 0.0])


# --- the random stream ------------------------------------------------------------------------------------------------
def test_the_seed_fixes_all_draws_and_each_draw_differs():
    def draws():
        minigrad.manual_seed(7)
        return [minigrad.rand(5).array, minigrad.randn(5).array, minigrad.randint(0, 100, (5,)).array]

    for first, second in zip(draws(), draws(), strict=True):
        np.testing.assert_array_equal(first, second)
    minigrad.manual_seed(7)
    assert not np.array_equal(minigrad.rand(5).array, minigrad.rand(5).array)
    minigrad.manual_seed(8)
    assert not np.array_equal(minigrad.rand(5).array, draws()[0])


def test_a_step_draws_the_same_after_any_past():
    random.seed_step(3, 10)
    first = minigrad.rand(4).array
    minigrad.rand(100)
    random.seed_step(3, 11)
    assert not np.array_equal(minigrad.rand(4).array, first)
    random.seed_step(3, 10)
    np.testing.assert_array_equal(minigrad.rand(4).array, first)


def test_the_state_can_be_put_back():
    minigrad.manual_seed(1)
    minigrad.rand(2)
    state = random.get_state()
    first = minigrad.randn(3).array
    random.set_state(state)
    np.testing.assert_array_equal(minigrad.randn(3).array, first)


def test_moments_and_ranges():
    minigrad.manual_seed(0)
    uniform, gauss = minigrad.rand(20_000).array, minigrad.randn(20_000).array
    assert 0 <= uniform.min() < 0.01 < 0.99 < uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 5 * math.sqrt(1 / 12 / 20_000)
    assert abs(gauss.mean()) < 5 / math.sqrt(20_000)
    assert abs(gauss.std() - 1) < 5 / math.sqrt(40_000)
    integers = minigrad.randint(2, 5, (1000,)).array
    assert set(integers) == {2, 3, 4}
    for drawn in (
        minigrad.randint(3, size=(1000,)), minigrad.randint(high=3, size=(1000,)),
        minigrad.randint(0, 3, size=(1000,)), minigrad.randint(0, high=3, size=(1000,)),
        minigrad.randint(low=0, high=3, size=(1000,)), minigrad.randint(3, (1000,), low=0),
    ):  # fmt: skip
        assert set(drawn.tolist()) == {0, 1, 2}
    assert sorted(minigrad.randperm(50).tolist()) == list(range(50))
    assert minigrad.rand_like(minigrad.zeros(2, dtype=minigrad.float64)).dtype == np.float64
    assert minigrad.randn_like(minigrad.zeros(2, 3)).shape == (2, 3)
    filled = minigrad.empty(1000).uniform_(2, 3)
    assert 2 <= filled.array.min() < 2.05 < 2.95 < filled.array.max() < 3
    assert abs(minigrad.empty(10_000).normal_(5, 0.1).array.mean() - 5) < 5 * 0.1 / 100


def test_old_constructors_take_values_or_sizes() -> None:
    made = {
        (minigrad.FloatTensor, (2, 3)): ((2, 3), "float32"),
        (minigrad.FloatTensor, (4,)): ((4,), "float32"),
        (minigrad.Tensor, (2, 0)): ((2, 0), "float32"),
        (minigrad.LongTensor, (3,)): ((3,), "int64"),
        (minigrad.BoolTensor, (1, 2)): ((1, 2), "bool"),
    }
    for (constructor, sizes), (shape, dtype) in made.items():
        tensor = constructor(*sizes)
        assert (tensor.shape, str(tensor.dtype)) == (shape, dtype)
    assert minigrad.Tensor([1, 2]).dtype == minigrad.float32
    assert minigrad.Tensor([1, 2]).tolist() == [1.0, 2.0]
    assert minigrad.LongTensor([[1, 2]]).tolist() == [[1, 2]]
    assert minigrad.DoubleTensor([1]).dtype == minigrad.float64


def test_type_names_and_conversions_by_name() -> None:
    x = minigrad.tensor([1.5, 2.5])
    assert x.type() == "torch.FloatTensor"
    assert minigrad.tensor([1]).type() == "torch.LongTensor"
    for target in (minigrad.LongTensor, "torch.LongTensor", minigrad.int64):
        assert x.type(target).tolist() == [1, 2]
        assert x.type(target).dtype == minigrad.int64


def test_new_tensors_take_the_dtype_of_another() -> None:
    x = minigrad.zeros(1, dtype=minigrad.float64)
    for made, values in (
        (x.new_zeros(2, 1), [[0.0], [0.0]]),
        (x.new_ones((2,)), [1.0, 1.0]),
        (x.new_full((1,), 7), [7.0]),
        (x.new_tensor([3, 4]), [3.0, 4.0]),
    ):
        assert made.dtype == minigrad.float64
        assert made.tolist() == values


def test_arange_by_keywords() -> None:
    assert minigrad.arange(start=1, end=7, step=2).tolist() == [1, 3, 5]
    assert minigrad.arange(end=2).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("bounds", "named", "values"),
    [
        ((0, 7), {"step": 3}, [0, 3, 6]),
        ((2,), {"end": 8, "step": 3}, [2, 5]),
        ((0,), {"end": 2}, [0, 1]),
        ((3, 1), {"step": -1}, [3, 2]),
        ((1.0, 2), {"step": minigrad.tensor(0.5)}, [1.0, 1.5]),
        ((1, 1), {}, []),
    ],
)
def test_arange_by_place_and_by_name(bounds: tuple, named: dict, values: list) -> None:
    assert minigrad.arange(*bounds, **named).tolist() == values


@pytest.mark.parametrize(
    ("bounds", "named", "error", "message"),
    [
        ((1, 2), {"end": 5}, TypeError, r"arange: got \(1, 2\) by place and end by name; expected .* once each"),
        ((1, 2, 3, 4), {}, TypeError, "and nothing by name"),
        ((), {"start": 3}, TypeError, "got 3, None, 1; expected start, end and step"),
        ((5, -1), {}, RuntimeError, "arange: from 5 to -1 by 1; expected a step that leads there"),
        ((-3,), {}, RuntimeError, "from 0 to -3"),
        ((1, 5), {"step": -1}, RuntimeError, "by -1"),
    ],
)
def test_what_arange_refuses(bounds: tuple, named: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        minigrad.arange(*bounds, **named)


def test_switches_and_wrappers_of_old_programs() -> None:
    minigrad.backends.cudnn.deterministic = True
    assert not minigrad.backends.cudnn.is_available()
    x = minigrad.ones(2)
    assert minigrad.autograd.Variable(x) is x
    assert minigrad.autograd.Variable(x, requires_grad=True).requires_grad


def test_filling_chunk_by_chunk_draws_the_same_elements(monkeypatch):
    """Pieces keep the memory small and change nothing."""
    from minigrad.ops import inplace

    def fill():
        minigrad.manual_seed(5)
        x = minigrad.empty(7, 9)
        return x.uniform_(-1, 2).numpy().copy(), x.normal_(1, 3).numpy().copy()

    whole = fill()
    monkeypatch.setattr(inplace, "_CHUNK", 10)
    for a, b in zip(whole, fill(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_as_tensor_shares_the_memory_of_an_array():
    array = np.array([1.0, 2.0])
    shared = minigrad.as_tensor(array)
    array[0] = 5.0
    assert shared.tolist() == [5.0, 2.0]
    assert shared.dtype == np.float64
    for copied in (
        minigrad.as_tensor(array, dtype=minigrad.float32),
        minigrad.tensor(array),
        minigrad.as_tensor([5.0]),
    ):
        assert not np.shares_memory(copied.array, array)
    x = minigrad.ones(2, requires_grad=True)
    assert minigrad.as_tensor(x) is x
    minigrad.as_tensor(x, dtype=minigrad.float64).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
