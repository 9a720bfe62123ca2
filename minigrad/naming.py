"""How messages call what a user gave."""

from __future__ import annotations

import inspect
from typing import Any


def kind_of(value: Any) -> str:
    """What sort of thing it is, for "got ...": "None", "a list", "an int", "the class Net"."""
    if value is None:
        return "None"
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' or name == 'ndarray' else 'a'} {name}"
