"""Studies: what a setting does, in runs that differ in nothing else, each with several seeds.

    python benchmarks/studies.py NAME --data-dir DIR --runs FOLDER [--threads 1] [--cells WORD]

A study is a file of benchmarks/studies: what it is ``about``, what was ``published``, the ``seeds``, the ``figures``
that are told, the ``settings`` of all its runs, and its ``cells``, each with those that it has besides. Runs that stand
below FOLDER are gone on with, so a study may be interrupted; --cells takes those whose name holds a word. What is kept
in benchmarks/results/studies/NAME.json has all that is known by then; the tables of docs/leaderboard.md come from it.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from seq2seq import seeds

FOLDER = Path(__file__).parent / "studies"
RESULTS = Path(__file__).parent / "results" / "studies"


class Study(NamedTuple):
    """A file of studies."""

    name: str
    about: str
    published: str
    seeds: list[int]
    figures: list[str]
    settings: dict[str, Any]
    cells: dict[str, dict[str, Any]]


def study(name: str) -> Study:
    """That of a name; SystemExit where there is none."""
    path = FOLDER / f"{name}.yaml"
    if not path.exists():
        raise SystemExit(f"study is {name!r}; expected one of {', '.join(names())}")
    return Study(name, **yaml.safe_load(path.read_text(encoding="utf-8")))


def names() -> list[str]:
    """Of all studies."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def run(chosen: Study, runs: Path, cells: str, options: list[str]) -> None:
    """Train and score the cells, and keep each when it is done."""
    for cell, own in chosen.cells.items():
        if cells in cell:
            folder = runs / chosen.name / folder_of(cell)
            folder.mkdir(parents=True, exist_ok=True)
            config = folder / "settings.yaml"
            config.write_text(yaml.safe_dump(chosen.settings | own), encoding="utf-8")
            numbers = ",".join(map(str, chosen.seeds))
            asked = ["--seeds", numbers, "--run-dir", str(folder), "--config", str(config), *options]
            if seeds.seeds(asked):
                raise SystemExit("interrupted; the same command goes on")
            keep(chosen, cell, folder, RESULTS)


def folder_of(cell: str) -> str:
    """A cell's name as that of a folder."""
    return re.sub(r"[^a-z0-9]+", "-", cell.lower()).strip("-")


def keep(chosen: Study, cell: str, folder: Path, results: Path) -> None:
    """Put what a cell's runs gave into the file of its study."""
    path = results / f"{chosen.name}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"cells": {}}
    summary = json.loads((folder / seeds.SCORES).read_text(encoding="utf-8"))
    trained = json.loads((folder / f"seed-{chosen.seeds[0]}" / "manifest.json").read_text(encoding="utf-8"))
    scores = json.loads((folder / f"seed-{chosen.seeds[0]}.json").read_text(encoding="utf-8"))
    told = {"num_parameters": trained["num_parameters"], "processor": trained["processor"]}
    commit = {"git_commit": trained.get("git_commit"), "settings": chosen.settings | chosen.cells[cell]}
    found["cells"][cell] = {**summary, "signatures": scores["signatures"], **told, **commit}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def tables(results: Path) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Of each study that is kept a text, and its rows with the head first."""
    for chosen in map(study, names()):
        path = results / "studies" / f"{chosen.name}.json"
        if path.exists():
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            command = f"`python benchmarks/studies.py {chosen.name} --data-dir DIR --runs FOLDER`"
            head = ("", *chosen.figures, "seeds", "parameters", "trained")
            rows = [row_of(name, cells[name], chosen.figures) for name in chosen.cells if name in cells]
            yield f"**{chosen.about}.** Published: {chosen.published}. {command}", [head, *rows]


def row_of(name: str, cell: dict[str, Any], figures: list[str]) -> tuple[str, ...]:
    """A cell's figures, mean and standard deviation."""
    told = [_figure(cell["figures"][figure]) for figure in figures]
    trained = f"{str(cell['git_commit'])[:7]}, {cell['processor']}"
    return name, *told, ", ".join(map(str, cell["seeds"])), f"{cell['num_parameters']:,}", trained


def _figure(found: dict[str, Any]) -> str:
    return f"{found['mean']:.2f}" if found["std"] is None else f"{found['mean']:.2f} ± {found['std']:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help=f"a study: {', '.join(names())}")
    parser.add_argument("--runs", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--cells", default="", help="only those whose name holds this word")
    asked, others = parser.parse_known_args()
    run(study(asked.name), asked.runs, asked.cells, others)


if __name__ == "__main__":
    main()
