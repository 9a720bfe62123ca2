"""A stored config loads in every later version: what it lacks has its default, what nobody knows is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seq2seq.run import config_file, folder
from seq2seq.run.errors import UserError


@pytest.fixture
def edited(train: Callable[..., Path]) -> Callable[..., Path]:
    """edited(without=[...], **changes): a run whose config.json was changed, and the change accepted."""

    def edit(without: tuple[str, ...] = (), **changes: Any) -> Path:
        run = train("run", "--max-steps", 1)
        path = run / "config.json"
        stored = json.loads(path.read_text())
        path.write_text(
            json.dumps({name: value for name, value in {**stored, **changes}.items() if name not in without})
        )
        return run

    return edit


def test_a_run_of_before_the_names_has_the_former_model(edited) -> None:
    run = edited(without=("version", "source", "encoder", "decoder", "label_smoothing"))
    folder.accept_changes(run)
    config = config_file.load(run)
    assert (config.source, config.encoder, config.decoder, config.label_smoothing) == ("text", "lstm", "lstm", 0.0)
    assert config.hidden_size == 12


def test_a_default_that_changed_is_the_one_of_then(edited, monkeypatch) -> None:
    monkeypatch.setattr(config_file, "VERSION", 3)
    monkeypatch.setattr(config_file, "FORMER_DEFAULTS", ((3, "label_smoothing", 0.25), (2, "clip_norm", 7.0)))
    run = edited(without=("label_smoothing", "clip_norm"), version=2)
    folder.accept_changes(run)
    assert config_file.load(run).label_smoothing == 0.25  # of a run of version 2, written before version 3 changed it
    assert config_file.load(run).clip_norm == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 3, "width": 4}, "config.json: unknown settings: 'depth', 'width'"),
        ({"version": 99}, f"config.json: version is 99; expected 1 to {config_file.VERSION}"),
        ({"version": "2"}, "config.json: version is '2'; expected 1 to"),
        ({"version": True}, "config.json: version is True; expected 1 to"),
        ({"decoder": "mine"}, "config.json: decoder is 'mine'; expected "),
        ({"decoder": 3}, "config.json: decoder is 3; expected text"),
    ],
)
def test_what_nobody_knows_is_named(edited, changes: dict[str, Any], message: str) -> None:
    run = edited(**changes)
    with pytest.raises(UserError) as caught:
        folder.accept_changes(run)
    assert message in str(caught.value)
