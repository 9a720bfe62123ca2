"""Runs of version 0.1, as it wrote them, are translated with, scored and gone on with; it computed the figures.

``runs_0_1`` holds three: one stopped in mid-epoch, one of parallel files in bf16, one with subwords in fp64.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from seq2seq import Translator
from seq2seq.run import manifest


class Expected(NamedTuple):
    """What version 0.1 computed: greedy and beam translations, the loss, and the loss after going on."""

    sentence: str
    greedy: str
    beam: str
    loss: float
    more: tuple[object, ...]
    later_loss: float


RUNS = {
    "space": Expected("2 3 6 8 6", "", "3 3 3 3 3 3 3", 2.492460, ("--max-steps", 20), 2.357223),
    "char": Expected("23686", "", "", 2.581909, ("--epochs", 4), 2.453824),
    "subwords": Expected("0 4 9 6 9", "", "6 6 6 6 6 6 6", 2.589924, ("--epochs", 4), 2.306665),
}


@pytest.fixture(params=RUNS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, with the data where its settings say."""
    monkeypatch.chdir(shutil.copytree(Path(__file__).with_name("runs_0_1"), tmp_path / "runs_0_1"))
    return Path(name)


def test_it_translates(name: str, folder: Path) -> None:
    translator, expected = Translator.load(folder), RUNS[name]
    assert translator.translate([expected.sentence]) == [expected.greedy]
    assert translator.translate([expected.sentence], beam_size=3) == [expected.beam]


def test_it_is_scored(run: Callable, name: str, folder: Path) -> None:
    assert run("evaluate", folder, "--json", "scores.json").code == 0
    assert json.loads(Path("scores.json").read_text())["loss"] == pytest.approx(RUNS[name].loss, abs=1e-5)


def test_it_goes_on_and_gets_digests(run: Callable, name: str, folder: Path) -> None:
    before = (folder / "manifest.json").read_bytes()
    result = run("train", "--run-dir", folder, "--resume", *RUNS[name].more)
    assert (result.code, result.err) == (0, "")
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["val_loss"] == pytest.approx(RUNS[name].later_loss, abs=1e-4)
    assert before != (folder / "manifest.json").read_bytes()
    assert manifest.read(folder)["files_sha256"] == manifest.digests(folder)
    assert run("evaluate", folder).code == 0
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    assert run("evaluate", folder).err.startswith(f"error: {folder}/config.json: changed since the training")


def test_changed_data_are_noticed(refused: Callable, name: str, folder: Path) -> None:
    data = "words.de" if name == "char" else "digits.tsv"
    Path(data).write_text(Path(data).read_text().replace("1", "2", 1))
    refused(f"{data}: changed since the training", "evaluate", folder)


def test_changed_data_can_be_accepted(run: Callable, name: str, folder: Path) -> None:
    data = Path("words.de" if name == "char" else "digits.tsv")
    data.write_text(data.read_text().replace("1", "2", 1))
    assert run("evaluate", folder, "--accept-changes").code == 0
    assert run("train", "--run-dir", folder, "--resume", "--accept-changes", *RUNS[name].more).code == 0
    assert manifest.read(folder)["accepted"][0]["file"] == "data"
    assert run("evaluate", folder).code == 0


def test_pairs_that_are_left_out_now_are_told(run: Callable, refused: Callable, folder: Path) -> None:
    if folder.name == "char":
        pytest.skip("parallel files need a line in both")
    data = Path("digits.tsv")
    data.write_text(data.read_text() + "1 2\t\n")
    content = json.loads((folder / "manifest.json").read_text())
    content["data_sha256"]["digits.tsv"] = manifest.sha256(data.read_bytes())
    (folder / "manifest.json").write_text(json.dumps(content))
    message = "digits.tsv: 1 pair with an empty side, which version 0.1 trained on, is left out now"
    refused(message, "train", "--run-dir", folder, "--resume")
    assert run("train", "--run-dir", folder, "--resume", "--accept-changes", *RUNS[folder.name].more).code == 0
