"""The tape: iterative, linear in the recorded calls, several outputs, None gradients, errors, memory."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import minigrad
from minigrad import autograd, ops
from minigrad.function import Function
from minigrad.tensor import Tensor


def leaf(*values: float) -> Tensor:
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


class Twice(Function):
    """a + b, counting how often its backward runs."""

    visits = 0

    @staticmethod
    def forward(ctx, a, b):
        return a + b

    @staticmethod
    def backward(ctx, grad):
        Twice.visits += 1
        return grad, grad


class SumAndProduct(Function):
    """Two outputs; remembers which of their gradients arrived."""

    arrived: tuple[bool, bool] = (False, False)

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a + b, a * b

    @staticmethod
    def backward(ctx, dsum, dproduct):
        a, b = ctx.saved
        SumAndProduct.arrived = (dsum is not None, dproduct is not None)
        dsum = 0 * a if dsum is None else dsum
        dproduct = 0 * a if dproduct is None else dproduct
        return dsum + dproduct * b, dsum + dproduct * a


# --- the walk ---------------------------------------------------------------------------------------------------------
def test_a_chain_of_100000_ops_does_not_recurse():
    x = leaf(1.5)
    y = x
    for _ in range(100_000):
        y = ops.neg(y)
    y.backward()
    np.testing.assert_array_equal(x.grad.array, [1.0])


def test_an_unused_chain_of_100000_ops_is_freed_without_recursion():
    y = leaf(1.5)
    for _ in range(100_000):
        y = ops.neg(y)
    node = weakref.ref(y.grad_fn)
    del y
    assert node() is None


def test_the_walk_visits_nodes_not_paths():
    Twice.visits = 0
    x = leaf(1.0)
    y = x
    for _ in range(40):
        y = Twice.apply(y, y)
    y.backward()
    assert Twice.visits == 40
    np.testing.assert_array_equal(x.grad.array, [2.0**40])


def test_a_node_waits_for_all_its_uses():
    """A long and a short way from z to the loss: the gradient of z is complete before it goes on."""
    x = leaf(0.3, -0.7)
    z = Twice.apply(x, x)
    Twice.visits = 0
    long = z
    for _ in range(5):
        long = long * 1.1
    (long.sum() + (z * z).sum()).backward()
    assert Twice.visits == 1
    np.testing.assert_allclose(x.grad.array, 2 * (1.1**5 + 2 * z.array), rtol=1e-14)


def test_reuse_of_a_leaf_and_of_a_result():
    x = leaf(2.0, 3.0)
    y = x * x
    (y * y + x * y).sum().backward()
    np.testing.assert_allclose(x.grad.array, 4 * x.array**3 + 3 * x.array**2, rtol=1e-14)


def test_leaves_accumulate_over_backward_calls():
    x = leaf(2.0)
    for _ in range(3):
        (x * x).backward()
    np.testing.assert_array_equal(x.grad.array, [12.0])


# --- several outputs, None --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("choose", "arrived", "expected"),
    [
        (lambda s, p: s, (True, False), ([1.0], [1.0])),
        (lambda s, p: p, (False, True), ([5.0], [3.0])),
        (lambda s, p: s * p, (True, True), ([3 * 5 + 8 * 5.0], [3 * 5 + 8 * 3.0])),
    ],
)
def test_outputs_without_a_gradient_arrive_as_none(choose, arrived, expected):
    a, b = leaf(3.0), leaf(5.0)
    choose(*SumAndProduct.apply(a, b)).backward()
    assert SumAndProduct.arrived == arrived
    np.testing.assert_array_equal(a.grad.array, expected[0])
    np.testing.assert_array_equal(b.grad.array, expected[1])


def test_arguments_that_need_no_gradient_get_none():
    seen = []

    class Scale(Function):
        @staticmethod
        def forward(ctx, x, factor, name):
            ctx.factor = factor
            seen.append(ctx.needs_input_grad)
            return x * factor

        @staticmethod
        def backward(ctx, grad):
            return grad * ctx.factor, None, None

    x = leaf(1.0)
    Scale.apply(x, 4.0, "name").backward()
    assert seen == [(True, False, False)]
    np.testing.assert_array_equal(x.grad.array, [4.0])


def test_a_none_gradient_stops_the_walk_there():
    class Stop(Function):
        @staticmethod
        def forward(ctx, x):
            return x + 1

        @staticmethod
        def backward(ctx, grad):
            return None

    x, y = leaf(1.0), leaf(2.0)
    (Stop.apply(ops.exp(x)) + y).backward()
    assert x.grad is None
    np.testing.assert_array_equal(y.grad.array, [1.0])


def test_the_layers_outputs_each_alone():
    rng = np.random.default_rng(0)
    shapes = [(3, 2, 4), (2, 2), (2, 2), (8, 4), (8, 2), (8,), (8,)]
    inputs = [Tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
    parts = [autograd.grad(ops.lstm_layer(*inputs)[k].sum(), inputs) for k in range(3)]
    total = autograd.grad(sum((y.sum() for y in ops.lstm_layer(*inputs)), Tensor(np.zeros(()))), inputs)
    for alone, together in zip(zip(*parts, strict=True), total, strict=True):
        np.testing.assert_allclose(sum(g.array for g in alone), together.array, rtol=1e-12, atol=1e-14)


# --- a second time ----------------------------------------------------------------------------------------------------
def test_a_second_backward_needs_retain_graph():
    x = leaf(2.0)
    y = ops.exp(x) * x
    y.backward(retain_graph=True)
    first = x.grad.array.copy()
    y.backward()
    np.testing.assert_array_equal(x.grad.array, 2 * first)
    with pytest.raises(RuntimeError, match=r"the graph was freed by an earlier backward .* retain_graph=True"):
        y.backward()


def test_two_runs_are_bit_equal():
    def gradients() -> list[bytes]:
        minigrad.manual_seed(3)
        rng = np.random.default_rng(0)
        shapes = [(20, 6), (16, 6), (16, 4), (20, 4)]
        table, w_ih, w_hh, out = [Tensor(rng.standard_normal(s).astype(np.float32), requires_grad=True) for s in shapes]
        ids, targets = rng.integers(0, 20, (9, 8)), rng.integers(0, 20, 72)
        state = Tensor(np.zeros((8, 4), np.float32))
        y, _, _ = ops.lstm_layer(ops.embedding(table, Tensor(ids)), state, state, w_ih, w_hh)
        logits = ops.linear(ops.dropout(y, 0.3).reshape(72, 4), out)
        ops.cross_entropy(logits, Tensor(targets)).mean().backward()
        return [p.grad.array.tobytes() for p in (table, w_ih, w_hh, out)]

    assert gradients() == gradients()


# --- autograd.grad ----------------------------------------------------------------------------------------------------
def test_grad_of_results_and_leaves_leaves_no_trace():
    x = leaf(0.5, 2.0)
    y = x * x
    z = (y * y).sum()
    dy, dx = autograd.grad(z, [y, x])
    np.testing.assert_allclose(dy.array, 2 * x.array**2, rtol=1e-14)
    np.testing.assert_allclose(dx.array, 4 * x.array**3, rtol=1e-14)
    assert x.grad is None
    assert y.grad is None


def test_grad_of_an_unused_input():
    x, unused = leaf(1.0), leaf(1.0)
    with pytest.raises(RuntimeError, match="input 1 was not used"):
        autograd.grad(ops.exp(x), [x, unused])
    assert autograd.grad(ops.exp(x), [x, unused], allow_unused=True)[1] is None
    zero = autograd.grad(ops.exp(x), [x, unused], materialize_grads=True)[1]
    assert zero.tolist() == [0.0]
    assert zero.dtype == unused.dtype
    with pytest.raises(ValueError, match="allow_unused is False and materialize_grads True; expected only one"):
        autograd.grad(ops.exp(x), [x, unused], allow_unused=False, materialize_grads=True)


def test_grad_of_what_an_assignment_overwrites():
    """The buffer that carries gradients through assignments is reused; a captured gradient must be a copy of it."""
    x = leaf(1.0, 2.0)
    y = x * 3
    before = y * 1
    target = before.clone()
    target[0] = x[1]
    d_before, d_x = autograd.grad(target.sum(), [before, x])
    np.testing.assert_array_equal(d_before.array, [0.0, 1.0])
    np.testing.assert_array_equal(d_x.array, [0.0, 4.0])


# --- refused ----------------------------------------------------------------------------------------------------------
def test_backward_errors_say_what_is_needed():
    with pytest.raises(RuntimeError, match=r"needs a gradient for an output of shape \(2,\)"):
        (leaf(1.0, 2.0) * 2).backward()
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        Tensor(np.ones(())).backward()
    with pytest.raises(RuntimeError, match=r"gradient has shape \(3,\); expected \(2,\)"):
        (leaf(1.0, 2.0) * 2).backward(Tensor(np.ones(3)))


def test_a_backward_with_too_few_gradients_is_refused():
    class Short(Function):
        @staticmethod
        def forward(ctx, a, b):
            return a + b

        @staticmethod
        def backward(ctx, grad):
            return (grad,)

    with pytest.raises(RuntimeError, match=r"Short\.backward returned 1 gradients for 2 arguments"):
        Short.apply(leaf(1.0), leaf(1.0)).backward()


def test_integers_cannot_require_gradients():
    with pytest.raises(RuntimeError, match="only floating tensors can require gradients; got dtype int64"):
        Tensor(np.arange(3), requires_grad=True)


# --- memory -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def _no_collector():
    """Without the cycle collector memory is freed by reference counts alone: what stays behind is a cycle or a leak."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
def test_no_grad_keeps_no_graph():
    x = leaf(1.0)
    with minigrad.no_grad():
        y = ops.exp(x)
        z = ops.exp(y)
    array = weakref.ref(y.array)
    del y
    assert array() is None
    assert not z.requires_grad
    assert z.grad_fn is None


@pytest.mark.usefixtures("_no_collector")
def test_a_graph_lives_exactly_as_long_as_its_result():
    y = ops.exp(leaf(1.0))
    z = ops.exp(y)
    array = weakref.ref(y.array)
    del y
    assert array() is not None
    del z
    assert array() is None


@pytest.mark.usefixtures("_no_collector")
def test_a_loop_of_assignments_leaves_no_cycle():
    x = leaf(1.0, 2.0)
    outputs = Tensor(np.zeros((3, 2)))
    for t in range(3):
        outputs[t] = ops.exp(x) * t
    outputs.sum().backward()
    array = weakref.ref(outputs.array)
    del outputs
    assert array() is None


@pytest.mark.usefixtures("_no_collector")
def test_backward_frees_what_it_has_used():
    saved: list[weakref.ref] = []
    alive: list[int] = []

    class Probe(Function):
        @staticmethod
        def forward(ctx, x):
            kept = x.copy()
            saved.append(weakref.ref(kept))
            ctx.save_for_backward(kept)
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            alive.append(sum(ref() is not None for ref in saved))
            return grad * 1

    x = leaf(1.0)
    y = x
    for _ in range(8):
        y = Probe.apply(y)
    y.backward()
    assert alive == [8, 7, 6, 5, 4, 3, 2, 1]
    assert all(ref() is None for ref in saved)
    assert x.grad is not None


@pytest.mark.usefixtures("_no_collector")
def test_backward_frees_gradients_on_the_way():
    gradients: list[weakref.ref] = []
    most = []

    class Watch(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            most.append(sum(ref() is not None for ref in gradients))
            result = grad * 1
            gradients.append(weakref.ref(result))
            return result

    y = leaf(1.0)
    for _ in range(20):
        y = Watch.apply(y)
    y.backward()
    assert max(most) <= 2


def test_no_grad_enable_grad_and_set_grad_enabled_nest():
    x = leaf(1.0)
    with minigrad.no_grad():
        assert not (x * 2).requires_grad
        with minigrad.enable_grad():
            assert (x * 2).requires_grad
        assert not minigrad.is_grad_enabled()
    with minigrad.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert minigrad.is_grad_enabled()


def test_no_grad_is_undone_by_an_exception_and_decorates():
    @minigrad.no_grad()
    def fails():
        assert not minigrad.is_grad_enabled()
        raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert minigrad.is_grad_enabled()
