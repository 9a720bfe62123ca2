"""The learning curves of runs, on one page: losses, perplexities, BLEU and learning rates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.plots.drawing import colour, new_figure
from seq2seq.run import manifest
from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown
from seq2seq.run.writing import read_run_file

OVER = ("steps", "epochs", "minutes")
_SMOOTH = 100  # points of a curve of steps, each the mean of its neighbours
_PANELS = (
    ("loss", "training loss (as trained)", False),
    ("val_loss", "validation loss (right words given)", True),
    ("bleu", "validation BLEU (greedy), %", True),
    ("lr", "learning rate", False),
)


def history_of(run_dir: Path) -> list[dict[str, Any]]:
    """The records of a run's log that its last save vouches for; UserError where they are not those it wrote, or the
    folder is that of no run."""
    read_run_file(run_dir / manifest.COVERED[0], manifest.RUN_FOLDER)  # what has no settings is not asked for its log
    return [json.loads(line) for line in manifest.read_metrics(run_dir).splitlines()]


def curves(histories: Mapping[str, Sequence[dict[str, Any]]], over: str = "steps") -> Any:
    """A figure with a line for each run in every panel.

    Args:
        histories: of each run, by its name, what ``history_of`` gives.
        over: "steps", "epochs" or "minutes".

    Raises:
        UserError: another word, or a run without a step.
    """
    if over not in OVER:
        raise UserError(f"over is {shown(over)}; expected {', '.join(OVER)}")
    figure, axes = new_figure(2, 2)
    for axis, (name, title, marked) in zip(axes, _PANELS, strict=True):
        for number, (run, records) in enumerate(histories.items()):
            x, y = line_of(records, name, over)
            axis.plot(
                x, y, color=colour(number), label=run, marker="o" if marked else None, markersize=3, linewidth=1.4
            )
        axis.set_title(title)
        axis.set_xlabel(over)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    return figure


def line_of(records: Sequence[dict[str, Any]], name: str, over: str = "steps") -> tuple[np.ndarray, np.ndarray]:
    """A figure over steps, epochs or minutes; one that a record has not, or that is null, is left out.

    A curve of updates with many points is smoothed: each point is the mean of those around it, none is moved.
    """
    if not records:
        raise UserError("plot: a run has no step yet; expected runs that have begun")
    at = places(records, over)
    kept = [(x, record[name]) for x, record in zip(at, records, strict=True) if record.get(name) is not None]
    x, y = np.array([point[0] for point in kept], float), np.array([point[1] for point in kept], float)
    if name == "loss" and len(y) > 2 * _SMOOTH:
        width = len(y) // _SMOOTH
        weight = np.convolve(np.ones_like(y), np.ones(width), "same")
        y = np.convolve(y, np.ones(width), "same") / weight
    return x, y


def places(records: Sequence[dict[str, Any]], over: str) -> np.ndarray:
    """Where each record stands: in updates, in epochs, or in minutes of updates and validations."""
    if over == "minutes":
        return np.cumsum([record.get("seconds", 0.0) for record in records]) / 60
    steps = np.array([record["step"] for record in records], float)
    if over == "steps":
        return steps
    ends = {record["epoch"]: record["step"] for record in records if "loss" in record}  # the last update of each
    bounds = np.array([0, *ends.values()], float)
    return np.interp(steps, bounds, np.array([0, *(epoch + 1 for epoch in ends)], float))
