"""The leaderboard: of each recipe the kept run, its figures beside the published ones, and its learning curve.

A recipe is a file of seq2seq/recipes; its run lies under benchmarks/results/NAME, as `keep_run.py --validations` keeps
it, with what seq2seq.evaluate wrote for each goal: test.json, or test-beam5.json. Runs of other seeds lie below it, in
folders like seed-2; then the figure is the mean of all. What several seeds give as one translator lies in the folder
`ensemble`, in files of the same names.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import plots

from seq2seq.run.recipes import Goal, Recipe, names, recipe
from seq2seq.training.memory import MemoryPlan

ENOUGH = 30  # BLEU
SUMMARY_HEAD = ("what", "ours, on two cores", "published", "command")
UNITS = {"bleu": "BLEU", "bleu_tokens": "BLEU of tokens", "exact_match": "% right"}
HEAD = ("recipe", "figure", "published", "parameters", "memory", "validations", "trained", "command")


class Kept(NamedTuple):
    """A recipe with what its run left."""

    recipe: Recipe
    scores: list[list[dict[str, Any]]]  # of each goal, by every seed
    manifest: dict[str, Any]
    validations: list[dict[str, Any]]
    timed: list[dict[str, Any]] | None  # those of the first seed whose log says its seconds
    together: list[dict[str, Any] | None]  # of each goal, by an ensemble, if there is one


def kept(results: Path) -> list[Kept]:
    """Every recipe whose run is there."""
    found = []
    for chosen in map(recipe, names()):
        folder = results / chosen.name
        if folder.exists():
            folders = [folder, *sorted(folder.glob("seed-*"))]
            scores = [[_read(each / scores_of(goal)) for each in folders] for goal in chosen.goals]
            logs = [_validations(each) for each in folders]
            timed = next((log for log in logs if _has_seconds(log)), None)
            files = [folder / "ensemble" / scores_of(goal) for goal in chosen.goals]
            together = [_read(path) if path.exists() else None for path in files]
            found.append(Kept(chosen, scores, _read(folder / "manifest.json"), logs[0], timed, together))
    return found


def _validations(folder: Path) -> list[dict[str, Any]]:
    log = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, log) if "val_loss" in record]


def _has_seconds(log: list[dict[str, Any]]) -> bool:
    return all(record.get("seconds") is not None and record["bleu"] is not None for record in log)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def scores_of(goal: Goal) -> str:
    """The file with the scores of a goal: test.json for greedy search, test-beam5.json for --beam-size 5."""
    asked = "-".join(option.replace(" ", "") for option in _told(goal))
    return f"test-{asked}.json" if asked else "test.json"


def _told(goal: Goal) -> list[str]:
    """What a goal asks of the search, as "beam 5" and "length-penalty 0.6"."""
    return [option.replace("-size", "").strip() for option in " ".join(goal.evaluate).split("--") if option]


def rows(runs: list[Kept]) -> list[tuple[str, ...]]:
    """One for each goal, under `HEAD`."""
    found = []
    for run in runs:
        commit, processor = run.manifest["git_commit"][:7], run.manifest["processor"]
        told = (
            f"{run.manifest['num_parameters']:,}", _memory(run), str(len(run.validations)),
            f"{commit}, {processor}{_minutes(run)}",
        )  # fmt: skip
        for goal, scores, together in zip(run.recipe.goals, run.scores, run.together, strict=True):
            asked = " ".join([goal.figure, *goal.evaluate])
            values = [each[goal.figure] for each in scores]
            figure = f"**{mean(values):.2f}** {asked}{_spread(values)} (± {goal.within} expected)"
            command = f"`python -m seq2seq.reproduce {run.recipe.name}`"
            found.append((run.recipe.about, figure, goal.published, *told, command))
            if together is not None:
                figure = f"**{together[goal.figure]:.2f}** {asked}, {together['models']} seeds as one translator"
                command = f"`python -m {' '.join(['seq2seq.evaluate RUN-1 RUN-2 ...', *goal.evaluate])}`"
                found.append((run.recipe.about, figure, goal.published, *told, command))
    return found


def summary(runs: list[Kept]) -> list[tuple[str, ...]]:
    """One for each recipe, under `SUMMARY_HEAD`."""
    found = []
    for run in runs:
        figures = []
        for goal, scores in zip(run.recipe.goals, run.scores, strict=True):
            asked = f" with {' and '.join(_told(goal)).replace('-', ' ')}" if goal.evaluate else ""
            figures.append(f"**{mean(each[goal.figure] for each in scores):.1f}**{asked}")
        first = run.recipe.goals[0]
        ours = f"{', '.join(figures)}: {UNITS.get(first.figure, first.figure)}"
        found.append((run.recipe.about, ours, first.published, f"`python -m seq2seq.reproduce {run.recipe.name}`"))
    return found


def _spread(values: list[float]) -> str:
    return f", mean of {len(values)} seeds, {min(values):.2f} to {max(values):.2f}" if len(values) > 1 else ""


def _memory(run: Kept) -> str:
    """What the run said, before its first step, that it takes at most."""
    return f"{MemoryPlan(**run.manifest['memory_plan']).peak / 2**20:,.0f} MB"


def _minutes(run: Kept) -> str:
    seconds = run.validations[-1].get("seconds")
    return "" if seconds is None else f", {seconds / 60:.0f} minutes"


def signatures(runs: list[Kept]) -> list[str]:
    """What each figure is, once."""
    found = {
        f"- `{goal.figure}`: `{scores[0]['signatures'][goal.figure]}`"
        for run in runs
        for goal, scores in zip(run.recipe.goals, run.scores, strict=True)
        if goal.figure in scores[0]["signatures"]
    }
    return sorted(found)


def times(runs: list[Kept]) -> list[str]:
    """When each timed run that gets so far is first at 30 BLEU on its validation data."""
    found = []
    for run in filter(_is_of_bleu, runs):
        first = next((record for record in run.timed or [] if record["bleu"] >= ENOUGH), None)
        if first is not None:
            minutes, epochs = first["seconds"] / 60, first["epoch"] + 1
            found.append(
                f"- `{run.recipe.name}`: {ENOUGH} BLEU on validation data after {minutes:.1f} minutes, {epochs} epochs"
            )
    return found


def _is_of_bleu(run: Kept) -> bool:
    return any(goal.figure.startswith("bleu") for goal in run.recipe.goals)


def curves(runs: list[Kept]) -> str | None:
    """The SVG of validation BLEU over minutes of the runs that say their seconds; None where none does."""
    lines = {
        run.recipe.name: [(record["seconds"] / 60, record["bleu"]) for record in run.timed]
        for run in filter(_is_of_bleu, runs)
        if run.timed
    }
    return plots.curves(lines, "minutes on two cores", "validation BLEU, greedy") if lines else None
