"""A file of weights, whatever wrote it, as arrays by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.serialization import arrays_from_bytes
from seq2seq.conversion import torch_files
from seq2seq.run.errors import UserError
from seq2seq.run.writing import read_run_file

Arrays = dict[str, np.ndarray]
# Where files that hold more than weights have them.
PLACES = ("state_dict", "model_state_dict", "model", "model_state")


def read_arrays(path: Path) -> Arrays:
    """The weights of a file of torch.save or of safetensors, in float32; it is not trusted (UserError)."""
    data = read_run_file(path, "a file of weights")
    try:
        content = _content(data)
    except (UserError, ValueError) as error:
        raise UserError(f"{path}: {error}; expected a file of torch.save, or of safetensors") from None
    for place in PLACES:
        if isinstance(content, dict) and isinstance(content.get(place), dict):
            content = content[place]
            break
    arrays = dict(_named(content))
    if not arrays:
        raise UserError(f"{path}: holds no arrays by name; expected a state_dict, alone or under {', '.join(PLACES)}")
    return arrays


def _content(data: bytes) -> Any:
    if data.startswith(b"PK"):
        return torch_files.read_archive(data)
    if data.startswith(b"\x80"):
        return torch_files.read_legacy(data)
    return arrays_from_bytes(data)


def _named(content: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of numbers of a dictionary; whole numbers are no weights."""
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(name, str) and isinstance(value, np.ndarray) and value.dtype.kind == "f":
            yield name, np.ascontiguousarray(value, np.float32)
