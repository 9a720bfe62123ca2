"""The folder of a run: config.json, manifest.json, text.json, metrics.jsonl, checkpoints/{last,best}.safetensors."""

from __future__ import annotations

import json
import math
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from minigrad.serialization import write_atomically
from seq2seq import checkpoint
from seq2seq.config import Config
from seq2seq.data import Dataset
from seq2seq.errors import UserError

_RECORDED = ("minigrad-seq2seq", "numpy", "numba", "safetensors", "sacrebleu", "sentencepiece", "sacremoses", "spacy")


def prepare(config: Config) -> Path:
    """The run's folder, made; UserError if it holds a run already and this is no continuation of it."""
    run_dir = Path(config.run_dir) if config.run_dir else _next_free(config.data)
    if config.resume:
        if not checkpoint.path_of(run_dir, "last").exists():
            raise UserError(f"{checkpoint.path_of(run_dir, 'last')}: missing; there is nothing to resume")
    elif any((run_dir / "checkpoints").glob("*.safetensors")):
        raise UserError(f"run_dir {run_dir} holds a run already; pass --resume to go on with it, or another --run-dir")
    run_dir.mkdir(parents=True, exist_ok=True)
    for stale in run_dir.rglob(".*.tmp"):  # of a save that was killed
        stale.unlink()
    return run_dir


def _next_free(data: str) -> Path:
    name = Path(data.split(",")[0].replace(":", "-")).name.split(".")[0] or "run"
    number = 1
    while (Path("runs") / f"{name}-{number}").exists():
        number += 1
    return Path("runs") / f"{name}-{number}"


def write_manifest(run_dir: Path, checksums: dict[str, str], num_parameters: int) -> None:
    """What the run's figures depend on: versions, processor, threads, commit, data."""
    manifest = {
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "blas": _blas(),
        "git_commit": _git_commit(),
        "num_parameters": num_parameters,
        "data_sha256": checksums,
    }
    write_atomically(run_dir / "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """The manifest, or {} where it cannot be read: it informs, nothing depends on it."""
    try:
        return dict(json.loads((run_dir / "manifest.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def require_same_data(dataset: Dataset, run_dir: Path) -> None:
    """UserError if a file of the data set is not what the run was trained on."""
    trained_on = read_manifest(run_dir).get("data_sha256", {})
    for name, checksum in dataset.checksums.items():
        if trained_on.get(name, checksum) != checksum:
            raise UserError(
                f"{name}: changed since the training (sha256 {checksum[:12]}, then {trained_on[name][:12]})"
            )


def _versions() -> dict[str, str]:
    versions = {}
    for name in _RECORDED:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


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
            kept = [line for line in _whole_lines(self.path) if json.loads(line)["step"] <= last_step]
            write_atomically(self.path, "".join(f"{line}\n" for line in kept).encode())
        self._file = open(self.path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115  (closed by close)

    def write(self, record: dict[str, Any]) -> None:
        """Append a record; a figure that is not finite is written as null, since JSON has no NaN."""
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        self._file.write(json.dumps(finite, allow_nan=False) + "\n")

    def close(self) -> None:
        self._file.close()


def _whole_lines(path: Path) -> Sequence[str]:
    """The lines that are whole JSON: the last one may have been cut by a crash."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            json.loads(line)
        except ValueError:
            continue
        lines.append(line)
    return lines
