"""Files of settings: whatever is wrong with one is a line with the file, the line and what was expected, at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from seq2seq.run import recipes, registry
from seq2seq.run.errors import UserError
from seq2seq.run.settings import parse
from seq2seq.run.settings_file import read_settings

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
LINES = "expected YAML or JSON with lines such as hidden_size: 256"
BOMB = "data: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + former] * 9)}]\n" for former, name in zip("abcdefgh", "bcdefghi", strict=True)
)

FAULTS: dict[str, tuple[str, str]] = {
    "bomb": (BOMB, ":2: an alias, *a; expected a plain value"),
    "alias": ("lr: &a 1\nclip_norm: *a\n", ":2: an alias, *a; expected a plain value"),
    "twice": ("lr: 1\nhidden_size: 3\nlr: 2\n", ":3: 'lr' is given twice; expected every setting once"),
    "twice in a line": ("{lr: 1, lr: 1}", ":1: 'lr' is given twice; expected every setting once"),
    "twice in JSON": ('{"lr": 1,\n "lr": 1}', ": 'lr' is given twice; expected every setting once"),
    "brace": ("lr: 1\nb: }\n", f":2: expected the node content, but found '}}'; {LINES}"),
    "tab": ("lr: 1\n\tb: 2\n", f":2: found character '\\t' that cannot start any token; {LINES}"),
    "colon": ("lr: 1\ndata: a: b\n", f":2: mapping values are not allowed here; {LINES}"),
    "quote": ('lr: 1\ndata: "abc', f":2: found unexpected end of stream; {LINES}"),
    "indent": ("lr: 1\n  epochs: 2\n", ":2: "),
    "version": ("%YAML 9.9\n---\nlr: 1", ":1: found incompatible YAML document"),
    "documents": ("lr: 1\n---\nlr: 2", ":2: but found another document"),
    "NUL": ("lr: 1\n\0", ":2: unacceptable character #x0000"),
    "control": ("lr: 1\ndata: \x01", ":2: unacceptable character #x0001"),
    "deep": ("lr: " + "[" * 50_000, f": nested too deeply; {LINES}"),
    "deep mapping": ("lr: " + "{a: " * 20_000, f": nested too deeply; {LINES}"),
    "deep JSON": ('{"lr": ' + "[" * 50_000, f": nested too deeply; {LINES}"),
    "closed deep JSON": ('{"lr": ' + "[" * 45_000 + "]" * 45_000 + "}", f": nested too deeply; {LINES}"),
    "text": ("hello", f":1: no settings; {LINES}"),
    "list": ("# one\n- 1\n", f":2: no settings; {LINES}"),
    "JSON list": ("[1, 2]", f": no settings; {LINES}"),
    "long": ("data: " + "x" * 200_000, ": longer than 100,000 bytes; expected a YAML or JSON file of settings"),
    "name": ("? [a, b]\n: 1", f":1: a name that is no word; {LINES}"),
    "merge": ("<<: {lr: 1}", ":1: '<<' is no setting; "),
    "config": ("config: x.yaml", ":1: 'config' is no setting; "),
    "number as name": ("3: 4", ":1: '3' is no setting; "),
    "Python": ("lr: !!python/object/apply:os.abort []\n", ":1: lr is a list; expected a number"),
    "Python name": ("lr: !!python/name:os.abort ''\n", ":1: 'lr' has the tag 'tag:yaml.org,2002:python/name:os.abort'"),
    "own tag": ("lr: !mine 3", ":1: 'lr' has the tag '!mine'; expected a plain value"),
    "binary": ("data: !!binary aGk=", ":1: 'data' has the tag 'tag:yaml.org,2002:binary'; expected a plain value"),
    "date": ("data: 2020-01-01", ":1: data is 2020-01-01; expected text, in quotes"),
    "date for a number": ("lr: 2020-01-01", ":1: lr is 2020-01-01; expected a number, 1e-08 to 1000"),
    "octal": ("lr: 1\nhidden_size: 010", ":2: hidden_size is 010; expected an integer, 1 to 65536"),
    "octal of 1.2": ("hidden_size: 0o10", ":1: hidden_size is '0o10'; expected an integer"),
    "sexagesimal": ("hidden_size: 12:30", ":1: hidden_size is 12:30; expected an integer"),
    "hexadecimal": ("hidden_size: 0x1F", ":1: hidden_size is 0x1F; expected an integer"),
    "underscore": ("hidden_size: 1_000", ":1: hidden_size is 1_000; expected an integer"),
    "truth": ("hidden_size: yes", ":1: hidden_size is yes; expected an integer"),
    "NaN": ("lr: .nan", ":1: lr is .nan; expected a number"),
    "infinity": ("lr: -.inf", ":1: lr is -.inf; expected a number"),
    "JSON's NaN": ('{"lr": NaN}', ": lr is nan; expected 1e-08 to 1000"),
    "JSON's truth": ('{"lr": true}', ": lr is True; expected a number"),
    "number for text": ("run_dir: 123", ":1: run_dir is 123; expected text or null, in quotes"),
    "list for text": ("data: [1, 2]", ":1: data is a list; expected text"),
    "mapping": ("data:\n  a: 1", ":1: data is a mapping; expected text"),
    "JSON mapping": ('{"data": {"a": 1}}', ": data is a mapping; expected text"),
    "digits": ("hidden_size: " + "9" * 6000, ":1: hidden_size is 99999"),
    "JSON digits": ('{"hidden_size": ' + "9" * 4000 + "}", ": hidden_size is 99999"),
    "more JSON digits": ('{"hidden_size": ' + "9" * 9000 + "}", ":1: hidden_size is 99999"),
    "null": ("lr: 1\nresume:\n", ":2: resume is None; expected true or false"),
    "empty text": ('data: ""', ":1: data is ''; expected text that is not empty"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(tmp_path, name) -> None:
    text, message = FAULTS[name]
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        parse(["--config", str(path)])
    assert str(error.value).startswith(f"config {path}{message}")
    assert len(str(error.value)) < 600
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"lr: 1\ndata: \xff\n", ":2: invalid UTF-8; expected a YAML or JSON file of settings"),
        ("lr: 1\n".encode("utf-16"), ":1: invalid UTF-8"),
        (b"\x7fELF\x02\x01\x01\0\0", ":1: unacceptable character"),
        (b'{\n\t"lr": 1\n\t"epochs": 2\n}', ":2: found character"),
    ],
    ids=["Latin-1", "UTF-16", "a program", "tabs"],
)
def test_bytes(tmp_path, data, message) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        parse(["--config", str(path)])
    assert str(error.value).startswith(f"config {path}{message}")


def test_every_recipe_is_read_and_lies_below_file_and_command_line(tmp_path) -> None:
    for name in recipes.names():
        assert parse(["--recipe", name]).encoder in registry.names("encoder")
        kept = json.loads((RESULTS / name / "config.json").read_text(encoding="utf-8"))
        given = parse(["--recipe", name]).as_dict()
        resolved = {"lr_steps", "threads"}  # which a run settles for itself
        assert {key: given[key] for key in given.keys() & kept.keys() - resolved} == {
            key: value for key, value in kept.items() if key in given and key not in resolved
        }, "the figures of the README are those of these settings"
    path = tmp_path / "settings.yaml"
    path.write_text("hidden_size: 20\nlr: 0.5\n")
    found = parse(["--config", str(path), "--recipe", "multi30k-attention", "--lr", "0.25"])
    assert (found.data, found.hidden_size, found.lr, found.cell) == ("multi30k", 20, 0.25, "gru")
    with pytest.raises(UserError, match=r"recipe is 'multi30k'; .*multi30k-attention"):
        parse(["--recipe", "multi30k"])


def test_a_fault_of_a_json_file_is_told_as_jsons(tmp_path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{\n\t"lr": 1\n\t"epochs": 2\n}')
    with pytest.raises(UserError, match=f"^config {path}:3: Expecting ',' delimiter; {LINES}$"):
        parse(["--config", str(path)])


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "missing"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path, kind) -> None:
    path = {"device": Path("/dev/zero")}.get(kind, tmp_path / kind)
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "folder":
        path.mkdir()
    reason = {"folder": "Is a directory", "missing": "No such file or directory"}.get(kind, "not a regular file")
    with pytest.raises(UserError, match=f"^config {path}: {reason}; expected a YAML or JSON file of settings$"):
        parse(["--config", str(path)])


def test_good_files(tmp_path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(
        b"\xef\xbb\xbf# a comment\nlr: 1e-3\nbatch_size: '64'\ndata: \"a: b.tsv\"\nlower: on\n"
        b"max_steps: ~\ndropout: .5\n"
    )
    values = {name: value for _, name, value in read_settings(str(path))}
    assert list(values) == ["lr", "batch_size", "data", "lower", "max_steps", "dropout"]
    config = parse(["--config", str(path)])
    assert (config.lr, config.batch_size, config.data, config.lower) == (0.001, 64, "a: b.tsv", True)
    assert (config.max_steps, config.dropout) == (None, 0.5)


def test_of_several_files_the_later_ones_win(tmp_path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.json"
    first.write_text("lr: 0.5\nepochs: 3\n")
    second.write_text('{"lr": 0.25}')
    config = parse(["--config", str(first), "--config", str(second)])
    assert (config.lr, config.epochs) == (0.25, 3)
    assert parse(["--lr", "1", "--lr", "2"]).lr == 2
