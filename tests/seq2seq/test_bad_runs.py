"""Damaged run directories and failing disks: one line that names the file, and the last checkpoint stays."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seq2seq import checkpoint


@pytest.fixture
def folder(train) -> Path:
    """A good run."""
    return train("run", "--epochs", 1)


def change_json(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def swap_text(folder: Path) -> None:
    content = json.loads((folder / "text.json").read_text())
    words = content["src_vocabulary"]["tokens"]
    words[4], words[5] = words[5], words[4]
    (folder / "text.json").write_text(json.dumps(content))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (
        lambda f: (f / "config.json").unlink(),
        "config.json: No such file or directory; expected the folder of",
    ),
    "config text": (lambda f: (f / "config.json").write_text("{"), "config.json: not valid JSON"),
    "config list": (
        lambda f: (f / "config.json").write_text("[]"),
        "config.json: unknown or missing settings: no object",
    ),
    "config bytes": (lambda f: (f / "config.json").write_bytes(b"\xff\x00"), "config.json: not valid JSON"),
    "config key": (
        lambda f: change_json(f / "config.json", depth=3),
        "config.json: unknown or missing settings: depth",
    ),
    "config type": (lambda f: change_json(f / "config.json", hidden_size="x"), "config.json: "),
    "config null": (lambda f: change_json(f / "config.json", num_layers=None), "config.json: "),
    "config range": (lambda f: change_json(f / "config.json", hidden_size=0), "config.json: "),
    "other size": (
        lambda f: change_json(f / "config.json", hidden_size=13),
        "checkpoints/best.safetensors: encoder.rnn",
    ),
    "no text": (lambda f: (f / "text.json").unlink(), "text.json: No such file or directory; expected the folder of"),
    "text list": (lambda f: (f / "text.json").write_text("[1]"), "text.json: "),
    "text key": (lambda f: (f / "text.json").write_text("{}"), "text.json: "),
    "text tokenizer": (lambda f: change_json(f / "text.json", src_tokenizer={"name": "x"}), "text.json: "),
    "text vocabulary": (
        lambda f: change_json(f / "text.json", trg_vocabulary={"tokens": ["a"]}),
        "text.json: trg_vocabulary",
    ),
    "text length": (lambda f: change_json(f / "text.json", max_output_length="long"), "text.json: "),
    "text length 0": (lambda f: change_json(f / "text.json", max_output_length=0), "text.json: "),
    "vocabulary": (swap_text, "checkpoints/best.safetensors: belongs to other vocabularies"),
    "no checkpoint": (lambda f: checkpoint.path_of(f, "best").unlink(), "checkpoints/best.safetensors: No such file"),
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


def test_a_folder_that_is_no_run(refused, tmp_path, corpus) -> None:
    message = f"{tmp_path}/config.json: No such file or directory; expected the folder of a training run"
    refused(message, "translate", tmp_path, "--input", corpus)
    refused(message, "evaluate", tmp_path)
    refused(message, "train", "--run-dir", tmp_path, "--resume")


def test_a_broken_checkpoint_is_not_resumed(refused, folder) -> None:
    path = checkpoint.path_of(folder, "last")
    path.write_bytes(path.read_bytes()[:-9])
    refused(f"{path}: broken or foreign checkpoint", "train", "--run-dir", folder, "--resume", "--epochs", 2)


def test_a_checkpoint_without_optimiser_state_is_not_resumed(refused, folder) -> None:
    path = checkpoint.path_of(folder, "last")
    path.write_bytes(checkpoint.path_of(folder, "best").read_bytes())
    refused(f"{path}: holds no optimiser state", "train", "--run-dir", folder, "--resume", "--epochs", 2)


def test_foreign_lines_of_the_metrics_are_dropped(train, folder, history) -> None:
    path, before = folder / "metrics.jsonl", history(folder)
    foreign = [b"[1]", b'{"a":1}', b'{"step":"1"}', b'{"step":true}', b"\xff", b"[" * 100_000, b'{"step":3']
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*foreign, *lines, *foreign]))
    train("run", "--resume")
    assert history(folder) == before


MANIFESTS = [
    '{"data_sha256": 3}',
    '{"data_sha256": {"%s": 3}}',
    "[1]",
    "3",
    "{",
    "[" * 100_000,
    '{"data_sha256": null}',
]


@pytest.mark.parametrize("text", MANIFESTS, ids=range(len(MANIFESTS)))
def test_a_manifest_that_says_nothing_is_ignored(run, folder, corpus, text) -> None:
    (folder / "manifest.json").write_text(text.replace("%s", str(corpus)))
    assert run("evaluate", folder).code == 0
    assert run("train", "--run-dir", folder, "--resume").code == 0


def goes_on(folder: Path) -> str:
    return f"the last checkpoint stands; to go on: python -m seq2seq.train --run-dir {folder} --resume"


def test_a_checkpoint_folder_that_cannot_be_made(run, folder, corpus, options, tmp_path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "checkpoints").write_text("")
    result = run("train", *options(corpus, new), "--epochs", 1)
    best = checkpoint.path_of(new, "best")
    assert (result.code, result.err) == (
        2,
        f"error: {best}: File exists; no checkpoint to go on from was saved yet; start again with the same command\n",
    )


def test_a_full_disk_during_a_save_keeps_the_last_checkpoint(run, folder, monkeypatch) -> None:
    before = {name: checkpoint.path_of(folder, name).read_bytes() for name in ("best", "last")}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run("train", "--run-dir", folder, "--resume", "--epochs", 3)
    assert result.code == 2
    # The first file written is the log, without the lines past the checkpoint.
    assert result.err == f"error: {folder / 'metrics.jsonl'}: No space left on device; {goes_on(folder)}\n"
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
