"""The folder of a run: config.json, manifest.json, text.json, metrics.jsonl, samples.jsonl and
checkpoints/{last,best}.safetensors, and where they are asked for checkpoints/{average,epoch-N}.safetensors and
tensorboard/.

Contract: a folder that holds anything but the run itself is refused before anything is written. While a run is trained
it holds one more file, ``lock``. It is whole from its first moment: ``last.safetensors`` stands before the first step.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from minigrad.utils.collect_env import processor
from seq2seq.run import checkpoint, config_file, manifest
from seq2seq.run.checkpoint import Progress
from seq2seq.run.config import Config
from seq2seq.run.data_change import SPLITS, DataChange
from seq2seq.run.devices import description
from seq2seq.run.errors import UserError
from seq2seq.run.locking import is_lock, locked
from seq2seq.run.streams import say
from seq2seq.run.writing import read_run_file, remove_unfinished, replace_run_file
from seq2seq.sources import Dataset
from seq2seq.sources.files import STDIN
from seq2seq.text.codec import TextCodec

_RECORDED = ("minigrad-seq2seq", "numpy", "numba", "safetensors", "sacrebleu", "sentencepiece", "sacremoses", "spacy")
SAMPLES = "samples.jsonl"
ACCEPT_HELP = "go on although files of the run or its data were changed; of the run's the manifest will say so"
# How long and where a run is trained says nothing of which run it is.
_NO_PART_OF_THE_NAME = (
    "epochs", "max_steps", "patience", "threads", "data_dir", "run_dir", "resume", "save_every", "device",
    *config_file.PATHS,
)  # fmt: skip
_CUPY = ("cupy-cuda13x", "cupy-cuda12x", "cupy")  # one library under the names of its builds; recorded where it is


@contextmanager
def prepared(config: Config) -> Iterator[Path]:
    """The run's folder, made and locked until the end. A start that fails takes away again what it made.

    Raises:
        UserError: the folder cannot be made, another process trains in it, it holds something else than the run to go
            on with, or, for a new run, anything at all.
    """
    run_dir, made = _folder(config)
    try:
        _check(config, run_dir)  # before the lock is written, too
        with locked(run_dir):
            _check(config, run_dir)
            for path in files_of(run_dir):
                remove_unfinished(path)
            yield run_dir
    except BaseException:
        for folder in made:
            with suppress(OSError):  # not empty
                folder.rmdir()
        raise


@contextmanager
def tried(config: Config) -> Iterator[Path]:
    """As ``prepared`` for a run of which nothing is to be written: no folder is made, and none is locked."""
    run_dir = Path(config.run_dir) if config.run_dir else _next_free(config.data)
    if config.resume or run_dir.exists():
        if not run_dir.is_dir():
            raise UserError(
                f"run_dir {run_dir}: no folder; expected {'that of the run to go on with' if config.resume else 'one'}"
            )
        _check(config, run_dir)
    yield run_dir


def _folder(config: Config) -> tuple[Path, list[Path]]:
    """The folder of the run, and which of it and its parents had to be made, the innermost first."""
    if config.resume and not Path(config.run_dir or "").is_dir():
        raise UserError(f"run_dir {config.run_dir}: no folder; expected that of the run to go on with")
    run_dir = Path(config.run_dir) if config.run_dir else _next_free(config.data)
    made = [folder for folder in (run_dir, *run_dir.parents) if not os.path.lexists(folder)]
    try:
        run_dir.mkdir(parents=True, exist_ok=config.run_dir is not None)
    except FileExistsError:
        if config.run_dir is None:  # another training was quicker
            return _folder(config)
        raise UserError(f"run_dir {run_dir}: File exists; expected a folder, or a name for a new one") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"run_dir {run_dir}: {reason}; expected a folder, or a name for a new one") from None
    return run_dir, made


def _next_free(data: str) -> Path:
    name = "stdin" if data == STDIN else Path(data.split(",")[0].replace(":", "-")).name.split(".")[0] or "run"
    number = 1
    while os.path.lexists(Path("runs") / f"{name}-{number}"):
        number += 1
    return Path("runs") / f"{name}-{number}"


def _check(config: Config, run_dir: Path) -> None:
    last = checkpoint.path_of(run_dir, "last")
    if config.resume:
        if not last.exists():
            raise UserError(f"{last}: missing; there is nothing to resume")
        return
    if last.exists() and not manifest.start_was_cut_off(run_dir):
        raise UserError(f"run_dir {run_dir} holds a run already; pass --resume to go on with it, or another --run-dir")
    foreign = [path.name for path in sorted(run_dir.iterdir()) if not _may_be_replaced(path)]
    if foreign:
        names = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise UserError(f"run_dir {run_dir} holds {names}; expected a new or an empty folder: nothing is replaced")


def _may_be_replaced(path: Path) -> bool:
    """Whether an entry of a new run's folder is the lock, or left by a start that was cut off."""
    if is_lock(path) or path.name == f".{manifest.NAME}.tmp":
        return True
    run_dir = path.parent
    ours = {file.relative_to(run_dir).parts[0] for file in files_of(run_dir)}
    return manifest.start_was_cut_off(run_dir) and path.name in {*ours, *(f".{name}.tmp" for name in ours)}


def files_of(run_dir: Path) -> list[Path]:
    """Every file that a run is made of."""
    names = (*manifest.COVERED, manifest.NAME, manifest.METRICS, SAMPLES)
    kept = *checkpoint.NAMES, *(f"epoch-{epoch}" for epoch in checkpoint.epochs_kept(run_dir))
    return [*(run_dir / name for name in names), *(checkpoint.path_of(run_dir, name) for name in kept)]


def begin(
    run_dir: Path, config: Config, dataset: Dataset, codec: TextCodec, entries: dict[str, Any],
    save_first: Callable[[str], None],
) -> str:  # fmt: skip
    """Write the files of a new run; a start that fails takes them away again.

    Args:
        entries: what the manifest says beside versions, processor and data.
        save_first: writes the first checkpoint, given the run's name for itself.

    Returns:
        that name: sha256 (hex) of the settings that results depend on, of the text and of the data.
    """
    try:
        manifest.announce_start(run_dir)
        codec.save(run_dir)
        config_file.save(config, run_dir)
        run = _name_for_itself(run_dir, config, dataset)
        save_first(run)
        found = manifest.digests(run_dir)
        manifest.write(run_dir, {**_surroundings(config), **entries, "data_sha256": dataset.checksums, "run": run,
                                 "files_sha256": found, "metrics": None})  # fmt: skip
    except BaseException:
        with suppress(OSError):
            for path in files_of(run_dir):
                path.unlink(missing_ok=True)
            checkpoint.path_of(run_dir, "last").parent.rmdir()
        raise
    return run


def _name_for_itself(run_dir: Path, config: Config, dataset: Dataset) -> str:
    rest = {name: value for name, value in config.as_dict().items() if name not in _NO_PART_OF_THE_NAME}
    parts = [rest, list(dataset.checksums.values()), manifest.digests(run_dir)["text.json"]]
    return manifest.sha256(json.dumps(parts).encode())


def weights_of(path: Path) -> dict[str, str]:
    """What the manifest of a run says of what its start was: a run with its best weights, or a model file."""
    run = {} if path.is_file() else {"run": str(manifest.read(path).get("run"))}
    weights = path if path.is_file() else checkpoint.path_of(path, "best")
    return {**run, "sha256": manifest.sha256(read_run_file(weights, "a checkpoint"))}


def run_of(run_dir: Path, codec: TextCodec) -> str:
    """What the checkpoints of a run carry to say that they belong to it."""
    return str(manifest.read(run_dir).get("run") or codec.fingerprint())


def go_on(run_dir: Path, config: Config, step: int, change: DataChange) -> list[str]:
    """Write down, before a run goes on, what it goes on with: a later end, another rate, other places of its data.

    A run of version 0.1 gets its digests here.

    Args:
        step: where it stands.
        change: of its data, which was accepted.

    Returns:
        what is other than before, for people.
    """
    former = manifest.read(run_dir)
    content = {**_with_digests(run_dir, former), **change.entries}
    found = config_file.differences(config, run_dir)
    if found or change.splits:
        entry = {"step": step, "settings": found, "splits": sorted(change.splits)}
        continued = {**content.get("continued", {}), **{name: now for name, (_, now) in found.items()}}
        content = {**content, "continued": continued, "changes": [*content.get("changes", []), entry]}
    if content != former:
        manifest.write(run_dir, content)
    return [f"{name} {_written(before)} -> {_written(now)}" for name, (before, now) in found.items()]


def end_at(run_dir: Path, step: int) -> None:
    """Let a run end after the step where it stands, as if it had been started so."""
    manifest.update(run_dir, continued={**manifest.read(run_dir).get("continued", {}), "max_steps": step})


def _written(value: Any) -> str:
    """A setting as it is given; None by the word of a file of settings."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def pending_changes(run_dir: Path, progress: Progress) -> tuple[set[str], set[str]]:
    """The settings that were changed where a run stands, and the splits of its data that were, as far as ``progress``
    does not take them into account: whoever changed them came no further than to write that down."""
    found = manifest.read(run_dir).get("changes", [])[progress.changes or 0 :]
    if progress.changes is None:
        found = [change for change in found if change["step"] == progress.step]
    return {name for change in found for name in change["settings"]}, {split for one in found for split in _splits(one)}


def num_changes(run_dir: Path) -> int:
    """How often a run went on with other settings or data."""
    return len(manifest.read(run_dir).get("changes", []))


def _splits(change: dict[str, Any]) -> Sequence[str]:
    """Of which the data were changed; former versions did not say of which."""
    splits: Sequence[str] = change.get("splits", SPLITS if change.get("other_data") else ())
    return splits


def _with_digests(run_dir: Path, content: manifest.Manifest) -> manifest.Manifest:
    """The manifest of a run; for one of version 0.1, what this version adds."""
    if "files_sha256" in content:
        return content
    run = TextCodec.load(run_dir).fingerprint()  # as its checkpoints say
    return {**content, "run": run, "files_sha256": manifest.digests(run_dir), "metrics": None}


def accept_changes(run_dir: Path) -> None:
    """Take the files of a run as they are, and say which had changed.

    UserError while the run is being trained, and where a file cannot be used as it is: the manifest stays then.
    """
    path = run_dir / manifest.NAME
    read_run_file(run_dir / manifest.COVERED[0], manifest.RUN_FOLDER)  # no lock in a folder that is no run's
    with locked(run_dir):
        former = path.read_bytes() if path.is_file() else None
        last = checkpoint.path_of(run_dir, "last")
        names = manifest.accept_changes(run_dir, lambda: checkpoint.fingerprint_of(last))
        try:
            config_file.load(run_dir)
            TextCodec.load(run_dir)
        except UserError:
            path.unlink() if former is None else replace_run_file(path, former)
            raise
    for name in names:
        say(f"{run_dir / name}: changed since the training; accepted")


def _surroundings(config: Config) -> dict[str, Any]:
    """What the run's figures depend on beside data and settings: versions, processor, device, commit."""
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        **description(config.device),
        "blas": _blas(),
        "git_commit": _git_commit(),
    }


def _versions() -> dict[str, str]:
    versions = {name: manifest.version_of(name) for name in (*_RECORDED, *_CUPY)}
    return {name: version or "not installed" for name, version in versions.items() if version or name in _RECORDED}


def _blas() -> list[dict[str, Any]]:
    from threadpoolctl import threadpool_info

    keys = ("internal_api", "version", "architecture", "num_threads")
    return [{key: pool.get(key) for key in keys} for pool in threadpool_info() if pool.get("user_api") == "blas"]


def _git_commit() -> str:
    folder = Path(__file__).parent
    try:
        result = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return result.stdout.strip() if result.returncode == 0 else "unknown"
