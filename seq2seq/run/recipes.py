"""Recipes that come along: settings, what they lead to, and the published figures that it is held against.

A recipe is a file of seq2seq/recipes: ``about``, the ``minutes`` that it takes, its ``goals``, and ``settings`` as of a
file for --config. Of a goal, ``evaluate`` is what is asked of seq2seq.evaluate, ``figure`` one that it gives,
``expected`` what the kept run gave, ``within`` how far other seeds and processors may be from it, and ``published``
what others gave.
"""

from __future__ import annotations

import functools
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.run.config import PRESETS, setting
from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown
from seq2seq.run.parser import suggestion

_OF_THE_RUN = ("data", "seed")  # settings of a recipe that are not those of a preset
FOLDER = Path(__file__).parents[1] / "recipes"


class Goal(NamedTuple):
    """A figure that a recipe leads to; ``evaluate`` are the words of a command line."""

    figure: str
    expected: float
    within: float
    published: str
    evaluate: tuple[str, ...] = ()

    def is_met(self, value: float | None) -> bool:
        return value is not None and abs(value - self.expected) <= self.within


class Recipe(NamedTuple):
    """A file of recipes; ``minutes`` on two cores, by the processor that is named there."""

    name: str
    about: str
    minutes: str
    goals: tuple[Goal, ...]
    settings: dict[str, Any]


def names() -> list[str]:
    """Of all recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def presets() -> dict[str, dict[str, Any]]:
    """For the named data sets what differs from the defaults: the settings of the recipe of that name, or others."""
    return _presets(FOLDER)


@functools.cache
def _presets(folder: Path) -> dict[str, dict[str, Any]]:
    found = {name: recipe(name).settings for name in names()}
    own = {name: given for name, given in found.items() if given["data"].partition(":")[0] == name}
    return PRESETS | {name: {k: v for k, v in given.items() if k not in _OF_THE_RUN} for name, given in own.items()}


def recipe(name: str) -> Recipe:
    """The recipe of a name; UserError where there is none."""
    import yaml

    if name not in names():
        near = suggestion(name, names()) or f"expected {', '.join(names())}"
        raise UserError(f"recipe is {shown(name)}; {near}")
    stored = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    goals = [{**goal, "evaluate": tuple(shlex.split(goal.get("evaluate", "")))} for goal in stored["goals"]]
    settings = {key: setting(key, value) for key, value in stored["settings"].items()}
    return Recipe(name, stored["about"], str(stored["minutes"]), tuple(Goal(**goal) for goal in goals), settings)
