"""``python -m seq2seq.reproduce NAME``: run a recipe, and hold what it gives against what it gave."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("reproduce"))

import json
from collections.abc import Sequence
from pathlib import Path

from seq2seq import average, evaluate, train
from seq2seq.run import checkpoint
from seq2seq.run.cli import run_command
from seq2seq.run.errors import UserError
from seq2seq.run.parser import OneLineParser
from seq2seq.run.recipes import Goal, Recipe, names, recipe
from seq2seq.run.streams import print_results, say


def build_parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m seq2seq.reproduce",
        description="Train a recipe, score it on the test set, and say whether the figures are those expected: exit "
        "code 0 if they are, 1 if not. Other options are those of seq2seq.train; a run that stands already goes on.",
    )
    parser.add_argument("recipe", nargs="?", metavar="NAME", help=f"a recipe: {', '.join(names())}")
    parser.add_argument("--list", action="store_true", help="print the recipes, and what they lead to")
    parser.add_text("--run-dir", "where the run is kept; by default runs/NAME")
    return parser


def reproduce(arguments: Sequence[str] | None = None) -> int:
    """Run a recipe as the command line says; the exit code, 130 when interrupted and saved."""
    options, others = build_parser().parse_known_args(arguments)
    if options.list:
        print_results("\n".join(line for name in names() for line in listed(recipe(name))), None)
        return 0
    if options.recipe is None:
        raise UserError(f"recipe: is missing; expected {', '.join(names())}, or --list")
    chosen = recipe(options.recipe)
    run_dir = Path(options.run_dir or f"runs/{chosen.name}")
    resume = ["--resume"] if checkpoint.path_of(run_dir, "last").exists() else []
    say(f"{chosen.about}; minutes on two cores: {chosen.minutes}")
    code = train.train(["--recipe", chosen.name, *others, "--run-dir", str(run_dir), *resume])
    if code:
        return code
    if any("average" in goal.evaluate for goal in chosen.goals):
        average.average([str(run_dir)])
    values = [_value(run_dir, goal, number) for number, goal in enumerate(chosen.goals)]
    print_results("\n".join(["", *compared(chosen, values)]), None)
    return int(not all(goal.is_met(value) for goal, value in zip(chosen.goals, values, strict=True)))


def _value(run_dir: Path, goal: Goal, number: int) -> float | None:
    """What a run gives for a goal; all its figures are kept beside the run."""
    path = run_dir.with_name(f"{run_dir.name}-{number}.json")
    evaluate.evaluate([str(run_dir), *goal.evaluate, "--json", str(path)])
    value: float | None = json.loads(path.read_text(encoding="utf-8"))[goal.figure]
    return value


def listed(chosen: Recipe) -> list[str]:
    """A recipe and its goals, a line each."""
    head = f"{chosen.name}: {chosen.about}; minutes on two cores: {chosen.minutes}"
    return [head, *(f"  {_asked(goal)} {goal.expected:.2f}; published: {goal.published}" for goal in chosen.goals)]


def compared(chosen: Recipe, values: Sequence[float | None]) -> list[str]:
    """A line for each goal with what was found."""
    lines = [f"{chosen.name}:"]
    for goal, value in zip(chosen.goals, values, strict=True):
        found = "no figure" if value is None else f"{value:.2f}"
        verdict = "as expected" if goal.is_met(value) else "NOT as expected"
        expected = f"{goal.expected:.2f} ± {goal.within:.2f}"
        lines.append(f"  {_asked(goal)} {found}, expected {expected}: {verdict}; published: {goal.published}")
    return lines


def _asked(goal: Goal) -> str:
    return " ".join([goal.figure, *goal.evaluate])


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(reproduce, arguments)
