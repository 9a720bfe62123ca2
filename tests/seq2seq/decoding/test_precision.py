"""--precision: what is decoded in bfloat16, float16 and int8, by default and when asked, and what evaluate says."""

from __future__ import annotations

import json

import pytest

from seq2seq import Translator
from seq2seq.run.errors import UserError

SENTENCES = ["1 2 3", "9 8 7 6 5", "", "4 4 0", "3 1 4 1"]


@pytest.fixture
def folder(train):
    """A run in fp32 that has seen a little."""
    return train("fp32", "--epochs", 3, "--dropout", 0)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.txt"
    path.write_text("".join(f"{sentence}\n" for sentence in SENTENCES))
    return path


def log_probs(translator: Translator) -> list[float]:
    return [best.log_prob for (best,) in translator.search(SENTENCES, beam_size=3)]


def test_a_translator_rounds_when_asked_and_as_in_training(run, folder, source) -> None:
    default, exact, rounded = (Translator.load(folder, precision=precision) for precision in (None, "fp32", "bf16"))
    assert log_probs(default) == log_probs(exact)
    assert log_probs(rounded) != log_probs(exact)
    assert log_probs(rounded) == pytest.approx(log_probs(exact), rel=0.02)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "precision": "bf16"}))
    assert run("translate", folder, "--input", source, "--accept-changes").code == 0
    assert log_probs(Translator.load(folder)) == log_probs(rounded)
    assert log_probs(Translator.load(folder, precision="fp32")) == log_probs(exact)


def test_translate_in_bf16(run, folder, source) -> None:
    found = Translator.load(folder, precision="bf16").search(SENTENCES, 3, n_best=2)
    expected = [f"{number}\t{h.score:.4f}" for number, several in enumerate(found, start=1) for h in several]
    result = run("translate", folder, "--input", source, "--precision", "bf16", "--beam-size", 3, "--n-best", 2)
    assert (result.code, result.err) == (0, "")
    assert [line.rpartition("\t")[0] for line in result.out.splitlines()] == expected


@pytest.mark.parametrize("form", ["f16", "int8"])
def test_a_run_in_another_form_is_the_file_of_that_form(run, folder, tmp_path, form) -> None:
    path = tmp_path / "model.seq2seq"
    assert run("export", folder, "--to", path, "--weights", form).code == 0
    exact, rounded, file = Translator.load(folder), Translator.load(folder, precision=form), Translator.load(path)
    assert (rounded.precision, file.precision) == (form, form)
    assert log_probs(rounded) == log_probs(file) != log_probs(exact)
    in_fp32 = Translator.load(path, precision="fp32")
    assert in_fp32.translate(SENTENCES, beam_size=3) == file.translate(SENTENCES, beam_size=3)
    assert log_probs(file) == pytest.approx(log_probs(in_fp32), rel=1e-4)
    assert log_probs(Translator.ensemble([file, in_fp32])) == pytest.approx(log_probs(file), rel=1e-4)


def test_weights_in_one_form_are_not_taken_for_another(run, folder, tmp_path, refused, source) -> None:
    path = tmp_path / "model.seq2seq"
    assert run("export", folder, "--to", path, "--weights", "int8").code == 0
    message = "precision is 'f16'; expected fp32, bf16 or int8 for a run in fp32 on the cpu"
    refused(message, "translate", path, "--input", source, "--precision", "f16")
    with pytest.raises(UserError, match=r"precision is 'int8'; the weights are not; expected it for Translator\.load"):
        Translator.load(folder).in_precision("int8")


def test_evaluate_says_how_it_changes_bleu(run, folder, tmp_path) -> None:
    figures = {}
    for precision in ("fp32", "int8", "bf16"):
        path = tmp_path / f"{precision}.json"
        result = run("evaluate", folder, "--split", "train", "--precision", precision, "--json", path)
        assert (result.code, result.err) == (0, "")
        figures[precision] = json.loads(path.read_text())
        assert figures[precision]["precision"] == precision
    assert figures["fp32"]["bleu_fp32"] is None
    assert figures["int8"]["bleu_fp32"] == figures["bf16"]["bleu_fp32"] == figures["fp32"]["bleu"]
    assert ", greedy, bf16" in result.out
    change = figures["bf16"]["bleu"] - figures["fp32"]["bleu"]
    assert f"  bleu_fp32    {figures['fp32']['bleu']:9.3f}   bf16 changes it by {change:+.3f}" in result.out


def test_a_run_in_fp64_has_no_other_precision(train, refused, source) -> None:
    folder = train("fp64", "--epochs", 1, "--precision", "fp64")
    assert len(Translator.load(folder).translate(SENTENCES)) == len(SENTENCES)
    for precision in ("fp32", "bf16"):
        message = f"precision is {precision!r}; expected fp64 for a run in fp64 on the cpu"
        with pytest.raises(UserError, match=message):
            Translator.load(folder, precision=precision)
        refused(message, "translate", folder, "--input", source, "--precision", precision)
        refused(message, "evaluate", folder, "--precision", precision)


def test_an_unknown_precision_is_refused(folder, refused) -> None:
    with pytest.raises(
        UserError, match="precision is 'int3'; expected fp32, bf16, f16 or int8 for a run in fp32 on the cpu"
    ):
        Translator.load(folder, precision="int3")
    refused("argument --precision: invalid choice: 'int3'", "translate", folder, "--precision", "int3")
