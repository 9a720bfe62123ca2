"""What other runs on the same data reached in how much time: those whose curves come along.

``kept_runs.json`` is written by benchmarks/report.py from the runs under benchmarks/results. Each has the digests of
its data, its encoder and decoder, the processor, and BLEU of greedy translations of the validation split over seconds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seq2seq.run.config import Config
from seq2seq.sources import Dataset
from seq2seq.training.timing import duration

FILE = Path(__file__).with_name("kept_runs.json")


def expectations(dataset: Dataset, config: Config, seconds: float) -> list[str]:
    """A line for each kept run on these data: its best BLEU within ``seconds``. Those of the same encoder and decoder
    stand first."""
    kept: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    same = [run for run in kept if run["data_sha256"] == list(dataset.checksums.values())]
    ordered = sorted(same, key=lambda run: not _is_alike(run, config))
    return [_told(run, _is_alike(run, config), seconds) for run in ordered]


def _is_alike(run: dict[str, Any], config: Config) -> bool:
    return (run["encoder"], run["decoder"]) == (config.encoder, config.decoder)


def _told(run: dict[str, Any], alike: bool, seconds: float) -> str:
    within = [bleu for at, bleu in run["curve"] if at <= seconds]
    what = "the same encoder and decoder" if alike else f"{run['encoder']} and {run['decoder']}"
    found = f"{max(within):.1f} BLEU on valid" if within else "no validation yet"
    return f"expect about: {run['name']} ({what}) had {found} after {duration(seconds)} ({run['processor']})"
