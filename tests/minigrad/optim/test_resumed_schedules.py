"""A schedule that goes on gives the rates of the run without interruption, wherever and however it was taken up."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minigrad as mg

EPOCHS = 24
Schedule = tuple[str, dict[str, Any]]

FACTORS = st.floats(0.05, 1.0)
SCHEDULES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "LambdaLR": st.sampled_from([0.9, 0.5]).map(lambda rate: {"lr_lambda": lambda epoch: rate**epoch}),
    "StepLR": st.fixed_dictionaries({"step_size": st.integers(1, 9), "gamma": FACTORS}),
    "MultiStepLR": st.fixed_dictionaries(
        {"milestones": st.lists(st.integers(0, EPOCHS), max_size=5), "gamma": FACTORS}
    ),
    "ExponentialLR": st.fixed_dictionaries({"gamma": FACTORS}),
    "LinearLR": st.fixed_dictionaries(
        {"start_factor": FACTORS, "end_factor": st.floats(0, 1), "total_iters": st.integers(1, EPOCHS)}
    ),
    "ConstantLR": st.fixed_dictionaries({"factor": FACTORS, "total_iters": st.integers(1, EPOCHS)}),
    "PolynomialLR": st.fixed_dictionaries({"total_iters": st.integers(1, EPOCHS), "power": st.floats(0.5, 2)}),
    "OneCycleLR": st.fixed_dictionaries(
        {"max_lr": st.floats(0.1, 1), "total_steps": st.integers(EPOCHS + 1, 40), "three_phase": st.booleans()}
    ),
    "CosineAnnealingWarmRestarts": st.fixed_dictionaries({"T_0": st.integers(1, 9), "T_mult": st.integers(1, 3)}),
    "CosineAnnealingLR": st.fixed_dictionaries({"T_max": st.integers(1, EPOCHS), "eta_min": st.floats(0, 0.05)}),
}


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    name = draw(st.sampled_from(list(SCHEDULES)))
    return name, draw(SCHEDULES[name])


def optimizer_of(lib: Any) -> Any:
    a, b = lib.nn.Parameter(lib.ones(1)), lib.nn.Parameter(lib.ones(1))
    return lib.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=1.0)


def made(lib: Any, optimizer: Any, chain: list[Schedule], **more: Any) -> list[Any]:
    return [getattr(lib.optim.lr_scheduler, name)(optimizer, **options, **more) for name, options in chain]


def rates(optimizer: Any) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def go_on(optimizer: Any, chain: list[Any], epochs: int) -> list[list[float]]:
    """The rates of this epoch and of so many more."""
    found = [rates(optimizer)]
    for _ in range(epochs):
        optimizer.step()
        for schedule in chain:
            schedule.step()
        found.append(rates(optimizer))
    return found


def straight(lib: Any, chain: list[Schedule]) -> list[list[float]]:
    optimizer = optimizer_of(lib)
    return go_on(optimizer, made(lib, optimizer, chain), EPOCHS)


def saved_at(chain: list[Schedule], epoch: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    optimizer = optimizer_of(mg)
    running = made(mg, optimizer, chain)
    go_on(optimizer, running, epoch)
    return deepcopy(optimizer.state_dict()), [deepcopy(each.state_dict()) for each in running]


def load_all(
    optimizer: Any, running: list[Any], state: dict[str, Any], states: list[dict[str, Any]], order: str
) -> None:
    """Load the states of "o" the optimiser and "s" the schedules in that order."""
    for letter in order:
        if letter == "o":
            optimizer.load_state_dict(state)
        else:
            for schedule, each in zip(running, states, strict=True):
                schedule.load_state_dict(each)


WAYS = ["make, o, s", "make, s, o", "o, make, s", "o, make, o, s", "o, make, s backward"]


def resumed(chain: list[Schedule], epoch: int, way: str) -> tuple[Any, list[Any]]:
    """An optimiser and schedules that hold what a run had at ``epoch``."""
    state, states = saved_at(chain, epoch)
    optimizer, running = optimizer_of(mg), []
    for step in way.split(", "):
        if step == "make":
            running = made(mg, optimizer, chain)
        elif step == "s backward":
            load_all(optimizer, running[::-1], state, states[::-1], "s")
        else:
            load_all(optimizer, running, state, states, step)
    return optimizer, running


@pytest.mark.parametrize("way", WAYS)
@given(chain=st.lists(schedules(), min_size=1, max_size=2), epoch=st.integers(0, EPOCHS))
def test_by_state_dicts(way: str, chain: list[Schedule], epoch: int) -> None:
    assume(min(straight(mg, chain)[epoch]) >= 0)  # a sum over a product may fall below; no optimiser loads that
    optimizer, running = resumed(chain, epoch, way)
    assert [schedule.last_epoch for schedule in running] == [epoch] * len(chain)
    assert go_on(optimizer, running, EPOCHS - epoch) == straight(mg, chain)[epoch:]
    assert running[-1].get_last_lr() == rates(optimizer)


HELD = ["this epoch's", "the epoch's before", "others"]


@pytest.mark.parametrize("held", HELD)
@given(schedule=schedules(), epoch=st.integers(1, EPOCHS))
def test_by_last_epoch(held: str, schedule: Schedule, epoch: int) -> None:
    """Whichever rates the groups hold: those of the epoch that begins, as at the end of the one before, or whatever."""
    optimizer = optimizer_of(mg)
    optimizer.load_state_dict(saved_at([schedule], epoch - (held == "the epoch's before"))[0])
    if held == "others":
        for group in optimizer.param_groups:
            group["lr"] = 0.123
    running = made(mg, optimizer, [schedule], last_epoch=epoch - 1)
    assert running[0].last_epoch == epoch
    assert running[0].get_last_lr() == rates(optimizer)
    assert go_on(optimizer, running, EPOCHS - epoch) == straight(mg, [schedule])[epoch:]


@given(chain=st.lists(schedules(), min_size=1, max_size=2))
def test_without_interruption_the_rates_are_torchs(chain: list[Schedule]) -> None:
    torch = pytest.importorskip("torch")
    for ours, theirs in zip(straight(mg, chain), straight(torch, chain), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def test_the_rates_of_the_report() -> None:
    """Half a cosine over ten epochs is at one half in the fifth."""
    for name, options, expected in (
        ("CosineAnnealingLR", {"T_max": 10}, 0.5),
        ("ExponentialLR", {"gamma": 0.9}, 0.9**5),
        ("LinearLR", {"start_factor": 0.5, "total_iters": 5}, 1.0),
    ):
        optimizer = optimizer_of(mg)
        go_on(optimizer, made(mg, optimizer, [(name, options)]), 5)
        made(mg, optimizer, [(name, options)], last_epoch=4)
        assert rates(optimizer)[0] == pytest.approx(expected)


@pytest.mark.parametrize("way", WAYS[:3])
def test_a_rate_changed_by_hand_before_the_state_was_saved_is_kept(way: str) -> None:
    chain: list[Schedule] = [("LinearLR", {"start_factor": 0.1, "total_iters": 9})]
    optimizer = optimizer_of(mg)
    running = made(mg, optimizer, chain)
    go_on(optimizer, running, 3)
    optimizer.param_groups[0]["lr"] = 0.05
    state, states = deepcopy(optimizer.state_dict()), [each.state_dict() for each in running]
    again, resumed_ones = optimizer_of(mg), []
    for step in way.split(", "):
        if step == "make":
            resumed_ones = made(mg, again, chain)
        else:
            load_all(again, resumed_ones, state, states, step)
    assert go_on(again, resumed_ones, 4) == go_on(optimizer, running, 4)


@given(
    metrics=st.lists(st.floats(-2, 2), min_size=1, max_size=20),
    cut=st.integers(0, 20),
    options=st.fixed_dictionaries(
        {
            "mode": st.sampled_from(["min", "max"]),
            "patience": st.integers(0, 3),
            "cooldown": st.integers(0, 3),
            "threshold_mode": st.sampled_from(["rel", "abs"]),
            "factor": st.floats(0.1, 0.9),
        }
    ),
    optimizer_first=st.booleans(),
)
def test_a_plateau_goes_on(metrics: list[float], cut: int, options: dict[str, Any], optimizer_first: bool) -> None:
    def run(optimizer: Any, schedule: Any, values: list[float]) -> list[list[float]]:
        found = []
        for value in values:
            schedule.step(value)
            found.append(rates(optimizer))
        return found

    plateau, optimizer = mg.optim.lr_scheduler.ReduceLROnPlateau, optimizer_of(mg)
    schedule = plateau(optimizer, **options)
    whole = run(optimizer, schedule, metrics[:cut])
    state, scheduler_state = deepcopy(optimizer.state_dict()), deepcopy(schedule.state_dict())
    whole += run(optimizer, schedule, metrics[cut:])
    again = optimizer_of(mg)
    if optimizer_first:
        again.load_state_dict(state)
    other = plateau(again)  # its state brings the options
    other.load_state_dict(scheduler_state)
    again.load_state_dict(state)
    assert run(again, other, metrics[cut:]) == whole[cut:]
    torch = pytest.importorskip("torch")
    theirs, theirs_plateau = optimizer_of(torch), torch.optim.lr_scheduler.ReduceLROnPlateau
    for ours, expected in zip(whole, run(theirs, theirs_plateau(theirs, **options), metrics), strict=True):
        assert ours == pytest.approx(expected, rel=1e-12)


def test_a_new_schedule_over_a_restored_optimiser_begins_its_own() -> None:
    optimizer = optimizer_of(mg)
    optimizer.load_state_dict(saved_at([("ExponentialLR", {"gamma": 0.5})], 3)[0])
    running = made(mg, optimizer, [("LinearLR", {"start_factor": 0.5, "total_iters": 2})])
    assert go_on(optimizer, running, 2) == [[0.0625, 0.03125], [0.09375, 0.046875], [0.125, 0.0625]]


ERRORS: list[tuple[Any, type[Exception], str]] = [
    (lambda s, o: s.StepLR(None, 3), TypeError, "StepLR: optimizer is None; expected an Optimizer"),
    (lambda s, o: s.LambdaLR([], 3), TypeError, "LambdaLR: optimizer is a list of 0; expected an Optimizer"),
    (lambda s, o: s.ReduceLROnPlateau("sgd"), TypeError, "ReduceLROnPlateau: optimizer is 'sgd'; expected"),
    (lambda s, o: s.StepLR(o, 0), ValueError, "StepLR: step_size is 0; expected more than 0"),
    (lambda s, o: s.StepLR(o, "3"), TypeError, "StepLR: step_size is '3'; expected a number"),
    (lambda s, o: s.StepLR(o, 3, gamma=None), TypeError, "StepLR: gamma is None; expected a number"),
    (lambda s, o: s.CosineAnnealingLR(o, 0), ValueError, "CosineAnnealingLR: T_max is 0; expected more than 0"),
    (lambda s, o: s.MultiStepLR(o, 3), TypeError, "MultiStepLR: milestones is 3; expected a list of epochs"),
    (lambda s, o: s.ExponentialLR(o, "0.9"), TypeError, "ExponentialLR: gamma is '0.9'; expected a number"),
    (lambda s, o: s.LambdaLR(o, 0.5), TypeError, "LambdaLR: lr_lambda is 0.5; expected a function"),
    (lambda s, o: s.StepLR(o, 3, last_epoch=None), TypeError, "StepLR: last_epoch is None; expected an integer"),
    (lambda s, o: s.StepLR(o, 3, last_epoch=-2), TypeError, "StepLR: last_epoch is -2; expected an integer of at lea"),
    (lambda s, o: s.StepLR(o, 3).load_state_dict(None), TypeError, "StepLR: state_dict is None; expected what"),
    (lambda s, o: s.StepLR(o, 3).load_state_dict([1]), TypeError, "StepLR: state_dict is a list of 1; expected what"),
    (lambda s, o: s.StepLR(o, 3).load_state_dict({}), ValueError, "StepLR: state_dict has no 'last_epoch'; expected"),
    (lambda s, o: s.ReduceLROnPlateau(o).load_state_dict(None), TypeError, "ReduceLROnPlateau: state_dict is None"),
    (
        lambda s, o: s.ReduceLROnPlateau(o).step(None),
        TypeError,
        "ReduceLROnPlateau: metrics is None; expected a n",
    ),
    (
        lambda s, o: s.StepLR(o, 3).load_state_dict({"last_epoch": 3, "base_lrs": [1.0]}),
        ValueError,
        "StepLR: state_dict is of 1 parameter groups; expected 2, those of the optimiser",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS, ids=[message for _, _, message in ERRORS])
def test_mistakes_are_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call(mg.optim.lr_scheduler, optimizer_of(mg))
    assert str(caught.value).startswith(message)


def test_a_group_added_later_is_named() -> None:
    optimizer = optimizer_of(mg)
    running = made(mg, optimizer, [("LambdaLR", {"lr_lambda": lambda epoch: 1.0})])
    optimizer.add_param_group({"params": [mg.nn.Parameter(mg.ones(1))]})
    with pytest.raises(ValueError, match="LambdaLR: the optimiser has 3 parameter groups; expected 2, as when"):
        running[0].step()
