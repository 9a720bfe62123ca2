"""Module: registration, the tree, state dicts, conversion, text and errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.scale = nn.Parameter(mg.ones(1))
        self.inner = nn.Sequential(nn.ReLU(), nn.Linear(3, 2, bias=False))
        self.register_buffer("count", mg.zeros(1))
        self.register_buffer("scratch", mg.zeros(1), persistent=False)

    def forward(self, x: Any) -> Any:
        return self.inner(self.first(x)) * self.scale


NAMES = ["scale", "first.weight", "first.bias", "inner.1.weight"]


def test_tree() -> None:
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [name for name, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert [name for name, _ in net.named_parameters(prefix="net")][1] == "net.first.weight"
    assert [name for name, _ in net.named_modules()] == ["", "first", "inner", "inner.0", "inner.1"]
    assert [name for name, _ in net.named_children()] == ["first", "inner"]
    assert [name for name, _ in net.named_buffers()] == ["count", "scratch"]
    assert list(net.parameters())[1] is net.first.weight
    assert next(net.modules()) is net
    assert list(net.children()) == [net.first, net.inner]
    assert len(list(net.buffers())) == 2
    assert {"first", "scale", "count"} <= set(dir(net))


def test_a_module_of_two_names() -> None:
    shared = nn.Linear(1, 1)
    net = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared)})
    assert [name for name, _ in net.named_parameters()] == ["a.weight", "a.bias"]
    every = ["a.weight", "a.bias", "b.0.weight", "b.0.bias"]
    assert [name for name, _ in net.named_parameters(remove_duplicate=False)] == every
    assert [name for name, _ in net.named_modules()] == ["", "a", "b"]
    assert [name for name, _ in net.named_modules(remove_duplicate=False)] == ["", "a", "b", "b.0"]
    assert [name for name, _ in net.named_modules(memo={shared}, prefix="net")] == ["net", "net.b"]
    assert list(net.named_buffers(remove_duplicate=False)) == []


def test_forward_and_gradients_by_hand() -> None:
    net = Net()
    net.load_state_dict(
        {
            "first.weight": mg.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]),
            "first.bias": mg.tensor([0.0, 1.0, 0.0]),
            "inner.1.weight": mg.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]),
            "scale": mg.tensor([2.0]),
            "count": mg.zeros(1),
        }
    )
    y = net(mg.tensor([[1.0, 2.0]]))
    np.testing.assert_array_equal(y.detach().numpy(), [[14.0, 6.0]])
    y.sum().backward()
    np.testing.assert_array_equal(net.scale.grad.numpy(), [10.0])
    np.testing.assert_array_equal(net.first.bias.grad.numpy(), [2.0, 6.0, 0.0])
    np.testing.assert_array_equal(net.inner[1].weight.grad.numpy(), [[2.0, 6.0, 0.0], [2.0, 6.0, 0.0]])


def test_shared_parameters_count_once_and_have_both_names() -> None:
    net = nn.Module()
    net.a, net.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    net.b.weight = net.a.weight
    assert len(list(net.parameters())) == 1
    assert list(net.state_dict()) == ["a.weight", "b.weight"]
    both = nn.Sequential(net.a, net.a)
    assert len(list(both.modules())) == 2
    assert [name for name, _ in both.named_children()] == ["0"]


def test_reassignment_keeps_one_registration() -> None:
    net = nn.Module()
    net.x = nn.Parameter(mg.zeros(1))
    net.x = None
    assert list(net.parameters()) == []
    assert net.x is None
    net.plain = 3
    net.plain = nn.Parameter(mg.ones(2))
    assert [name for name, _ in net.named_parameters()] == ["plain"]
    net.later = None
    net.later = nn.ReLU()
    assert list(net.modules()) == [net, net.later]
    net.register_buffer("buffer", None)
    net.buffer = mg.ones(2)
    assert list(net.state_dict()) == ["plain", "buffer"]
    del net.plain
    with pytest.raises(AttributeError, match="'Module' object has no attribute 'plain'"):
        _ = net.plain


def test_reassignment_keeps_the_order() -> None:
    net = nn.Linear(2, 2)
    net.weight = nn.Parameter(mg.zeros(2, 2))
    assert [name for name, _ in net.named_parameters()] == ["weight", "bias"]
    pair = nn.Sequential(nn.ReLU(), nn.Tanh())
    setattr(pair, "0", nn.Sigmoid())
    assert repr(pair[0]) == "Sigmoid()"


def test_apply_train_and_eval() -> None:
    net, order = Net(), []
    assert net.apply(lambda module: order.append(type(module).__name__)) is net
    assert order == ["Linear", "ReLU", "Linear", "Sequential", "Net"]
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    net.inner.train()
    assert [module.training for module in net.modules()] == [False, False, True, True, True]
    with pytest.raises(ValueError, match="mode is 'yes'"):
        net.train("yes")  # type: ignore[arg-type]


def test_gradients_are_cleared_and_switched() -> None:
    net = Net()
    net(mg.ones(1, 2)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert not any(param.grad.numpy().any() for param in net.parameters())
    net.zero_grad()
    assert all(param.grad is None for param in net.parameters())
    assert not any(param.requires_grad for param in net.requires_grad_(False).parameters())


def test_conversion_keeps_parameter_objects() -> None:
    net = Net()
    net.register_buffer("ids", mg.tensor([1, 2]))
    net(mg.ones(1, 2)).sum().backward()
    before = list(net.parameters())
    assert net.double() is net
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))
    assert {str(param.dtype) for param in net.parameters()} == {"float64"}
    assert net.first.weight.grad.dtype == net.count.dtype == np.float64
    assert net.ids.dtype == np.int64
    assert net.float().to("cpu").cpu().scale.dtype == np.float32
    assert net.to(mg.device("cpu"), mg.float64).scale.dtype == np.float64
    with pytest.raises(TypeError, match="expected a floating dtype"):
        net.to(mg.int64)
    with pytest.raises(RuntimeError, match="not available"):
        net.cuda()


def test_state_dict_shares_memory_and_loads_by_copy() -> None:
    net, other = Net(), Net()
    state = net.state_dict()
    assert list(state) == ["scale", "count", "first.weight", "first.bias", "inner.1.weight"]
    assert state["scale"].array is net.scale.array
    assert not state["scale"].requires_grad
    assert net.state_dict(keep_vars=True)["scale"] is net.scale
    assert next(iter(net.state_dict(prefix="net."))) == "net.scale"
    assert repr(other.load_state_dict(state)) == "<All keys matched successfully>"
    for name, param in other.named_parameters():
        np.testing.assert_array_equal(param.detach().numpy(), state[name].numpy())
    assert other.scale.array is not net.scale.array
    assert other.scale.requires_grad


def test_load_state_dict_reports_everything_and_changes_nothing() -> None:
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2))
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    bad = {"0.weight": mg.zeros(3, 1), "0.bias": mg.zeros(2), "x.y": mg.zeros(1)}
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(bad)
    assert str(error.value).splitlines() == [
        "Error(s) in loading state_dict for Sequential:",
        '\tMissing key(s) in state_dict: "2.weight", "2.bias".',
        '\tUnexpected key(s) in state_dict: "x.y".',
        "\tsize mismatch for 0.weight: copying a param with shape (3, 1) from checkpoint, "
        "the shape in current model is (2, 1).",
    ]
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    with pytest.raises(RuntimeError, match="size mismatch"):
        net.load_state_dict(bad, strict=False)
    result = net.load_state_dict({"0.bias": np.ones(2), "x": mg.zeros(1)}, strict=False)
    assert result.missing_keys == ["0.weight", "2.weight", "2.bias"]
    assert result.unexpected_keys == ["x"]
    np.testing.assert_array_equal(net[0].bias.detach().numpy(), [1.0, 1.0])


def test_state_dict_through_a_file(tmp_path: Any) -> None:
    net, other = Net(), Net()
    mg.save(net.state_dict(), tmp_path / "net.safetensors")
    other.load_state_dict(mg.load(tmp_path / "net.safetensors"))
    np.testing.assert_array_equal(other.first.weight.detach().numpy(), net.first.weight.detach().numpy())


def test_deep_copy_is_independent() -> None:
    net = Net()
    twin = copy.deepcopy(net)
    assert [name for name, _ in twin.named_parameters()] == NAMES
    with mg.no_grad():
        twin.scale.fill_(7)
    assert net.scale.item() == 1
    assert isinstance(twin.scale, nn.Parameter)
    assert twin.inner[1].weight.requires_grad


def test_repr() -> None:
    assert repr(Net()) == (
        "Net(\n"
        "  (first): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (inner): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Linear(in_features=3, out_features=2, bias=False)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Module()) == "Module()"
    assert repr(nn.Parameter(mg.zeros(2))) == "Parameter containing:\n" + repr(mg.zeros(2, requires_grad=True))


REPRS = [
    lambda nn: nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(), nn.ReLU(inplace=True))),
    lambda nn: nn.ModuleList([nn.Linear(1, 2), nn.Linear(1, 2), nn.ReLU()]),
    lambda nn: nn.ModuleList([nn.Sequential(nn.ReLU(), nn.Tanh()) for _ in range(3)]),
    lambda nn: nn.ModuleDict({"a": nn.ReLU(), "b": nn.Flatten()}),
    lambda nn: nn.Sequential(nn.Embedding(3, 4, padding_idx=-1), nn.Dropout(0.3), nn.Softmax(dim=1), nn.LogSoftmax(-1)),
    lambda nn: nn.Sequential(nn.LeakyReLU(0.2), nn.LeakyReLU(inplace=True), nn.Identity(3), nn.Sigmoid()),
    lambda nn: nn.Sequential(nn.LSTMCell(3, 4), nn.GRUCell(3, 4, bias=False), nn.GRU(3, 4, batch_first=True)),
    lambda nn: nn.Sequential(nn.CrossEntropyLoss(), nn.NLLLoss(), nn.MSELoss(), nn.BCELoss(), nn.L1Loss()),
    lambda nn: nn.Sequential(nn.BCEWithLogitsLoss(), nn.ModuleList(), nn.Sequential(), nn.Embedding(5, 2)),
]


@pytest.mark.parametrize("build", REPRS)
def test_repr_is_torchs(twins: Any, build: Any) -> None:
    assert repr(build(twins.ours.nn)) == repr(build(twins.theirs.nn))


def test_errors() -> None:
    class NoInit(nn.Module):
        def __init__(self, value: Any) -> None:
            self.x = value

    for value, kind in ((nn.Parameter(mg.zeros(1)), "parameters"), (nn.ReLU(), "module")):
        with pytest.raises(AttributeError, match=rf"cannot assign {kind} before Module.__init__\(\) call"):
            NoInit(value)
    with pytest.raises(NotImplementedError, match=r'Module \[Module\] is missing the required "forward" function'):
        nn.Module()(1)
    net = Net()
    with pytest.raises(TypeError, match="cannot assign 'Tensor' as parameter 'scale'"):
        net.scale = mg.zeros(1)
    with pytest.raises(TypeError, match="cannot assign 'int' as child module 'inner'"):
        net.inner = 3
    with pytest.raises(TypeError, match="cannot assign 'Tensor' to parameter 'z'"):
        net.register_parameter("z", mg.zeros(1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cannot assign 'int' to buffer 'z'"):
        net.register_buffer("z", 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'z' is 3; expected a Module"):
        net.add_module("z", 3)  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="contains"):
        net.register_buffer("a.b", None)
    with pytest.raises(KeyError, match="already exists"):
        net.add_module("forward", nn.ReLU())


def test_a_module_with_two_names_stands_where_its_first_is() -> None:
    shared, other = nn.ReLU(), nn.Tanh()
    net = nn.Sequential(shared, other, shared)
    assert [name for name, _ in net.named_children()] == ["0", "1"]
    assert list(net.children()) == [shared, other]
    visited: list[nn.Module] = []
    net.apply(visited.append)
    assert visited == [shared, other, net]


REGISTERED = {
    "parameter": lambda net, name: net.register_parameter(name, nn.Parameter(mg.ones(1))),
    "buffer": lambda net, name: net.register_buffer(name, mg.ones(1)),
    "module": lambda net, name: net.add_module(name, nn.ReLU()),
}


@pytest.mark.parametrize("kind", REGISTERED)
def test_a_name_is_registered_once(kind: str) -> None:
    """Again as the same kind it replaces; what has it otherwise stays."""
    net = nn.Module()
    net.plain = 3
    for other, register in REGISTERED.items():
        register(net, other)
    for name in {"plain", *REGISTERED} - {kind}:
        with pytest.raises(KeyError, match=f"attribute '{name}' already exists"):
            REGISTERED[kind](net, name)
    REGISTERED[kind](net, kind)
    assert (len(net._parameters), len(net._buffers), len(net._modules), net.plain) == (1, 1, 1, 3)


def test_an_assignment_replaces_what_had_the_name() -> None:
    net = nn.Module()
    for name in ("plain", "module", "buffer"):
        net.plain, net.module = 3, nn.ReLU()
        net.register_buffer("buffer", mg.ones(1))
        setattr(net, name, nn.Parameter(mg.ones(1)))
        assert name in net._parameters
        assert not any(name in table for table in (net.__dict__, net._buffers, net._modules))
        net = nn.Module()


def test_a_module_does_not_take_the_place_of_a_parameter() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"cannot assign 'ReLU' as parameter 'weight' \(Parameter or None expected\)"):
        layer.weight = nn.ReLU()
    assert "weight" in layer._parameters
