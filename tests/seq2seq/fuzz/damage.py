"""What can happen to the folder of a run: files lost, cut, mixed up, replaced; entries changed."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
from sandbox import Sandbox

from minigrad.serialization import from_bytes, to_bytes
from seq2seq.run import manifest
from seq2seq.run.errors import UserError

_JSON = ("config.json", "text.json", "manifest.json")
_CHECKPOINTS = ("checkpoints/last.safetensors", "checkpoints/best.safetensors")
_FILES = (*_JSON, "metrics.jsonl", *_CHECKPOINTS)


def damage(sandbox: Sandbox, rng: random.Random) -> str:
    """Change the sandbox's run in one way or two; says which."""
    run = sandbox.work / "run"
    notes = [_damage_once(run, rng)]
    if rng.random() < 0.25 and all(path.is_file() or path.is_dir() for path in run.rglob("*")):  # no pipe to wait for
        notes.append(_damage_once(run, rng))
    return ", ".join(notes)


def _damage_once(run: Path, rng: random.Random) -> str:
    change = rng.choice((*_OF_BYTES, *_OF_PLACES, *[_change_entry] * 8, *[_change_checkpoint] * 4))
    name = rng.choice(_FILES)
    try:
        change(run / name, rng)
    except (OSError, ValueError, TypeError, KeyError, RecursionError, UserError) as error:  # what is damaged already
        return f"no {change.__name__} of {name} ({type(error).__name__})"
    return f"{change.__name__} of {name}"


def _cut(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.choice((0, 1, 8, rng.randrange(len(content)), len(content) - 1))])


def _flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _append(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes() + rng.choice((b" ", b"\n", b"{}", b"\0" * 100, b'{"step": 3}\n')))


def _overwrite(path: Path, rng: random.Random) -> None:
    path.write_bytes(rng.choice((b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b"9" * 5000, b'{"a":1,"a":2}')))


def _spoil_utf8(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:20] + b"\xed\xa0\x80" + content[20:])


def _remove(path: Path, rng: random.Random) -> None:
    path.unlink()


def _swap(path: Path, rng: random.Random) -> None:
    other = path.parents[len(path.parents) - len(_root(path).parents) - 1] / rng.choice(_FILES)
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def _from_other_run(path: Path, rng: random.Random) -> None:
    run = _root(path)
    shutil.copyfile(run.with_name("other") / path.relative_to(run), path)


def _fifo(path: Path, rng: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path, rng: random.Random) -> None:
    path.unlink()
    run = _root(path)
    others = (path.name, "nowhere", "/dev/zero", "/dev/null", run.with_name("fifo"), run.with_name("digits.tsv"))
    path.symlink_to(rng.choice((*others, run.with_name("other") / path.relative_to(run), run)))


def _unreadable(path: Path, rng: random.Random) -> None:
    path.chmod(rng.choice((0, 0o400, 0o200)))


def _foreign_entry(path: Path, rng: random.Random) -> None:
    """Something under the name of the lock, or of a temporary file of the run."""
    entry = rng.choice((_root(path) / "lock", path.with_name(f".{path.name}.tmp")))
    kind = rng.randrange(6)
    if kind == 0:
        entry.mkdir()
    elif kind == 1:
        os.mkfifo(entry)
    elif kind == 2:
        entry.symlink_to(rng.choice((entry.name, "nowhere", _root(path).with_name("digits.tsv"), "/dev/zero")))
    else:
        entry.write_bytes(rng.choice((b"", b"locked by process 1 on x\n", b"mine", b"\xff" * 300)))


def _no_checkpoints(path: Path, rng: random.Random) -> None:
    folder = _root(path) / "checkpoints"
    shutil.rmtree(folder)
    if rng.random() < 0.5:
        folder.write_text("")


def _root(path: Path) -> Path:
    return path.parent.parent if path.parent.name == "checkpoints" else path.parent


_OF_BYTES = (_cut, _cut, _flip, _append, _overwrite, _spoil_utf8)
_OF_PLACES: tuple[Callable[[Path, random.Random], None], ...] = (
    _remove, _swap, _from_other_run, _fifo, _folder, _link, _link, _unreadable, _foreign_entry, _foreign_entry,
    _no_checkpoints,
)  # fmt: skip


def _change_entry(path: Path, rng: random.Random) -> None:
    """Another value somewhere in a JSON file; mostly the digests are made to fit."""
    path = _root(path) / rng.choice(_JSON)
    content = json.loads(path.read_text())
    _change_tree(content, rng, hostile.JSON_VALUES)
    path.write_text(json.dumps(content), encoding="utf-8")
    if rng.random() < 0.8:
        _mend_digests(_root(path), content if path.name == manifest.NAME else None)


def _mend_digests(run: Path, content: dict[str, Any] | None) -> None:
    """The manifest as if its run had been written as it is now."""
    if content is None:
        content = json.loads((run / manifest.NAME).read_text())
        content["files_sha256"] = manifest.digests(run)
    content.pop("sha256", None)
    manifest.write(run, content)


def _change_checkpoint(path: Path, rng: random.Random) -> None:
    """Another value somewhere in a checkpoint that is whole otherwise."""
    path = _root(path) / rng.choice(_CHECKPOINTS)
    content = from_bytes(path.read_bytes())
    short = tuple(value for value in hostile.JSON_VALUES if value not in (10**4000, "\ud800"))
    _change_tree(content, rng, (*short, *content["model"].values()))
    path.write_bytes(to_bytes(content))


def _change_tree(tree: Any, rng: random.Random, values: tuple[Any, ...]) -> None:
    """Replace, remove or add one entry, at any depth."""
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    inner = [key for key in keys if isinstance(tree[key], dict | list) and tree[key]]
    if inner and rng.random() < 0.6:
        return _change_tree(tree[rng.choice(inner)], rng, values)
    key, kind = rng.choice(keys), rng.random()
    if kind < 0.75:
        tree[key] = rng.choice(values)
    elif kind < 0.9:
        del tree[key]
    elif isinstance(tree, dict):
        tree[rng.choice(("", "x", "a\nb", "sha256", "starting"))] = rng.choice(values)
    else:
        tree.insert(0, rng.choice(values))
    return None
