"""RUN_DIR/config.json: the settings of a run as they were when it started, and as it goes on with now.

The file is written once. What a continuation was given that still counts for the next one (a later end, other places of
the data) stands in the manifest. A stored run loads in every later version.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seq2seq.run import manifest, registry
from seq2seq.run.config import LASTING, Config, field_types, may_change, setting
from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown
from seq2seq.run.writing import replace_run_file

# The version of config.json: 1 had neither this number nor the names of source, encoder and decoder.
VERSION = 3
# Settings whose default changed: (the version that changed it, the setting, what runs of lower versions went by).
FORMER_DEFAULTS: tuple[tuple[int, str, Any], ...] = ((3, "header", "absent"),)  # a header was taken for a pair

# Files of data may have moved: their digests must be those of the training, unless a change is accepted.
PATHS = ("data", "valid", "test")
# Each one place; stored as it is named from every folder.
FOLDERS = ("data_dir", "data_cache", "init_from")
# What may be earlier in one continuation, and is remembered only where it is later.
_ENDS = ("epochs", "max_steps")
# Settings that say which pairs share an update, so that an epoch under way begins anew where they change.
ORDERING = ("batch_size", "batch_tokens", "accumulate", "max_length", "add_data", "noise_drop", "noise_shuffle")


def moved(stored: Config, given: dict[str, Any], accept: bool = False) -> Config:
    """``stored`` with the places where its data files lie now: given by ``PATHS``, or all in the folder ``data_dir``.

    Args:
        accept: other data may take their place.

    Raises:
        UserError: a path is given for a data set that is not made of files, or that has no such file.
    """
    places: dict[str, Any] = {}
    if given.get("data_dir") is not None and _is_files(stored.data):
        for name in PATHS:
            spec = getattr(stored, name)
            places[name] = spec and _relocated(name, spec, lambda path: str(Path(given["data_dir"]) / Path(path).name))
    for name in PATHS:
        value, old = given.get(name), getattr(stored, name)
        if value is None or value == old:
            continue
        other = old is None or not _is_files(stored.data) or (name == "data" and not _is_files(value))
        if other and not accept:
            raise UserError(f"{name} is {value!r}; the run was started with {old!r}; expected another place of it")
        places[name] = value
    return dataclasses.replace(stored, **places)


def differences(config: Config, run_dir: Path) -> dict[str, tuple[Any, Any]]:
    """What of a continuation's settings the next one shall go by too, before and now: a later end, other rates, other
    places of data."""
    stored, now = load(run_dir).as_dict(), _with_whole_paths(config).as_dict()
    lasting = {*LASTING, *PATHS, *(name for name in may_change() if name in config.options)}
    found = {name: (old, now[name]) for name, old in stored.items() if name in lasting and old != now[name]}
    return {name: both for name, both in found.items() if name not in _ENDS or _is_later(*both)}


def _is_later(old: int | None, new: int | None) -> bool:
    """Whether an end is later than another; None is none."""
    return old is not None and (new is None or new > old)


def _with_whole_paths(config: Config) -> Config:
    """``config`` with paths that mean the same from every folder."""
    folders = {name: getattr(config, name) for name in FOLDERS}
    places: dict[str, Any] = {name: path and os.path.abspath(path) for name, path in folders.items()}
    for name in (*(PATHS if _is_files(config.data) else ()), "add_data"):
        spec = getattr(config, name)
        places[name] = spec and _relocated(name, spec, os.path.abspath)
    return dataclasses.replace(config, **places)


def _relocated(name: str, spec: str, change: Callable[[str], str]) -> str:
    """The files of a specification, each with its path changed."""
    from seq2seq.sources import relocated

    return relocated(name, spec, change)


def _is_files(data: str) -> bool:
    """Whether ``data`` names files, not a data set."""
    from seq2seq.sources.named import is_named

    return not is_named(data)


def save(config: Config, run_dir: Path) -> None:
    """Write the settings of a new run, with paths that mean the same from every folder."""
    stored = {"version": VERSION, **_with_whole_paths(config).as_dict()}
    replace_run_file(run_dir / "config.json", (json.dumps(stored, indent=1) + "\n").encode())


def shipped(config: Config) -> dict[str, Any]:
    """The settings as they leave this machine: of files the names alone, nothing of its folders."""
    places: dict[str, Any] = dict.fromkeys(("data_dir", "run_dir", "init_from"), None)
    for name in (*(PATHS if _is_files(config.data) else ()), "add_data"):
        spec = getattr(config, name)
        places[name] = spec and _relocated(name, spec, os.path.basename)
    return {"version": VERSION, **dataclasses.replace(config, **places, resume=False).as_dict()}


def load(run_dir: Path) -> Config:
    """The config of a run as it goes on now; UserError if the folder holds none, it was edited, or has other keys."""
    stored = _stored(run_dir)
    continued = manifest.read(run_dir).get("continued", {})
    path = run_dir / manifest.NAME
    if not set(continued) <= {*may_change(), *PATHS}:
        raise UserError(f"{path}: unknown settings in continued: {', '.join(sorted(continued))}")
    changes = _checked(continued, path)
    return dataclasses.replace(stored, **changes, run_dir=str(run_dir), resume=False)


def _stored(run_dir: Path) -> Config:
    """config.json as it was written; a setting that is younger than the run has the value that the run went by."""
    path = run_dir / "config.json"
    try:
        stored = json.loads(manifest.read_covered(run_dir, path.name).decode("utf-8"))
    except (ValueError, RecursionError):
        raise UserError(f"{path}: not valid JSON; expected the settings of a training run") from None
    return restored(stored, path)


def restored(stored: Any, path: Path) -> Config:
    """The settings that JSON of ``path`` holds, of this version or a former one; it is not trusted (UserError)."""
    if not isinstance(stored, dict):
        raise UserError(f"{path}: not a JSON object; expected the settings of a training run")
    stored = dict(stored)
    version = stored.pop("version", 1)
    if type(version) is not int or not 1 <= version <= VERSION:
        raise UserError(f"{path}: version is {shown(version)}; expected 1 to {VERSION}, of this version or before it")
    parts = _checked({kind: stored[kind] for kind in registry.PACKAGES if kind in stored}, path)
    unknown = sorted(set(stored) - set(field_types()))
    if unknown:
        raise UserError(f"{path}: unknown settings: {', '.join(map(shown, unknown))}")
    known = Config(**parts).as_dict()
    then = {name: value for before, name, value in FORMER_DEFAULTS if version < before and name in known}
    return Config(**{**then, **_checked(stored, path)})


def _checked(stored: dict[str, Any], path: Path) -> dict[str, Any]:
    """Settings read from ``path``, each of its type and in its range."""
    try:
        return {name: setting(name, value) for name, value in stored.items()}
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
