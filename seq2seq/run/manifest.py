"""manifest.json: what a run's figures depend on, and the digests by which each of its files is recognised.

Contract: ``config.json`` and ``text.json`` are written once, when the run starts, and never again. The manifest holds
their sha256, that of ``metrics.jsonl`` up to the last save, those of the data, and its own. So a file that was edited,
cut or damaged ends in one line with its name. Checkpoints carry a digest of their own, and the run's name for itself
(``run``), so that one of another run is noticed. A manifest without digests is of a run of version 0.1, and its files
are read as they are.

Where a change is meant, ``accept_changes`` takes the files as they are and writes down that it did.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from seq2seq.run.errors import UserError
from seq2seq.run.writing import read_run_file, replace_run_file

NAME = "manifest.json"
COVERED = ("config.json", "text.json")
METRICS = "metrics.jsonl"
RUN_FOLDER = "the folder of a training run"
_WITHOUT_DIGESTS = {
    "versions", "platform", "processor", "device", "gpu", "blas", "git_commit", "num_parameters", "memory_plan",
    "data_sha256",
}  # fmt: skip
_STARTING = "starting"
ACCEPT = "pass --accept-changes to go on with it as it is"

Manifest = dict[str, Any]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def version_of(package: str) -> str | None:
    """Of an installed package; None of another."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def read(run_dir: Path) -> Manifest:
    """The manifest of a run; UserError where it is lost, damaged or changed, or the run's start was cut off."""
    content = _parsed(run_dir)
    if content is None or not _is_whole(content):
        raise UserError(f"{run_dir / NAME}: changed since it was written; {ACCEPT}")
    if _STARTING in content:
        raise UserError(f"{run_dir / NAME}: the run's start was cut off; start it again with the same command")
    return content


def write(run_dir: Path, content: Manifest) -> None:
    """Put the manifest in place, with its digest; the caller holds the run's lock."""
    stored = {**content, "sha256": _own_sha256(content)}
    replace_run_file(run_dir / NAME, (json.dumps(stored, indent=1) + "\n").encode())


def update(run_dir: Path, **entries: Any) -> None:
    """Change entries of a run's manifest; the caller holds the run's lock."""
    write(run_dir, {**read(run_dir), **entries})


def announce_start(run_dir: Path) -> None:
    """Say that a run is being written here, until ``write`` says that it stands."""
    write(run_dir, {_STARTING: True})


def start_was_cut_off(run_dir: Path) -> bool:
    """Whether the folder holds the beginning of a run whose process died before the run stood."""
    if not (run_dir / NAME).exists():
        return False
    content = _parsed(run_dir)
    return content is not None and _STARTING in content and _is_whole(content)


def digests(run_dir: Path) -> dict[str, str]:
    """sha256 of each file that a manifest covers, as it is now."""
    return {name: sha256(read_run_file(run_dir / name, RUN_FOLDER)) for name in COVERED}


def read_covered(run_dir: Path, name: str) -> bytes:
    """The bytes of a file that the manifest covers; UserError where they are not those that the training wrote."""
    data = read_run_file(run_dir / name, RUN_FOLDER)
    recorded = read(run_dir).get("files_sha256")
    if recorded is not None and recorded.get(name) != sha256(data):
        raise UserError(changed(run_dir / name, sha256(data), str(recorded.get(name))))
    return data


def read_metrics(run_dir: Path) -> bytes:
    """What the last save vouches for of metrics.jsonl; all of it where nothing does.

    Raises:
        UserError: the file is lost, cut or changed.
    """
    path, recorded = run_dir / METRICS, read(run_dir).get("metrics")
    if recorded is None:
        return read_run_file(path, "the log of the run") if path.exists() else b""
    if recorded["bytes"] == 0:  # the file may not have been made yet
        return b""
    data = read_run_file(path, f"the log of the run; {ACCEPT}")[: recorded["bytes"]]
    if sha256(data) != recorded["sha256"]:
        raise UserError(changed(path, sha256(data), recorded["sha256"]))
    return data


def changed(name: object, now: str, then: str) -> str:
    """The message for a file whose sha256 is ``now`` where the training had ``then``."""
    return f"{name}: changed since the training (sha256 {now[:12]}, then {then[:12]}); {ACCEPT}"


def accept_changes(run_dir: Path, find_run: Callable[[], str]) -> list[str]:
    """Take the files as they are: the manifest gets their digests, and a line in ``accepted`` for each that changed.

    Args:
        find_run: tells the run's name for itself, should the manifest be lost: the checkpoints carry it.

    Returns:
        the names of the files that had changed. The caller holds the run's lock.
    """
    found, content = digests(run_dir), _recovered(run_dir, find_run)
    if "files_sha256" not in content:  # of version 0.1
        return []
    then, accepted = content["files_sha256"], list(content.get("accepted", []))
    names = [name for name in COVERED if then.get(name, found[name]) != found[name]]
    if not _is_whole(content):
        names.append(NAME)
    accepted += [{"file": name, "was": then.get(name), "is": found.get(name)} for name in names]
    content = {**content, "files_sha256": found, "accepted": accepted}
    if names:
        write(run_dir, content)
    try:
        read_metrics(run_dir)
    except UserError:
        names.append(METRICS)
        accepted.append({"file": METRICS, "was": content["metrics"]["sha256"], "is": None})
        write(run_dir, {**content, "metrics": None})
    return names


def _recovered(run_dir: Path, find_run: Callable[[], str]) -> Manifest:
    """The manifest as far as it can be read."""
    content = _parsed(run_dir) if (run_dir / NAME).exists() else None
    if content is not None and (_is_whole(content) or _has_the_right_types(content)):
        return content
    return {"run": find_run(), "files_sha256": {}, "data_sha256": None, "metrics": None}


def _parsed(run_dir: Path) -> Manifest | None:
    path = run_dir / NAME
    text = read_run_file(path, f"{RUN_FOLDER}; without it nothing tells whether its files changed; {ACCEPT}")
    try:
        content = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _is_whole(content: Manifest) -> bool:
    """Whether it is as it was written; of one without digests that cannot be known."""
    if "versions" in content and set(content) <= _WITHOUT_DIGESTS:
        return _are_digests(content.get("data_sha256"))
    if content.get("sha256") != _own_sha256(content):
        return False
    return content.get(_STARTING) is True or _has_the_right_types(content)


def _has_the_right_types(content: Manifest) -> bool:
    """Whether the entries that the program goes by can be used."""
    metrics = content.get("metrics", "missing")
    known = isinstance(metrics, dict) and type(metrics.get("bytes")) is int and isinstance(metrics.get("sha256"), str)
    return (
        isinstance(content.get("run"), str)
        and _are_digests(content.get("files_sha256"))
        and (content.get("data_sha256", "missing") is None or _are_digests(content.get("data_sha256")))
        and (metrics is None or known)
        and isinstance(content.get("continued", {}), dict)
        and isinstance(content.get("accepted", []), list)
        and _are_changes(content.get("changes", []))
    )


def _are_changes(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(change, dict) and type(change.get("step")) is int and isinstance(change.get("settings"), dict)
        and (isinstance(change.get("splits"), list) or type(change.get("other_data")) is bool) for change in value
    )  # fmt: skip


def _are_digests(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(digest, str) for digest in value.values())


def _own_sha256(content: Manifest) -> str:
    """Of all entries but the digest itself, whatever their order and spacing."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return sha256(json.dumps(rest, sort_keys=True).encode())
