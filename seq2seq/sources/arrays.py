"""Reading arrays of numbers from files that may be broken: what is wrong is named, and nothing in them can run.

Contract: NumPy's .npy and .npz alone, without pickled objects. A .npy is mapped into memory, so that a large one takes
none until it is used; an archive is read, up to a size that its own allows.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.run.errors import UserError
from seq2seq.run.messages import folded, shown
from seq2seq.sources.files import FREE_EXPANSION_BYTES, MAX_EXPANSION, open_checked

# What NumPy raises for files that are not its own, or cut, or made to do harm.
_FAULTS = (ValueError, TypeError, KeyError, EOFError, OSError, OverflowError, MemoryError, RecursionError, SyntaxError,
           tokenize.TokenError, NotImplementedError, zipfile.BadZipFile, zlib.error)  # fmt: skip
_AT_A_TIME = 1 << 20  # numbers that are looked at together


def mapped(path: str) -> np.ndarray:
    """The array of a .npy file, mapped into memory, read-only.

    Raises:
        UserError: the file is missing, no regular file, no .npy, cut short, or holds objects.
    """
    open_checked(Path(path)).close()
    try:
        return np.asarray(np.lib.format.open_memmap(path, mode="r"))
    except _FAULTS as error:
        raise UserError(f"{path}: cannot be read ({folded(error)}); expected an array, as np.save writes it") from None


def archive(path: str, names: Sequence[str]) -> list[np.ndarray]:
    """The arrays ``names`` of a .npz file, which may hold others too.

    Raises:
        UserError: as of ``mapped``, or an array is not there, or would be far larger than the file.
    """
    expected = f"an archive with {' and '.join(names)}, as np.savez writes it"
    with open_checked(Path(path)) as file:
        try:
            with zipfile.ZipFile(file) as members:
                size = sum(members.getinfo(f"{name}.npy").file_size for name in names)
            most = FREE_EXPANSION_BYTES + MAX_EXPANSION * Path(path).stat().st_size
            if size > most:
                raise UserError(f"{path}: expands to {size:,} bytes; expected {most:,} at most, not a zip bomb")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return [arrays[name] for name in names]
        except _FAULTS as error:
            raise UserError(f"{path}: cannot be read ({folded(error)}); expected {expected}") from None


def require_numbers(name: str, array: Any, dims: Sequence[int]) -> None:
    """UserError unless ``array`` is one of float32 with ``dims`` dimensions, no empty row, and every number finite."""
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        found = f"numbers of {array.dtype}" if isinstance(array, np.ndarray) else shown(array)
        raise UserError(f"{name}: {found}; expected an array of float32")
    if array.ndim not in dims or 0 in array.shape[1:]:
        expected = " or ".join(str(dim) for dim in dims)
        raise UserError(f"{name}: shape {array.shape}; expected {expected} dimensions, and a number in every row")
    step = max(1, _AT_A_TIME // max(1, int(np.prod(array.shape[1:]))))
    for start in range(0, len(array), step):
        finite = np.isfinite(array[start : start + step]).reshape(len(array[start : start + step]), -1).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite)) + 1
            raise UserError(f"{name}: row {row:,} holds a number that is not finite; expected finite numbers")
