"""One file that holds all a run has found so far, whole at every moment: what a run that is cut off leaves."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

NAME = "answers"


class Archive:
    """``OUT/answers.tar.gz`` of the files in a folder; ``answers-2.tar.gz`` if there is one of another run, and so on.

    Args:
        out: is made.
        folder: whose files it is to hold, without those whose names begin with a dot.
    """

    def __init__(self, out: Path, folder: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._folder, self._held = folder, b""
        self.path, number = out / f"{NAME}.tar.gz", 1
        while self.path.exists():
            number += 1
            self.path = out / f"{NAME}-{number}.tar.gz"

    def refresh(self) -> None:
        """Bring it up to date; who reads it sees the former one or this one, never a part of it."""
        found = packed(self._folder)
        if found == self._held:
            return
        partial = self.path.with_name(f".{self.path.name}.partial")
        with partial.open("wb") as file:
            file.write(gzip.compress(found, 6))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)
        self._held = found


def packed(folder: Path) -> bytes:
    """The files of a folder as a tar. A file that grows meanwhile is held as far as it was read."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or not path.is_file():
                continue
            content, entry = path.read_bytes(), tarfile.TarInfo(path.name)
            entry.size, entry.mtime = len(content), int(path.stat().st_mtime)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
