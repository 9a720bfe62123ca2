"""Training steps in CUDA graphs: the same numbers as launch by launch, and which batches they are for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from seq2seq.models.model import build_model
from seq2seq.run.config import Config
from seq2seq.sources import Batch, EncodedSplit, Ragged, TextSource
from seq2seq.training import graphed, update
from seq2seq.training.graphed import GraphedTraining, lengths_for
from seq2seq.training.optimizers import build_optimizer

pytestmark = pytest.mark.usefixtures("cuda")

WORDS = 17


@pytest.fixture
def split() -> EncodedSplit:
    rng = np.random.default_rng(0)
    return EncodedSplit(
        *(Ragged(rng.integers(4, WORDS, length).tolist() for length in rng.integers(1, 9, 24)) for _ in range(2))
    )


def training(split: EncodedSplit, **settings: object) -> GraphedTraining:
    """After a first step, which no graph can hold."""
    sizes = {"embedding_size": 6, "hidden_size": 9, "num_layers": 1, "teacher_forcing_ratio": 1.0, "precision": "bf16"}
    config = Config(device="cuda", **{**sizes, **settings})  # type: ignore[arg-type]
    model = build_model(WORDS, WORDS, config)
    optimizer = build_optimizer(config, model)
    steps = GraphedTraining(model, optimizer, config, split)
    assert steps.step(TextSource().batch(split, range(6))) is None
    model.loss(TextSource().batch(split, range(6))).backward()
    optimizer.step()
    return steps


@pytest.fixture
def assert_equal_in_graphs(
    train: Callable[..., Path], history: Callable[[Path], list[dict]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """assert_equal_in_graphs(steps, "--dropout", 0.3): a run of so many steps is the same with graphs, which
    all its steps but the first use, and without. On a GPU cuBLAS may add up the rows of a graph, which are more, in
    another order."""

    def check(steps: int, *arguments: object) -> None:
        arguments = ("--device", "cuda", "--teacher-forcing-ratio", 1, "--max-steps", steps, *arguments)
        replayed: list[Batch] = []
        original = graphed._CapturedStep.replay
        monkeypatch.setattr(
            graphed._CapturedStep, "replay", lambda self, batch: replayed.append(batch) or original(self, batch)
        )
        with_graphs = train("graphs", *arguments)
        assert len(replayed) == steps - 1
        monkeypatch.setattr(update.GraphedTraining, "step", lambda self, batch: None)
        without = train("without", *arguments)
        for one, other in zip(history(with_graphs), history(without), strict=True):
            for name in ("loss", "grad_norm", "val_loss"):
                if name in one:
                    assert one[name] == pytest.approx(other[name], rel=1e-5)

    return check


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_a_run_in_graphs_is_the_run_without(
    assert_equal_in_graphs: Callable[..., None], monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr(graphed, "BUCKET", 16)
    assert_equal_in_graphs(7, "--precision", precision)


@pytest.mark.parametrize("options", [
    ["--tie-weights", "decoder", "--embedding-size", 12, "--ema-decay", 0.5, "--optimizer", "adamw",
     "--weight-decay", 1, "--exclude-from-weight-decay", "vectors"],
    ["--src-word-dropout", 0.3, "--trg-word-dropout", 0.2, "--output-dropout", 0.3, "--lr-schedule", "inverse-sqrt",
     "--warmup-steps", 3, "--batch-tokens", 90, "--dropout", 0.2, "--recurrent-dropout", 0.1,
     "--embedding-dropout", 0.2],
], ids=["tied", "drawn"])  # fmt: skip
def test_what_shapes_updates_is_the_same_in_graphs(assert_equal_in_graphs: Callable[..., None], options: list) -> None:
    """Shared weights and their mean; what is drawn before a step and in it; rates that change."""
    assert_equal_in_graphs(6, "--precision", "bf16", *options)


def test_batches_of_like_size_share_a_graph(split: EncodedSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphed, "BUCKET", 64)
    steps = training(split)
    for first in (0, 3, 6, 9, 0):
        assert steps.step(TextSource().batch(split, range(first, first + 6))) is not None
    assert len(steps._steps) == 1
    assert steps.step(TextSource().batch(split, range(5))) is not None
    assert len(steps._steps) == 2


def test_what_goes_without(split: EncodedSplit) -> None:
    batch = TextSource().batch(split, range(6))
    assert training(split, precision="fp32").step(batch) is None
    assert training(split, teacher_forcing_ratio=0.5).step(batch) is None
    assert training(split, forcing_decay="linear", forcing_steps=9).step(batch) is None
    assert training(split, optimizer="sgd").step(batch) is None
    assert training(split, accumulate=2).step(batch) is None
    assert training(split, variational_dropout=True).step(batch) is None
    steps = training(split)
    assert steps.step(TextSource().batch(split, range(1))) is None
    longest = int(np.argmax(split.src.lengths))
    assert steps.step(TextSource().batch(split, [longest] * 3)) is not None  # without padding, but with


def test_layers_that_take_a_step_at_a_time_go_without(split: EncodedSplit) -> None:
    steps = training(split, hidden_size=1100)  # no kernel is as wide
    assert steps.step(TextSource().batch(split, range(4))) is None
    assert not steps._steps


def test_a_run_in_graphs_goes_on_exactly(
    train: Callable[..., Path], run: Callable[..., Any], history: Callable[[Path], list[dict]]
) -> None:
    arguments = ("--device", "cuda", "--precision", "bf16", "--teacher-forcing-ratio", 1, "--dropout", 0.3)
    whole, parts = train("whole", *arguments, "--max-steps", 6), train("parts", *arguments, "--max-steps", 3)
    assert run("train", "--run-dir", parts, "--resume", "--max-steps", 6).code == 0
    steps = [[record for record in history(folder) if "loss" in record] for folder in (whole, parts)]
    assert steps[0] == steps[1]


def test_a_graph_in_vain_draws_no_random_numbers(
    train: Callable[..., Path], history: Callable[[Path], list[dict]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table whose gradient is by rows is refused in the backward, when all the dropout has been drawn."""
    monkeypatch.setattr(sys.modules["minigrad.ops.embedding"], "ROWS_ON_GPU", 1)
    arguments = ("--device", "cuda", "--precision", "bf16", "--teacher-forcing-ratio", 1, "--dropout", 0.3)
    tried = train("tried", *arguments, "--max-steps", 3)
    monkeypatch.setattr(update.GraphedTraining, "step", lambda self, batch: None)
    assert history(tried) == history(train("never", *arguments, "--max-steps", 3))


def test_a_device_that_refuses_a_graph(split: EncodedSplit, cuda: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said once; the steps go on launch by launch, and are counted right."""
    steps = training(split)

    def refuse(stream: object) -> None:
        raise RuntimeError("operation not supported")

    original = cuda.cuda.Stream.end_capture
    monkeypatch.setattr(cuda.cuda.Stream, "end_capture", lambda stream: (original(stream), refuse(stream)))
    with pytest.warns(UserWarning, match="goes on without CUDA graphs: operation not supported"):
        assert steps.step(TextSource().batch(split, range(4))) is None
    assert steps.step(TextSource().batch(split, range(5))) is None
    assert {float(state["step"].item()) for state in steps._optimizer.state.values()} == {1.0}


def test_large_tables_go_without(split: EncodedSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many of their rows are used, the host has to know."""
    monkeypatch.setattr(sys.modules["minigrad.ops.embedding"], "ROWS_ON_GPU", 1)
    steps = training(split)
    assert steps.step(TextSource().batch(split, range(4))) is None
    assert not steps._steps


@pytest.mark.parametrize(("pairs", "words", "longest"), [(2, 8, 7), (2, 13, 7), (128, 600, 46), (5, 34, 7), (3, 9, 7)])
def test_lengths_that_fill_a_bucket(pairs: int, words: int, longest: int) -> None:
    lengths = lengths_for(pairs, words, longest)
    assert (len(lengths), lengths.sum(), lengths[0], lengths.max()) == (pairs, words, longest, longest)
    assert 1 <= lengths.min() < longest
