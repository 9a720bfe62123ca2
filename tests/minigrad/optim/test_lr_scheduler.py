"""Schedules: rates by hand, and every rate of many epochs against PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest

import minigrad as mg

EPOCHS = 25
METRICS = [3.0, 2.0, 2.5, 2.1, 2.0, 1.9999, 1.9, 1.95, 1.95, 1.95, 1.95, 1.8, *[1.85] * 13]
SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.9**epoch}),
    ("LambdaLR", {"lr_lambda": [lambda epoch: 1 / (epoch + 1), lambda epoch: 0.5]}),
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 4, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 7, 7, 20], "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.7, "total_iters": 10}),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.01}),
    ("CosineAnnealingLR", {"T_max": 30}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 4}),
    ("PolynomialLR", {"total_iters": 10, "power": 2.0}),
    ("OneCycleLR", {"max_lr": [0.3, 0.7], "total_steps": 30}),
    (
        "OneCycleLR",
        {"max_lr": 0.3, "epochs": 6, "steps_per_epoch": 5, "three_phase": True, "anneal_strategy": "linear"},
    ),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 4}),
]
Chain = Callable[[Any, Any], Any]
CHAINS: dict[str, Chain] = {
    "rising": lambda t, o: t.SequentialLR(
        o, [t.LinearLR(o, 0.1, total_iters=5), t.ExponentialLR(o, 0.9), t.CosineAnnealingLR(o, 8)], [5, 12]
    ),
    "of functions": lambda t, o: t.SequentialLR(
        o,
        [t.ConstantLR(o, 0.1, 20), t.StepLR(o, 3, 0.5), t.LambdaLR(o, lambda e: 0.7**e), t.PolynomialLR(o, 9)],
        [5, 12, 17],
    ),
    "restarts": lambda t, o: t.SequentialLR(o, [t.StepLR(o, 2), t.CosineAnnealingWarmRestarts(o, 3)], milestones=[4]),
    "together": lambda t, o: t.ChainedScheduler([t.ConstantLR(o, 0.1, 20), t.ExponentialLR(o, 0.9)], optimizer=o),
}
PLATEAUS: list[dict[str, Any]] = [
    {"patience": 2},
    {"patience": 1, "factor": 0.5, "cooldown": 2, "threshold": 0.05},
    {"patience": 0, "factor": 0.5, "threshold_mode": "abs", "threshold": 0.15, "min_lr": [0.05, 0.2]},
    {"mode": "max", "patience": 1, "eps": 0.005},
    {"mode": "max", "patience": 1, "threshold_mode": "abs"},
]


def optimizer_of(lib: Any) -> Any:
    """Two groups with rates 0.1 and 0.5."""
    a, b = lib.nn.Parameter(lib.ones(1)), lib.nn.Parameter(lib.ones(1))
    return lib.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1)


def rates(optimizer: Any) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def history(lib: Any, name: str, options: dict[str, Any], epochs: int = EPOCHS) -> list[list[float]]:
    optimizer = optimizer_of(lib)
    scheduler = getattr(lib.optim.lr_scheduler, name)(optimizer, **options)
    found = [rates(optimizer)]
    for _ in range(epochs):
        optimizer.step()
        scheduler.step()
        assert scheduler.get_last_lr() == rates(optimizer)
        found.append(rates(optimizer))
    return found


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_schedules_equal_torch(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    for ours, theirs in zip(history(mg, name, options), history(torch, name, options), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-15)


def chained(lib: Any, make: Chain) -> tuple[Any, Any]:
    optimizer = optimizer_of(lib)
    return optimizer, make(lib.optim.lr_scheduler, optimizer)


def go_on(optimizer: Any, schedule: Any, epochs: int) -> list[list[float]]:
    found = [rates(optimizer)]
    for _ in range(epochs):
        optimizer.step()
        schedule.step()
        assert list(schedule.get_last_lr()) == rates(optimizer)
        found.append(rates(optimizer))
    return found


@pytest.mark.parametrize("name", CHAINS)
def test_schedules_of_schedules_equal_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    both = (go_on(*chained(lib, CHAINS[name]), EPOCHS) for lib in (mg, torch))
    for ours, theirs in zip(*both, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("epoch", [0, 4, 5, 13])
def test_schedules_of_schedules_go_on(name: str, epoch: int) -> None:
    straight = go_on(*chained(mg, CHAINS[name]), EPOCHS)
    optimizer, schedule = chained(mg, CHAINS[name])
    go_on(optimizer, schedule, epoch)
    states = deepcopy([optimizer.state_dict(), schedule.state_dict()])
    assert not any(callable(each) for each in states[1].values())
    resumed, again = chained(mg, CHAINS[name])
    resumed.load_state_dict(states[0])
    again.load_state_dict(states[1])
    assert go_on(resumed, again, EPOCHS - epoch) == straight[epoch:]


def test_one_cycle_moves_the_momentum_the_other_way() -> None:
    torch = pytest.importorskip("torch")
    found: list[list[Any]] = []
    for lib in (mg, torch):
        a = lib.nn.Parameter(lib.ones(1))
        for optimizer in (lib.optim.SGD([a], 0.1, momentum=0.9), lib.optim.Adam([a], 0.1)):
            schedule = lib.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=9, three_phase=True)
            group = optimizer.param_groups[0]
            found.append([])
            for _ in range(8):
                found[-1].append(group["betas"][0] if "betas" in group else group["momentum"])
                optimizer.step()
                schedule.step()
    assert found[0] == pytest.approx(found[2])
    assert found[1] == pytest.approx(found[3])
    assert found[0][0] == pytest.approx(0.95)
    assert min(found[0]) == pytest.approx(0.85, abs=0.01)


def test_restarts_within_an_epoch_equal_torch() -> None:
    torch = pytest.importorskip("torch")
    for lib in (mg, torch):
        schedule = lib.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer_of(lib), 3, 2)
        seen = []
        for epoch in (0, 0.5, 1, 2.5, 3, 3.7, 8.9, 9, 10.2, None):
            schedule.step(epoch)
            seen.append([*rates(schedule.optimizer), schedule.last_epoch, schedule.T_cur, schedule.T_i])
        if lib is mg:
            ours = seen
    np.testing.assert_allclose(ours, seen, atol=1e-12)


@pytest.mark.parametrize("options", PLATEAUS)
def test_plateaus_equal_torch(options: dict) -> None:
    torch = pytest.importorskip("torch")
    found: list[list[float]] = []
    for lib in (mg, torch):
        optimizer = optimizer_of(lib)
        scheduler = lib.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        found.append([])
        for metric in METRICS:
            scheduler.step(metric)
            assert scheduler.get_last_lr() == rates(optimizer)
            found[-1] += rates(optimizer)
    assert found[0] == pytest.approx(found[1], rel=1e-12)
    assert found[0][0] != found[0][-1]


def test_by_hand() -> None:
    first = [row[0] for row in history(mg, "StepLR", {"step_size": 2, "gamma": 0.5}, 4)]
    assert first == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025])
    first = [row[0] for row in history(mg, "CosineAnnealingLR", {"T_max": 2}, 4)]
    assert first == pytest.approx([0.1, 0.05, 0.0, 0.05, 0.1])
    first = [row[0] for row in history(mg, "LinearLR", {"start_factor": 0.5, "total_iters": 2}, 3)]
    assert first == pytest.approx([0.05, 0.075, 0.1, 0.1])
    second = [row[1] for row in history(mg, "MultiStepLR", {"milestones": (1, 3)}, 3)]
    assert second == pytest.approx([0.5, 0.05, 0.05, 0.005])


def test_plateau_by_hand() -> None:
    optimizer = optimizer_of(mg)
    scheduler = mg.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, factor=0.5)
    seen = []
    for metric in (2.0, mg.tensor(2.0), 2.0, 1.0, 1.0, math.nan):
        scheduler.step(metric)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.05, 0.025])


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_resuming_continues_the_schedule(name: str, options: dict) -> None:
    straight = history(mg, name, options)
    optimizer = optimizer_of(mg)
    scheduler = getattr(mg.optim.lr_scheduler, name)(optimizer, **options)
    for _ in range(10):
        scheduler.step()
    state, optimizer_state = scheduler.state_dict(), optimizer.state_dict()
    assert not any(callable(value) or isinstance(value, mg.optim.Optimizer) for value in state.values())
    resumed = optimizer_of(mg)
    continued = getattr(mg.optim.lr_scheduler, name)(resumed, **options)
    resumed.load_state_dict(optimizer_state)
    continued.load_state_dict(state)
    for expected in straight[11:]:
        continued.step()
        assert rates(resumed) == expected
    later = getattr(mg.optim.lr_scheduler, name)(optimizer, **options, last_epoch=10)
    assert rates(optimizer) == straight[11]
    assert later.last_epoch == 11


def test_plateau_resumes() -> None:
    optimizer = optimizer_of(mg)
    scheduler = mg.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    scheduler.step(1.0)
    scheduler.step(1.0)
    again = mg.optim.lr_scheduler.ReduceLROnPlateau(optimizer_of(mg), patience=5)
    again.load_state_dict(scheduler.state_dict())
    again.step(1.0)
    assert rates(again.optimizer) == pytest.approx([0.01, 0.05])


def test_errors() -> None:
    schedulers, optimizer = mg.optim.lr_scheduler, optimizer_of(mg)
    with pytest.raises(KeyError, match="needs 'initial_lr'"):
        schedulers.StepLR(optimizer, 3, last_epoch=4)
    with pytest.raises(ValueError, match="lr_lambda has 1 functions; expected 2"):
        schedulers.LambdaLR(optimizer, [lambda epoch: 1.0])
    with pytest.raises(ValueError, match="start_factor is 0"):
        schedulers.LinearLR(optimizer, start_factor=0)
    with pytest.raises(ValueError, match="end_factor is 2"):
        schedulers.LinearLR(optimizer, end_factor=2)
    with pytest.raises(ValueError, match="mode is 'least'"):
        schedulers.ReduceLROnPlateau(optimizer, "least")
    with pytest.raises(ValueError, match="factor is 1"):
        schedulers.ReduceLROnPlateau(optimizer, factor=1)
    with pytest.raises(ValueError, match="threshold_mode is 'none'"):
        schedulers.ReduceLROnPlateau(optimizer, threshold_mode="none")
    with pytest.raises(ValueError, match="factor is 2; expected 0 < factor <= 1"):
        schedulers.ConstantLR(optimizer, 2)
    with pytest.raises(ValueError, match="expected total_steps, or epochs and steps_per_epoch"):
        schedulers.OneCycleLR(optimizer, 1.0, epochs=3)
    with pytest.raises(ValueError, match="anneal_strategy is 'cosine'; expected 'cos' or 'linear'"):
        schedulers.OneCycleLR(optimizer, 1.0, 9, anneal_strategy="cosine")
    with pytest.raises(ValueError, match="max_lr has 3 entries; expected 2"):
        schedulers.OneCycleLR(optimizer, [1.0, 2.0, 3.0], 9)
    short = schedulers.OneCycleLR(optimizer, 1.0, 1)
    short.step()
    with pytest.raises(ValueError, match="step 2 of total_steps=1"):
        short.step()
    with pytest.raises(ValueError, match="T_mult is 0; expected an integer above 0"):
        schedulers.CosineAnnealingWarmRestarts(optimizer, 3, 0)
    step = schedulers.StepLR(optimizer, 3)
    with pytest.raises(ValueError, match=r"milestones are \[3, 2\]; expected 2 rising epochs"):
        schedulers.SequentialLR(optimizer, [step, step, step], [3, 2])
    with pytest.raises(ValueError, match="scheduler 0 is of another optimiser"):
        schedulers.SequentialLR(optimizer_of(mg), [step], [])
    with pytest.raises(TypeError, match="scheduler 0 is a ReduceLROnPlateau; expected one that needs no metric"):
        schedulers.ChainedScheduler([schedulers.ReduceLROnPlateau(optimizer)])
    with pytest.raises(ValueError, match="min_lr has 1 entries; expected 2"):
        schedulers.ReduceLROnPlateau(optimizer, min_lr=[0.1])
