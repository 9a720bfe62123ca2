"""The memory plan against what steps really take, and what happens where it does not fit."""

from __future__ import annotations

import contextlib
import gc
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad import optim, random
from seq2seq.models.model import build_model
from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import EncodedSplit, Ragged
from seq2seq.training import memory
from tests.seq2seq.pairs import options_that_fit, representative_pairs

VOCAB_SIZES = 1500, 1000
SHAPES = {"no padding": (64, 9, 9, 8, 8), "padding": (64, 5, 20, 5, 18), "few": (12, 10, 30, 10, 25)}
each_pair = pytest.mark.parametrize(("encoder", "decoder"), representative_pairs())


def random_split(
    vocab_sizes: tuple[int, int], pairs: int, least_src: int, most_src: int, least_trg: int, most_trg: int
) -> EncodedSplit:
    rng = np.random.default_rng(1)
    bounds = ((least_src, most_src, vocab_sizes[0]), (least_trg, most_trg, vocab_sizes[1]))
    return EncodedSplit(
        *(Ragged(rng.integers(4, words, n).tolist() for n in rng.integers(a, b + 1, pairs)) for a, b, words in bounds)
    )


def planned_and_taken(config: Config, vocab_sizes: tuple[int, int], split: EncodedSplit) -> tuple[int, int]:
    """Bytes of a step: by the plan, and as tracemalloc sees each array; a second step, so that the moments exist."""
    model = build_model(*vocab_sizes, config)
    optimizer = optim.Adam(model.parameters())
    plan = memory.with_steps(memory.before_steps(config, vocab_sizes), model, config, split)
    batch = model.source.batch(split, range(len(split)))

    def step() -> None:
        random.seed_step(config.seed, 0)
        optimizer.zero_grad()
        (model.loss(batch, config.teacher_forcing_ratio) / batch.num_trg_tokens).backward()
        optimizer.step_clipped(1.0)

    step()
    optimizer.zero_grad()
    tracemalloc.start()
    try:
        step()
        return plan.step, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp64"])
@pytest.mark.parametrize("forcing", [1.0, 0.5])
def test_a_step_takes_what_the_plan_says(shape: str, precision: Any, forcing: float) -> None:
    config = Config(
        hidden_size=96, embedding_size=48, dropout=0.3, precision=precision, teacher_forcing_ratio=forcing,
        batch_size=SHAPES[shape][0],
    )  # fmt: skip
    planned, taken = planned_and_taken(config, VOCAB_SIZES, random_split(VOCAB_SIZES, *SHAPES[shape]))
    assert planned == pytest.approx(taken, rel=0.1)


@pytest.mark.parametrize("words", [100, 50_000])
@each_pair
def test_small_and_large_vocabularies(fitting_options, encoder: str, decoder: str, words: int) -> None:
    """With 50,000 words the logits count, with 100 all else; every pair that fits. With 100 the batch is large enough
    for the plan to try parts of it alone."""
    options = fitting_options(encoder, decoder, embedding_size=24, hidden_size=40)
    pairs, longest = (96, 50) if words == 100 else (12, 15)
    config = Config(
        encoder=encoder, decoder=decoder, dropout=0.3, batch_size=pairs, teacher_forcing_ratio=1.0, **options
    )
    split = random_split((words, words), pairs, longest - 15, longest, longest - 15, longest - 5)
    assert (words == 100) == ((split.src.lengths + split.trg.lengths).sum() > memory.SMALL_BATCH)
    planned, taken = planned_and_taken(config, (words, words), split)
    assert planned == pytest.approx(taken, rel=0.1)


@each_pair
def test_one_pair_far_longer_than_the_others(fitting_options, monkeypatch, encoder: str, decoder: str) -> None:
    """A layer that works on padding takes as much for each pair as for the longest one."""
    monkeypatch.setattr(memory, "SMALL_BATCH", 100)
    options = fitting_options(encoder, decoder, embedding_size=12, hidden_size=16)
    options |= {"encoder": encoder, "decoder": decoder, "teacher_forcing_ratio": 1.0}
    planned, taken = planned_and_taken_of_lengths([8] * 63 + [80], **options)
    assert planned == pytest.approx(taken, rel=0.1)


@pytest.mark.parametrize("lengths", [[100] * 2, [60] * 4 + [90]])
def test_a_large_batch_of_few_pairs(monkeypatch: pytest.MonkeyPatch, lengths: list[int]) -> None:
    monkeypatch.setattr(memory, "SMALL_BATCH", 100)
    planned, taken = planned_and_taken_of_lengths(lengths, embedding_size=48, hidden_size=64)
    assert planned == pytest.approx(taken, rel=0.1)


@pytest.mark.parametrize(("encoder", "decoder"), representative_pairs("frames"))
def test_a_source_of_numbers(encoder: str, decoder: str) -> None:
    options = {**(options_that_fit(encoder, decoder, "frames") or {}), "hidden_size": 48, "dropout": 0.3}
    config = Config(
        source="frames", encoder=encoder, decoder=decoder, batch_size=64, teacher_forcing_ratio=1.0, **options
    )
    rng = np.random.default_rng(0)
    src = registry.build("source", config).random_items(rng, rng.integers(3, 30, 64).tolist(), 40)
    trg = Ragged(rng.integers(4, 500, length).tolist() for length in rng.integers(3, 20, 64))
    planned, taken = planned_and_taken(config, (40, 500), EncodedSplit(src, trg))
    assert planned == pytest.approx(taken, rel=0.1)


def planned_and_taken_of_lengths(lengths: list[int], **options: Any) -> tuple[int, int]:
    """As ``planned_and_taken``, of a small model and a batch with these lengths on both sides."""
    given = {"dropout": 0.0, "teacher_forcing_ratio": 0.0, **options}
    config = Config(batch_size=len(lengths), **given)
    ids = np.random.default_rng(1)
    split = EncodedSplit(*(Ragged(ids.integers(4, 50, length).tolist() for length in lengths) for _ in range(2)))
    return planned_and_taken(config, (50, 50), split)


def test_what_has_no_memory_is_counted_without_any() -> None:
    config = Config(hidden_size=60_000, embedding_size=60_000, num_layers=9)
    tracemalloc.start()
    try:
        plan = memory.before_steps(config, (10_000_000, 50_000))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert plan.weights > 1 << 40
    assert plan.optimizer == 2 * plan.weights


@pytest.mark.parametrize(("precision", "size"), [("fp32", 4), ("bf16", 4), ("fp64", 8)])
def test_weights_are_counted_exactly(precision: Any, size: int) -> None:
    config = Config(hidden_size=24, embedding_size=10, num_layers=3, precision=precision)
    numbers = sum(parameter.numel() for parameter in build_model(30, 20, config).parameters())
    assert memory.before_steps(config, (30, 20)).weights == numbers * size


def test_trial_steps_change_no_weight_and_leave_no_gradient() -> None:
    config, split = Config(hidden_size=9, embedding_size=5, batch_size=40), random_split((9, 9), 40, 1, 9, 1, 9)
    model = build_model(9, 9, config)
    before = [parameter.array.copy() for parameter in model.parameters()]
    memory.with_steps(memory.before_steps(config, (9, 9)), model, config, split)
    for parameter, values in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.array, values)
        assert parameter.grad is None


@pytest.mark.parametrize("collects", [True, False])
def test_cycles_are_let_lie_while_a_step_is_tried_and_no_longer(collects: bool) -> None:
    """What a collection frees inside would be taken again unseen; also where the step fails."""
    try:
        (gc.enable if collects else gc.disable)()
        with contextlib.suppress(ZeroDivisionError), memory._most_taken("cpu"):
            assert not gc.isenabled()
            raise ZeroDivisionError
        assert gc.isenabled() == collects
    finally:
        gc.enable()


def test_what_does_not_fit_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 100 << 20)
    plan = memory.before_steps(Config(), VOCAB_SIZES)
    pattern = r"memory: [\d,]+ MB at most \(weights .*\), but only 100 MB are free.*--batch-size"
    with pytest.raises(UserError, match=pattern):
        memory.require_fit(plan, 128)
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    memory.require_fit(plan, 128)


def test_a_container_limits_what_is_free(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert memory._free_of_group(tmp_path) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._free_of_group(tmp_path) is None
    assert memory._free_of_group(tmp_path / "missing") is None


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to know what a process occupies")
def test_the_peak_of_a_whole_run(tmp_path: Path) -> None:
    """The plan printed before training, against the most the process ever occupied: 10 %.

    A whole epoch, since the plan is for its largest batch; of few batches, since each takes as much time as all the
    others. VmHWM, since getrusage also counts what the parent held when it forked.
    """
    rng, words = np.random.default_rng(0), [f"w{number}" for number in range(40)]
    lines = (" ".join(rng.choice(words, length)) for length in rng.integers(1, 13, 2 * 1400))
    (tmp_path / "corpus.tsv").write_text("".join(f"{src}\t{trg}\n" for src, trg in zip(lines, lines, strict=True)))
    code = (
        "import sys; from seq2seq.train import train; train(sys.argv[1:]); "
        "status = open('/proc/self/status').read(); print('peak', int(status.split('VmHWM:')[1].split()[0]) << 10)"
    )
    options = ["--data", str(tmp_path / "corpus.tsv"), "--src-tokenizer", "space", "--trg-tokenizer", "space"]
    options += ["--run-dir", str(tmp_path / "run"), "--hidden-size", "512", "--batch-size", "512"]
    arguments = [*options, "--num-layers", "2", "--epochs", "1", "--threads", "2"]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    peak = int(result.stdout.split("peak ")[1])
    plan = json.loads((tmp_path / "run" / "manifest.json").read_text())["memory_plan"]
    assert plan.pop("device") == "cpu"
    assert "memory: " in result.stdout + result.stderr
    assert sum(plan.values()) == pytest.approx(peak, rel=0.1)
