"""translate, evaluate and score with every kind of search, as processes' users see them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seq2seq import Translator, evaluate, score, train, translate
from seq2seq.decoding.contract import Hypothesis
from seq2seq.decoding.search_errors import search_report
from seq2seq.run.errors import UserError
from seq2seq.text.vocabulary import UNK_ID

SENTENCES = ["3 1 4", "1 5 9 2", "6 5", "7 7 7 7"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, reversed_digits) -> Path:
    """A folder with a corpus, and two short runs with attention: "one" and "two"."""
    root = tmp_path_factory.mktemp("decoding")
    corpus = root / "digits.tsv"
    corpus.write_text("".join(f"{src}\t{trg}\n" for src, trg in reversed_digits(70)))
    (root / "input.txt").write_text("".join(f"{sentence}\n" for sentence in SENTENCES))
    tokenizers = "--src-tokenizer space --trg-tokenizer space --min-freq 1 --batch-size 8 --lr 0.01 --dropout 0"
    sizes = "--embedding-size 8 --hidden-size 12 --decoder dot-attention --epochs 3 --max-output-length 8"
    for seed, name in enumerate(("one", "two")):
        words = f"--data {corpus} --run-dir {root / name} --seed {seed} {tokenizers} {sizes}".split()
        assert train.main(words) == 0
    return root


@pytest.fixture
def call(root: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """call("--no-unk", runs=["one"]): the lines that translating the input gives."""

    def call(*options: object, runs: tuple[str, ...] = ("one",)) -> list[str]:
        capsys.readouterr()
        folders = [str(root / name) for name in runs]
        assert translate.main([*folders, "--input", str(root / "input.txt"), *map(str, options)]) == 0
        return capsys.readouterr().out.splitlines()

    return call


@pytest.fixture
def translator(root: Path) -> Translator:
    return Translator.load(root / "one")


OPTIONS: list[tuple[dict, list]] = [
    ({"strategy": "sample", "seed": 5, "top_p": 0.9}, ["--strategy", "sample", "--seed", 5, "--top-p", 0.9]),
    ({"strategy": "diverse-beam", "beam_size": 4}, ["--strategy", "diverse-beam", "--beam-size", 4]),
    ({"strategy": "exact", "max_output_length": 4}, ["--strategy", "exact", "--max-output-length", 4]),
    ({"beam_size": 3, "coverage_penalty": 0.4, "length_penalty_form": "wu"},
     ["--beam-size", 3, "--coverage-penalty", 0.4, "--length-penalty-form", "wu"]),
    ({"no_repeat_ngram_size": 1, "no_unk": True}, ["--no-repeat-ngram-size", 1, "--no-unk"]),
    ({"forbidden_words": ["7", "4"], "max_length_ratio": 0.7}, ["--forbidden-words", "7 4", "--max-length-ratio", 0.7]),
    ({"min_output_length": 6}, ["--min-output-length", 6]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "options"), OPTIONS, ids=lambda value: str(value)[:20])
def test_commands_do_what_python_does(call, translator, arguments: dict, options: list) -> None:
    found = translator.translate(SENTENCES, **arguments)
    assert call(*options) == found == translator.translate(SENTENCES, batch_size=1, **arguments)
    if "forbidden_words" in arguments:
        assert not {"7", "4"} & set(" ".join(found).split())
    if "no_repeat_ngram_size" in arguments:
        assert all(len(set(line.split())) == len(line.split()) for line in found)
    if "min_output_length" in arguments:
        assert all(len(line.split()) >= 6 for line in found)


def test_without_options_it_is_the_compiled_search_or_the_steps_as_before(call, translator) -> None:
    assert call() == translator.translate(SENTENCES)
    assert call("--strategy", "greedy") == call("--strategy", "beam", "--beam-size", 1) == call()


def test_several_samples_are_lines_with_numbers_and_scores(call, translator) -> None:
    lines = [line.split("\t") for line in call("--strategy", "sample", "--n-best", 3)]
    assert [number for number, _, _ in lines] == [str(n) for n in (1, 2, 3, 4) for _ in range(3)]
    found = translator.search(SENTENCES, n_best=3, strategy="sample")
    assert [float(value) for _, value, _ in lines] == [round(one.score, 4) for several in found for one in several]
    assert call("--strategy", "sample") == [translator.text_of(several[0]) for several in found]


def test_prefixes_are_a_line_for_each_line(root, call, translator) -> None:
    prefixes = root / "prefixes.txt"
    prefixes.write_text("9 9\n\n5\n1 2 3\n")
    for options in ([], ["--beam-size", 3], ["--strategy", "sample"]):
        lines = call("--prefix", prefixes, *options)
        assert [line[: len(prefix)] for line, prefix in zip(lines, ("9 9", "", "5", "1 2 3"), strict=True)] == [
            "9 9", "", "5", "1 2 3",
        ]  # fmt: skip
    assert lines == translator.translate(SENTENCES, strategy="sample", prefixes=["9 9", "", "5", "1 2 3"])
    found = translator.search(SENTENCES, prefixes=["9 9", "", "5", "1 2 3"], batch_size=1)
    assert found == translator.search(SENTENCES, prefixes=["9 9", "", "5", "1 2 3"])
    scored = translator.score(SENTENCES, [translator.text_of(one) for (one,) in found])
    whole = [pair.log_prob for pair, (one,) in zip(scored, found, strict=True) if len(one.ids) < 8]
    assert whole == pytest.approx([one.log_prob for (one,) in found if len(one.ids) < 8], rel=1e-4)


def test_alignments_are_over_the_tokens_of_the_sentence(translator) -> None:
    for (found,), sentence in zip(translator.search(SENTENCES, alignment=True), SENTENCES, strict=True):
        assert found.alignment.shape == (len(found.ids), len(sentence.split()))
        assert (found.alignment.sum(1) < 1 + 1e-5).all()


def test_unk_is_replaced_by_what_was_looked_at(call, translator) -> None:
    """Here every word is <unk>, so that each is replaced."""
    forbidden = [str(digit) for digit in range(10)]
    options = {"forbidden_words": forbidden, "min_output_length": 2, "max_output_length": 2}
    words = ["--forbidden-words", " ".join(forbidden), "--min-output-length", 2, "--max-output-length", 2]
    assert call(*words) == ["<unk> <unk>"] * 4
    found = translator.search(SENTENCES, alignment=True, **options)
    expected = [
        " ".join(sentence.split()[at] for at in one.alignment.argmax(1))
        for (one,), sentence in zip(found, SENTENCES, strict=True)
    ]
    assert call(*words, "--replace-unk") == expected == translator.translate(SENTENCES, replace_unk=True, **options)
    assert {UNK_ID} == {token for (one,) in found for token in one.ids}


def test_several_runs_translate_and_are_scored_together(root, call, capsys) -> None:
    together = Translator.ensemble([Translator.load(root / name) for name in ("one", "two")])
    for beam_size in (1, 3):
        assert call("--beam-size", beam_size, runs=("one", "two")) == together.translate(SENTENCES, beam_size)
    assert call(runs=("one", "one")) == call()
    (found,) = together.search(SENTENCES[:1], alignment=True)
    assert found[0].alignment.shape[1] == 3
    path = root / "scores.json"
    folders = [str(root / name) for name in ("one", "two")]
    assert evaluate.main([*folders, "--json", str(path), "--beam-size", "2"]) == 0
    scores = json.loads(path.read_text())
    assert scores["ppl_free"] is None
    pairs = [line.split("\t") for line in (root / "digits.tsv").read_text().splitlines()]
    assert scores["loss"] > 0
    alone = together.score(*zip(*pairs[:5], strict=True))
    each = [Translator.load(folder).score(*zip(*pairs[:5], strict=True)) for folder in folders]
    mean = [np.logaddexp(a.log_probs, b.log_probs) - math.log(2) for a, b in zip(*each, strict=True)]
    for pair, expected in zip(alone, mean, strict=True):
        np.testing.assert_allclose(pair.log_probs, expected, rtol=1e-9)


# --- evaluate ---------------------------------------------------------------------------------------------------------
def test_exact_search_reports_whose_fault_it_is(root, capsys) -> None:
    path = root / "exact.json"
    words = [
        str(root / "one"),
        "--split",
        "valid",
        "--strategy",
        "exact",
        "--max-output-length",
        "5",
        "--json",
        str(path),
    ]
    assert evaluate.main(words) == 0
    result = json.loads(path.read_text())
    assert (result["strategy"], result["beam_size"], result["length_penalty"]) == ("exact", 1, None)
    assert result["search_options"] == {"max_output_length": 5}
    report, printed = result["exact"], capsys.readouterr().out
    assert report["sentences"] == report["proven"] == result["sentences"] > 0
    assert report["model_errors"] >= report["empty"]
    assert f"exact search finished {report['proven']} of {report['proven']} sentences" in printed
    assert "where a beam of 1 missed what the model thinks likeliest" in printed


def test_the_report_of_exact_search() -> None:
    """Five sentences: right, missed, wrong, empty, given up."""

    def one(ids: tuple[int, ...], log_prob: float, proven: bool = True) -> Hypothesis:
        return Hypothesis(ids, log_prob, log_prob, proven=proven)

    exact = [one((4,), -1), one((5,), -1), one((6,), -1), one((), -1), one((9,), -1, False)]
    beam = [one((4,), -1), one((4,), -2), one((6,), -1), one((4,), -3), one((8,), -3)]
    report = search_report(exact, beam, [{(4,)}, {(7,), (5,)}, {(7,)}, {(4,)}, {(9,)}])
    assert report == {"sentences": 5, "proven": 4, "search_errors": 50.0, "model_errors": 50.0, "empty": 25.0}
    nothing = search_report(exact[4:], beam[4:], [{(9,)}])
    assert nothing == {"sentences": 1, "proven": 0, "search_errors": None, "model_errors": None, "empty": None}


def test_evaluate_says_how_it_searched(root, capsys) -> None:
    path = root / "sampled.json"
    words = [str(root / "one"), "--strategy", "sample", "--top-k", "2", "--replace-unk", "--json", str(path)]
    assert evaluate.main(words) == 0
    result = json.loads(path.read_text())
    assert result["search_options"] == {"top_k": 2, "replace_unk": True}
    assert "sentences, sample, top_k 2, replace_unk True" in capsys.readouterr().out


def test_evaluate_says_of_how_many_models(root, capsys) -> None:
    path = root / "together.json"
    assert evaluate.main([*(str(root / name) for name in ("one", "two")), "--json", str(path)]) == 0
    assert json.loads(path.read_text())["models"] == 2
    assert "sentences, greedy, 2 models together" in capsys.readouterr().out


# --- score ------------------------------------------------------------------------------------------------------------
def test_given_pairs_are_scored(root, capsys, translator) -> None:
    src, trg, figures = root / "src.txt", root / "trg.txt", root / "figures.json"
    targets = ["4 1 3", "", "5 6 x", "7"]
    src.write_text("".join(f"{line}\n" for line in SENTENCES))
    trg.write_text("".join(f"{line}\n" for line in targets))
    capsys.readouterr()
    assert score.main([str(root / "one"), "--src", str(src), "--trg", str(trg), "--json", str(figures)]) == 0
    lines = [[float(cell) for cell in line.split("\t")] for line in capsys.readouterr().out.splitlines()]
    scores = translator.score(SENTENCES, targets)
    for (log_prob, mean, perplexity, count), pair in zip(lines, scores, strict=True):
        assert log_prob == pytest.approx(pair.log_prob, abs=1e-4)
        assert (mean, count) == (pytest.approx(log_prob / count, abs=1e-4), len(pair.tokens))
        assert perplexity == pytest.approx(math.exp(-pair.log_prob / count), rel=1e-4)
    assert scores[2].tokens == ("5", "6", "<unk>", "<eos>")
    stored = json.loads(figures.read_text())
    assert (stored["pairs"], stored["target_tokens"]) == (4, 11)
    assert stored["perplexity"] == pytest.approx(math.exp(-stored["log_prob"] / 11))
    table = root / "pairs.tsv"
    table.write_text("".join(f"{s}\t{t}\n" for s, t in zip(SENTENCES, targets, strict=True)))
    assert score.main([str(root / "one"), "--data", str(table), "--tokens", "--batch-size", "1"]) == 0
    tokens = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(number, token) for number, token, _ in tokens][3:6] == [("1", "<eos>"), ("2", "<eos>"), ("3", "5")]
    assert [float(value) for *_, value in tokens] == [round(value, 4) for pair in scores for value in pair.log_probs]


WRONG = [
    (score, [], "data, src, trg: expected --data CORPUS.tsv, or --src FILE and --trg FILE"),
    (score, ["--src", "input.txt"], "data, src, trg: expected --data CORPUS.tsv, or --src FILE and --trg FILE"),
    (score, ["--data", "multi30k"], "--data is 'multi30k'; expected files as CORPUS.tsv (.csv,"),
    (score, ["--src", "input.txt", "--trg", "prefix.txt"], "input.txt has 4 lines, prefix.txt has 2; expected equal"),
    (translate, ["--input", "input.txt", "--prefix", "prefix.txt"], "prefix prefix.txt: has 2 lines; expected 4, as "),
    (translate, ["--input", "input.txt", "--prefix", "long.txt"], "prefixes: text 1 has 8 tokens; expected fewer than"),
    (translate, ["--input", "input.txt", "--forbidden-words", "7 x"], "forbidden_words: 'x' is not in the target voc"),
    (translate, ["--input", "input.txt", "--min-output-length", "9"], "min_output_length is 9; expected at most max_"),
    (translate, ["two", "--strategy", "beem"], "strategy is 'beem'; did you mean beam?"),
    (translate, ["--top-k", "3"], "top_k is an option of strategy sample; this search has strategy beam"),
    (evaluate, ["--strategy", "diverse-beam", "--beam-size", "5", "--diversity-groups", "2"], "diversity_groups is 2"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "words", "message"), WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_is_one_line(root, capsys, monkeypatch, command, words: list[str], message: str) -> None:
    monkeypatch.chdir(root)
    (root / "prefix.txt").write_text("1\n2\n")
    (root / "long.txt").write_text("1 2 3 4 5 6 7 8\n1\n1\n1\n")
    capsys.readouterr()
    assert command.main(["one", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: {message}")


def test_pairs_that_python_gives_are_checked(translator) -> None:
    with pytest.raises(UserError, match="score: got 2 sources and 1 target; expected equal numbers"):
        translator.score(["1", "2"], ["1"])
    with pytest.raises(UserError, match="score: got one string; expected a list of targets"):
        translator.score(["1"], "1")
    with pytest.raises(UserError, match="prefixes: there are 1; expected 2, one for each sentence"):
        translator.search(["1", "2"], prefixes=["1"])
    assert translator.score([], []) == []
