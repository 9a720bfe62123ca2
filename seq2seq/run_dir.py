"""The folder of a run: config.json, manifest.json, text.json, metrics.jsonl, checkpoints/{last,best}.safetensors."""

from __future__ import annotations

import json
import math
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from seq2seq import checkpoint
from seq2seq.config import Config
from seq2seq.data import Dataset
from seq2seq.devices import description
from seq2seq.errors import UserError
from seq2seq.writing import naming, replace_file

_RECORDED = ("minigrad-seq2seq", "numpy", "numba", "safetensors", "sacrebleu", "sentencepiece", "sacremoses", "spacy")
_CUPY = ("cupy-cuda13x", "cupy-cuda12x", "cupy")  # one library under the names of its builds; recorded where it is


@contextmanager
def prepared(config: Config) -> Iterator[Path]:
    """The run's folder, made. Where the start inside fails, the folders made for it go again if they are empty.

    UserError if the folder cannot be made, or holds a run already and this is no continuation of it.
    """
    run_dir = Path(config.run_dir) if config.run_dir else _next_free(config.data)
    _check(config, run_dir)
    made = [folder for folder in (run_dir, *run_dir.parents) if not folder.exists()]
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"run_dir {run_dir}: {reason}; expected a folder, or a name for a new one") from None
    for stale in run_dir.rglob(".*.tmp"):  # of a save that was killed
        stale.unlink()
    try:
        yield run_dir
    except BaseException:
        for folder in made:
            with suppress(OSError):  # not empty
                folder.rmdir()
        raise


def _check(config: Config, run_dir: Path) -> None:
    if config.resume:
        if not checkpoint.path_of(run_dir, "last").exists():
            raise UserError(f"{checkpoint.path_of(run_dir, 'last')}: missing; there is nothing to resume")
    elif checkpoint.path_of(run_dir, "last").exists():
        raise UserError(f"run_dir {run_dir} holds a run already; pass --resume to go on with it, or another --run-dir")


def _next_free(data: str) -> Path:
    name = Path(data.split(",")[0].replace(":", "-")).name.split(".")[0] or "run"
    number = 1
    while (Path("runs") / f"{name}-{number}").exists():
        number += 1
    return Path("runs") / f"{name}-{number}"


def write_manifest(
    run_dir: Path, config: Config, checksums: dict[str, str], num_parameters: int, memory_plan: dict[str, int]
) -> None:
    """What the run's figures depend on: versions, processor, device, commit, data; and the bytes it was to need."""
    manifest = {
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        **description(config.device),
        "blas": _blas(),
        "git_commit": _git_commit(),
        "num_parameters": num_parameters,
        "memory_plan": memory_plan,
        "data_sha256": checksums,
    }
    replace_file(run_dir / "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())


def require_same_data(dataset: Dataset, run_dir: Path) -> None:
    """UserError if a file of the data set is not what the run was trained on."""
    trained_on = _recorded_checksums(run_dir)
    for name, checksum in dataset.checksums.items():
        then = trained_on.get(name, checksum)
        if then != checksum:
            raise UserError(f"{name}: changed since the training (sha256 {checksum[:12]}, then {then[:12]})")


def _recorded_checksums(run_dir: Path) -> dict[str, str]:
    """data_sha256 of the manifest; what cannot be read is left out, since the manifest only informs."""
    try:
        manifest = json.loads((run_dir / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    checksums = manifest.get("data_sha256") if isinstance(manifest, dict) else None
    if not isinstance(checksums, dict):
        return {}
    return {name: checksum for name, checksum in checksums.items() if isinstance(checksum, str)}


def _versions() -> dict[str, str]:
    versions = {name: _version(name) for name in (*_RECORDED, *_CUPY)}
    return {name: version or "not installed" for name, version in versions.items() if version or name in _RECORDED}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


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


class MetricsLog:
    """metrics.jsonl: one JSON object a line, for every step and every validation."""

    def __init__(self, run_dir: Path, last_step: int) -> None:
        """Open the log; lines after ``last_step`` are dropped, since the steps will be taken again."""
        self.path = run_dir / "metrics.jsonl"
        if self.path.exists():
            replace_file(self.path, b"".join(line + b"\n" for line in _lines_up_to(self.path, last_step)))
        with naming(self.path):
            self._file = open(self.path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115  (closed by close)

    def write(self, record: dict[str, Any]) -> None:
        """Append a record; a figure that is not finite is written as null, since JSON has no NaN."""
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        with naming(self.path):
            self._file.write(json.dumps(finite, allow_nan=False) + "\n")

    def close(self) -> None:
        with naming(self.path):
            self._file.close()


def _lines_up_to(path: Path, last_step: int) -> list[bytes]:
    """The records up to a step. Other lines are dropped: one cut by a crash, or what something else wrote there."""
    lines = []
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and type(record.get("step")) is int and record["step"] <= last_step:
            lines.append(line)
    return lines
