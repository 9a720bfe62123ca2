"""What a person sees of a run: samples after each epoch, bars, TensorBoard's files, translations line by line."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from seq2seq import Translator
from seq2seq import translate as translate_command
from seq2seq.run import bars
from seq2seq.training import samples, tracking
from tests.seq2seq.checkpoints import assert_same_checkpoint


@pytest.fixture(scope="module")
def folder(trained_run: Callable[..., Path]) -> Path:
    """A run, hardly trained."""
    return trained_run(70, "--epochs", 1)


def test_the_same_sentences_after_each_epoch(train, run, corpus, history) -> None:
    folder = train("run", "--epochs", 2)
    records = samples.read(folder / "samples.jsonl")
    assert [(record["step"], record["epoch"]) for record in records] == [(9, 0), (18, 1)]
    pairs = dict(line.split("\t") for line in corpus.read_text().splitlines())
    first, last = ([each["source"] for each in record["samples"]] for record in records)
    assert first == last
    assert len(first) == 2  # the validation split has no more
    assert all(each["reference"] == pairs[each["source"]] for each in records[0]["samples"])
    said = [each["hypothesis"] for each in records[1]["samples"]]
    assert said == Translator.load(folder, "last").translate(last)
    result = run("train", "--run-dir", folder, "--resume", "--epochs", 3)
    for each in samples.read(folder / "samples.jsonl")[-1]["samples"]:
        assert "\n".join(samples.lines_of(each)) in result.out


def test_how_many_samples(train, history) -> None:
    none = train("none", "--epochs", 1, "--samples", 0)
    assert not (none / "samples.jsonl").exists()
    one = train("one", "--epochs", 1, "--samples", 1)
    assert [len(record["samples"]) for record in samples.read(one / "samples.jsonl")] == [1]
    assert history(one) == history(none)
    assert_same_checkpoint(one, none, "last", "model", "optimizer")


def test_samples_of_steps_that_are_taken_again_are_dropped(train, run) -> None:
    folder = train("run", "--epochs", 1)
    path = folder / "samples.jsonl"
    later = {"step": 18, "epoch": 1, "samples": []}
    path.write_text(path.read_text() + json.dumps(later) + '\n{"step": 1\n')
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 2).code == 0
    assert [record["step"] for record in samples.read(path)] == [9, 18]
    assert samples.read(path)[-1]["samples"]


def test_lines_of_a_sample() -> None:
    sample = {"source": "a", "reference": "b", "hypothesis": "c"}
    assert samples.lines_of(sample) == ["  a", "    = c", "    (reference: b)"]
    assert samples.lines_of({**sample, "hypothesis": "b"}) == ["  a", "    = b"]


# --- TensorBoard ------------------------------------------------------------------------------------------------------
def test_figures_for_tensorboard(train, run, history) -> None:
    """What stands in the event files, read by the reader that tensorboardX brings, is what stands in the log."""
    pytest.importorskip("tensorboardX")
    from tensorboardX.event_file_writer import EventFileWriter  # noqa: F401  (the format below is its)
    from tensorboardX.proto.event_pb2 import Event

    folder = train("run", "--epochs", 1, "--tensorboard", "true")
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 2).code == 0
    found: dict[str, dict[int, float]] = {}
    texts = 0
    for path in sorted((folder / "tensorboard").iterdir(), key=lambda path: path.stat().st_mtime_ns):
        data, at = path.read_bytes(), 0
        while at < len(data):  # length (8 bytes), its checksum (4), the event, its checksum (4)
            length = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += length + 16
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, {})[event.step] = value.simple_value
                texts += value.tag.startswith("samples")
    records = history(folder)
    for kind, key in (("train", "loss"), ("valid", "val_loss"), ("train", "lr")):
        expected = {record["step"]: record[key] for record in records if key in record}
        assert found[f"{kind}/{key}"] == pytest.approx(expected, rel=1e-6)
    assert texts == 2


def test_without_tensorboardx_a_line_says_how_to_get_it(refused, options, corpus, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    message = f"tensorboard: tensorboardX is not installed; {tracking.INSTALL_TRACK}"
    refused(message, "train", *options(corpus, tmp_path / "run"), "--tensorboard", "true")


# --- bars -------------------------------------------------------------------------------------------------------------
class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_where_somebody_looks(monkeypatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert bars.bar(3, "step") is None
    monkeypatch.setattr(bars, "is_notebook", lambda: True)
    shown = bars.bar(3, "step")
    assert shown is not None
    shown.close()
    monkeypatch.setattr(bars, "is_notebook", lambda: False)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with bars.counting(4, "sentence") as count:
        count(3)
    assert "0/4" in terminal.getvalue()
    counted = SimpleNamespace(n=0, close=lambda: None)
    counted.update = lambda done: setattr(counted, "n", counted.n + done)
    monkeypatch.setattr(bars, "bar", lambda total, unit: counted)
    with bars.counting(4, "sentence") as count:
        count(3)
        count(1)
    assert (counted.n, counted.leave) == (4, False)


def test_translating_shows_a_bar_on_a_terminal_alone(folder, run, tmp_path, monkeypatch) -> None:
    source = tmp_path / "source.txt"
    source.write_text("1 2 3\n\n4 5\n" * 40)
    plain = run("translate", folder, "--input", source)
    assert plain.err == ""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert translate_command.main([str(folder), "--input", str(source), "--output", str(tmp_path / "out")]) == 0
    assert "0/80" in terminal.getvalue()
    assert (tmp_path / "out").read_text() == plain.out


# --- line by line -----------------------------------------------------------------------------------------------------
def test_a_line_is_translated_as_soon_as_it_comes(folder, spawn) -> None:
    """The next line is written to the pipe only when the translation of the one before is there."""
    sentences = ["1 2 3", "", "4 5 x", "9 9 9 9"]
    expected = Translator.load(folder).translate(sentences)
    child = spawn("translate", folder, "--stream", stdin=subprocess.PIPE)
    for sentence, translation in zip(sentences, expected, strict=True):
        child.stdin.write(f"{sentence}\n")
        child.stdin.flush()
        assert child.stdout.readline() == f"{translation}\n"
    assert child.communicate(timeout=60) == ("", "")
    assert child.returncode == 0


def test_numbers_of_lines_go_on(folder, run, monkeypatch) -> None:
    words = ["translate", folder, "--n-best", 2, "--beam-size", 2]
    for more in ([], ["--stream"]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf1 2\n3\n4 4 4\n")))
        result = run(*words, *more)
        assert result.code == 0
        numbers = [line.split("\t")[0] for line in result.out.splitlines()]
        assert numbers == ["1", "1", "2", "2", "3", "3"]
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"1 2\n3\n\xff\n")))
        assert run(*words, *more).err.startswith("error: standard input:3: invalid UTF-8")


def test_a_terminal_is_answered_line_by_line(folder, monkeypatch, capsys) -> None:
    controller, terminal = pty.openpty()
    os.write(controller, b"1 2 3\n\x04")
    with os.fdopen(terminal, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        capsys.readouterr()
        assert translate_command.main([str(folder)]) == 0
    os.close(controller)
    assert capsys.readouterr().out == Translator.load(folder).translate(["1 2 3"])[0] + "\n"


@pytest.mark.parametrize("words", [["--input", "x"], ["--output", "x"], ["--prefix", "x"]])
def test_what_cannot_be_streamed(folder, refused, words) -> None:
    message = "stream: reads standard input and writes standard output; expected no"
    refused(message, "translate", folder, "--stream", *words)
