"""The memory plan against what steps really take, and what happens where it does not fit."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from minigrad import optim
from seq2seq.models.model import build_model
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import EncodedSplit, Ragged, make_batch
from seq2seq.training import memory

VOCAB_SIZES = 3000, 2000
SHAPES = {"no padding": (64, 9, 9, 8, 8), "padding": (64, 5, 20, 5, 18), "few": (16, 10, 30, 10, 25)}


def random_split(pairs: int, least_src: int, most_src: int, least_trg: int, most_trg: int) -> EncodedSplit:
    rng = np.random.default_rng(1)
    bounds = ((least_src, most_src, VOCAB_SIZES[0]), (least_trg, most_trg, VOCAB_SIZES[1]))
    return EncodedSplit(
        *(Ragged(rng.integers(4, words, n).tolist() for n in rng.integers(a, b + 1, pairs)) for a, b, words in bounds)
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp64"])
@pytest.mark.parametrize("forcing", [1.0, 0.5])
def test_a_step_takes_what_the_plan_says(shape: str, precision: str, forcing: float) -> None:
    """To 10 %, of the arrays (tracemalloc sees each); a second step, so that the moments exist."""
    config = Config(hidden_size=192, embedding_size=96, dropout=0.3, precision=precision)
    model = build_model(*VOCAB_SIZES, config)
    optimizer = optim.Adam(model.parameters())
    split = random_split(*SHAPES[shape])
    batch = make_batch(split, range(len(split)))

    def step() -> None:
        optimizer.zero_grad()
        model.loss(batch, forcing).backward()
        optimizer.step_clipped(1.0)

    step()
    optimizer.zero_grad()
    tracemalloc.start()
    try:
        step()
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    (batch_shape,) = memory.batch_shapes(split, Config(batch_size=len(split), epochs=1))
    assert batch_shape.src_tokens == batch.num_src_tokens
    assert batch_shape.trg_tokens == batch.num_trg_tokens
    assert memory.step_bytes(config, *VOCAB_SIZES, batch_shape) == pytest.approx(taken, rel=0.1)


def test_the_chunks_are_those_of_the_output_layer() -> None:
    """seq2seq knows no kernels, so the plan repeats what decides the size of a chunk of logits."""
    from kernels.cpu import output_layer

    assert output_layer.LOGITS_BYTES == memory.CHUNK_LOGITS
    assert (output_layer.FEWEST_ROWS, output_layer.MOST_ROWS) == memory.CHUNK_ROWS


def test_number_of_parameters() -> None:
    config = Config(hidden_size=24, embedding_size=10, num_layers=3)
    model = build_model(30, 20, config)
    assert memory.count_parameters(config, 30, 20) == sum(parameter.numel() for parameter in model.parameters())


def test_what_does_not_fit_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 100 << 20)
    plan = memory.plan(Config(), VOCAB_SIZES, memory.batch_shapes(random_split(9, 3, 9, 3, 9), Config()))
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
    lines = (" ".join(rng.choice(words, length)) for length in rng.integers(1, 13, 2 * 2600))
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
