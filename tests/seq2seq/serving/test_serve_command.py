"""The command: names of models, what is missing, and a process that serves until a signal ends it in order."""

from __future__ import annotations

import re
import signal
import socket
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from seq2seq import serve as command
from seq2seq.run.errors import UserError
from seq2seq.run.options import RANGES
from seq2seq.serving.limits import Limits
from seq2seq.shipping import model_file
from tests.seq2seq.serving.conftest import Client


@pytest.fixture
def shipped(tiny: dict[str, Any], tmp_path: Path) -> Path:
    """A model file."""
    path, ours = tmp_path / "small.seq2seq", tiny["plain"]
    model_file.write(path, ours.model, ours.codec, ours.settings)
    return path


def test_names_of_models(tmp_path: Path) -> None:
    odd = tmp_path / "a=b"
    odd.mkdir()
    given = ["runs/mine", "x/y.seq2seq", "de-en=runs/m=1", "eins=2", str(odd), "un named=runs/z"]
    assert command.named(given) == {
        "mine": "runs/mine", "y": "x/y.seq2seq", "de-en": "runs/m=1", "eins": "2", "a=b": str(odd),
        "z": "un named=runs/z",
    }  # fmt: skip
    with pytest.raises(UserError, match="two models are called mine; expected other names, as in NAME=PATH"):
        command.named(["runs/mine", "mine=x"])


@pytest.mark.parametrize("name", ["port", *(limit.name for limit in fields(Limits))])
def test_options_end_where_their_ranges_end(name: str) -> None:
    option, allowed = "--" + name.replace("_", "-"), RANGES[name]
    for value in (allowed.low, allowed.high):
        assert getattr(command.build_parser().parse_args(["run", option, str(value)]), name) == value
    for value in (allowed.low - 1, allowed.high + 1):
        with pytest.raises(UserError, match=f"{name} is {value}.*; expected {re.escape(str(allowed))}"):
            command.build_parser().parse_args(["run", option, str(value)])


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
def test_a_missing_package_is_one_line(refused: Any, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in [name for name in sys.modules if name.startswith(("seq2seq.serving.", package))]:
        if name != "seq2seq.serving.limits":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    refused("serve: ", "serve", "nowhere")
    monkeypatch.undo()


def test_what_cannot_be_served_is_one_line(serve: Any, refused: Any, shipped: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(f"host 127.0.0.1, port {port}: Address already in use; expected", "serve", shipped, "--port", port)
    refused("host no.such.host.invalid, port 0: ", "serve", shipped, "--host", "no.such.host.invalid", "--port", 0)
    refused(f"{tmp_path / 'nothing' / 'config.json'}: No such file", "serve", tmp_path / "nothing", "--port", 0)
    refused("port is 'x'; expected an integer", "serve", shipped, "--port", "x")
    refused("max_sentences is 0; expected 1 to 100000", "serve", shipped, "--max-sentences", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(serve: Any, spawn: Any, shipped: Path, tiny: dict[str, Any], number: int) -> None:
    process = spawn("serve", f"mine={shipped}", "--port", 0)
    try:
        line = process.stdout.readline()
        assert line.startswith("serving mine at http://127.0.0.1:"), process.stderr.read()
        with Client(int(line.rpartition(":")[2])) as client:
            assert client.get("/models", Host="elsewhere.example").status == 400  # it is called by its own names alone
            reply = client.post("/translate", {"sentences": ["w1 w2 w3"]})
            assert reply.json["translations"] == tiny["plain"].translate(["w1 w2 w3"])
            process.send_signal(number)
            assert process.wait(30) == 0
        assert process.communicate() == ("", "")
    finally:
        process.kill()
        process.communicate()
