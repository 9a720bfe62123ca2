"""Kernels are compiled in a child, once, and whatever goes wrong there does not stop a run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seq2seq.run.config import Config
from seq2seq.training import warm_up


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of the children, which are not started."""
    commands: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1 if "fp64" in command[-1] else 0)

    monkeypatch.setattr(warm_up.subprocess, "run", run)
    return commands


def test_once_for_each_kind_of_run(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(warm_up, "compiled_marker", lambda name: tmp_path / name)
    for config in (Config(), Config(num_layers=5), Config(precision="bf16"), Config(num_layers=1), Config()):
        warm_up.compile_kernels(config)
    assert [command[1:3] for command in calls] == [["-m", "seq2seq.training.warm_up"]] * 4
    settings = [json.loads(command[3]) for command in calls]
    assert [(of["precision"], of["num_layers"]) for of in settings] == [
        ("fp32", 2), ("fp32", 5), ("bf16", 2), ("fp32", 1),
    ]  # fmt: skip
    assert all(of["hidden_size"] == 8 for of in settings)
    assert calls[0][0] == sys.executable
    assert capsys.readouterr().out.count("compiling the kernels") == 4


def test_a_failure_is_tried_again_and_stops_nothing(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_up, "compiled_marker", lambda name: tmp_path / name)
    for _ in range(2):
        warm_up.compile_kernels(Config(precision="fp64"))
    assert len(calls) == 2


def test_nothing_is_done_where_compiled_kernels_are_not_kept(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_up, "compiled_marker", lambda name: None)
    warm_up.compile_kernels(Config())
    assert not calls


def test_a_training_compiles_first(monkeypatch: pytest.MonkeyPatch, train: Callable[..., Path]) -> None:
    """What the other tests leave out (``conftest.py``)."""
    configs: list[Config] = []
    monkeypatch.setattr("seq2seq.train.compile_kernels", configs.append)
    train("run", "--epochs", 1, "--precision", "bf16")
    assert [config.precision for config in configs] == ["bf16"]


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "fp32", "num_layers": 1},
        {"precision": "bf16", "num_layers": 1},
        {"encoder": "bilstm", "decoder": "pointer-generator", "share_vocab": True},
        {"source": "frames", "encoder": "bilstm", "decoder": "attention", "num_layers": 3, "pyramid": 2},
    ],
)
def test_the_child_runs(settings: dict[str, Any]) -> None:
    """Also where settings must fit each other: a child that failed would be started again with every run."""
    settings = warm_up.small_settings(Config(**settings))
    assert warm_up.main([json.dumps(settings)]) == 0
