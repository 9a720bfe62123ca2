"""Hooks of modules: what they are given, what they change, in which order; against PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import nn

Log = list[Any]


def plain(value: Any) -> Any:
    """Tensors as nested lists, rounded."""
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if value is None or isinstance(value, str | int):
        return value
    return np.round(np.asarray(value.detach().numpy(), np.float64), 5).tolist()


def net_of(t: Any) -> Any:
    net = t.nn.Sequential(t.nn.Linear(2, 3), t.nn.Tanh(), t.nn.Linear(3, 1))
    with t.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(t.arange(p.numel()).reshape(p.shape) / (3.0 + i) - 0.5)
    return net


def all_kinds(t: Any, log: Log) -> Any:
    net, x = net_of(t), t.tensor([[1.0, 2.0], [0.5, -1.0]], requires_grad=True)
    for i, layer in enumerate(net):
        layer.register_full_backward_pre_hook(lambda m, go, i=i: log.append(["backward pre", i, go]))
        layer.register_full_backward_hook(lambda m, gi, go, i=i: log.append(["backward", i, gi, go]))
        layer.register_forward_hook(lambda m, args, out, i=i: log.append(["after", i, args, out]))
        layer.register_forward_pre_hook(lambda m, args, i=i: log.append(["before", i, args]))
    net[1].register_full_backward_hook(lambda m, gi, go: (gi[0] * 2,), prepend=True)
    net[1].register_full_backward_pre_hook(lambda m, go: (go[0] * 3,))
    net[1].register_forward_pre_hook(lambda m, args: args[0] + 1)
    net[1].register_forward_hook(lambda m, args, out: out * 2, prepend=True)
    net(x).sum().backward()
    return [x.grad, *(p.grad for p in net.parameters())]


def inputs_without_gradients(t: Any, log: Log) -> Any:
    net = net_of(t)
    net[0].register_full_backward_hook(lambda m, gi, go: log.append([gi, go]))
    net(t.tensor([[1.0, 2.0]])).sum().backward()
    with t.no_grad():
        net(t.tensor([[1.0, 2.0]]))
    return [p.grad for p in net.parameters()]


def several_inputs_and_outputs(t: Any, log: Log) -> Any:
    class Two(t.nn.Module):
        def forward(self, a: Any, ids: Any, scale: Any, b: Any = None) -> Any:
            return a * scale, "text", a[ids] + b, a + 1

    layer, a = Two(), t.tensor([1.0, 2.0, 3.0], requires_grad=True)
    layer.register_full_backward_hook(lambda m, gi, go: log.append([gi, go]))
    layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 5, None, None))
    b = t.ones(2, requires_grad=True)
    first, text, second, _ = layer(a, t.tensor([0, 2]), 3.0, b=b)
    assert text == "text"
    (first.sum() + (second * second).sum()).backward()
    return [a.grad, b.grad]


def keywords(t: Any, log: Log) -> Any:
    class Scaled(t.nn.Module):
        def forward(self, x: Any, *, scale: float) -> Any:
            return x * scale

    layer, x = Scaled(), t.ones(2)
    layer.register_forward_pre_hook(lambda m, args, kw: (args, {"scale": kw["scale"] + 1}), with_kwargs=True)
    layer.register_forward_hook(lambda m, args, kw, out: log.append([args, kw["scale"], out]), with_kwargs=True)
    layer.register_forward_pre_hook(lambda m, args: log.append("first"), prepend=True)
    return [layer(x, scale=2)]


def errors(t: Any, log: Log) -> Any:
    class Failing(t.nn.Module):
        def forward(self, x: Any) -> Any:
            raise ValueError("no")

    layer = Failing()
    layer.register_forward_hook(lambda m, args, out: log.append("never"))
    layer.register_forward_hook(lambda m, args, out: log.append([args, out]), always_call=True)
    with pytest.raises(ValueError, match="no"):
        layer(t.ones(1))
    return []


def recurrent(t: Any, log: Log) -> Any:
    """Of an LSTM's outputs only the first is a tensor of the tuple itself."""
    layer = t.nn.LSTM(2, 3)
    with t.no_grad():
        for p in layer.parameters():
            p.copy_(t.arange(p.numel()).reshape(p.shape) / 20 - 0.5)
    layer.register_full_backward_hook(lambda m, gi, go: log.append([gi, go]))
    x = t.ones(2, 1, 2, requires_grad=True)
    output, (_, c) = layer(x)
    (output.sum() + c.sum()).backward()
    return [x.grad, *(p.grad for p in layer.parameters())]


def twice(t: Any, log: Log) -> Any:
    """One module in two places, and two walks through it."""
    layer, x = t.nn.Tanh(), t.tensor([0.5], requires_grad=True)
    handle = layer.register_full_backward_hook(lambda m, gi, go: log.append([gi, go]))
    y = layer(layer(x))
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    handle.remove()
    layer(x).sum().backward()
    return [x.grad]


CASES = [
    all_kinds, inputs_without_gradients, several_inputs_and_outputs, keywords, errors, recurrent, twice,
]  # fmt: skip


def outcome(t: Any, case: Callable) -> tuple[Any, Any]:
    log: Log = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        found = case(t, log)
    return plain(log), plain(found)


@pytest.mark.parametrize("case", CASES)
def test_equal_to_pytorch(case: Callable) -> None:
    torch = pytest.importorskip("torch")
    (our_log, ours), (their_log, theirs) = outcome(minigrad, case), outcome(torch, case)
    assert len(our_log) == len(their_log)
    for mine, other in zip([*our_log, *ours], [*their_log, *theirs], strict=True):
        assert_alike(mine, other)


def assert_alike(mine: Any, other: Any) -> None:
    if isinstance(other, list):
        assert isinstance(mine, list)
        assert len(mine) == len(other)
        for a, b in zip(mine, other, strict=True):
            assert_alike(a, b)
    else:
        assert mine == (pytest.approx(other, abs=3e-5) if isinstance(other, float) else other)


def test_the_comparison_can_fail() -> None:
    for wrong in ([[1.0, None]], [[1.1, 2.0]], [[1.0]], 1.0):
        with pytest.raises(AssertionError):
            assert_alike(wrong, [[1.0, 2.0]])


def test_by_hand() -> None:
    layer, x = nn.Linear(2, 1, bias=False), minigrad.tensor([[1.0, 2.0]], requires_grad=True)
    nn.init.ones_(layer.weight)
    seen: Log = []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((m is layer, plain(gi), plain(go))))
    layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 10,))
    (layer(x) * 3).sum().backward()
    assert seen == [(True, [[[3.0, 3.0]]], [[[3.0]]])]
    assert x.grad.tolist() == [[30.0, 30.0]]
    assert layer.weight.grad.tolist() == [[3.0, 6.0]]


def test_hooks_are_no_state_and_their_gradients_are_their_own() -> None:
    net, kept = net_of(minigrad), []
    names, text = list(net.state_dict()), repr(net)
    net[2].register_full_backward_hook(lambda m, gi, go: kept.extend([*gi, *go]))
    x = minigrad.ones(1, 2, requires_grad=True)
    net(x).sum().backward()
    assert (list(net.state_dict()), repr(net)) == (names, text)
    before = plain(kept)
    for tensor in (x, *net.parameters()):
        tensor.grad.zero_()
    assert plain(kept) == before


def test_an_output_that_holds_no_tensor_is_told() -> None:
    class Dict(nn.Module):
        def forward(self, x: Any) -> Any:
            return {"y": x}

    layer = Dict()
    layer.register_full_backward_hook(lambda m, gi, go: None)
    with pytest.warns(UserWarning, match="Dict: backward hooks are not called: forward returned a dict"):
        layer(minigrad.ones(1))


@pytest.mark.parametrize(
    ("returned", "error", "text"),
    [
        ((), RuntimeError, "returned 0 gradients; expected 1"),
        ((3,), TypeError, "gradient 0 that .* returned is 3; expected a tensor or None"),
        ((minigrad.ones(5),), RuntimeError, r"has shape \(5,\); expected \(1, 2\)"),
    ],
)
def test_what_a_backward_hook_may_not_return(returned: Any, error: type[Exception], text: str) -> None:
    layer = nn.Linear(2, 1)
    layer.register_full_backward_hook(lambda m, gi, go: returned)
    with pytest.raises(error, match=f"register_full_backward_hook: .*{text}"):
        layer(minigrad.ones(1, 2, requires_grad=True)).sum().backward()


def test_other_mistakes() -> None:
    layer = nn.Linear(2, 1)
    layer.register_full_backward_hook(lambda m, gi, go: (minigrad.ones(1, 2),))
    with pytest.raises(TypeError, match="expected None, for there is no such gradient"):
        layer(minigrad.ones(1, 2)).sum().backward()
    for name in ("forward_pre", "forward", "full_backward", "full_backward_pre"):
        with pytest.raises(TypeError, match=f"register_{name}_hook: hook is None; expected a function"):
            getattr(layer, f"register_{name}_hook")(None)
    layer.register_forward_pre_hook(lambda m, args, kw: args, with_kwargs=True)
    with pytest.raises(RuntimeError, match="expected None or a tuple of the arguments and the keyword arguments"):
        layer(minigrad.ones(1, 2))
