"""Optimisers: one step by hand, trajectories and state against PyTorch, groups, state dicts, errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim

STEPS = 20
SHAPES = [(3, 4), (5,), ()]
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.7, 0.95), "eps": 1e-2}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.3}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("SGD", {"lr": 0.01, "weight_decay": 0.2, "momentum": 0.9, "maximize": True}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.3, "maximize": True}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "maximize": True, "foreach": None, "fused": False}),
    ("RMSprop", {"weight_decay": 0.1, "momentum": 0.5, "maximize": True, "capturable": False}),
]


def params_of(lib: Any, dtype: str = "float32") -> list[Any]:
    rng = np.random.default_rng(0)
    return [lib.nn.Parameter(lib.tensor(rng.normal(size=shape).astype(dtype))) for shape in SHAPES]


def train(lib: Any, params: list[Any], optimizer: Any, steps: int = STEPS, start: int = 0) -> None:
    """Steps whose gradients depend on the step and the parameters; the second parameter has none at odd steps."""
    for step in range(start, start + steps):
        optimizer.zero_grad()
        rng = np.random.default_rng(step)
        loss = 0
        for position, param in enumerate(params):
            pull = lib.tensor(rng.normal(size=tuple(param.shape))).to(param.dtype)
            if position != 1 or step % 2 == 0:
                loss = loss + ((param - pull) ** 2).sum()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_trajectories_equal_torch(name: str, options: dict, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    found = {}
    for lib in (mg, torch):
        params = params_of(lib, dtype)
        train(lib, params, getattr(lib.optim, name)(params, **options))
        found[lib] = [param.detach().numpy() for param in params]
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    for ours, theirs in zip(found[mg], found[torch], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_state_dicts_move_both_ways(name: str, options: dict) -> None:
    """Half of the way in one library, the rest in the other, ends where one library alone does."""
    torch = pytest.importorskip("torch")
    alone = params_of(torch, "float64")
    train(torch, alone, getattr(torch.optim, name)(alone, **options))
    for first, second in ((mg, torch), (torch, mg)):
        params = params_of(first, "float64")
        optimizer = getattr(first.optim, name)(params, **options)
        train(first, params, optimizer, 10)
        moved = [second.nn.Parameter(second.tensor(param.detach().numpy())) for param in params]
        continued = getattr(second.optim, name)(moved, lr=123.0)
        continued.load_state_dict(transferred(optimizer.state_dict(), second))
        train(second, moved, continued, 10, start=10)
        for param, expected in zip(moved, alone, strict=True):
            np.testing.assert_allclose(param.detach().numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-12)


def transferred(value: Any, lib: Any) -> Any:
    """A state dict with its tensors made those of ``lib``."""
    if isinstance(value, dict):
        return {key: transferred(item, lib) for key, item in value.items()}
    if isinstance(value, list):
        return [transferred(item, lib) for item in value]
    return lib.tensor(value.numpy()) if hasattr(value, "numpy") else value


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_state_is_named_as_in_torch(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    states = []
    for lib in (mg, torch):
        params = params_of(lib)
        optimizer = getattr(lib.optim, name)(params, **options)
        train(lib, params, optimizer, 2)
        states.append(optimizer.state_dict())
    ours, theirs = states
    assert {n: set(state) for n, state in ours["state"].items()} == {
        n: {key for key, value in state.items() if value is not None} for n, state in theirs["state"].items() if state
    }
    for ours_group, theirs_group in zip(ours["param_groups"], theirs["param_groups"], strict=True):
        assert ours_group == {key: theirs_group[key] for key in ours_group}


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_resuming_from_a_file_is_exact(name: str, options: dict, tmp_path: Any) -> None:
    straight = params_of(mg)
    train(mg, straight, getattr(optim, name)(straight, **options))
    params = params_of(mg)
    optimizer = getattr(optim, name)(params, **options)
    train(mg, params, optimizer, 10)
    mg.save({"optimizer": optimizer.state_dict(), "params": params}, tmp_path / "state.safetensors")
    loaded = mg.load(tmp_path / "state.safetensors")
    resumed = [nn.Parameter(param) for param in loaded["params"]]
    continued = getattr(optim, name)(resumed, lr=123.0)
    continued.load_state_dict(loaded["optimizer"])
    train(mg, resumed, continued, 10, start=10)
    for param, expected in zip(resumed, straight, strict=True):
        np.testing.assert_array_equal(param.detach().numpy(), expected.detach().numpy())


def one_step(build: Any, grads: list[float]) -> float:
    """A parameter at 1.0 after steps with the given gradients."""
    param = nn.Parameter(mg.tensor([1.0], dtype=mg.float64))
    optimizer = build([param])
    for grad in grads:
        param.grad = mg.tensor([grad], dtype=mg.float64)
        optimizer.step()
    return param.item()


HANDS = [
    (lambda p: optim.SGD(p, lr=0.1), [2.0, 1.0], 1 - 0.2 - 0.1),
    (lambda p: optim.SGD(p, lr=0.1, momentum=0.5), [2.0, 1.0], 1 - 0.2 - 0.1 * (1.0 + 1.0)),
    (lambda p: optim.SGD(p, lr=0.1, momentum=0.5, dampening=0.5), [2.0, 1.0], 1 - 0.2 - 0.1 * (1.0 + 0.5)),
    (lambda p: optim.SGD(p, lr=0.1, momentum=0.5, nesterov=True), [2.0], 1 - 0.1 * (2 + 0.5 * 2)),
    (lambda p: optim.SGD(p, lr=0.1, weight_decay=0.5), [2.0], 1 - 0.1 * 2.5),
    (lambda p: optim.Adam(p, lr=0.1, eps=0.5), [2.0], 1 - 0.1 * 2 / (2 + 0.5)),
    (lambda p: optim.Adam(p, lr=0.1, eps=0.0, weight_decay=9.0), [-8.0], 1 - 0.1),
    (lambda p: optim.AdamW(p, lr=0.1, eps=0.0, weight_decay=0.5), [2.0], 1 - 0.1 * 0.5 - 0.1),
    (lambda p: optim.RMSprop(p, lr=0.1, alpha=0.75, eps=1.0), [2.0], 1 - 0.1 * 2 / (math.sqrt(0.25 * 4) + 1)),
    (
        lambda p: optim.RMSprop(p, lr=0.1, alpha=0.5, eps=0.0, centered=True),
        [2.0],
        1 - 0.1 * 2 / math.sqrt(0.5 * 4 - 1),
    ),
]


@pytest.mark.parametrize(("build", "grads", "expected"), HANDS)
def test_steps_by_hand(build: Any, grads: list[float], expected: float) -> None:
    assert one_step(build, grads) == pytest.approx(expected, rel=1e-12)


def test_groups_have_their_own_options() -> None:
    a, b, c = (nn.Parameter(mg.ones(1)) for _ in range(3))
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": [c], "weight_decay": 1.0})
    for param in (a, b, c):
        param.grad = mg.ones(1)
    optimizer.step()
    np.testing.assert_allclose([p.item() for p in (a, b, c)], [0.9, 0.5, 0.8], rtol=1e-6)
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.step()
    np.testing.assert_allclose(a.item(), -0.1, rtol=1e-5)
    assert [group["params"] for group in optimizer.state_dict()["param_groups"]] == [[0], [1], [2]]


def test_parameters_without_gradient_are_left_alone() -> None:
    param = nn.Parameter(mg.ones(2))
    optimizer = optim.Adam([param], weight_decay=1.0)
    optimizer.step()
    np.testing.assert_array_equal(param.detach().numpy(), [1.0, 1.0])
    assert optimizer.state_dict()["state"] == {}


def test_non_contiguous_parameters_are_updated() -> None:
    for name in ("SGD", "Adam", "RMSprop"):
        param = nn.Parameter(mg.arange(6.0).view(2, 3).t())
        (param * param).sum().backward()
        getattr(optim, name)([param], lr=0.1).step()
        assert (param.detach().numpy().ravel() != [0, 3, 1, 4, 2, 5])[1:].all()


def test_closure_and_zero_grad() -> None:
    param = nn.Parameter(mg.tensor([3.0]))
    optimizer = optim.SGD([param], lr=0.25)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (param * param).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9
    assert param.item() == 1.5
    optimizer.zero_grad(set_to_none=False)
    assert param.grad.item() == 0
    optimizer.zero_grad()
    assert param.grad is None
    assert optimizer.step() is None


def test_backward_after_a_step_is_refused_for_the_old_graph() -> None:
    param = nn.Parameter(mg.tensor([3.0]))
    loss = (param * param).sum()
    loss.backward(retain_graph=True)
    optim.SGD([param], lr=0.1).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_repr() -> None:
    assert repr(optim.SGD([nn.Parameter(mg.ones(1))], lr=0.5)) == (
        "SGD (\nParameter Group 0\n    dampening: 0\n    lr: 0.5\n    maximize: False\n    momentum: 0\n"
        "    nesterov: False\n    weight_decay: 0\n)"
    )


P = nn.Parameter(mg.ones(1))
BAD: list[tuple[Any, type[Exception], str]] = [
    (lambda: optim.Adam([]), ValueError, "Adam: got an empty parameter list"),
    (lambda: optim.Adam(P), TypeError, "Adam: params is a tensor of shape"),
    (lambda: optim.Adam([3]), TypeError, "one of the params is 3; expected Tensors"),
    (lambda: optim.Adam([P * 2]), ValueError, "non-leaf"),
    (lambda: optim.Adam([P, P]), ValueError, "appears more than once"),
    (lambda: optim.Adam([{"params": [P]}, {"params": [P]}]), ValueError, "appears more than once"),
    (lambda: optim.Adam([P]).add_param_group(3), TypeError, "param_group is 3; expected a dict"),
    (lambda: optim.Adam([P], lr=-1), ValueError, "Adam: lr is -1; expected 0 or more"),
    (lambda: optim.Adam([P], betas=(0.9, 1.0)), ValueError, r"betas\[1\] is 1\.0; expected 0 <= betas\[1\] < 1"),
    (lambda: optim.AdamW([P], eps=-1), ValueError, "AdamW: eps is -1"),
    (lambda: optim.SGD([P], weight_decay=-1), ValueError, "SGD: weight_decay is -1"),
    (lambda: optim.SGD([P], momentum=-1), ValueError, "momentum is -1"),
    (lambda: optim.SGD([P], nesterov=True), ValueError, "expected momentum above 0 and dampening 0"),
    (lambda: optim.RMSprop([P], alpha=-1), ValueError, "RMSprop: alpha is -1"),
    (lambda: optim.SGD([{"params": [P], "lr": math.nan}]), ValueError, "lr is nan"),
    (lambda: optim.Adam([P], amsgrad=True), NotImplementedError, "Adam: amsgrad=True is not supported"),
    (
        lambda: optim.SGD([P]).load_state_dict({"state": {}, "param_groups": [{"params": [0, 1]}]}),
        ValueError,
        r"sizes \[2\]; expected \[1\]",
    ),
    (lambda: optim.Adam(None), TypeError, r"Adam: params is None; expected Tensors or dicts, as from model.parameters"),
    (lambda: optim.Adam(nn.Linear(2, 2)), TypeError, "Adam: params is a Linear; expected Tensors or dicts"),
    (lambda: optim.SGD("weights"), TypeError, "SGD: params is 'weights'; expected Tensors"),
    (lambda: optim.Adam([None]), TypeError, "one of the params is None; expected Tensors"),
    (
        lambda: optim.Adam(nn.Linear(2, 2).named_parameters()),
        TypeError,
        "one of the params is a tuple with 'w",
    ),
    (lambda: optim.Adam([{"lr": 1}]), TypeError, "Adam: a group's 'params' is None; expected Tensors"),
    (lambda: optim.Adam([{"params": 3}]), TypeError, "Adam: a group's 'params' is 3; expected Tensors"),
    (lambda: optim.SGD([P], lr="0.1"), TypeError, r"SGD: lr is '0\.1'; expected a number"),
    (lambda: optim.SGD([P], lr=None), TypeError, "SGD: lr is None; expected a number"),
    (lambda: optim.SGD([P], lr=True), TypeError, "SGD: lr is True; expected a number"),
    (
        lambda: optim.SGD([P], lr=mg.tensor(0.1)),
        TypeError,
        "SGD: lr is a tensor of shape ()",
    ),
    (lambda: optim.SGD([P], momentum=[0.9]), TypeError, "SGD: momentum is a list with 0.9; expected a number"),
    (lambda: optim.SGD([P], dampening=None), TypeError, "SGD: dampening is None; expected a number"),
    (lambda: optim.SGD([P], momentum=math.nan), ValueError, "SGD: momentum is nan; expected 0 or more"),
    (lambda: optim.Adam([P], betas=0.9), TypeError, r"Adam: betas is 0\.9; expected 2 numbers"),
    (lambda: optim.Adam([P], betas=(0.9,)), TypeError, r"Adam: betas is \(0\.9,\); expected 2 numbers"),
    (lambda: optim.Adam([P], betas=(0.9, math.nan)), ValueError, r"betas\[1\] is nan; expected 0 <= betas\[1\] < 1"),
    (lambda: optim.Adam([P], betas=("a", 0.9)), TypeError, r"betas\[0\] is 'a'; expected a number"),
    (lambda: optim.RMSprop([P], eps=-1), ValueError, "RMSprop: eps is -1; expected 0 or more"),
    (lambda: optim.AdamW([P], amsgrad=True), NotImplementedError, "AdamW: amsgrad=True is not supported; leave it out"),
    (lambda: optim.Adam([P], decoupled_weight_decay=True), NotImplementedError, "is not supported; use AdamW"),
    (lambda: optim.Adam([P], learning_rate=1), TypeError, "there is no option 'learning_rate'; did you mean lr, betas"),
    (lambda: optim.SGD([P], momemtum=1), TypeError, "SGD: there is no option 'momemtum'; did you mean momentum"),
    (
        lambda: optim.SGD([P]).step(mg.ones(())),
        TypeError,
        "SGD: closure is a tensor of shape ()",
    ),
    (lambda: optim.SGD([P]).load_state_dict(None), TypeError, "SGD: state_dict is None; expected what state_dict"),
    (
        lambda: optim.SGD([P]).load_state_dict([1]),
        TypeError,
        "SGD: state_dict is a list of 1; expected what",
    ),
    (
        lambda: optim.SGD([P]).load_state_dict({}),
        ValueError,
        r"state_dict has the keys \[\]; expected 'state' and",
    ),
    (
        lambda: optim.SGD([P]).load_state_dict({"weight": mg.ones(1)}),
        ValueError,
        r"SGD: state_dict has the keys \['weight'\]; expected 'state' and 'param_groups'",
    ),
    (
        lambda: optim.Adam([P]).load_state_dict(
            optim.Adam([nn.Parameter(mg.ones(1))], lr=1).state_dict() | {"state": 3}
        ),
        ValueError,
        "expected 'state' and 'param_groups'",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
@pytest.mark.parametrize("option", ["foreach", "fused", "capturable", "differentiable"])
def test_options_that_change_no_number_may_be_given_as_off(name: str, option: str) -> None:
    make = getattr(optim, name)
    for off in (None, False):
        assert option not in make([P], **{option: off}).param_groups[0]
    with pytest.raises(NotImplementedError, match=f"^{name}: {option}=True is not supported; leave it out$"):
        make([P], **{option: True})


def test_climbing_with_clipping_and_rows_is_descending_on_the_negative() -> None:
    def table(maximize: bool) -> np.ndarray:
        layer = nn.Embedding.from_pretrained(mg.ones(6, 3), freeze=False, sparse=True)
        optimizer = optim.Adam(layer.parameters(), lr=0.1, maximize=maximize)
        for _ in range(3):
            optimizer.zero_grad()
            loss = (layer(mg.tensor([1, 4])) ** 2).sum()
            (loss if maximize else -loss).backward()
            optimizer.step_clipped(1.0)
        return layer.weight.detach().numpy()

    assert table(True).tobytes() == table(False).tobytes()
    assert table(True)[1, 0] > 1


def test_a_state_of_another_shape_is_named_and_changes_nothing() -> None:
    optimizer = optim.Adam([nn.Parameter(mg.ones(3))])
    train_once(optimizer)
    before = optimizer.state_dict()["state"][0]["exp_avg"]
    other = optim.Adam([nn.Parameter(mg.ones(4))], lr=7)
    train_once(other)
    with pytest.raises(ValueError, match=r"'exp_avg' of shape \(4,\) for parameter 0; expected \(3,"):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.state_dict()["state"][0]["exp_avg"] is before
    assert optimizer.param_groups[0]["lr"] == 1e-3


def train_once(optimizer: Any) -> None:
    param = optimizer.param_groups[0]["params"][0]
    param.grad = mg.ones(*param.shape)
    optimizer.step()
