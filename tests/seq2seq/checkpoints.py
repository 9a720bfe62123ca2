"""Checkpoints of two runs, compared to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import Tensor
from minigrad.serialization import from_bytes
from seq2seq.run import checkpoint


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every number, text and array in nested containers, by its path."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, f"{name}.{key}")
    else:
        yield name, value.array if isinstance(value, Tensor) else value


def assert_same_checkpoint(one: Path, two: Path, name: str, *keys: str) -> None:
    """Weights, moments and progress are equal to the bit."""
    contents = [stored(folder, name) for folder in (one, two)]
    first, second = (dict(leaves({key: content[key] for key in keys} if keys else content)) for content in contents)
    assert first.keys() == second.keys()
    for path, value in first.items():
        np.testing.assert_array_equal(value, second[path], err_msg=path)


def stored(folder: Path, name: str) -> dict[str, Any]:
    """What a checkpoint of a run holds."""
    content: dict[str, Any] = from_bytes(checkpoint.path_of(folder, name).read_bytes())
    return content
