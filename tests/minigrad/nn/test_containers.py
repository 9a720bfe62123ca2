"""Containers: what they hold, in what order, under which names."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_children()]


def test_sequential_calls_in_order() -> None:
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
    net.load_state_dict({"0.weight": mg.tensor([[1.0, 2.0], [-1.0, 0.0]])})
    np.testing.assert_array_equal(net(mg.tensor([1.0, 1.0])).detach().numpy(), [3.0, 0.0])


def test_sequential_from_ordered_dict() -> None:
    net = nn.Sequential(OrderedDict(fc=nn.Linear(2, 3), act=nn.ReLU()))
    assert names(net) == ["fc", "act"]
    assert net.fc is net[0]
    assert names(net[1:]) == ["act"]


@pytest.mark.parametrize("kind", [lambda *m: nn.Sequential(*m), lambda *m: nn.ModuleList(m)])
def test_indexed_containers(kind) -> None:  # type: ignore[no-untyped-def]
    a, b, c, d = nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.Identity()
    box = kind(a, b)
    assert box.append(c) is box
    assert len(box) == 3
    assert list(box) == [a, b, c]
    assert box[-1] is c
    assert type(box[:2]) is type(box)
    assert list(box[:2]) == [a, b]
    box[1] = d
    assert list(box) == [a, d, c]
    box.insert(0, b)
    assert list(box) == [b, a, d, c]
    assert names(box) == ["0", "1", "2", "3"]
    del box[1]
    assert list(box) == [b, d, c]
    del box[1:]
    assert list(box.extend([a])) == [b, a]
    assert names(box) == ["0", "1"]
    both = box + kind(c, d)
    assert type(both) is type(box)
    assert list(both) == [b, a, c, d]
    assert list(box) == [b, a]
    assert both.pop(1) is a
    assert both.pop() is d
    assert list(both) == [b, c]
    assert names(both) == ["0", "1"]
    both += nn.ModuleList([a])
    assert list(both) == [b, c, a]
    with pytest.raises(IndexError, match="index 3 is out of range for 3 modules"):
        both.pop(3)
    with pytest.raises(IndexError, match="index 2 is out of range for 2 modules"):
        box[2]


def test_module_list_registers_parameters() -> None:
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
    assert [name for name, _ in layers.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_module_dict() -> None:
    a, b = nn.ReLU(), nn.Tanh()
    box = nn.ModuleDict({"a": a})
    box["b"] = b
    assert list(box) == list(box.keys()) == ["a", "b"]
    assert list(box.values()) == [a, b]
    assert dict(box.items()) == {"a": a, "b": b}
    assert "b" in box
    del box["a"]
    assert len(box) == 1
    assert names(box) == ["b"]
    assert box.pop("b") is b
    assert not box
    with pytest.raises(KeyError, match="b"):
        box.pop("b")
    box.update({"a": a})
    box.clear()
    assert list(box) == []


def test_parameter_list() -> None:
    box = nn.ParameterList([mg.zeros(2), nn.Parameter(mg.ones(3, 2))])
    assert [name for name, _ in box.named_parameters()] == ["0", "1"]
    assert len(box) == 2
    assert isinstance(box[0], nn.Parameter)
    assert list(box)[1] is box[1]
    assert "(1): Parameter containing: [float32 of size 3x2]" in repr(box)


def test_parameter_dict(twins: Any) -> None:
    def build(lib: Any) -> Any:
        params = lib.nn.ParameterDict({"a": lib.torch.ones(2), "b": lib.nn.Parameter(lib.torch.zeros(2, 3))})
        params["c"] = lib.nn.Parameter(lib.torch.ones(1))
        del params["a"]
        return params

    ours, theirs = build(twins.ours), build(twins.theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict()) == list(ours) == list(ours.keys()) == ["b", "c"]
    assert ("b" in ours, "a" in ours, len(ours)) == (True, False, 2)
    assert [tuple(p.shape) for p in ours.values()] == [(2, 3), (1,)]
    assert dict(ours.items())["c"] is ours["c"]
    assert all(p.requires_grad for p in ours.parameters())
