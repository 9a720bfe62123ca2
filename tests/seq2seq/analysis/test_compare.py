"""Two systems side by side: figures, differences and p against sacreBLEU's own, of files and of runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu.metrics
from sacrebleu.significance import PairedTest

from seq2seq import Translator, metrics
from seq2seq import train as train_command
from seq2seq.sources import load_dataset

WORDS = ["the", "a", "cat", "dog", "house", "sees", "runs", "red", "green", "big", "small", "and", "of", "in"]


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[list[Path], list[list[str]]]:
    """Two files of translations and one of references, two a line; and what stands in them."""
    rng = np.random.default_rng(3)
    references = [[" ".join(rng.choice(WORDS, rng.integers(4, 10))) for _ in range(2)] for _ in range(50)]

    def near(share: float) -> list[str]:
        kept = [[word for word in first.split() if rng.random() < share] for first, _ in references]
        return [" ".join(words) for words in kept]

    texts = [near(0.8), near(0.7), ["\t".join(both) for both in references]]
    return [write(tmp_path / name, lines) for name, lines in zip(("a", "b", "ref.en"), texts, strict=True)], texts


def test_figures_and_p_are_those_of_sacrebleu(run, files, tmp_path) -> None:
    (first, second, references), texts = files
    path, names = tmp_path / "scores.json", ["bleu", "chrf", "ter"]
    options = ["--references", references, "--resamples", 200, "--metrics", ",".join(names), "--json", path]
    result = run("compare", first, second, *options)
    assert (result.code, result.err) == (0, "")
    found = json.loads(path.read_text())
    tools = {
        "bleu": sacrebleu.metrics.BLEU(),
        "chrf": sacrebleu.metrics.CHRF(),
        "ter": sacrebleu.metrics.TER(case_sensitive=True),
    }
    streams = [list(stream) for stream in zip(*(line.split("\t") for line in texts[2]), strict=True)]
    signatures, scores = PairedTest([("a", texts[0]), ("b", texts[1])], tools, streams, "bs", n_samples=200)()
    del scores["System"]
    for name, signature, (one, two) in zip(names, signatures.values(), scores.values(), strict=True):
        row = found["metrics"][name]
        assert [row["first"], row["second"], row["p"]] == pytest.approx([one.score, two.score, two.p_value])
        assert row["difference"] == pytest.approx(two.score - one.score)
        assert row["low"] <= row["difference"] <= row["high"]
        assert set(row["signature"].split("|")) <= {*str(signature).split("|")}
        line = next(line.split() for line in result.out.splitlines() if line.startswith(f"  {name} "))
        assert line[1:4] == [f"{row[key]:.3f}" for key in ("first", "second", "difference")]
        assert line[7] == f"{row['p']:.4f}"


def test_a_system_is_not_better_than_itself(run, files, tmp_path) -> None:
    (first, _, references), _ = files
    path = tmp_path / "scores.json"
    assert run("compare", first, first, "--references", references, "--json", path, "--metrics", "wer").code == 0
    row = json.loads(path.read_text())["metrics"]["wer"]
    assert (row["difference"], row["low"], row["high"], row["p"]) == (0, 0, 0, 1)


def test_what_means_nothing_is_null(run, tmp_path) -> None:
    """BLEU of single words; and error rates where a resampled set may hold no word of a reference."""
    words, path = write(tmp_path / "words", ["a", "b"]), tmp_path / "scores.json"
    references = write(tmp_path / "references", ["a", ""])
    options = ["--references", references, "--metrics", "bleu,wer", "--json", path]
    assert "n/a" in run("compare", words, words, *options).out
    found = json.loads(path.read_text())["metrics"]
    assert [found["bleu"][key] for key in ("first", "difference", "low", "p")] == [None] * 4
    assert "no reference has 4 tokens" in found["bleu"]["note"]
    assert [found["wer"][key] for key in ("first", "difference", "low", "p")] == [100, 0, None, None]
    assert math.isnan(metrics.paired_bootstrap(metrics.WordErrorRate(), ["a"], ["b"], [("",)], 3).p)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, reversed_digits, options) -> Path:
    """Two runs, "one" and "two", that have learnt something, and their corpus."""
    root = tmp_path_factory.mktemp("compare")
    corpus = write(root / "digits.tsv", ["\t".join(pair) for pair in reversed_digits(120)])
    for name, epochs in (("one", 2), ("two", 6)):
        words = [*options(corpus, root / name), "--epochs", str(epochs), "--dropout", "0"]
        assert train_command.main(words) == 0
    return root


def compared(run, *words: Any, path: Path) -> dict[str, Any]:
    result = run("compare", *words, "--json", path)
    assert (result.code, result.err) == (0, "")
    return json.loads(path.read_text())


def test_runs_translate_as_evaluate_has_them(run, root, tmp_path) -> None:
    found = compared(run, root / "one", root / "two", "--split", "train", "--beam-size", 2, path=tmp_path / "json")
    assert (found["strategy"], found["beam_size"], found["split"]) == ("beam", 2, "train")
    for place, name in (("first", "one"), ("second", "two")):
        path = tmp_path / f"{name}.json"
        assert run("evaluate", root / name, "--split", "train", "--beam-size", 2, "--json", path).code == 0
        alone = json.loads(path.read_text())
        assert [row[place] for row in found["metrics"].values()] == [alone[key] for key in found["metrics"]]
        assert found["metrics"]["chrf"]["signature"] == alone["signatures"]["chrf"]


def test_a_run_and_a_file(run, root, tmp_path) -> None:
    pairs = load_dataset(str(root / "digits.tsv")).split("valid")
    texts = Translator.load(root / "two").translate([src for src, _ in pairs])
    lines = write(tmp_path / "lines", texts)
    found = compared(run, lines, root / "two", "--metrics", "cer", path=tmp_path / "json")["metrics"]["cer"]
    expected = metrics.CharacterErrorRate().score(texts, [(trg,) for _, trg in pairs]).value
    assert found["first"] == found["second"] == pytest.approx(expected)


def test_what_cannot_be_compared_is_told(refused, root, files, tmp_path) -> None:
    (first, second, references), _ = files
    refused("systems: got 1; expected two", "compare", first)
    refused("references: is missing; expected --references FILE", "compare", first, second)
    refused(f"references is '{first}'; a run has those of its", "compare", root / "one", first, "--references", first)
    refused("metrics: there is no 'blue'; did you mean bleu?", "compare", first, second, "--metrics", "blue")
    refused(
        f"{first}: has 50 lines; expected 3, a translation of each sentence of ",
        "compare",
        first,
        root / "one",
        "--split",
        "valid",
    )
    short = write(tmp_path / "short", ["a"])
    message = f"{short}: has 1 line; expected 50, a translation of each sentence of {references}"
    refused(message, "compare", short, first, "--references", references)
    refused(
        f"json {first}: is a file that is read", "compare", first, second, "--references", references, "--json", first
    )


def test_runs_on_other_data_are_told(refused, train, root, tmp_path, reversed_digits) -> None:
    corpus = write(tmp_path / "others.tsv", ["\t".join(pair) for pair in reversed_digits(80, seed=5)])
    folder = train("other", "--epochs", 1, "--data", corpus)
    message = f"{folder}: its valid sentences are others than those of {root / 'one'}; expected two runs on the same"
    refused(message, "compare", root / "one", folder)
