"""``python -m seq2seq.seeds --seeds 1,2,3 ...``: a run for each seed, and the mean and spread of their scores."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("seeds"))

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seq2seq import evaluate, train
from seq2seq.run import checkpoint, settings
from seq2seq.run.cli import run_command
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted
from seq2seq.run.options import convert
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import print_results, write_output

SCORES = "seeds.json"


def build_parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m seq2seq.seeds",
        description="Train a run for each seed, score it, and print the mean and the spread of the scores. All other "
        "options are those of seq2seq.train; what stands already is gone on with.",
    )
    parser.add_text("--seeds", "seeds with commas between them, as 1,2,3")
    parser.add_text("--run-dir", f"folder for the runs, seed-1 and so on, and for {SCORES}")
    return parser


def seeds(arguments: Sequence[str] | None = None) -> int:
    """Train and score as the command line says; the exit code, 130 when interrupted and saved."""
    options, others = build_parser().parse_known_args(arguments)
    if options.seeds is None or options.run_dir is None:
        raise UserError(
            f"{'seeds' if options.seeds is None else 'run_dir'}: is missing; expected --seeds and --run-dir"
        )
    asked = vars(settings.build_parser().parse_args(others))  # not what a recipe says, which --seeds replaces
    if "seed" in asked:
        raise UserError(f"seed is {asked['seed']}; expected --seeds alone to say of which seeds there are runs")
    numbers = [convert("seed", word, (int,)) for word in options.seeds.split(",")]
    if len(set(numbers)) < len(numbers):
        raise UserError(f"seeds is {options.seeds!r}; expected each once")
    scores = []
    for number in numbers:
        run_dir = Path(options.run_dir) / f"seed-{number}"
        stands = checkpoint.path_of(run_dir, "last").exists()
        words = [*others, "--resume"] if stands else [word for word in others if word != "--accept-changes"]
        code = train.train([*words, "--seed", str(number), "--run-dir", str(run_dir)])
        if code or asked.get("dry_run"):
            return code
        scores.append(_scores(run_dir))
    summary = summarised(numbers, scores)
    path = Path(options.run_dir) / SCORES
    write_output(str(path), json.dumps(summary, indent=1) + "\n")
    print_results("\n".join(_table(summary)), str(path))
    return 0


def _scores(run_dir: Path) -> dict[str, Any]:
    """The scores of a run on its test split, or without one on the validation split."""
    path = run_dir.with_name(f"{run_dir.name}.json")
    evaluate.evaluate([str(run_dir), "--json", str(path)])
    scores: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return scores


def summarised(numbers: Sequence[int], scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What seeds.json holds: of each figure that every run has its mean, its standard deviation (of a sample, so None
    for one run) and its values, in the order of the seeds."""
    figures = {}
    for name in scores[0]:
        values = [value for each in scores if isinstance(value := each.get(name), float)]
        if len(values) == len(scores):
            spread = statistics.stdev(values) if len(values) > 1 else None
            figures[name] = {"mean": statistics.fmean(values), "std": spread, "values": values}
    first = {key: scores[0][key] for key in ("data", "split", "sentences")}
    return {**first, "seeds": list(numbers), "figures": figures}


def _table(summary: dict[str, Any]) -> list[str]:
    seeds = ", ".join(map(str, summary["seeds"]))
    lines = [f"{summary['data']} {summary['split']}: {counted(summary['sentences'], 'sentence')}, seeds {seeds}"]
    for name, figure in summary["figures"].items():
        spread = "" if figure["std"] is None else f" ± {figure['std']:.3f}"
        lines.append(f"  {name:12} {figure['mean']:>9.3f}{spread}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(seeds, arguments)
