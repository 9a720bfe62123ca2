"""Training curves of one model in two precisions, over several seeds, from finished runs.

    python -m seq2seq.train --data multi30k --epochs 5 --seed SEED --precision bf16 --run-dir runs/bf16-SEED    (each)
    python benchmarks/precision_curves.py runs/fp32-* runs/bf16-* --json benchmarks/results/precision_curves.json

After every epoch that all runs have: the mean over the seeds of each precision, the spread between the seeds of fp32,
and the difference of the means in units of the standard error that two such means have. Noise is below about 2.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FIGURES = ("val_loss", "ppl_forced", "ppl_free", "bleu")


def curves(run_dirs: Sequence[Path]) -> dict[str, dict[int, list[dict[str, float]]]]:
    """precision -> seed -> the figures of each epoch; ValueError where runs differ in anything else."""
    found: dict[str, dict[int, list[dict[str, float]]]] = defaultdict(dict)
    others: set[str] = set()
    for run_dir in run_dirs:
        config = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
        precision, seed = config["precision"], config["seed"]
        free = ("precision", "seed", "run_dir", "data_dir", "epochs", "max_steps", "threads", "resume", "save_every")
        others.add(json.dumps({name: value for name, value in config.items() if name not in free}, sort_keys=True))
        records = map(json.loads, (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
        found[precision][seed] = [{name: r[name] for name in FIGURES} for r in records if "val_loss" in r]
    if len(others) > 1:
        raise ValueError(f"the runs differ in more than precision and seed: {', '.join(sorted(others))}")
    return dict(found)


def compare(found: dict[str, dict[int, list[dict[str, float]]]]) -> list[dict[str, Any]]:
    """One entry an epoch: for each figure the means, the standard deviation over seeds, the difference in errors."""
    epochs = min(len(curve) for seeds in found.values() for curve in seeds.values())
    entries = []
    for epoch in range(epochs):
        entry: dict[str, Any] = {"epoch": epoch + 1}
        for name in FIGURES:
            values = {p: np.array([curve[epoch][name] for curve in seeds.values()]) for p, seeds in found.items()}
            spread = float(np.sqrt(np.mean([v.var(ddof=1) for v in values.values()])))
            error = spread * np.sqrt(sum(1 / len(v) for v in values.values()))
            means = {precision: float(v.mean()) for precision, v in values.items()}
            entry[name] = {**means, "spread": spread, "difference_in_errors": (means["bf16"] - means["fp32"]) / error}
        entries.append(entry)
    return entries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_dirs", type=Path, nargs="+")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    found = curves(options.run_dirs)
    entries = compare(found)
    for entry in entries:
        shown = (
            f"{name} {entry[name]['fp32']:.3f} / {entry[name]['bf16']:.3f} (+-{entry[name]['spread']:.3f}, "
            f"{entry[name]['difference_in_errors']:+.1f} errors)"
            for name in FIGURES
        )
        print(f"epoch {entry['epoch']}: fp32 / bf16  {'  '.join(shown)}")
    if options.json:
        runs = {precision: {str(seed): curve for seed, curve in seeds.items()} for precision, seeds in found.items()}
        options.json.write_text(json.dumps({"epochs": entries, "runs": runs}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
