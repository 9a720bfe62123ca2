"""The commands at work: text from files and standard input, n-best lists, scores, gradient checks."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from seq2seq import Translator, metrics
from seq2seq.decoding import scorers
from seq2seq.models.contract import Decoder
from seq2seq.run.config import Config
from seq2seq.run.recipes import presets
from seq2seq.run.settings import parse
from seq2seq.sources import load_dataset

SENTENCES = ["1 2 3", "", "9 8 7 6 5", "   ", "0 0 7 x", "3 1 4 1"]


@pytest.fixture(scope="module")
def folder(trained_run: Callable[..., Path]) -> Path:
    """A run that has learned a little."""
    return trained_run(200, "--epochs", 15, "--dropout", 0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.txt"
    path.write_text("".join(f"{sentence}\n" for sentence in SENTENCES))
    return path


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch):
    """stdin(bytes): what the command reads from standard input."""
    return lambda data: monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_line_in_a_line_out(run, folder, source, tmp_path, beam_size) -> None:
    expected = Translator.load(folder).translate(SENTENCES, beam_size)
    assert len(set(expected)) >= 4, "the model says too little to compare"
    result = run("translate", folder, "--input", source, "--beam-size", beam_size)
    assert result == (0, "".join(f"{line}\n" for line in expected), "")
    output = tmp_path / "out.txt"
    assert run("translate", folder, "--input", source, "--output", output, "--beam-size", beam_size) == (0, "", "")
    assert output.read_text() == result.out
    assert run("translate", folder, "--input", source, "--batch-size", 2, "--beam-size", beam_size) == result


def test_standard_input_and_gzip(run, folder, source, stdin, tmp_path) -> None:
    expected = run("translate", folder, "--input", source).out
    stdin(source.read_bytes())
    assert run("translate", folder) == (0, expected, "")
    packed = tmp_path / "source.txt.gz"
    packed.write_bytes(gzip.compress(source.read_bytes().replace(b"\n", b"\r\n")))
    assert run("translate", folder, "--input", packed).out == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"1 2\n\xff\n", "standard input:2: invalid UTF-8"),
        (b"1 2\n3\n" + b"1 " * 500_000, "standard input:3: line is longer than 100,000 bytes"),
        (b"eins zwei\n", "standard input: none of its 2 words is in the source vocabulary"),
    ],
    ids=["UTF-8", "megabyte", "unknown words"],
)
def test_bad_standard_input(run, folder, stdin, data, message) -> None:
    stdin(data)
    result = run("translate", folder)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith(f"error: {message}")


def test_no_lines_in_no_lines_out(run, folder, stdin, tmp_path) -> None:
    stdin(b"")
    assert run("translate", folder) == (0, "", "")
    empty, output = tmp_path / "empty.txt", tmp_path / "out.txt"
    empty.write_bytes(b"")
    assert run("translate", folder, "--input", empty, "--output", output, "--n-best", 2, "--beam-size", 2).code == 0
    assert output.read_bytes() == b""
    packed = tmp_path / "empty.gz"
    packed.write_bytes(gzip.compress(b""))
    assert run("translate", folder, "--input", packed) == (0, "", "")


def test_only_empty_lines(run, folder, stdin) -> None:
    stdin(b"\n\n")
    result = run("translate", folder)
    assert result == (0, "\n\n", "")


@pytest.mark.parametrize(("beam_size", "n_best"), [(1, 1), (4, 1), (4, 3)])
def test_empty_lines_are_translated_without_the_model(folder, monkeypatch, beam_size, n_best) -> None:
    translator, seen = Translator.load(folder), []
    encode = scorers.encode
    monkeypatch.setattr(
        scorers, "encode", lambda model, sources, *a: seen.extend(sources) or encode(model, sources, *a)
    )
    found = translator.search(["", "1 2 3", " \t ", "9 8"], beam_size, n_best=n_best)
    assert [[h.ids for h in found[i]] for i in (0, 2)] == [[()], [()]]
    assert len(seen) == 2
    assert found[1::2] == translator.search(["1 2 3", "9 8"], beam_size, n_best=n_best)
    assert translator.translate(["", "  "], beam_size) == ["", ""]


def test_n_best_lines_have_number_score_and_text(run, folder, source) -> None:
    result = run("translate", folder, "--input", source, "--beam-size", 5, "--n-best", 3, "--length-penalty", 0.5)
    translator = Translator.load(folder)
    found = translator.search(SENTENCES, 5, 0.5, n_best=3)
    expected = [
        f"{number}\t{hypothesis.score:.4f}\t{translator.codec.decode(hypothesis.ids)}"
        for number, hypotheses in enumerate(found, start=1)
        for hypothesis in hypotheses
    ]
    assert result.out.splitlines() == expected
    counts = {1: 3, 2: 1, 3: 3, 4: 1, 5: 3, 6: 3}  # an empty line has one translation
    assert [line.split("\t")[0] for line in expected] == [str(n) for n, count in counts.items() for _ in range(count)]


def test_the_last_checkpoint_can_be_chosen(run, folder, source) -> None:
    expected = Translator.load(folder, "last").translate(SENTENCES)
    assert run("translate", folder, "--input", source, "--checkpoint", "last").out.splitlines() == expected


def test_a_named_pipe_is_written_to_and_not_replaced(run, folder, source, tmp_path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run("translate", folder, "--input", source, "--output", pipe).code == 0
        assert pipe.is_fifo()
        assert os.read(reader, 100_000).decode() == run("translate", folder, "--input", source).out
    finally:
        os.close(reader)


def test_evaluate_prints_scores_with_signatures_and_writes_json(run, folder, tmp_path) -> None:
    path = tmp_path / "scores.json"
    result = run("evaluate", folder, "--json", path, "--beam-size", 2)
    scores = json.loads(path.read_text())
    assert (result.code, result.err) == (0, "")
    for name in ("loss", "ppl_forced", "ppl_free", "exact_match", "bleu", "chrf", "bleu_tokens"):
        assert f"  {name:12} {scores[name]:9.3f}" in result.out
    assert all(signature in result.out for signature in scores["signatures"].values())
    assert "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp" in scores["signatures"]["bleu"]
    pairs = load_dataset(json.loads((folder / "config.json").read_text())["data"]).split("valid")
    translations = Translator.load(folder).translate([src for src, _ in pairs], beam_size=2)
    assert scores["sentences"] == len(pairs)
    assert scores["chrf"] == pytest.approx(metrics.chrf(translations, [(trg,) for _, trg in pairs], False).value)


def test_evaluate_prints_the_metrics_that_are_asked_for(run, folder, tmp_path) -> None:
    path, names = tmp_path / "scores.json", ("wer", "exact_match", "rougeL", "bleu_tokens", "bleu")
    result = run("evaluate", folder, "--json", path, "--metrics", ", ".join(names))
    scores = json.loads(path.read_text())
    assert tuple(scores["signatures"]) == names
    assert "chrf" not in scores
    lines = [line.split() for line in result.out.splitlines() if "case:" in line]
    assert lines == [[name, f"{scores[name]:.3f}", scores["signatures"][name]] for name in names]
    references = [
        (trg,) for _, trg in load_dataset(json.loads((folder / "config.json").read_text())["data"]).split("valid")
    ]
    run("evaluate", folder, "--json", path)
    before = json.loads(path.read_text())
    assert [scores[name] for name in names[1::2]] == [before[name] for name in names[1::2]]
    texts = Translator.load(folder).translate([trg[::-1] for (trg,) in references])
    assert scores["wer"] == pytest.approx(metrics.WordErrorRate().score(texts, references).value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("bleu,rogue1", "metrics: there is no 'rogue1'; did you mean rouge1?"),
        ("meaning", "metrics: there is no 'meaning'; expected some of bleu, chrf, ter, exact_match, wer, cer"),
        ("ter,ter", "metrics is 'ter,ter'; expected each once"),
        ("bleu,", "metrics: there is no ''; expected some of bleu, chrf"),
    ],
)
def test_a_metric_that_there_is_not(run, folder, names, message) -> None:
    result = run("evaluate", folder, "--metrics", names)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith(f"error: {message}")


def test_evaluate_scores_other_files_and_splits(run, folder, tmp_path) -> None:
    src, trg, path = tmp_path / "a.xx", tmp_path / "b.xx", tmp_path / "scores.json"
    translations = Translator.load(folder).translate(["1 2 3", "4 5 6"])
    src.write_text("1 2 3\n4 5 6\n")
    trg.write_text("".join(f"{line}\n" for line in translations))
    run("evaluate", folder, "--test", f"{src},{trg}", "--json", path)
    scores = json.loads(path.read_text())
    assert (scores["exact_match"], scores["chrf"], scores["sentences"]) == (100, pytest.approx(100), 2)
    assert run("evaluate", folder, "--split", "train", "--json", path).code == 0
    assert json.loads(path.read_text())["sentences"] == 196


def test_validation_figures_of_the_run_are_those_of_evaluate(run, folder, tmp_path) -> None:
    path = tmp_path / "scores.json"
    run("evaluate", folder, "--checkpoint", "last", "--json", path)
    scores = json.loads(path.read_text())
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    for theirs, ours in (
        ("val_loss", "loss"),
        *((name, name) for name in ("ppl_forced", "ppl_free", "bleu", "exact_match")),
    ):
        assert scores[ours] == pytest.approx(last[theirs], rel=1e-5), ours


def test_a_translator_takes_a_list(folder) -> None:
    translator = Translator.load(folder)
    assert translator.translate([]) == []
    with pytest.raises(TypeError, match="translate: got one string; expected a list of sentences"):
        translator.translate("1 2 3")


def test_gradcheck_of_a_users_model(run, tmp_path, count_case) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("embedding_size: 4\nhidden_size: 5\nnum_layers: 2\ndropout: 0.3\nlabel_smoothing: 0.1\n")
    result = run("gradcheck", "--config", path)
    rows = [line.split() for line in result.out.splitlines()[1:]]
    assert (result.code, result.err) == (0, "")
    assert {row[0] for row in rows[1:]} >= {
        "encoder.embedding.weight",
        "decoder.rnn.weight_hh_l1",
        "decoder.fc_out.bias",
    }
    assert rows[0][:2] == ["all", "parameters"]
    for row in rows:
        assert row[-1] == "pass"
        assert 0 < float(row[-2]) <= 1e-6
        count_case()


def test_gradcheck_fails_for_a_wrong_gradient(run, monkeypatch, tmp_path) -> None:
    right = Decoder.loss
    monkeypatch.setattr(Decoder, "loss", lambda self, x, *others: right(self, x, *others) + 0.01 * x.detach().sum())
    result = run("gradcheck", "--embedding-size", 4, "--hidden-size", 4, "--num-layers", 1, "--init-range", 1)
    assert result.code == 1
    assert "FAIL" in result.out


def test_settings_rise_from_default_to_preset_to_file_to_command_line(tmp_path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("batch_size: 99\nlr: 0.5\n")
    assert parse(["--data", "x.tsv"]) == Config(data="x.tsv")
    preset = Config(data="numbers", **presets()["numbers"])
    assert parse([]) == parse(["--data", "numbers"]) == preset
    config = parse(["--config", str(path), "--lr", "0.25"])
    assert (config.batch_size, config.lr, config.hidden_size) == (99, 0.25, preset.hidden_size)
    assert parse(["--lr", "0.25", "--config", str(path)]) == config, "the order of the options does not matter"
    path.write_text('{"lr": 1e-3,\n\t"dropout": 0, "lower": true, "max_steps": null}')
    config = parse(["--config", str(path)])
    assert (config.lr, config.dropout, config.lower, config.max_steps) == (0.001, 0.0, True, None)
    path.write_text("data: scan\n")
    assert parse(["--config", str(path)]) == Config(data="scan", **presets()["scan"])


def test_help_explains_every_setting(run, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        run("train", "--help")
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in ("feed the source backwards", "--hidden-size", "passes over the training data", "YAML or JSON file"):
        assert words in text
