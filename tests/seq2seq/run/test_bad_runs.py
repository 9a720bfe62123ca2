"""Damaged run directories and failing disks: one line that names the file, and the last checkpoint stays."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minigrad.serialization import from_bytes, to_bytes
from seq2seq.run import checkpoint, manifest
from seq2seq.run.cli import command_line


@pytest.fixture
def folder(train) -> Path:
    """A good run."""
    return train("run", "--epochs", 1)


def change_json(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def edit(name: str, **changes: Any) -> Callable[[Path], object]:
    return lambda folder: change_json(folder / name, **changes)


def put(name: str, content: str | bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


# What is done to a file that the manifest covers, and what is said of it where the change is accepted.
EDITED: dict[str, tuple[Callable[[Path], object], str]] = {
    "config text": (put("config.json", "{"), "config.json: not valid JSON"),
    "config list": (put("config.json", "[]"), "config.json: not a JSON object; expected the settings"),
    "config bytes": (put("config.json", b"\xff\x00"), "config.json: not valid JSON"),
    "config key": (edit("config.json", depth=3), "config.json: unknown settings: 'depth'"),
    "config type": (edit("config.json", hidden_size="x"), "config.json: "),
    "config null": (edit("config.json", num_layers=None), "config.json: "),
    "config range": (edit("config.json", hidden_size=0), "config.json: "),
    "text list": (put("text.json", "[1]"), "text.json: "),
    "text key": (put("text.json", "{}"), "text.json: "),
    "text nested": (put("text.json", "[" * 100_000), "text.json: "),
    "text tokenizer": (edit("text.json", src_tokenizer={"name": "x"}), "text.json: "),
    "text vocabulary": (edit("text.json", trg_vocabulary={"tokens": ["a"]}), "text.json: trg_vocabulary"),
    "text length": (edit("text.json", max_output_length="long"), "text.json: "),
    "text length 0": (edit("text.json", max_output_length=0), "text.json: "),
}


@pytest.mark.parametrize("name", EDITED)
def test_edited_files(refused, folder, corpus, name) -> None:
    damage, message = EDITED[name]
    damage(folder)
    changed = f"{folder}/{message.partition(':')[0]}: changed since the training (sha256 "
    for expected, options in ((changed, ()), (f"{folder}/{message}", ("--accept-changes",))):
        refused(expected, "translate", folder, "--input", corpus, *options)
        refused(expected, "evaluate", folder, *options)
        refused(expected, "train", "--run-dir", folder, "--resume", *options)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (
        lambda f: (f / "config.json").unlink(),
        "config.json: No such file or directory; expected the folder of",
    ),
    "no text": (lambda f: (f / "text.json").unlink(), "text.json: No such file or directory; expected the folder of"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "manifest.json: No such file or directory; expected the"),
    "manifest text": (put("manifest.json", "{"), "manifest.json: changed since it was written"),
    "manifest list": (put("manifest.json", "[1]"), "manifest.json: changed since it was written"),
    "manifest nested": (put("manifest.json", "[" * 100_000), "manifest.json: changed since it was written"),
    "manifest entry": (edit("manifest.json", num_parameters=1), "manifest.json: changed since it was written"),
    "a cut start": (
        lambda f: manifest.announce_start(f),
        "manifest.json: the run's start was cut off; start it again",
    ),
    "a pipe for the config": (
        lambda f: ((f / "config.json").unlink(), os.mkfifo(f / "config.json")),
        "config.json: no regular file",
    ),
    "a folder for the text": (
        lambda f: ((f / "text.json").unlink(), (f / "text.json").mkdir()),
        "text.json: Is a directory",
    ),
    "no checkpoint": (lambda f: checkpoint.path_of(f, "best").unlink(), "checkpoints/best.safetensors: No such file"),
    "a pipe for the checkpoint": (
        lambda f: (checkpoint.path_of(f, "best").unlink(), os.mkfifo(checkpoint.path_of(f, "best"))),
        "checkpoints/best.safetensors: no regular file",
    ),
    "broken checkpoint": (
        lambda f: checkpoint.path_of(f, "best").write_bytes(checkpoint.path_of(f, "best").read_bytes()[:-9]),
        "checkpoints/best.safetensors: broken or foreign checkpoint",
    ),
    "text checkpoint": (
        lambda f: checkpoint.path_of(f, "best").write_text("weights"),
        "checkpoints/best.safetensors: broken or foreign checkpoint",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_run_directories(refused, folder, corpus, name) -> None:
    damage, message = BROKEN[name]
    damage(folder)
    refused(f"{folder}/{message}", "translate", folder, "--input", corpus)
    refused(f"{folder}/{message}", "evaluate", folder)
    if not message.startswith("checkpoints"):
        refused(f"{folder}/{message}", "train", "--run-dir", folder, "--resume")


def test_an_accepted_config_that_does_not_fit_the_weights(run, folder, corpus) -> None:
    change_json(folder / "config.json", hidden_size=13)
    result = run("translate", folder, "--input", corpus, "--accept-changes")
    assert result.code == 2
    assert result.err.startswith(f"error: {folder}/checkpoints/best.safetensors: encoder.rnn")


def test_weights_of_another_run(refused, train, folder, corpus) -> None:
    other = train("other", "--epochs", 1, "--seed", 2)
    for name in ("best", "last"):
        checkpoint.path_of(folder, name).write_bytes(checkpoint.path_of(other, name).read_bytes())
    message = "checkpoints/{}.safetensors: belongs to another run than the other files of this folder"
    refused(f"{folder}/{message.format('best')}", "translate", folder, "--input", corpus)
    refused(f"{folder}/{message.format('last')}", "train", "--run-dir", folder, "--resume", "--epochs", 2)


def test_a_folder_that_is_no_run(refused, tmp_path, corpus) -> None:
    message = f"{tmp_path}/config.json: No such file or directory; expected the folder of a training run"
    refused(message, "translate", tmp_path, "--input", corpus)
    refused(message, "evaluate", tmp_path)
    refused(message, "train", "--run-dir", tmp_path, "--resume")


def test_a_broken_checkpoint_is_not_resumed(refused, folder) -> None:
    path = checkpoint.path_of(folder, "last")
    path.write_bytes(path.read_bytes()[:-9])
    refused(f"{path}: broken or foreign checkpoint", "train", "--run-dir", folder, "--resume", "--epochs", 2)


@pytest.mark.parametrize("change", [{"batch": "weights"}, {"step": None}, {"best": "weights"}, {"epoch": 1.5}])
def test_progress_that_is_none_is_no_part_of_the_message(refused, folder, corpus, change) -> None:
    path = checkpoint.path_of(folder, "best")
    content = from_bytes(path.read_bytes())
    weights = next(iter(content["model"].values()))
    content["progress"] |= {name: weights if value == "weights" else value for name, value in change.items()}
    path.write_bytes(to_bytes(content))
    refused(f"{path}: foreign checkpoint; ", "translate", folder, "--input", corpus)


def test_a_checkpoint_without_optimiser_state_is_not_resumed(refused, folder) -> None:
    path = checkpoint.path_of(folder, "last")
    path.write_bytes(checkpoint.path_of(folder, "best").read_bytes())
    refused(f"{path}: holds no optimiser state", "train", "--run-dir", folder, "--resume", "--epochs", 2)


def test_an_edited_log_is_refused_and_can_be_accepted(run, refused, folder, history) -> None:
    path, before = folder / "metrics.jsonl", history(folder)
    foreign = [b"[1]", b'{"a":1}', b'{"step":"1"}', b'{"step":true}', b"\xff", b"[" * 100_000, b'{"step":3']
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*foreign, *lines, *foreign]))
    refused(f"{path}: changed since the training", "train", "--run-dir", folder, "--resume")
    assert run("train", "--run-dir", folder, "--resume", "--accept-changes").code == 0
    assert history(folder) == before
    path.unlink()
    refused(f"{path}: No such file or directory", "train", "--run-dir", folder, "--resume")
    assert run("train", "--run-dir", folder, "--resume", "--accept-changes").code == 0
    assert history(folder) == []


def goes_on(folder: Path) -> str:
    command = command_line("seq2seq.train", "--run-dir", folder, "--resume")
    return f"the last checkpoint stands; to go on: {command}"


def test_a_full_disk_during_a_save_keeps_the_last_checkpoint(run, folder, full_disk) -> None:
    before = {name: checkpoint.path_of(folder, name).read_bytes() for name in ("best", "last")}
    full_disk()
    result = run("train", "--run-dir", folder, "--resume", "--epochs", 3)
    assert result.code == 2
    # The first file written is the manifest, which keeps the later end.
    assert result.err == f"error: {folder / 'manifest.json'}: No space left on device\n"
    assert {name: checkpoint.path_of(folder, name).read_bytes() for name in before} == before


def test_a_file_size_limit_during_a_save_keeps_the_last_checkpoint(spawn, folder) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    before = {name: checkpoint.path_of(folder, name).read_bytes() for name in ("best", "last")}
    child = spawn("train", "--run-dir", folder, "--resume", "--epochs", 3, preexec_fn=limit)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 2, err
    assert err == f"error: {checkpoint.path_of(folder, 'best')}: File too large; {goes_on(folder)}\n"
    assert {name: checkpoint.path_of(folder, name).read_bytes() for name in before} == before
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["best.safetensors", "last.safetensors"]
