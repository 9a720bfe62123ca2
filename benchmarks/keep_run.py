"""Keep what a finished training run shows: settings, manifest, the metrics of every step, and its scores.

    python benchmarks/keep_run.py RUN_DIR benchmarks/results/NAME [SCORES.json ...] [--validations]

Copies config.json without the paths of this machine, manifest.json, metrics.jsonl (or its validations alone, each with
the seconds that steps and validations had taken by then), and what seq2seq.evaluate wrote; paths below the current
folder are relative to it. A folder that holds a run of another processor is refused: sums differ in their last digits
there, and times altogether.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

LOCAL = ("data_dir", "run_dir")


def keep(run_dir: Path, results: Path, scores: list[Path], validations: bool = False) -> None:
    """Raises SystemExit where the results hold a run of another processor."""
    held, new = (processor(folder / "manifest.json") for folder in (results, run_dir))
    if held is not None and held != new:
        raise SystemExit(f"{results} holds a run on {held}; expected another folder for one on {new}")
    results.mkdir(parents=True, exist_ok=True)
    config = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
    config = {name: value for name, value in config.items() if name not in LOCAL}
    (results / "config.json").write_text(without_folder(json.dumps(config, indent=1) + "\n"), encoding="utf-8")
    for path in (run_dir / "manifest.json", run_dir / "metrics.jsonl", *scores):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        if path.suffix == ".jsonl" and validations:
            lines = validations_of(lines)
        (results / path.name).write_text(without_folder("".join(lines)), encoding="utf-8")


def validations_of(lines: list[str]) -> list[str]:
    """Those of metrics.jsonl, with all seconds up to them."""
    found, seconds = [], 0.0
    for record in map(json.loads, lines):
        seconds += record.get("seconds", 0.0)
        if "val_loss" in record:
            found.append(json.dumps({**record, "seconds": round(seconds, 1)}) + "\n")
    return found


def without_folder(text: str) -> str:
    """Text with the paths below the current folder as they are from there."""
    return text.replace(f"{Path.cwd()}/", "")


def processor(manifest: Path) -> str | None:
    """Where a run was made; None if there is no manifest."""
    return str(json.loads(manifest.read_text(encoding="utf-8")).get("processor")) if manifest.exists() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("scores", type=Path, nargs="*")
    parser.add_argument("--validations", action="store_true", help="keep the validations of metrics.jsonl alone")
    keep(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
