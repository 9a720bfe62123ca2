"""A file of settings, YAML or JSON: a name and a plain value each. Whatever is wrong with it is named with its line.

The file is not trusted. Only a regular file of moderate size is read. Of YAML, aliases, tags of other kinds, lists and
mappings as values are refused; what looks like a number is read as on the command line, so that 010 and 12:30 are no
integers.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from typing import Any, NamedTuple

from seq2seq.run.errors import UserError
from seq2seq.run.messages import folded, shown
from seq2seq.run.options import Unquoted, check_text

_MOST_BYTES, _MOST_NESTED = 100_000, 20
_EXPECTED = "a YAML or JSON file of settings"
_EXPECTED_LINES = "expected YAML or JSON with lines such as hidden_size: 256"
_TEXT, _NULL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:null"
_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "timestamp", "merge", "value")}


class Setting(NamedTuple):
    """A line of the file; where it stands, for messages."""

    where: str
    name: str
    value: Any


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it stands, with what is in it twice."""


def read_settings(path: str) -> list[Setting]:
    """The settings of a file, in order, each name once.

    Raises:
        UserError: the file cannot be read, is too large, is neither YAML nor JSON or no mapping of names to plain
            values, or sets something twice.
    """
    check_text("config", path)
    text, where = _read_text(path), f"config {path}"
    try:
        stored = json.loads(text, object_pairs_hook=_Pairs)  # most JSON is YAML too, but not where tabs indent it
    except (ValueError, RecursionError) as error:
        return _once(_from_yaml(where, text, error if path.endswith(".json") else None))
    if not isinstance(stored, _Pairs):
        raise UserError(f"{where}: no settings; {_EXPECTED_LINES}")
    return _once([Setting(where, name, _plain(value)) for name, value in stored])


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, _Pairs) else value


def _once(settings: Sequence[Setting]) -> list[Setting]:
    found: dict[str, Setting] = {}
    for setting in settings:
        if setting.name in found:
            raise UserError(f"{setting.where}: {shown(setting.name)} is given twice; expected every setting once")
        found[setting.name] = setting
    return list(found.values())


def _read_text(path: str) -> str:
    try:
        data = _read_bytes(path)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"config {path}:{number}: invalid UTF-8; expected {_EXPECTED}") from None
    except OSError as error:
        raise UserError(f"config {path}: {error.strerror}; expected {_EXPECTED}") from None


def _read_bytes(path: str) -> bytes:
    """The content of a regular file; a pipe or a device is not waited for."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UserError(f"config {path}: not a regular file; expected {_EXPECTED}")
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise UserError(f"config {path}: longer than {_MOST_BYTES:,} bytes; expected {_EXPECTED}")
    return data


def _from_yaml(where: str, text: str, json_error: Exception | None) -> list[Setting]:
    """The settings of a YAML file. ``json_error``: what to say of a file that is JSON by its name, and neither."""
    import yaml

    try:
        root = _root(where, text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(where + _fault(json_error or error, text) + f"; {_EXPECTED_LINES}") from None
    if root is None:  # an empty file, or one of comments only
        return []
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{where}:{_line(root)}: no settings; {_EXPECTED_LINES}")
    return [_setting(f"{where}:{_line(key)}", key, value) for key, value in root.value]


def _root(where: str, text: str) -> Any:
    """The top of a YAML file; an alias is refused before it can multiply what it names, and so is deep nesting, for
    which the library takes long."""
    import yaml

    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_NESTED:
            raise RecursionError
        if isinstance(event, yaml.AliasEvent):
            raise UserError(f"{where}:{_line(event)}: an alias, *{event.anchor}; expected a plain value")
    return yaml.compose(text, yaml.SafeLoader)


def _line(item: Any) -> int:
    return int(item.start_mark.line) + 1


def _fault(error: Any, text: str) -> str:
    """Where the file stops being YAML or JSON, and why: ":3: reason"."""
    if isinstance(error, RecursionError):
        return ": nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f":{error.lineno}: {error.msg}"
    if mark := getattr(error, "problem_mark", None):
        return f":{mark.line + 1}: {folded(error.problem)}"
    position = getattr(error, "position", 0)  # of a character that YAML forbids
    return f":{text.count(chr(10), 0, position) + 1}: {folded(error).partition(' in ')[0]}"


def _setting(where: str, key: Any, value: Any) -> Setting:
    import yaml

    if not isinstance(key, yaml.ScalarNode):
        raise UserError(f"{where}: a name that is no word; {_EXPECTED_LINES}")
    if isinstance(value, yaml.CollectionNode):
        return Setting(where, key.value, [] if isinstance(value, yaml.SequenceNode) else {})
    return Setting(where, key.value, _scalar(where, key.value, value))


def _scalar(where: str, name: str, node: Any) -> Any:
    """A value as text; None for null."""
    if node.tag == _NULL:
        return None
    if node.tag == _TEXT:
        return node.value
    if node.tag not in _PLAIN:
        raise UserError(f"{where}: {shown(name)} has the tag {shown(node.tag)}; expected a plain value")
    return Unquoted(node.value)
