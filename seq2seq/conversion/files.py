"""A file of weights, whatever wrote it, as arrays by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.serialization import arrays_from_bytes
from seq2seq.conversion import keras_files, npz, torch_files
from seq2seq.run.errors import UserError
from seq2seq.run.writing import read_run_file

Arrays = dict[str, np.ndarray]
TEXTS = "special:"  # how Marian names what says what the arrays are
# Where files that hold more than weights have them.
PLACES = ("state_dict", "model_state_dict", "model", "model_state")
# What they have beside that, whose names do not say so.
BESIDE = ("generator",)


def read_arrays(path: Path) -> Arrays:
    """The weights of a file of torch.save, numpy.savez, safetensors or Keras, in float32; it is not trusted."""
    return read_weights(path)[0]


def read_weights(path: Path) -> tuple[Arrays, dict[str, list[str]]]:
    """The same, and the lists of tokens that a checkpoint keeps beside them, as ``vocab``, by name."""
    data = read_run_file(path, "a file of weights")
    try:
        content = _content(data)
    except (UserError, ValueError) as error:
        raise UserError(f"{path}: {error}; expected a file of torch.save, numpy.savez, safetensors or Keras") from None
    whole = content if isinstance(content, dict) else {}
    weights = next((whole[place] for place in PLACES if isinstance(whole.get(place), dict)), whole)
    arrays = dict(_named(weights))
    for place in BESIDE:
        arrays |= {f"{place}.{name}": array for name, array in _named(whole.get(place))}
    if not arrays:
        raise UserError(f"{path}: holds no arrays by name; expected a state_dict, alone or under {', '.join(PLACES)}")
    return arrays, dict(_lists(whole.get("vocab"))) or dict(_fields(whole.get("vocab")))


def _lists(content: Any) -> Iterator[tuple[str, list[str]]]:
    """The lists of texts of a dictionary."""
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(name, str) and isinstance(value, list) and all(isinstance(each, str) for each in value):
            yield name, value


def _fields(content: Any) -> Iterator[tuple[str, list[str]]]:
    """The tokens of torchtext's fields, by which OpenNMT-py kept them before version 3: src and tgt are each a field,
    several of them, or before 1.0 a vocabulary, which lists its tokens as ``itos``."""
    if isinstance(content, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in content):
        content = {pair[0]: pair[1] for pair in content if isinstance(pair[0], str)}
    for name in ("src", "tgt"):
        tokens = _first(content.get(name), "itos") if isinstance(content, dict) else None
        if isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
            yield name, tokens


def _first(content: Any, name: str, depth: int = 8) -> Any:
    """What is called so in nested dictionaries and lists, the first that is there; None where nothing is."""
    if depth == 0 or not isinstance(content, dict | list):
        return None
    if isinstance(content, dict) and name in content:
        return content[name]
    parts = content.values() if isinstance(content, dict) else content
    return next((found for part in parts if (found := _first(part, name, depth - 1)) is not None), None)


def _content(data: bytes) -> Any:
    if keras_files.is_keras(data):
        return keras_files.read(data)
    if data.startswith(b"PK"):
        return npz.read(data) if npz.is_one(data) else torch_files.read_archive(data)
    if data.startswith(b"\x80"):
        return torch_files.read_legacy(data)
    return arrays_from_bytes(data)


def _named(content: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of numbers of a dictionary; whole numbers are no weights, but may be the bytes of a text."""
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(name, str) and isinstance(value, np.ndarray) and value.dtype.kind == "f":
            yield name, np.ascontiguousarray(value, np.float32)
        elif isinstance(name, str) and name.startswith(TEXTS) and isinstance(value, np.ndarray):
            yield name, value
