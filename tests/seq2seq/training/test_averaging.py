"""Means of weights: over updates (EMA) and over checkpoints; early ends; which epochs are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import seq2seq.training.trainer as trainer_module
from minigrad import Tensor
from seq2seq import Translator
from seq2seq.run import config_file
from seq2seq.run.checkpoint import epochs_kept
from seq2seq.training.averaging import MovingAverage, mean_of
from tests.seq2seq.checkpoints import assert_same_checkpoint, stored

LOSSES = [3.0, 1.0, 2.0, 1.5, 2.5, 1.2]


@pytest.fixture
def validations(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float]], None]:
    """validations(losses): what the validations find, one after the other."""
    evaluate_split = trainer_module.evaluate_split

    def find(losses: list[float]) -> None:
        left = iter(losses)
        monkeypatch.setattr(
            trainer_module, "evaluate_split", lambda *given: {**evaluate_split(*given), "val_loss": next(left)}
        )

    return find


# --- the mean over updates --------------------------------------------------------------------------------------------
def test_a_moving_average_as_in_torch(trained: tuple) -> None:
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model, rng = trained[0], np.random.default_rng(0)
    names = [name for name, _ in model.named_parameters()]
    twin = torch.nn.ParameterList([torch.nn.Parameter(torch.zeros(p.shape)) for p in model.parameters()])
    peer = AveragedModel(twin, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    average = MovingAverage(model, 0.9)
    for _ in range(4):
        for parameter, other in zip(model.parameters(), twin, strict=True):
            values = rng.normal(size=parameter.shape).astype(np.float32)
            parameter.data = Tensor(values)
            other.data = torch.tensor(values)
        average.update()
        peer.update_parameters(twin)
    for name, other in zip(names, peer.module, strict=True):
        np.testing.assert_allclose(average.weights[name].array, other.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_inside_the_model_has_the_mean_and_afterwards_its_own_weights(trained: tuple) -> None:
    model, _ = trained
    average = MovingAverage(model, 0.5)
    average.update()
    held = {name: p.array.copy() for name, p in model.named_parameters()}
    memory = {name: id(p.array) for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.array[...] += 1
    average.update()
    with average.in_place():
        for name, parameter in model.named_parameters():
            np.testing.assert_allclose(parameter.array, held[name] + 0.5, rtol=1e-6, atol=1e-6)
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.array, (held[name] + 1).astype(np.float32))
        assert id(parameter.array) == memory[name]


def test_the_mean_is_validated_kept_and_gone_on_with_exactly(train, run, history) -> None:
    options = ["--ema-decay", 0.8, "--epochs", 3]
    whole, plain = train("whole", *options), train("plain", "--epochs", 3)
    losses = [[record["loss"] for record in history(folder) if "loss" in record] for folder in (whole, plain)]
    assert losses[0] == losses[1], "the mean changes no update"
    content = stored(whole, "last")
    best, found = stored(whole, "best")["model"], [r["val_loss"] for r in history(whole) if "val_loss" in r]
    assert found != [record["val_loss"] for record in history(plain) if "val_loss" in record]
    if found.index(min(found)) == 2:
        for name, tensor in content["average"].items():
            np.testing.assert_array_equal(best[name].array, tensor.array)
            assert not np.array_equal(content["model"][name].array, tensor.array)
    parts = train("parts", *options, "--max-steps", 11)
    assert run("train", "--run-dir", parts, "--resume", "--max-steps", 27).code == 0
    assert_same_checkpoint(whole, parts, "last", "model", "optimizer", "average")


def test_an_update_that_is_left_out_is_left_out_of_the_mean(train, monkeypatch) -> None:
    updated: list[int] = []
    update = MovingAverage.update
    monkeypatch.setattr(MovingAverage, "update", lambda average: updated.append(1) or update(average))
    norms = iter([1.0, float("nan"), 1.0])
    apply = trainer_module.Updates._apply
    monkeypatch.setattr(
        trainer_module.Updates, "_apply", lambda updates, *rest: (apply(updates, *rest)[0], next(norms))
    )
    train("run", "--ema-decay", 0.5, "--max-steps", 3)
    assert len(updated) == 2


# --- ends, and the epochs kept ----------------------------------------------------------------------------------------
def test_a_run_ends_early_and_can_be_told_to_go_on(train, run, validations, history) -> None:
    validations(LOSSES)
    folder = train("run", "--epochs", 6, "--patience", 2)
    assert history(folder)[-1]["epoch"] == 3
    result = run("train", "--run-dir", folder, "--resume")
    assert "nothing is left to do; raise --patience to train on" in result.out
    assert run("train", "--run-dir", folder, "--resume", "--patience", 3).code == 0
    assert history(folder)[-1]["epoch"] == 4
    assert config_file.load(folder).patience == 3
    assert run("train", "--run-dir", folder, "--resume", "--patience", "null").code == 0
    assert history(folder)[-1]["epoch"] == 5


def test_the_best_epochs_are_kept(train, run, validations) -> None:
    validations([*LOSSES[:4], LOSSES[4], LOSSES[5]])
    folder = train("run", "--epochs", 6, "--keep-best", 3, "--max-steps", 36)
    assert epochs_kept(folder) == [2, 3, 4]
    assert run("train", "--run-dir", folder, "--resume", "--max-steps", 54).code == 0
    assert epochs_kept(folder) == [2, 4, 6]
    assert_same = np.testing.assert_array_equal
    for name, tensor in stored(folder, "epoch-2")["model"].items():
        assert_same(tensor.array, stored(folder, "best")["model"][name].array)


def test_their_mean_is_one_more_checkpoint(train, run, tmp_path: Path) -> None:
    folder = train("run", "--epochs", 3, "--keep-best", 2, "--tie-weights", "decoder", "--embedding-size", 12)
    result = run("average", folder)
    assert result.code == 0, result.err
    states = [stored(folder, f"epoch-{epoch}")["model"] for epoch in epochs_kept(folder)]
    mean = stored(folder, "average")["model"]
    assert mean.keys() == states[0].keys()
    for name, tensor in mean.items():
        expected = (states[0][name].array.astype(np.float64) + states[1][name].array) / 2
        np.testing.assert_array_equal(tensor.array, expected.astype(np.float32))
    (tmp_path / "new").write_text("3 1 4\n")
    assert run("translate", folder, "--input", tmp_path / "new", "--checkpoint", "average").code == 0
    assert run("evaluate", folder, "--checkpoint", "average").code == 0
    assert Translator.load(folder, "average").translate(["3 1 4"])


def test_there_must_be_epochs_to_average(train, refused) -> None:
    folder = train("run", "--epochs", 1)
    refused(f"{folder}: keeps 0 epochs; expected two or more to average, as by --keep-best 5", "average", folder)


def test_a_mean_of_states() -> None:
    states = [{"a": Tensor(np.array([1.0, 2.0], np.float32))}, {"a": Tensor(np.array([2.0, 4.0], np.float32))}]
    np.testing.assert_array_equal(mean_of(iter(states))["a"].array, [1.5, 3.0])


def test_of_a_run_with_a_moving_average_its_means_are_kept_and_averaged(train, run, validations) -> None:
    """Over an interruption too: epochs before it and after it."""
    options = ["--ema-decay", 0.8, "--epochs", 3, "--keep-best", 2, "--tie-weights", "decoder", "--embedding-size", 12]
    validations([3.0, 1.0, 2.0, 3.0, 1.0, 0.5, 2.0])  # three epochs; an epoch, a stop within the next one, two epochs
    whole, parts = train("whole", *options), train("parts", *options, "--max-steps", 13)
    assert run("train", "--run-dir", parts, "--resume", "--max-steps", 27).code == 0
    assert epochs_kept(whole) == epochs_kept(parts) == [2, 3]
    for name in ("epoch-2", "epoch-3"):
        assert_same_checkpoint(whole, parts, name, "model")
    last = stored(whole, "last")
    kept = stored(whole, "epoch-3")["model"]
    assert kept.keys() == last["average"].keys()
    for name, tensor in kept.items():
        np.testing.assert_array_equal(tensor.array, last["average"][name].array)
    assert any(not np.array_equal(tensor.array, last["model"][name].array) for name, tensor in kept.items())
    assert run("average", whole).code == 0
    states = [stored(whole, f"epoch-{epoch}")["model"] for epoch in (2, 3)]
    for name, tensor in stored(whole, "average")["model"].items():
        expected = (states[0][name].array.astype(np.float64) + states[1][name].array) / 2
        np.testing.assert_array_equal(tensor.array, expected.astype(np.float32))
    assert run("evaluate", whole, "--checkpoint", "average").code == 0
