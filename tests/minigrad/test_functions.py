"""The wider surface, value and gradient against PyTorch: names of arguments, logic and bits, selection, products."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import nn, ops

X = np.array([[1.5, -2.0, 0.5, 3.0], [-0.5, 4.0, -1.0, 2.5], [0.25, -3.5, 1.0, -1.5]])

DIFFERENTIABLE = {
    "sum axis keepdims": lambda t, x: x.sum(axis=1, keepdims=True),
    "mean axes": lambda t, x: t.mean(x, axis=(0, 1)),
    "max axis": lambda t, x: x.max(axis=0)[0],
    "cat axis": lambda t, x: t.cat([x, x * 2], axis=1),
    "stack dim of named tensors": lambda t, x: t.stack([x, x * 2], dim=1),
    "softmax axis": lambda t, x: x.softmax(axis=0),
    "cumsum axis": lambda t, x: x.cumsum(axis=1),
    "squeeze axis": lambda t, x: x[:1].squeeze(axis=0),
    "unsqueeze of input": lambda t, x: t.unsqueeze(input=x, dim=1),
    "add other": lambda t, x: t.add(input=x, other=x),
    "flip dims": lambda t, x: x.flip(dims=(0, 1)),
    "permute dims": lambda t, x: x.permute(dims=(1, 0)),
    "add alpha": lambda t, x: t.add(x, x * x, alpha=3),
    "sub alpha": lambda t, x: x.sub(x * x, alpha=0.5),
    "softmax dtype": lambda t, x: x.float().softmax(1, dtype=t.float64),
    "where method": lambda t, x: x.where(x > 0, x * 3),
    "mm": lambda t, x: t.mm(x, x.T),
    "mv": lambda t, x: x.mv(x[0]),
    "dot": lambda t, x: t.dot(x[0], x[1]),
    "baddbmm": lambda t, x: t.baddbmm(x[:, :3], x[None, :, :2], x[None, :2, :3], beta=2, alpha=0.5),
    "reflected matmul": lambda t, x: x[0] @ x.T,
    "einsum": lambda t, x: t.einsum("ij,kj->ik", x, x),
    "einsum of a list": lambda t, x: t.einsum("bn,bn->b", [x, x]),
    "einsum with dots": lambda t, x: t.einsum("b...d,de->b...e", x.view(3, 2, 2), x[:2, :3]),
    "einsum of a diagonal": lambda t, x: t.einsum("ii->i", x[:, :3]),
    "einsum of one sum": lambda t, x: t.einsum("ij->", x),
    "einsum without arrow": lambda t, x: t.einsum("ji", x),
    "einsum of a number": lambda t, x: t.einsum("...,...->...", x[0, 0], x[1]),
    "einsum of stretched dots": lambda t, x: t.einsum("...i,...i->...", x[:1], x),
    "prod": lambda t, x: x.prod(1),
    "prod of all": lambda t, x: x.prod(),
    "prod with a zero": lambda t, x: (x - 1).prod(1),
    "prod with two zeros": lambda t, x: (x * t.tensor([0.0, 1.0, 0.0, 1.0])).prod(1, keepdim=True),
    "square": lambda t, x: x.square(),
    "rsqrt": lambda t, x: (x + 4).rsqrt(),
    "log1p and expm1": lambda t, x: (x.expm1() * 0.5).log1p(),
    "sin and cos": lambda t, x: t.sin(x) * x.cos(),
    "reciprocal": lambda t, x: x.reciprocal(),
    "clip": lambda t, x: x.clip(-1.2, 2),
    "tril": lambda t, x: x.tril(-1),
    "triu": lambda t, x: t.triu(x, 1),
    "unbind": lambda t, x: x.unbind(1)[2],
    "movedim": lambda t, x: x.view(3, 2, 2).movedim(0, -1),
    "swapaxes": lambda t, x: x.swapaxes(0, 1),
    "repeat_interleave": lambda t, x: x.repeat_interleave(2, dim=1),
    "repeat_interleave each": lambda t, x: x.repeat_interleave(t.tensor([0, 2, 1]), dim=0),
    "repeat_interleave flat": lambda t, x: x.repeat_interleave(2),
    "scatter": lambda t, x: x.scatter(1, t.tensor([[0, 2], [1, 3]]), x[1:, 2:] * 10),
    "scatter a number": lambda t, x: x.scatter(0, t.tensor([[0, 2, 1, 1]]), 7.0),
    "scatter_add": lambda t, x: x.scatter_add(1, t.tensor([[0, 0], [3, 3]]), x[1:, 2:] * 10),
}

CONSTANT = {
    "argmax axis keepdims": lambda t, x: x.argmax(axis=1, keepdims=True),
    "argmin axis": lambda t, x: x.argmin(axis=0),
    "div floor": lambda t, x: t.div(x, 0.7, rounding_mode="floor"),
    "div trunc": lambda t, x: x.div(0.7, rounding_mode="trunc"),
    "div trunc of integers": lambda t, x: t.tensor([7, -7]).div(2, rounding_mode="trunc"),
    "div floor of integers": lambda t, x: t.tensor([7, -7]).div(t.tensor([2, 2]), rounding_mode="floor"),
    "bits": lambda t, x: t.stack([t.arange(8) & 5, t.arange(8) | 4, t.arange(8) ^ 3, ~t.arange(8)]),
    "reflected bits": lambda t, x: t.stack([5 & t.arange(8), 4 | t.arange(8), 3 ^ t.arange(8)]),
    "bits of truths": lambda t, x: t.stack([~(x > 0), (x > 0) & (x > 1), (x > 1) | (x < 0), (x > 0) ^ (x > 1)]),
    "reflected remainder": lambda t, x: 5 % t.tensor([2, 3, -4]),
    "reflected floor division": lambda t, x: -7 // t.tensor([2, 3, -4]),
    "logic": lambda t, x: t.stack([x.logical_and(x > 1), (x > 0).logical_or(x < -1), x.logical_xor(x > 1)]),
    "places": lambda t, x: (x > 1).nonzero(),
    "places by dimension": lambda t, x: t.stack(t.where(x > 1)),
    "places as tuple": lambda t, x: t.stack((x > 1).nonzero(as_tuple=True)),
    "places of a number": lambda t, x: t.tensor(3).nonzero(),
    "argsort": lambda t, x: x.argsort(descending=True),
    "unique": lambda t, x: t.unique(t.tensor([3, 1, 3, 2])),
    "unique inverse": lambda t, x: t.unique(t.tensor([[3, 1], [3, 2]]), return_inverse=True)[1],
    "unique counts": lambda t, x: t.unique(t.tensor([3, 1, 3, 2]), return_counts=True)[1],
    "unique rows": lambda t, x: t.unique(t.tensor([[3, 1], [0, 2], [3, 1]]), dim=0),
    "sign, ceil, trunc": lambda t, x: t.stack([x.sign(), x.ceil(), x.trunc()]),
    "isclose": lambda t, x: t.isclose(x, x + t.tensor([0.0, 1e-9, 1e-4, 1.0])),
    "close with NaN": lambda t, x: t.tensor([t.allclose(x * float("nan"), x * float("nan"), equal_nan=True)]),
    "allclose": lambda t, x: t.tensor([t.allclose(x, x + 1e-9), t.allclose(x, x + 1e-3), t.allclose(x, x, 0, 0)]),
    "equal": lambda t, x: t.tensor([t.equal(x, x), t.equal(x, x + 1), t.equal(x, x[:1]), x.equal(x.clone())]),
    "triangle of integers": lambda t, x: t.tril(t.arange(9).view(3, 3)),
    "product of integers": lambda t, x: t.arange(1, 5).prod(),
    "tril of truths": lambda t, x: t.triu(x > 0),
}


def evaluate(t: Any, function: Any) -> tuple[Any, Any]:
    """The result of ``function`` in library ``t``, and the leaf it was computed from."""
    x = t.tensor(X, dtype=t.float64, requires_grad=True)
    return function(t, x), x


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_values_and_gradients_equal_torch(name: str) -> None:
    results = []
    for t in (minigrad, pytest.importorskip("torch")):
        y, x = evaluate(t, DIFFERENTIABLE[name])
        (y * t.arange(1, y.numel() + 1).reshape(y.shape)).sum().backward()
        results.append((np.asarray(y.detach().numpy()), np.asarray(x.grad.numpy())))
    for ours, theirs in zip(*results, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CONSTANT)
def test_values_equal_torch(name: str) -> None:
    ours, theirs = (evaluate(t, CONSTANT[name])[0].detach().numpy() for t in (minigrad, pytest.importorskip("torch")))
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("other", [None, "a", [1, 2], object()])
def test_what_is_no_number_is_not_equal(other: object) -> None:
    x = minigrad.tensor([1, 2])
    assert (x == other, other == x, x != other, other != x) == (False, False, True, True)
    assert x not in [other]
    with pytest.raises(TypeError, match="'<' not supported"):
        _ = x < other


def test_arrays_and_numpy_scalars_compare_by_element() -> None:
    x = minigrad.tensor([1, 2])
    assert (x == np.array([1, 3])).tolist() == [True, False]
    assert (x >= np.int64(2)).tolist() == [False, True]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x & 1, TypeError, "bitwise_and: got dtype float32; expected bool or an integer"),
        (lambda x: ~x, TypeError, "bitwise_not: got dtype float32"),
        (lambda x: x.div(2, rounding_mode="up"), ValueError, "rounding_mode is 'up'; expected None, 'floor' or"),
        (lambda x: x.sum(dim=0, axis=1), TypeError, "sum: an argument is given twice among dim, axis"),
        (lambda x: x.sum(0, axis=1), TypeError, "multiple values"),
        (lambda x: x.exp(axis=1), TypeError, "unexpected keyword argument 'axis'"),
    ],
)
def test_refusals(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(minigrad.ones(2, 3))


def test_functions_keep_their_names_and_documentation() -> None:
    assert (ops.softmax.__name__, ops.exp.__name__) == ("softmax", "exp")
    assert "normalised" in (ops.softmax.__doc__ or "")


@pytest.fixture
def _seeded() -> Any:
    state = minigrad.random.get_state()
    minigrad.manual_seed(3)
    yield
    minigrad.random.set_state(state)


@pytest.mark.usefixtures("_seeded")
@pytest.mark.parametrize("replacement", [True, False])
def test_frequencies_of_multinomial(replacement: bool) -> None:
    weights = np.array([1.0, 0.0, 3.0, 4.0])
    rows = minigrad.tensor(np.tile(weights, (20000, 1)))
    draws = rows.multinomial(2, replacement).array
    frequencies = np.bincount(draws[:, 0], minlength=4) / len(draws)
    np.testing.assert_allclose(frequencies, weights / 8, atol=0.015)  # more than 4 standard deviations
    assert frequencies[1] == 0
    p = weights / 8
    pairs = np.outer(p, p) if replacement else np.outer(p, p) / (1 - p)[:, None] * (1 - np.eye(4))
    counted = np.zeros((4, 4))
    np.add.at(counted, (draws[:, 0], draws[:, 1]), 1 / len(draws))
    np.testing.assert_allclose(counted, pairs, atol=0.015)


@pytest.mark.usefixtures("_seeded")
def test_the_seed_fixes_multinomial() -> None:
    weights = minigrad.ones(50)
    first, second = minigrad.multinomial(weights, 50), minigrad.multinomial(weights, 50)
    assert sorted(first.tolist()) == list(range(50))
    assert first.tolist() != second.tolist()
    minigrad.manual_seed(3)
    assert minigrad.multinomial(weights, 50).tolist() == first.tolist()


# --- a Function of the user's own -------------------------------------------------------------------------------------
def function_of(forward: Any, backward: Any) -> type[minigrad.Function]:
    return type("Own", (minigrad.Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


OWN: list[tuple[Any, Any, type[Exception], str]] = [
    (
        lambda ctx, x: x * 2,
        lambda ctx, g: g * ctx.saved[0],
        RuntimeError,
        "forward saved no arrays; it has to call",
    ),
    (lambda ctx, x: x * 2, lambda ctx, g: g * len(ctx.saved), RuntimeError, "forward saved no arrays; it has to call"),
    (lambda ctx, x: x * 2, lambda ctx, g: ctx.saved_tensors, AttributeError, "saved are arrays, in ctx.saved"),
    (lambda ctx, x: x * 2, lambda ctx, g: g * ctx.scale, AttributeError, "ctx has no attribute 'scale'; forward must"),
    (lambda ctx, x: None, lambda ctx, g: g, TypeError, "Own.forward returned None; expected an array, or a tuple"),
    (lambda ctx, x: (x, None), lambda ctx, g, h: g, TypeError, "Own.forward returned None; expected an array"),
    (lambda ctx, x: x * 2, lambda ctx, g: 3.0, TypeError, "Own.backward returned 3.0; expected an array for each"),
    (
        lambda ctx, x: x * 2,
        lambda ctx, g: minigrad.ones(2),
        TypeError,
        "Own.backward returned a tensor of shape",
    ),
    (lambda ctx, x: x * 2, lambda ctx, g: [g], TypeError, "Own.backward returned a list with an array of shape"),
    (lambda ctx, x: x * 2, lambda ctx, g: (g, g), RuntimeError, "Own.backward returned 2 gradients for 1 arguments"),
    (lambda ctx, x: x * 2, lambda ctx, g: g[:1], RuntimeError, "Own.backward returned a gradient of shape (1,)"),
]


@pytest.mark.parametrize(("forward", "backward", "error", "message"), OWN, ids=[message for *_, message in OWN])
def test_mistakes_in_a_function_of_ones_own(forward: Any, backward: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        function_of(forward, backward).apply(minigrad.ones(2, requires_grad=True)).sum().backward()
    assert message in str(caught.value)


def test_a_function_that_lacks_a_half() -> None:
    x = minigrad.ones(2, requires_grad=True)
    with pytest.raises(NotImplementedError, match=r"a Function needs a static method forward\(ctx, \*arrays\)"):
        type("Own", (minigrad.Function,), {}).apply(x)
    half = type("Own", (minigrad.Function,), {"forward": staticmethod(lambda ctx, x: x * 2)})
    with pytest.raises(NotImplementedError, match=r"a Function needs a static method backward\(ctx, \*grad_outputs\)"):
        half.apply(x).sum().backward()


def test_a_function_that_needs_nothing_saved() -> None:
    x = minigrad.ones(2, requires_grad=True)
    function_of(lambda ctx, x: x * 2, lambda ctx, g: g * 2).apply(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2, 2])


@pytest.mark.parametrize(
    "forward", [lambda ctx, x: x, lambda ctx, x: x[:], lambda ctx, x: x.reshape(-1), lambda ctx, x: (x.T, x * 2)]
)
def test_a_result_that_shows_its_argument_is_a_copy(forward: Any) -> None:
    """A change of it in place would change the argument too, which nothing would notice."""
    own = function_of(forward, lambda ctx, *gradients: gradients[0] * 2)
    x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    shown = x * 1
    square = shown * shown  # which keeps what it was
    y = own.apply(shown)
    y = y[0] if isinstance(y, tuple) else y
    y.mul_(10)
    assert shown.tolist() == [1.0, 2.0]
    (square.sum() + y.sum()).backward()
    assert x.grad.tolist() == [2 + 20, 4 + 20]


def test_only_leaves_are_copied_deeply() -> None:
    x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    copied = copy.deepcopy(x)
    assert (copied.tolist(), copied.grad.tolist(), copied.requires_grad) == ([1.0, 2.0], [2.0, 4.0], True)
    copied.grad.zero_()
    assert x.grad.tolist() == [2.0, 4.0]
    with pytest.raises(RuntimeError, match="deepcopy: the tensor is a result on the tape; expected a leaf"):
        copy.deepcopy(x * 2)
    assert copy.deepcopy((x * 2).detach()).tolist() == [2.0, 4.0]
    pair = copy.deepcopy([x, x])
    assert pair[0] is pair[1]


def test_gradients_of_what_has_none() -> None:
    x, y = minigrad.ones(2, requires_grad=True), minigrad.ones(2)
    for allowed in (None, True):
        with pytest.raises(RuntimeError, match="grad: input 1 does not require grad; expected tensors that"):
            minigrad.autograd.grad((x * y).sum(), [x, y], allow_unused=allowed)
    with pytest.raises(ValueError, match="grad: inputs is empty; expected one tensor or more"):
        minigrad.autograd.grad((x * y).sum(), [])


def test_results_share_no_memory_with_each_other_or_with_keywords() -> None:
    x = minigrad.ones(2, requires_grad=True)

    def twice(ctx: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        doubled = x * 2
        return doubled, doubled[:1]

    first, second = function_of(twice, lambda ctx, *gradients: None).apply(x)
    first.add_(1)
    assert second.tolist() == [2.0]
    given = np.ones(2)
    shown = function_of(lambda ctx, x, other: other, lambda ctx, *gradients: None).apply(x, other=given)
    shown.add_(1)
    assert given.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("value", [2, True, np.int64(3), np.bool_(False)], ids=lambda value: type(value).__name__)
def test_a_number_as_a_result(value: Any) -> None:
    own = function_of(lambda ctx, x: value, lambda ctx, *gradients: None)
    for result in (own.apply(minigrad.ones(2)), own.apply(minigrad.ones(2, requires_grad=True))):
        assert (result.shape, result.item(), result.requires_grad) == ((), value, False)


SAVED_VIEWS = {
    "a result that shows what is saved": (
        lambda ctx, x: _saved(ctx, np.exp(x)).reshape(-1, 1),
        lambda ctx, gradient: gradient.reshape(-1) * ctx.saved[0],
        lambda x, y: y.add_(10),
    ),
    "a part of an argument": (
        lambda ctx, x: (_saved(ctx, x[:2]), x * 1)[1],
        lambda ctx, gradient: gradient * ctx.saved[0],
        lambda x, y: x.mul_(0),
    ),
}  # fmt: skip


def _saved(ctx: Any, array: np.ndarray) -> np.ndarray:
    ctx.save_for_backward(array)
    return array


@pytest.mark.parametrize("name", SAVED_VIEWS)
def test_a_change_of_memory_that_was_saved_is_noticed(name: str) -> None:
    forward, backward, change = SAVED_VIEWS[name]
    x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    copied = x * 1
    y = function_of(forward, backward).apply(copied)
    change(copied, y)
    with pytest.raises(RuntimeError, match="in place"):
        y.sum().backward()


def test_a_deep_copy_is_of_its_class() -> None:
    class Own(minigrad.Tensor):
        pass

    class OwnParameter(nn.Parameter):
        pass

    own = Own(np.ones(2))
    own.label = ["a"]  # type: ignore[attr-defined]
    copied = copy.deepcopy(own)
    assert type(copied) is Own
    assert (copied.label, copied.label is own.label) == (["a"], False)  # type: ignore[attr-defined]
    assert type(copy.deepcopy(OwnParameter(minigrad.ones(2)))) is OwnParameter
