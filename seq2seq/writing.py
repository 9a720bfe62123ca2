"""Writing files: an error names the file the user knows, and what is there stays until the new one is whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minigrad.serialization import write_atomically


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError inside names ``path``, instead of a temporary file beside it or no file at all."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def replace_file(path: Path, data: bytes | Iterable[Any]) -> None:
    """Put ``data``, bytes or pieces of them, at ``path`` in one step; an OSError names ``path`` and leaves the former
    file."""
    with naming(path):
        write_atomically(path, data)
