"""A folder as the hub has them: it translates, other programs read its files, and the card says what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from seq2seq import evaluate, export, train
from seq2seq.decoding.translator import Translator
from seq2seq.run.errors import UserError
from seq2seq.shipping import hub
from tests.seq2seq.tiny_translators import SENTENCES, SIZES, WORDS, translator

PAIRS = "".join(f"{' '.join(WORDS[n % len(WORDS)] for n in range(i, i + 3))}\tT{i % 5} t{i % 3}\n" for i in range(60))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A short training on files of its own."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "pairs|of.tsv").write_text(PAIRS)
    command = ["--data", str(folder / "pairs|of.tsv"), "--run-dir", str(folder / "run"), "--max-steps", "2",
               "--src-language", "de", "--trg-language", "en", "--embedding-size", "4", "--hidden-size", "4",
               "--src-tokenizer", "space", "--trg-tokenizer", "sentencepiece", "--max-vocab-size", "12",
               "--samples", "0"]  # fmt: skip
    assert train.main(command) == 0
    scores = [str(folder / "run"), "--split", "valid", "--beam-size", "2", "--json", str(folder / "beam.json")]
    assert evaluate.main(scores) == 0
    return folder / "run"


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    """What the hub reads of a card, and the rest."""
    _, front, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), text


def test_the_folder_of_a_run(run: Path, tmp_path: Path) -> None:
    folder, scores = tmp_path / "mine.hub", run.with_name("beam.json")
    assert export.main([str(run), "--to", str(folder), "--scores", str(scores)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "spiece.trg.model", "tokenizer.src.json", "tokenizer.trg.json",
        "vocab.src.json", "vocab.trg.json",
    ]  # fmt: skip
    ours, shipped = Translator.load(run), Translator.load(folder / "model.safetensors")
    assert shipped.translate(SENTENCES) == ours.translate(SENTENCES)
    weights = load_file(folder / "model.safetensors")
    np.testing.assert_array_equal(weights["decoder.fc_out.weight"], ours.model.decoder.output.weight.array)
    words = json.loads((folder / "vocab.trg.json").read_text(encoding="utf-8"))
    assert words == list(ours.codec.trg_vocabulary.tokens)
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (settings["model_type"], settings["encoder"], settings["hidden_size"]) == ("minigrad-seq2seq", "lstm", 4)

    front, text = card_of(folder)
    measured = json.loads(scores.read_text(encoding="utf-8"))
    assert front["language"] == ["de", "en"]
    (result,) = front["model-index"][0]["results"]
    assert {"type": "chrf", "value": round(measured["chrf"], 2)} in result["metrics"]
    assert measured["signatures"]["chrf"].replace("|", "\\|") in text
    assert f"| {measured['chrf']:.2f} | beam 2 |" in text
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    (digest,) = set(manifest["data_sha256"].values())
    assert f"- `pairs\\|of.tsv` `{digest}`" in text
    assert f"{manifest['num_parameters']:,} parameters" in text
    for path in folder.iterdir():  # no path of the machine that trained goes along
        assert str(run.parent).encode() not in path.read_bytes()


def test_a_card_claims_nothing_that_was_not_measured(tmp_path: Path) -> None:
    ours = translator("lstm", "lstm", **SIZES, num_layers=1)
    hub.write(tmp_path / "m.hub", ours.model, ours.codec, ours.settings, "int8")
    front, text = card_of(tmp_path / "m.hub")
    assert "model-index" not in front
    assert "None were given" in text
    assert "int8" in text
    assert "sha256" not in text


@pytest.mark.parametrize("content", ["", "[]", "{}", "{"])
def test_scores_that_are_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(UserError, match=r"^scores: .*scores\.json: .*expected"):
        hub.known_of(tmp_path / "no-run", [str(tmp_path / "scores.json")])


def test_what_is_there_stays(run: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "m.hub").mkdir()
    assert export.main([str(run), "--to", str(tmp_path / "m.hub")]) == 2
    assert "File exists; expected the name of a new folder" in capsys.readouterr().err
    assert export.main([str(run), "--to", str(tmp_path / "m.seq2seq"), "--scores", "x.json"]) == 2
    assert "scores: they go into a model's card" in capsys.readouterr().err
    assert not (tmp_path / "m.seq2seq").exists()
