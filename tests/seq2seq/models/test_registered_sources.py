"""What the contract promises, for every registered source of numbers, with each encoder and each decoder.

What it promises of text stands in ``test_registered_models``.

A source is added to these tests by being registered, and by files for it in ``FILES``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad import Tensor, no_grad
from minigrad.nn.utils.rnn import pack_padded_sequence
from seq2seq import Translator
from seq2seq.decoding.scorers import LEAST_ROWS
from seq2seq.decoding.search import beam_search, greedy_search
from seq2seq.gradcheck import check_model
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run import registry
from seq2seq.run.config import Config
from tests.seq2seq.pairs import ONE_EACH, options_that_fit, representative_pairs

SOURCES = [name for name in registry.names("source") if not registry.part("source", name).ids]
# With 10 the Transformer's derivative along one drawn direction all but cancels (0.002 of 0.09), and the truncation of
# finite differences is 2e-6 of it, while every parameter by itself is within 1e-7.
SIZES = {"embedding_size": 8, "hidden_size": 12, "dropout": 0.0}
F, TRG, MOST = 5, 11, 7
WORDS = ["red", "green", "blue", "grey"]


def trios() -> list[Any]:
    """Every encoder that reads such a source with one decoder, and every decoder with one encoder."""
    names = [(source, *pair) for source in SOURCES for pair in representative_pairs(source)]
    return [pytest.param(settings_of(*trio), id="-".join(trio)) for trio in names]


def settings_of(source: str, encoder: str, decoder: str) -> dict[str, Any]:
    parts = {"source": source, "encoder": encoder, "decoder": decoder}
    known = registry.options_of(parts)
    sizes = {name: value for name, value in SIZES.items() if name in known}
    return {**parts, **(options_that_fit(encoder, decoder, source) or {}), **sizes}


def write_files(source: str, folder: Path, count: int = 60) -> list[Path]:
    """Examples whose words can be read off them, and the words."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, len(WORDS), count)
    lengths = rng.integers(1, 6, count)
    means = np.eye(len(WORDS), F)[classes]
    rows = [mean + 0.1 * rng.standard_normal((length, F)) for mean, length in zip(means, lengths, strict=True)]
    text = folder / "words.en"
    text.write_text("".join(f"it is {WORDS[k]}\t{WORDS[k]}\n" for k in classes))
    return [FILES[source](folder, rows), text]


def write_vectors(folder: Path, rows: list[np.ndarray]) -> Path:
    np.save(folder / "v.npy", np.array([one[0] for one in rows], np.float32))
    return folder / "v.npy"


def write_frames(folder: Path, rows: list[np.ndarray]) -> Path:
    np.savez(folder / "f.npz", rows=np.concatenate(rows).astype(np.float32), lengths=list(map(len, rows)))
    return folder / "f.npz"


# What a run does with a source is the same whatever reads it, and each pair's runs are tested with text.
RUNS = [
    ("vectors", "vector", "lstm"), ("vectors", "vector", "attention"), ("frames", "lstm", "bahdanau"),
    ("frames", "bigru", "gru-context"), ("frames", "transformer", "transformer"),
]  # fmt: skip
FILES: dict[str, Callable[[Path, list[np.ndarray]], Path]] = {"vectors": write_vectors, "frames": write_frames}


def test_there_are_files_for_every_source() -> None:
    ours = {name for name in SOURCES if registry.part("source", name).__module__.startswith("seq2seq.")}
    assert ours == set(FILES) == {source for source, *_ in RUNS}


@pytest.mark.parametrize("settings", trios())
class TestEveryTrio:
    def build(self, settings: dict[str, Any], **more: Any) -> Seq2Seq:
        return build_model(F, TRG, Config(**{**settings, "init_range": 0.8, **more})).eval()

    def draw(self, count: int, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        return [rng.standard_normal((length, F), np.float32) for length in rng.integers(1, 7, count)]

    def test_gradients_are_those_of_finite_differences(self, settings) -> None:
        report = check_model(Config(**settings), 8, ONE_EACH)
        assert report, str(report)

    @no_grad()
    def test_padding_and_the_batch_do_not_matter_to_the_bit(self, settings) -> None:
        model, examples = self.build(settings), self.draw(9)
        together = self.memory_of(model, examples)
        for number, rows in enumerate(examples):
            alone = self.memory_of(model, [rows] * LEAST_ROWS)
            for found, expected in zip(alone.states, together.states, strict=True):
                np.testing.assert_array_equal(found.array[:, 0], expected.array[:, number])
            if together.outputs is not None:
                positions = together.lengths[number]
                np.testing.assert_array_equal(alone.outputs.array[:, 0], together.outputs.array[:positions, number])
                assert not together.outputs.array[positions:, number].any()

    def memory_of(self, model: Seq2Seq, examples: list[np.ndarray]) -> Any:
        rows, positions = model.source.collate(examples)
        return model.encoder(pack_padded_sequence(Tensor(rows), positions, enforce_sorted=False))

    def test_an_example_is_searched_alone_as_beside_others(self, settings) -> None:
        model, examples = self.build(settings), self.draw(8, seed=3)
        together = greedy_search(model, examples, MOST), beam_search(model, examples, MOST, 3, 1.0, 2)
        for number, rows in enumerate(examples):
            assert greedy_search(model, [rows], MOST) == [together[0][number]]
            assert beam_search(model, [rows], MOST, 3, 1.0, 2) == [together[1][number]]


@pytest.mark.parametrize("settings", [settings_of(*trio) for trio in RUNS], ids=map("-".join, RUNS))
def test_a_run_trains_translates_and_goes_on_exactly(settings, run, history, tmp_path) -> None:
    spec = ",".join(map(str, write_files(settings["source"], tmp_path)))
    words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    rest = ["--batch-size", 8, "--lr", 0.01, "--trg-tokenizer", "space", "--min-freq", 1, "--dropout", 0.2]
    runs = [tmp_path / name for name in ("whole", "parts")]
    for folder, end in zip(runs, (["--epochs", 2], ["--epochs", 2, "--max-steps", 9]), strict=True):
        result = run("train", "--data", spec, "--run-dir", folder, *words, *rest, *end)
        assert result.code == 0, result.err
    assert run("train", "--run-dir", runs[1], "--resume", "--max-steps", 30).code == 0
    steps = [[record for record in history(folder) if "loss" in record] for folder in runs]
    assert steps[0] == steps[1][: len(steps[0])]
    numbers = spec.split(",")[0]
    for beam_size in (1, 3):
        result = run("translate", runs[0], "--input", numbers, "--beam-size", beam_size)
        assert (result.code, result.out.count("\n")) == (0, 60), result.err
    translator = Translator.load(runs[0])
    raw = translator.model.source.read(numbers)
    assert translator.translate(raw, 3) == result.out.splitlines()
    scores = tmp_path / "scores.json"
    assert run("evaluate", runs[0], "--test", spec, "--json", scores).code == 0
    assert json.loads(scores.read_text())["sentences"] == 60
    assert run("evaluate", runs[0], "--split", "valid").code == 0
