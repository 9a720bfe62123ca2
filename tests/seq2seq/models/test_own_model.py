"""The script of docs/own-model.md, run as a user would: it registers a decoder, trains with it, and translates."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from seq2seq.models import Decoder, option, register
from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.options import RANGES, Range
from seq2seq.run.settings import parse

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "own-model.md").read_text(encoding="utf-8")
SCRIPT, CHECK = re.findall(r"```python(?: script)?\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "my_decoder.py"
    path.write_text(SCRIPT)
    return path


def test_it_trains_goes_on_and_translates(script: Path, corpus: Path, options, tmp_path: Path) -> None:
    run = tmp_path / "run"

    def call(*arguments: object, text: str = "") -> subprocess.CompletedProcess[str]:
        words = [sys.executable, str(script), *map(str, arguments)]
        return subprocess.run(words, input=text, capture_output=True, text=True, check=False)

    given = ["--decoder", "gru-with-bridge", "--bridge-size", "7", "--num-layers", "1", "--max-steps", "9"]
    trained = call("train", *options(corpus, run), *given)
    assert trained.returncode == 0, trained.stderr
    assert json.loads((run / "config.json").read_text())["bridge_size"] == 7
    assert call("train", "--run-dir", run, "--resume", "--max-steps", 12).returncode == 0
    assert f"seq2seq.translate.main(['{run}']) in the script that registers its parts" in trained.stdout
    for beam_size in (1, 4):
        found = call("translate", run, "--beam-size", beam_size, text="1 2 3\n4 5 6\n")
        assert (found.returncode, found.stdout.count("\n")) == (0, 2), found.stderr
    unknown = subprocess.run(
        [sys.executable, "-m", "seq2seq.translate", str(run)], capture_output=True, text=True, check=False
    )
    assert unknown.returncode == 2
    assert "config.json: decoder is 'gru-with-bridge'; expected " in unknown.stderr
    assert "or one that your script registers" in unknown.stderr


def test_its_gradients_are_right(script: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(script.parent)!r}); import my_decoder\n{CHECK}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "decoder.bridge.weight" in result.stdout
    assert "FAIL" not in result.stdout.upper()


def test_a_state_that_is_no_tuple_is_refused(tiny_model, draw_batch, monkeypatch) -> None:
    model = tiny_model()
    monkeypatch.setattr(type(model.decoder), "start", lambda self, memory: memory.states[0])
    with pytest.raises(TypeError, match="decoder lstm: start returned Tensor; expected a tuple of tensors"):
        model.loss(draw_batch())


# --- mistakes ---------------------------------------------------------------------------------------------------------
def test_an_option_of_another_part_is_told_whose_it_is(run) -> None:
    result = run("train", "--data", "numbers", "--decoder", "lsmt")
    assert result.err == "error: decoder is 'lsmt'; did you mean lstm?\n"
    found = run("train", "--data", "numbers", "--encoder", "nothing-like-it")
    assert found.err.startswith("error: encoder is 'nothing-like-it'; expected ")


def test_an_option_means_one_thing() -> None:
    @dataclass(frozen=True)
    class Odd:
        hidden_size: int = option(9, "size of something else", 1, 10)

    with pytest.raises(ValueError, match="decoder odd means something else by hidden_size than another part does"):
        register("decoder", "odd")(type("OddDecoder", (Decoder,), {"Options": Odd}))
    assert "odd" not in registry.names("decoder")


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="there is a decoder lstm already"):
        register("decoder", "lstm")(type("Another", (Decoder,), {}))


def test_a_pair_that_does_not_fit_is_one_line() -> None:
    from seq2seq.models.contract import MemoryShape, require_states

    with pytest.raises(UserError, match=r"decoder some starts from 1 states .* the encoder leaves no states"):
        require_states("some", MemoryShape((), 4), ((2, 3),))


# --- registration -----------------------------------------------------------------------------------------------------
@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., type]:
    """registered(name, field=option(...)): a decoder of these options; it is forgotten after the test."""
    registry.names("decoder")
    monkeypatch.setattr(registry, "_parts", {kind: dict(parts) for kind, parts in registry._parts.items()})
    for name in list(RANGES):
        monkeypatch.setitem(RANGES, name, RANGES[name])

    def put(name: str, **fields: Any) -> type:
        monkeypatch.setitem(RANGES, "size_of_mine", Range(0, 0))  # so that it is gone in the end
        options = type("Options", (), {"__annotations__": dict.fromkeys(fields, Any), **fields})
        part = type("Mine", (Decoder,), {"Options": dataclass(frozen=True)(options)})
        return register("decoder", name)(part)

    return put


def test_a_part_that_is_defined_anew_takes_the_place_of_the_former(registered) -> None:
    """As in a notebook; with its options, too."""
    registered("mine", size_of_mine=option(3, "a size", 1, 4), gone=option("x", "a word"))
    now = registered("mine", size_of_mine=option(5, "another size", 2, 9))
    assert registry.part("decoder", "mine") is now
    assert Config(decoder="mine").size_of_mine == 5
    assert parse(["--decoder", "mine", "--size-of-mine", "9"]).size_of_mine == 9
    assert "gone" not in registry.options()


@pytest.mark.parametrize("name", ["lr", "data", "resume", "beam_size", "config", "help", "options", "as_dict"])
def test_an_option_has_no_name_that_means_something_else(registered, name: str) -> None:
    with pytest.raises(ValueError, match=f"decoder mine has an option {name}; that name means something else already"):
        registered("mine", **{name: option(0.5, "mine", 0.0, 1.0)})


def test_of_a_part_that_is_refused_no_option_stays(registered) -> None:
    with pytest.raises(ValueError, match="means something else by hidden_size"):
        registered("mine", first=option(1, "the first"), hidden_size=option(3, "mine"))
    assert "first" not in registry.options()


@pytest.mark.parametrize(
    "arguments",
    [("", "h"), (None, "h"), ((1, 2), "h"), (7, "h", 1, 3), (7, "h", 1), (7, "h", None, 9), (1.0, "h", 2, 3)],
)
def test_an_option_is_refused_where_it_is_written(arguments: tuple) -> None:
    with pytest.raises(ValueError, match=r"option: default is .*; expected "):
        option(*arguments)


def test_a_kind_is_source_encoder_or_decoder() -> None:
    with pytest.raises(ValueError, match="register: kind is 'decodr'; expected source, encoder, decoder"):
        register("decodr", "mine")


def test_a_help_may_hold_a_percent_sign(registered, capsys) -> None:
    registered("mine", size_of_mine=option(3, "10% of all", 1, 4))
    with pytest.raises(SystemExit):
        parse(["--help"])
    assert "10% of all (1 to 4; default: 3) [decoder mine]" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("@register('decoder', 'lstm')\nclass Mine(Decoder): pass", "there is a decoder lstm already, seq2seq.models."),
        (
            "@dataclass\nclass Mine:\n hidden_size: int = option(3, 'mine')\n"
            "register('decoder', 'mine')(type('Mine', (Decoder,), {'Options': Mine}))",
            "register: decoder mine means something else by hidden_size",
        ),
    ],
)
def test_the_first_to_register_is_told_what_comes_along(lines: str, expected: str) -> None:
    """In a process that has asked for no part yet."""
    code = f"from dataclasses import dataclass\nfrom seq2seq.models import Decoder, option, register\n{lines}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert expected in result.stderr.splitlines()[-1]


def test_a_run_that_goes_on_is_told_of_an_option_of_another_part(registered, run, train) -> None:
    registered("mine", size_of_mine=option(3, "a size", 1, 4))
    result = run("train", "--run-dir", train("run", "--max-steps", 1), "--resume", "--size-of-mine", "2")
    assert result.err == (
        "error: size_of_mine is an option of decoder mine; this run has source text, encoder lstm, decoder lstm\n"
    )
