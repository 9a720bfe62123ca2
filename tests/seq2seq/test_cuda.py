"""--device cuda: the toolkit trains, saves, resumes and translates there as on the CPU, and moves between the two.

float32 on both, but sums in another order: losses differ by some 1e-6 after a step, and training carries that on. The
bounds below are a hundred times what was seen. In bf16 the CUDA kernels also keep gates in bfloat16 between forward and
backward, where the CPU keeps them in float32.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from minigrad import cuda as minigrad_cuda
from seq2seq import Translator
from seq2seq.training import memory

SENTENCES = ["1 2 3", "9 8 7 6 5", "", "4 4 0", "3 1 4 1"]

pytestmark = pytest.mark.usefixtures("cuda")


@pytest.fixture
def losses(history: Callable[[Path], list[dict]]) -> Callable[[Path, str], list[float]]:
    """losses(folder, name): that figure of all steps, or of all validations."""

    def read(folder: Path, name: str = "loss") -> list[float]:
        return [record[name] for record in history(folder) if name in record]

    return read


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("tf32", 2e-2), ("bf16", 2e-2), ("fp64", 1e-9)])
def test_losses_are_those_of_the_cpu(train, losses, precision: str, bound: float) -> None:
    arguments = ("--max-steps", 6, "--dropout", 0.3)
    there = train("there", *arguments, "--device", "cuda", "--precision", precision)
    here = train("here", *arguments, "--precision", {"tf32": "fp32"}.get(precision, precision))
    for name in ("loss", "grad_norm", "val_loss", "ppl_forced"):
        assert losses(there, name) == pytest.approx(losses(here, name), rel=bound), name


def test_two_runs_have_equal_bits(train, history) -> None:
    first, second = (train(name, "--max-steps", 5, "--device", "cuda") for name in ("first", "second"))
    assert history(first) == history(second)
    weights = [(folder / "checkpoints" / "last.safetensors").read_bytes() for folder in (first, second)]
    assert weights[0] == weights[1]


def test_a_run_goes_on_exactly(train, run, history, tmp_path: Path) -> None:
    whole = train("whole", "--max-steps", 7, "--device", "cuda", "--save-every", 3)
    parts = train("parts", "--max-steps", 3, "--device", "cuda")
    assert run("train", "--run-dir", parts, "--resume", "--max-steps", 7).code == 0
    steps = [[record for record in history(folder) if "loss" in record] for folder in (whole, parts)]
    assert steps[0] == steps[1]


@pytest.mark.parametrize(("first", "second"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_goes_on_elsewhere(train, run, losses, first: str, second: str) -> None:
    whole = train("whole", "--max-steps", 7, "--device", first)
    moved = train("moved", "--max-steps", 3, "--device", first)
    assert run("train", "--run-dir", moved, "--resume", "--device", second, "--max-steps", 7).code == 0
    assert losses(moved) == pytest.approx(losses(whole), rel=1e-4)


STEP_BY_STEP = [
    {"strategy": "sample", "n_best": 2, "top_p": 0.9},
    {"strategy": "diverse-beam", "beam_size": 4, "n_best": 3},
    {"strategy": "exact", "max_output_length": 3},
    {
        "beam_size": 3,
        "n_best": 2,
        "coverage_penalty": 0.3,
        "no_repeat_ngram_size": 2,
        "prefixes": ["1", "", "", "2 2", ""],
    },
]


def test_every_search_finds_there_what_it_finds_here(train) -> None:
    """With its alignments, by a decoder with attention; and the log p of given pairs."""
    folder = train("run", "--max-steps", 9, "--decoder", "dot-attention", "--device", "cuda")
    here, there = (Translator.load(folder, device=device) for device in ("cpu", "cuda"))
    for options in STEP_BY_STEP:
        expected, found = (list(chain(*t.search(SENTENCES, alignment=True, **options))) for t in (here, there))
        assert [h.ids for h in found] == [h.ids for h in expected]
        for one, other in zip(found, expected, strict=True):
            assert one.log_prob == pytest.approx(other.log_prob, rel=1e-5)
            assert (one.alignment is None) == (other.alignment is None)
            if one.alignment is not None:
                np.testing.assert_allclose(one.alignment, other.alignment, rtol=0, atol=1e-5)
    pairs = (t.score(SENTENCES, SENTENCES[::-1]) for t in (here, there))
    for one, other in zip(*pairs, strict=True):
        np.testing.assert_allclose(one.log_probs, other.log_probs, rtol=1e-5, atol=1e-6)


def test_translations_are_those_of_the_cpu(train, run, tmp_path: Path) -> None:
    folder = train("run", "--epochs", 2, "--device", "cuda")
    here, there = (Translator.load(folder, device=device) for device in ("cpu", "cuda"))
    for beam_size, n_best in ((1, 1), (3, 2)):
        expected, found = (t.search(SENTENCES, beam_size, n_best=n_best) for t in (here, there))
        assert [[h.ids for h in sentence] for sentence in found] == [[h.ids for h in sentence] for sentence in expected]
        for one, other in zip(chain(*found), chain(*expected), strict=True):
            assert (one.log_prob, one.score) == pytest.approx((other.log_prob, other.score), rel=1e-5)
    source = tmp_path / "source.txt"
    source.write_text("".join(f"{sentence}\n" for sentence in SENTENCES))
    result = run("translate", folder, "--input", source, "--device", "cuda", "--beam-size", 3)
    assert result.out.splitlines() == here.translate(SENTENCES, beam_size=3)


def test_scores_are_those_of_the_cpu(train, run, tmp_path: Path) -> None:
    folder, figures = train("run", "--epochs", 1, "--device", "cuda"), []
    for device in ("cpu", "cuda"):
        path = tmp_path / f"{device}.json"
        assert run("evaluate", folder, "--split", "train", "--device", device, "--json", path).code == 0
        figures.append(json.loads(path.read_text()))
    for name in ("loss", "ppl_forced", "ppl_free", "bleu", "exact_match"):
        assert figures[1][name] == pytest.approx(figures[0][name], rel=1e-4), name


def test_the_manifest_names_the_gpu(train) -> None:
    manifest = json.loads((train("run", "--max-steps", 1, "--device", "cuda") / "manifest.json").read_text())
    assert (manifest["device"], manifest["gpu"]) == ("cuda", minigrad_cuda.get_device_name())
    assert manifest["memory_plan"]["device"] == "cuda"
    assert manifest["memory_plan"]["process"] == memory.WORKSPACES


def test_a_batch_too_large_for_the_gpu_is_told_before(run, corpus, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(minigrad_cuda, "mem_get_info", lambda: (1 << 20, 1 << 30))
    folder = tmp_path / "run"
    result = run("train", "--data", corpus, "--run-dir", folder, "--device", "cuda", "--src-tokenizer", "space")
    assert result.code == 2
    assert result.err.startswith("error: GPU memory: ")
    assert "only 1 MB are free" in result.err
    assert not folder.exists()
