"""Progress may be lost, results may not: closed, full and vanished terminals, logs and outputs."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minigrad.serialization import from_bytes
from seq2seq.decoding.translator import Translator
from seq2seq.run import checkpoint
from seq2seq.run.config import Config
from seq2seq.run.streams import check_output
from seq2seq.sources.specs import files_named
from seq2seq.training.metrics_log import MetricsLog
from seq2seq.training.tracking import Tracker

EPOCHS = 2


@pytest.fixture
def folder(train) -> Path:
    return train("run", "--epochs", 1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.txt"
    path.write_text("1 2 3\n9 8 7\n")
    return path


@pytest.fixture
def untouched(monkeypatch) -> None:
    """No model is loaded: what is wrong is told before the work."""

    def load(*arguments: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr(Translator, "load", load)


def assert_whole(folder: Path, whole: Path, history) -> None:
    assert history(folder) == history(whole)
    assert checkpoint.path_of(folder, "last").read_bytes() == checkpoint.path_of(whole, "last").read_bytes()


def shell(words: list[object], redirection: str) -> subprocess.CompletedProcess[str]:
    command = " ".join(f"'{word}'" for word in [sys.executable, "-m", *words])
    return subprocess.run(["bash", "-c", f"{command} {redirection}"], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", ">/dev/full 2>&1", ">&- 2>&-", "| true", "2>/dev/full"])
def test_no_step_is_lost_for_a_log_that_cannot_be_written(train, options, corpus, tmp_path, history, redirection):
    whole, folder = train("whole", "--epochs", EPOCHS), tmp_path / "run"
    result = shell(["seq2seq.train", *options(corpus, folder), "--epochs", EPOCHS], redirection)
    assert (result.returncode, result.stderr) == (0, "")
    assert_whole(folder, whole, history)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_each_signal_that_ends_a_process_saves(spawn, options, corpus, tmp_path, number) -> None:
    folder = tmp_path / "run"
    child = spawn("train", *options(corpus, folder), "--epochs", 900)
    wait_for_lines(folder, 12, child)
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (130, "")
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert from_bytes(checkpoint.path_of(folder, "last").read_bytes())["progress"]["step"] == log[-1]["step"] >= 10


def test_a_process_told_to_ignore_the_end_of_its_terminal_goes_on(spawn, options, corpus, tmp_path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    folder = tmp_path / "run"
    child = spawn("train", *options(corpus, folder), "--epochs", 4, preexec_fn=ignore)
    wait_for_lines(folder, 3, child)
    child.send_signal(signal.SIGHUP)
    assert child.communicate(timeout=60)[1] == ""
    assert child.returncode == 0


def test_a_terminal_that_vanishes_costs_nothing(options, corpus, tmp_path) -> None:
    """The master side is closed: writing fails from then on, and the process is told by SIGHUP."""
    folder = tmp_path / "run"
    words = [sys.executable, "-m", "seq2seq.train", *options(corpus, folder), "--epochs", "900"]
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, words)
    wait_for_lines(folder, 12, None)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert from_bytes(checkpoint.path_of(folder, "last").read_bytes())["progress"]["step"] == log[-1]["step"] >= 10


def wait_for_lines(folder: Path, count: int, child: subprocess.Popen[str] | None) -> None:
    for _ in range(6000):
        log = folder / "metrics.jsonl"
        if log.exists() and log.read_text().count("\n") >= count:
            return
        assert child is None or child.poll() is None, child.communicate()
        time.sleep(0.01)
    pytest.fail("the process makes no progress")


class FullFile:
    """A file on a disk that is full for a while."""

    def __init__(self, file) -> None:
        self.file, self.full, self.fileno, self.close = file, False, file.fileno, file.close

    def write(self, data: bytes) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return self.file.write(data[: max(len(data) // 2, 1)])


def test_lines_of_the_log_wait_until_there_is_room(folder, history, capsys) -> None:
    log = MetricsLog(folder, 100, Tracker(Config(), folder, 100))
    log._file = FullFile(log._file)
    before = history(folder)
    log.write({"step": 101, "loss": 1.0})
    log._file.full = True
    for step in (102, 103):
        log.write({"step": step, "loss": float("nan")})
    assert capsys.readouterr().out.count("No space left on device; the training goes on") == 1
    assert len(history(folder)) == len(before) + 1
    log._file.full = False
    log.write({"step": 104})
    entry = log.sync()
    log.close()
    assert history(folder) == [*before, {"step": 101, "loss": 1.0}, *({"step": s, "loss": None} for s in (102, 103)),
                               {"step": 104}]  # fmt: skip
    assert entry["bytes"] == (folder / "metrics.jsonl").stat().st_size


def test_a_log_that_stays_full_costs_its_lines_alone(run, folder, monkeypatch) -> None:
    import seq2seq.training.trainer as trainer

    class Full(MetricsLog):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            self._file = FullFile(self._file)
            self._file.full = True

    monkeypatch.setattr(trainer, "MetricsLog", Full)
    result = run("train", "--run-dir", folder, "--resume", "--epochs", 2)
    assert result.code == 2
    assert (
        result.err
        == f"error: {folder}/metrics.jsonl: No space left on device; its last 10 lines are lost, nothing else\n"
    )
    monkeypatch.undo()
    assert "going on after step 18 of 18" in run("train", "--run-dir", folder, "--resume").out


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "| true"])
def test_figures_that_cannot_be_printed_are_an_error(folder, tmp_path, redirection) -> None:
    pipeline = f"{redirection}; exit ${{PIPESTATUS[0]}}"
    result = shell(["seq2seq.evaluate", folder], pipeline)
    assert result.returncode == 2
    assert result.stderr.startswith("error: standard output")
    assert result.stderr.count("\n") == 1
    result = shell(["seq2seq.evaluate", folder, "--json", tmp_path / "f.json"], pipeline)
    assert json.loads((tmp_path / "f.json").read_text())["sentences"] == 2
    assert result.returncode == (0 if redirection == ">&-" else 2)
    if result.returncode:
        assert result.stderr.endswith(f"; the figures are in {tmp_path / 'f.json'}\n")


def test_translations_that_cannot_be_written_are_an_error(folder, source) -> None:
    result = shell(["seq2seq.translate", folder, "--input", source], ">/dev/full")
    assert (result.returncode, result.stderr) == (2, "error: standard output: No space left on device\n")
    result = shell(["seq2seq.translate", folder, "--input", source, "--output", "/dev/full"], "")
    assert (result.returncode, result.stderr) == (2, "error: /dev/full: No space left on device\n")


def test_an_output_follows_its_link_and_keeps_its_mode(run, folder, source, tmp_path) -> None:
    for command, option in ((("translate", folder, "--input", source), "--output"), (("evaluate", folder), "--json")):
        target, link = tmp_path / "kept" / option, tmp_path / f"link{option}"
        target.parent.mkdir(exist_ok=True)
        target.write_text("old")
        target.chmod(0o600)
        link.symlink_to(target)
        assert run(*command, option, link).code == 0
        assert link.is_symlink()
        assert target.stat().st_mode & 0o7777 == 0o600
        assert target.read_text() != "old"


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("command", "option"), [("translate", "--output"), ("evaluate", "--json")])
def test_an_output_that_cannot_be_written_is_told_before_the_work(refused, folder, tmp_path, command, option) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    name = option[2:]
    refused(f"{name} {tmp_path}: Is a directory; expected a file to write", command, folder, option, tmp_path)
    refused(f"{name} {tmp_path}/no/file: No such file", command, folder, option, tmp_path / "no" / "file")
    refused(f"{name} {tmp_path}/loop: ", command, folder, option, tmp_path / "loop")
    refused(f"{name} {folder}/config.json/x: ", command, folder, option, folder / "config.json" / "x")
    refused(f"{name} /proc/x: ", command, folder, option, "/proc/x")
    for file in ("config.json", "manifest.json", "metrics.jsonl", "checkpoints/last.safetensors"):
        refused(f"{name} {folder / file}: is a file that is read", command, folder, option, folder / file)
    link = tmp_path / "link"
    link.symlink_to(folder / "text.json")
    refused(f"{name} {link}: is a file that is read", command, folder, option, link)


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("translate RUN --input FILE", "--output"), ("translate RUN --input FILE", "--explain"),
        ("translate RUN --prefix FILE", "--output"), ("score RUN --data FILE", "--output"),
        ("score RUN --data FILE", "--json"), ("score RUN --src FILE --trg other", "--output"),
        ("evaluate RUN --test FILE", "--json"), ("evaluate RUN --test FILE", "--html"), ("encode RUN FILE", "--output"),
        ("inspect FILE", "--json"), ("inspect other --test FILE", "--html"),
    ],
)  # fmt: skip
def test_no_command_writes_over_what_it_reads(refused, folder, tmp_path, command, output) -> None:
    pairs, link = tmp_path / "pairs.tsv", tmp_path / "link"
    pairs.write_text("a\tb\n")
    link.symlink_to(pairs)
    words = [{"RUN": folder, "FILE": pairs}.get(word, word) for word in command.split()]
    for target in (pairs, link):
        refused(f"{output[2:]} {target}: is a file that is read", *words, output, target)
    assert pairs.read_text() == "a\tb\n"


@pytest.mark.parametrize("spec", ["pairs.tsv,text.de,text.en", "text.de,text.en,pairs.tsv", "texts.zip/pairs.tsv"])
def test_what_is_read_is_known_within_a_specification(tmp_path, monkeypatch, spec) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pairs.tsv", "text.de", "text.en", "texts.zip"):
        Path(name).touch()
    expected = {"texts.zip"} if ".zip" in spec else {"pairs.tsv", "text.de", "text.en"}
    assert {str(path) for path in files_named(spec, None, "-", "numbers", "no/file", "a\0b", "x" * 5000)} == expected


def test_checking_an_output_changes_nothing(tmp_path) -> None:
    path = tmp_path / "out"
    check_output(str(path), "output")
    assert list(tmp_path.iterdir()) == []
    path.write_text("kept")
    before = path.stat()
    check_output(str(path), "output")
    assert (path.read_text(), path.stat().st_mtime_ns) == ("kept", before.st_mtime_ns)
    assert list(tmp_path.iterdir()) == [path]
