"""The folder of a run: one process at a time, nothing of anybody else's touched, whole at every moment."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seq2seq.run import checkpoint, manifest
from seq2seq.run.cli import command_line
from seq2seq.run.errors import UserError
from seq2seq.run.locking import locked

FOREIGN = {
    "a document": "thesis.tex",
    "a hidden temporary file": ".thesis.docx.tmp",
    "a temporary file of a checkpoint": ".last.safetensors.tmp",
    "settings": "config.json",
    "a log": "metrics.jsonl",
    "text": "text.json",
    "a manifest": "manifest.json",
    "a folder": "notes/deep/.x.tmp",
    "a checkpoint folder": "checkpoints/.best.safetensors.old.tmp",
    "best weights": "checkpoints/best.safetensors",
    "last weights": "checkpoints/last.safetensors",
    "a lock of something else": "lock",
    "a git repository": ".git/HEAD",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_that_holds_something_is_refused(refused, options, corpus, tmp_path, name) -> None:
    path = tmp_path / "run" / FOREIGN[name]
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    refused(f"run_dir {tmp_path / 'run'} holds ", "train", *options(corpus, tmp_path / "run"))


def test_folders_of_temporary_names_and_files_below_stay(train, run, tmp_path) -> None:
    folder = train("run", "--epochs", 1)
    others = [folder / ".cache.tmp" / "x", folder / "sub" / ".thesis.docx.tmp", folder / ".notes.tmp"]
    others += [folder / "checkpoints" / ".last.safetensors.abc.tmp", folder / "checkpoints" / ".best.safetensors.tmp"]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    others.pop()  # its very name is the program's own
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 2).code == 0
    assert all(path.read_text() == "mine" for path in others)


def test_what_a_killed_save_left_is_swept(train, run) -> None:
    folder = train("run", "--epochs", 1)
    left = [folder / "checkpoints" / ".last.safetensors.tmp", folder / ".manifest.json.tmp"]
    for path in left:
        path.write_bytes(b"half")
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 2).code == 0
    assert not any(path.exists() for path in left)


def test_a_run_may_be_a_link_and_its_checkpoints_lie_elsewhere(train, run, tmp_path, history) -> None:
    whole = train("whole", "--epochs", 2)
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    folder = train("link", "--epochs", 1)
    last = checkpoint.path_of(folder, "last")
    last.rename(tmp_path / "big")
    last.symlink_to(tmp_path / "big")
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 2).code == 0
    assert last.is_symlink()
    assert folder.is_symlink()
    assert last.read_bytes() == checkpoint.path_of(whole, "last").read_bytes()
    assert history(folder) == history(whole)


def test_best_weights_without_the_last_are_not_overwritten(refused, train, options, corpus) -> None:
    folder = train("run", "--epochs", 1)
    checkpoint.path_of(folder, "last").unlink()
    refused(f"run_dir {folder} holds ", "train", *options(corpus, folder))
    refused(f"{checkpoint.path_of(folder, 'last')}: missing", "train", "--run-dir", folder, "--resume")


DYING = """
import os, sys
from seq2seq import train
from seq2seq.run import checkpoint, config_file, manifest
from seq2seq.text import codec as text
count, write = int(sys.argv[1]), manifest.replace_run_file

def dying(path, data):
    global count
    write(path, data)
    count -= 1
    if count == 0:
        (path.parent / f".{path.name}.tmp").write_bytes(b"half")
        os._exit(9)

for module in (manifest, text, config_file, checkpoint):
    module.replace_run_file = dying
train.main(sys.argv[2:])
"""


def test_a_start_that_was_cut_off_is_started_again(train, run, options, corpus, tmp_path) -> None:
    """Killed after each of its writes: a new start takes its place, until the run stands and can be resumed."""
    whole, folder = train("whole", "--epochs", 1), tmp_path / "run"
    words = [*options(corpus, folder), "--epochs", "1"]
    for number in range(1, 6):
        result = subprocess.run([sys.executable, "-c", DYING, str(number), *words], capture_output=True, check=False)
        assert result.returncode == 9, result.stderr
        if number < 5:
            with pytest.raises(UserError, match="start was cut off"):
                manifest.read(folder)
    assert run("train", *words).err.startswith(f"error: run_dir {folder} holds a run already")
    assert run("train", "--run-dir", folder, "--resume").code == 0
    assert checkpoint.path_of(folder, "last").read_bytes() == checkpoint.path_of(whole, "last").read_bytes()


def test_a_start_that_fails_leaves_nothing(refused, options, corpus, tmp_path, monkeypatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "last.safetensors")

    monkeypatch.setattr("seq2seq.run.checkpoint.replace_run_file", full)
    refused("last.safetensors: No space left on device", "train", *options(corpus, tmp_path / "new" / "run"))
    (tmp_path / "empty").mkdir()
    refused("last.safetensors: No space left on device", "train", *options(corpus, tmp_path / "empty"))
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_locked_run_is_refused_with_the_process_that_holds_it(refused, train, options, corpus, tmp_path) -> None:
    folder = train("run", "--epochs", 1)
    with locked(folder):
        message = f"run_dir {folder} is in use: locked by process {os.getpid()} on "
        refused(message, "train", "--run-dir", folder, "--resume", "--epochs", 2)
        refused(message, "translate", folder, "--input", corpus, "--accept-changes")
    (tmp_path / "new").mkdir()
    with locked(tmp_path / "new"):
        refused(f"run_dir {tmp_path / 'new'} is in use", "train", *options(corpus, tmp_path / "new"))
    assert not (folder / "lock").exists()


@pytest.mark.parametrize("kind", ["loop", "link", "pipe", "folder", "text"])
def test_a_lock_that_is_none_is_refused(refused, train, corpus, kind) -> None:
    folder = train("run", "--epochs", 1)
    path = folder / "lock"
    make = {"pipe": os.mkfifo, "folder": Path.mkdir, "text": lambda p: p.write_text("mine")}
    make.get(kind, lambda p: p.symlink_to(p.name if kind == "loop" else corpus))(path)
    expected = f"{path}: Is a directory" if kind == "folder" else f"{path}: not written by seq2seq.train, which locks "
    refused(expected, "train", "--run-dir", folder, "--resume", "--epochs", 2)
    refused(expected, "translate", folder, "--input", corpus, "--accept-changes")


def test_a_run_that_is_trained_can_be_used(train, run, corpus) -> None:
    folder = train("run", "--epochs", 1)
    with locked(folder):
        assert run("translate", folder, "--input", corpus).code == 0
        assert run("evaluate", folder).code == 0


HOLDER = "import sys, time; from pathlib import Path; from seq2seq.run.locking import locked\n\
with locked(Path(sys.argv[1])): print(flush=True); time.sleep(60)"


def test_a_killed_process_leaves_no_lock(tmp_path) -> None:
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE)
        child.stdout.readline()
        with pytest.raises(UserError, match=f"is in use: locked by process {child.pid} on "), locked(tmp_path):
            pass
        child.kill()
        child.communicate()
        with locked(tmp_path):
            assert f"process {os.getpid()} " in (tmp_path / "lock").read_text()


LOCKERS = """
import sys, time
from pathlib import Path
from seq2seq.run.errors import UserError
from seq2seq.run.locking import locked
folder, end, held = Path(sys.argv[1]), time.monotonic() + 2, 0
while time.monotonic() < end:
    try:
        with locked(folder):
            with open(folder / "inside", "x"):
                pass
            (folder / "inside").unlink()
            held += 1
    except UserError:
        pass
print(held)
"""


def test_no_two_processes_ever_hold_it(tmp_path) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", LOCKERS, tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    results = [child.communicate() for child in children]
    assert [error for _, error in results] == [b""] * 4
    assert sum(int(out) for out, _ in results) > 100


@pytest.mark.timeout(3600)  # for many MINIGRAD_ROUNDS: each takes two processes some seconds
@pytest.mark.parametrize("kind", ["start", "resume"])
def test_of_two_trainings_in_one_folder_one_trains(spawn, train, options, corpus, tmp_path, history, kind, rounds):
    """The second comes up to half a second after the first."""
    rng, whole = random.Random(kind), train("whole", "--epochs", 2)
    for attempt in range(2 if rounds == 1 else 5 * rounds):
        folder = tmp_path / f"run-{attempt}"
        words = ["--run-dir", folder, "--resume", "--epochs", 2]
        if kind == "start":
            words = [*options(corpus, folder), "--epochs", 2]
        else:
            train(folder.name, "--epochs", 1)
        first = spawn("train", *words)
        time.sleep(rng.choice((0, 0, rng.uniform(0, 0.5))))
        second = spawn("train", *words)
        errors = [child.communicate(timeout=100)[1] for child in (first, second)]
        codes = sorted(child.returncode for child in (first, second))
        assert codes in ([0, 2], [0, 0] if kind == "resume" else [0, 2]), errors  # the second may come after the end
        assert history(folder) == history(whole), f"attempt {attempt}"


def test_two_trainings_without_a_name_take_two_folders(spawn, corpus, options, tmp_path) -> None:
    words = options(corpus, tmp_path)
    del words[words.index("--run-dir") : words.index("--run-dir") + 2]
    children = [spawn("train", *words, "--epochs", 1, cwd=tmp_path) for _ in range(2)]
    assert [child.communicate(timeout=100)[1] for child in children] == ["", ""]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["digits-1", "digits-2"]


@pytest.mark.timeout(3600)  # for many MINIGRAD_ROUNDS
def test_killed_at_any_moment_beside_another_process(spawn, options, corpus, tmp_path, train, history, rounds) -> None:
    """Each kill is followed by a start and a resumption at once: one of the two goes on, and nothing is lost."""
    whole = train("whole", "--epochs", 3)
    for number in range(rounds):
        folder = tmp_path / f"run-{number}"
        kill_and_go_on(spawn, [*options(corpus, folder), "--epochs", 3, "--save-every", 2], folder, number)
        assert history(folder) == history(whole)
        for name in ("best", "last"):
            assert checkpoint.path_of(folder, name).read_bytes() == checkpoint.path_of(whole, name).read_bytes()


def kill_and_go_on(spawn, start: list[object], folder: Path, seed: int) -> None:
    rng = random.Random(3 + seed)
    for _ in range(3):
        children = [spawn("train", *start), spawn("train", "--run-dir", folder, "--resume")]
        time.sleep(rng.uniform(0.5, 3))
        for child in children:
            child.send_signal(signal.SIGKILL)
            child.communicate()
    for words in (start, ["--run-dir", folder, "--resume"]):
        child = spawn("train", *words)
        _, err = child.communicate(timeout=100)
        assert child.returncode in (0, 2), err


def test_the_commands_that_are_printed_can_be_pasted(spawn, options, corpus, tmp_path) -> None:
    folder = tmp_path / "a folder, it's mine"
    out, err = spawn("train", *options(corpus, folder), "--epochs", 1).communicate(timeout=100)
    assert err == ""
    scores, translate = (line.split(":", 1)[1].strip() for line in out.splitlines()[-2:])
    assert scores == command_line("seq2seq.evaluate", folder)
    for command in (scores, f"echo 1 2 3 | {translate}"):
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
        assert done.stdout


def test_python_is_named_as_the_shell_finds_it(monkeypatch, tmp_path) -> None:
    inside = tmp_path / ".venv" / "bin" / "python"
    inside.parent.mkdir(parents=True)
    inside.touch(0o755)
    monkeypatch.setattr(sys, "executable", str(inside))
    monkeypatch.chdir(tmp_path)
    assert command_line("seq2seq.train").startswith(".venv/bin/python -m seq2seq.train")
    monkeypatch.setenv("PATH", str(inside.parent))
    assert command_line("seq2seq.train", "a b") == "python -m seq2seq.train 'a b'"


def test_json_of_the_run_is_what_the_manifest_says(train) -> None:
    folder = train("run", "--epochs", 1)
    content = json.loads((folder / "manifest.json").read_text())
    assert checkpoint.fingerprint_of(checkpoint.path_of(folder, "best")) == content["run"]
