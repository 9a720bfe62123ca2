"""Learning rates and forcing ratios: by hand, against PyTorch, in the log of a run, and over an interruption."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from minigrad import nn, tensor
from seq2seq.models.model import build_model
from seq2seq.run import config_file
from seq2seq.run.config import Config, field_types
from seq2seq.run.errors import UserError
from seq2seq.training import schedules
from seq2seq.training.figures import is_better, ranked, waited
from seq2seq.training.optimizers import build_optimizer
from seq2seq.training.schedules import learning_rate, teacher_forcing_ratio
from tests.seq2seq.checkpoints import assert_same_checkpoint, stored

STEPS = 40
FIGURES = [3.0, 2.5, 2.7, 2.6, 2.4, 2.4, 2.45, 2.4, 2.3, 2.35, 2.31, 2.32, 2.33]


def rates(**settings: Any) -> list[float]:
    config = Config(lr=0.3, **settings)
    return [learning_rate(config, step) for step in range(STEPS)]


# --- the learning rate ------------------------------------------------------------------------------------------------
def torch_rates(make: Callable[..., Any], steps: int = STEPS) -> list[float]:
    """The rates of a schedule of PyTorch's over an optimiser with a rate of 0.3."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.3)
    schedule, found = make(torch.optim.lr_scheduler, optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_a_constant_rate_is_the_setting_itself() -> None:
    assert rates() == [0.3] * STEPS


def test_warm_up_as_in_torch() -> None:
    expected = torch_rates(lambda kinds, optimizer: kinds.LinearLR(optimizer, 1 / 8, 1.0, 7))
    assert rates(warmup_steps=8) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("warm_up", [0, 1, 6])
def test_cosine_as_in_torch(warm_up: int) -> None:
    def make(kinds: Any, optimizer: Any) -> Any:
        cosine = kinds.CosineAnnealingLR(optimizer, 30 - warm_up, 0.05)
        if not warm_up:
            return cosine
        rise = (
            kinds.LinearLR(optimizer, 1 / warm_up, 1.0, warm_up - 1) if warm_up > 1 else kinds.ConstantLR(optimizer, 1)
        )
        return kinds.SequentialLR(optimizer, [rise, cosine], [warm_up])

    expected = torch_rates(make, 31)
    found = rates(lr_schedule="cosine", lr_steps=30, warmup_steps=warm_up, min_lr=0.05)
    assert found[:31] == pytest.approx(expected, rel=1e-9)
    assert set(found[30:]) == {0.05}, "the lowest rate from there on"


def test_inverse_square_root_is_vaswanis() -> None:
    """d^-0.5 min(t^-0.5, t w^-1.5), here with d^-0.5 w^-0.5 = 0.3, the rate at the end of the warm-up."""
    w = 9
    scale = 0.3 * w**0.5
    expected = [scale * min(t**-0.5, t * w**-1.5) for t in range(1, STEPS + 1)]
    assert rates(lr_schedule="inverse-sqrt", warmup_steps=w) == pytest.approx(expected, rel=1e-12)
    assert rates(lr_schedule="inverse-sqrt") == pytest.approx([0.3 / t**0.5 for t in range(1, STEPS + 1)], rel=1e-12)


@pytest.mark.parametrize("warm_up", [0, 1, 6])
@pytest.mark.parametrize("every", [1, 7])
def test_step_as_in_torch(warm_up: int, every: int) -> None:
    found = rates(lr_schedule="step", lr_steps=every, lr_factor=0.8, warmup_steps=warm_up)
    expected = torch_rates(lambda kinds, optimizer: kinds.StepLR(optimizer, every, 0.8))
    assert found[warm_up:] == pytest.approx(expected[: STEPS - warm_up], rel=1e-9)
    assert found[:warm_up] == rates(warmup_steps=warm_up)[:warm_up]


@pytest.mark.parametrize("warm_up", [0, 6])
def test_exponential_as_in_torch(warm_up: int) -> None:
    """By 0.8 over five updates: PyTorch's factor is that of one."""
    found = rates(lr_schedule="exponential", lr_steps=5, lr_factor=0.8, warmup_steps=warm_up)
    expected = torch_rates(lambda kinds, optimizer: kinds.ExponentialLR(optimizer, 0.8**0.2))
    assert found[warm_up:] == pytest.approx(expected[: STEPS - warm_up], rel=1e-9)
    assert found[warm_up + 5] == pytest.approx(0.8 * 0.3)


@pytest.mark.parametrize("kind", ["step", "exponential"])
def test_what_falls_by_a_factor_ends_at_the_lowest_rate(kind: str) -> None:
    found = rates(lr_schedule=kind, lr_steps=4, lr_factor=0.5, min_lr=0.05)
    assert found == sorted(found, reverse=True)
    assert found[-1] == 0.05
    assert rates(lr_schedule=kind, lr_steps=4, lr_factor=0.0)[4:] == [0.0] * (STEPS - 4)
    assert learning_rate(Config(lr_schedule=kind, lr_steps=1), 10**9) == 0.0


@pytest.mark.parametrize("patience", [0, 1, 2])
@pytest.mark.parametrize(("metric", "sign"), [("val_loss", 1), ("bleu", -1)])
def test_plateaus_as_in_torch(patience: int, metric: str, sign: int) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.3)
    mode = "min" if sign > 0 else "max"
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, 0.4, patience, 0.0, min_lr=0.05)
    config = Config(lr=0.3, lr_schedule="plateau", lr_factor=0.4, lr_patience=patience, min_lr=0.05, best_metric=metric)
    figures: list[float] = []
    for figure in FIGURES:
        figures.append(sign * figure)
        schedule.step(figures[-1])
        assert learning_rate(config, 5, figures) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert learning_rate(config, 5, figures) < 0.3


# --- the forcing ratio ------------------------------------------------------------------------------------------------
def ratios(kind: str, steps: int, start: float = 1.0, end: float = 0.0) -> list[float]:
    config = Config(teacher_forcing_ratio=start, forcing_decay=kind, forcing_steps=steps, forcing_end=end)
    return [teacher_forcing_ratio(config, step) for step in range(STEPS)]


def test_the_decays_are_bengios() -> None:
    """Section 2.4: linear max(eps, k - c i), exponential k^i, inverse sigmoid k / (k + exp(i/k))."""
    steps = range(STEPS)
    assert ratios("linear", 20, 0.9, 0.1) == pytest.approx([max(0.1, 0.9 - 0.04 * i) for i in steps])
    assert ratios("exponential", 10) == pytest.approx([math.exp(-0.1) ** i for i in steps])
    assert ratios("inverse-sigmoid", 7) == pytest.approx([7 / (7 + math.exp(i / 7)) for i in steps])
    assert min(ratios("exponential", 10, 0.8, 0.25)) == 0.25
    assert ratios("exponential", 10, 0.8, 0.25)[0] == 0.8


def test_a_long_run_overflows_nothing() -> None:
    config = Config(forcing_decay="inverse-sigmoid", forcing_steps=1, forcing_end=0.125)
    assert teacher_forcing_ratio(config, 10**9) == 0.125


# --- mistakes ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_lr": 0.5, "lr": 0.1, "lr_schedule": "cosine"}, "min_lr is 0.5; expected at most lr = 0.1"),
        ({"lr_schedule": "step"}, "lr_schedule is 'step' without lr_steps, its speed; expected both"),
        ({"lr_schedule": "exponential"}, "lr_schedule is 'exponential' without lr_steps, its speed; expected both"),
        ({"forcing_decay": "linear"}, "forcing_decay is 'linear' without forcing_steps, its speed; expected both"),
        (
            {"forcing_decay": "linear", "forcing_steps": 9, "forcing_end": 0.7},
            "forcing_end is 0.7; expected at most teacher_forcing_ratio = 0.5",
        ),
    ],
)
def test_contradictions(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        schedules.check(Config(**settings))


def test_a_setting_of_another_choice_is_refused(refused: Callable[..., None], corpus: Path) -> None:
    message = "momentum belongs to optimizer sgd; this run has optimizer adam"
    refused(message, "train", "--data", corpus, "--momentum", 0.9)
    refused(
        "lr_steps belongs to lr_schedule cosine or step or exponential;", "train", "--data", corpus, "--lr-steps", 9
    )
    without = "exclude_from_weight_decay belongs to weight_decay; this run has none"
    refused(without, "train", "--data", corpus, "--exclude-from-weight-decay", "vectors")
    cosine = "--lr-schedule", "cosine", "--warmup-steps", 9, "--lr-steps"
    refused("lr_steps is 9; expected more than warmup_steps = 9", "train", "--data", corpus, *cosine, 9)
    refused("forcing_decay is 'linear' without", "train", "--data", corpus, "--forcing-decay", "linear")


# --- figures ----------------------------------------------------------------------------------------------------------
def test_the_better_figure() -> None:
    nan = math.nan
    assert is_better("val_loss", 1.0, None)
    assert is_better("val_loss", 1.0, 2.0)
    assert not is_better("val_loss", 2.0, 2.0)
    assert is_better("bleu", 2.0, 1.0)
    assert not is_better("bleu", nan, 1.0)
    assert is_better("bleu", 1.0, nan)
    assert not is_better("bleu", nan, nan)
    assert waited("bleu", [nan, nan, nan]) == 2
    assert ranked("val_loss", [3.0, nan, 1.0, 1.0]) == [2, 3, 0, 1]
    assert ranked("bleu", [3.0, nan, 1.0, 4.0]) == [3, 0, 2, 1]
    assert [waited("val_loss", FIGURES[:count]) for count in (0, 1, 3, 4, 5, 6, 13)] == [0, 0, 1, 2, 0, 1, 4]


def test_the_metric_must_exist_and_mean_something(refused, corpus: Path) -> None:
    refused("best_metric is 'blue'; did you mean bleu?", "train", "--data", corpus, "--best-metric", "blue")
    corpus.write_text("".join(f"{i} {i + 1}\tx{i}\n" for i in range(30)))
    message = "best_metric is 'bleu', which means nothing for the targets of valid"
    refused(
        message, "train", "--data", corpus, "--min-freq", 1, "--best-metric", "bleu", "--run-dir", corpus.parent / "run"
    )


def test_any_metric_may_choose(train, history) -> None:
    folder = train("run", "--epochs", 2, "--best-metric", "cer")
    figures = [record["cer"] for record in history(folder) if "val_loss" in record]
    assert stored(folder, "last")["progress"]["best"] == min(figures)


# --- runs -------------------------------------------------------------------------------------------------------------
CHANGING = {
    "cosine": ["--lr-schedule", "cosine", "--warmup-steps", 4, "--lr-steps", 24, "--min-lr", 0.001],
    "inverse-sqrt": [
        "--lr-schedule",
        "inverse-sqrt",
        "--warmup-steps",
        5,
        "--optimizer",
        "adamw",
        "--weight-decay",
        0.1,
    ],
    "step": ["--lr-schedule", "step", "--lr-steps", 7, "--warmup-steps", 3],
    "exponential": ["--lr-schedule", "exponential", "--lr-steps", 9, "--lr-factor", 0.9, "--min-lr", 0.008],
    "plateau": ["--lr-schedule", "plateau", "--lr-factor", 0.5, "--best-metric", "exact_match"],
    "sgd": ["--optimizer", "sgd", "--momentum", 0.9, "--forcing-decay", "inverse-sigmoid", "--forcing-steps", 6],
    "adam": [
        "--adam-beta1",
        0.8,
        "--adam-beta2",
        0.98,
        "--adam-eps",
        1e-6,
        "--weight-decay",
        0.01,
        "--forcing-decay",
        "linear",
        "--forcing-steps",
        20,
    ],
}


@pytest.mark.parametrize("name", CHANGING)
def test_the_log_has_the_true_rate_and_a_resumed_run_goes_on_exactly(train, run, history, name: str) -> None:
    options = [*CHANGING[name], "--epochs", 3]
    whole = train("whole", *options)
    parts = train("parts", *options, "--max-steps", 11)
    assert run("train", "--run-dir", parts, "--resume", "--max-steps", 27).code == 0
    steps = [[record for record in history(folder) if "loss" in record] for folder in (whole, parts)]
    assert steps[0] == steps[1]
    assert_same_checkpoint(whole, parts, "last", "model", "optimizer")
    config = config_file.load(whole)
    figures = [record[config.best_metric] for record in history(whole) if "val_loss" in record]
    expected = [learning_rate(config, step, figures[: step // 9]) for step in range(27)]
    assert [record["lr"] for record in steps[0]] == expected
    changing = config.lr_schedule != "constant" or config.warmup_steps > 0
    assert (len(set(expected)) > 1) == changing


def test_the_length_of_a_cosine_is_settled_when_a_run_starts(train, run) -> None:
    folder = train("run", "--epochs", 2, "--lr-schedule", "cosine")
    assert config_file.load(folder).lr_steps == 18
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 3).code == 0
    assert config_file.load(folder).lr_steps == 18


def test_the_best_checkpoint_is_by_the_metric(train, history) -> None:
    folder = train("run", "--epochs", 3, "--best-metric", "ppl_free")
    figures = [record["ppl_free"] for record in history(folder) if "val_loss" in record]
    progress = stored(folder, "last")["progress"]
    assert (progress["best"], progress["figures"]) == (min(figures), figures)


# --- optimisers -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "settings",
    [
        {}, {"weight_decay": 0.1, "adam_beta2": 0.9}, {"optimizer": "adamw", "weight_decay": 0.1},
        {"adam_beta1": 0.5, "adam_eps": 0.1}, {"optimizer": "adamw", "adam_beta1": 0.0, "adam_eps": 1e-3},
        {"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01},
    ],
)  # fmt: skip
def test_optimisers_as_in_torch(settings: dict[str, Any]) -> None:
    """Of embeddings too, whose gradient is by rows."""
    torch = pytest.importorskip("torch")
    config = Config(lr=0.05, **settings)
    ours, theirs = nn.Embedding(5, 3, sparse=True), torch.nn.Embedding(5, 3)
    theirs.weight.data = torch.tensor(ours.weight.detach().numpy().copy())
    adam = {"betas": (config.adam_beta1, config.adam_beta2), "eps": config.adam_eps}
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[config.optimizer]
    rest = {"momentum": config.momentum} if config.optimizer == "sgd" else adam
    peer = kind(theirs.parameters(), lr=config.lr, weight_decay=config.weight_decay, **rest)
    optimizer = build_optimizer(config, ours)
    for ids in ([0, 1, 1], [4], [1, 3], [4, 0]):
        for library, table, update in ((None, ours, optimizer), (torch, theirs, peer)):
            make = tensor if library is None else torch.tensor
            update.zero_grad()
            (table(make(ids)) ** 3).sum().backward()
            update.step()
    assert ours.weight.detach().numpy() == pytest.approx(theirs.weight.detach().numpy(), rel=1e-5, abs=1e-7)


def layers(library: Any) -> Any:
    """An embedding, layer norm and a linear layer, which PyTorch has under the same names."""
    table = library.Embedding(5, 3, sparse=False)
    return library.Sequential(table, library.LayerNorm(3), library.Linear(3, 2))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize(
    ("excluded", "names"),
    [
        ("none", set()), ("vectors", {"1.weight", "1.bias", "2.bias"}),
        ("vectors-and-embeddings", {"0.weight", "1.weight", "1.bias", "2.bias"}),
    ],
)  # fmt: skip
def test_weight_decay_leaves_out_what_it_is_to_as_in_torch(optimizer: str, excluded: str, names: set[str]) -> None:
    torch = pytest.importorskip("torch")
    config = Config(lr=0.05, optimizer=optimizer, weight_decay=0.3, exclude_from_weight_decay=excluded)
    ours, theirs = layers(nn), layers(torch.nn)
    theirs.load_state_dict({name: torch.tensor(value.numpy().copy()) for name, value in ours.state_dict().items()})
    parameters = dict(theirs.named_parameters())
    groups = [{"params": [parameters[name]], "weight_decay": 0.0 if name in names else 0.3} for name in parameters]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer]
    updates = build_optimizer(config, ours), kind(groups, lr=0.05)
    for ids in ([0, 1, 1], [4], [1, 3]):
        for make, model, update in zip((tensor, torch.tensor), (ours, theirs), updates, strict=True):
            update.zero_grad()
            (model(make(ids)) ** 3).sum().backward()
            update.step()
    for name, value in ours.state_dict().items():
        expected = theirs.state_dict()[name].numpy()
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-4, atol=1e-6, err_msg=name)


def test_what_weight_decay_may_leave_out_of_a_model() -> None:
    """Of an output layer that shares its weights with an embedding too, and learned positions."""
    half = {"encoder": "transformer", "decoder": "transformer", "hidden_size": 8, "num_heads": 2, "ffn_size": 9}
    settings = {**half, "learned_positions": 7, "tie_weights": "decoder", "weight_decay": 0.1}
    for excluded, embeddings in (("vectors", 0), ("vectors-and-embeddings", 2 + 2)):
        config = Config(**settings, exclude_from_weight_decay=excluded)
        model = build_model(9, 9, config)
        decayed, others = build_optimizer(config, model).param_groups
        assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
        assert {parameter.ndim for parameter in decayed["params"]} == {2}
        assert sum(parameter.ndim == 2 for parameter in others["params"]) == embeddings
        assert sum(p.numel() for g in (decayed, others) for p in g["params"]) == sum(
            p.numel() for p in model.parameters()
        )


def test_there_is_a_rate_for_every_schedule() -> None:
    for kind in get_args(field_types()["lr_schedule"]):
        assert learning_rate(dataclasses.replace(Config(), lr_schedule=kind, lr_steps=9), 3) > 0
