"""The script of docs/own-model.md, run as a user would: it registers a decoder, trains with it, and translates."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from seq2seq.models import Decoder, option, register
from seq2seq.run import registry
from seq2seq.run.errors import UserError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own-model.md").read_text(encoding="utf-8")
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
