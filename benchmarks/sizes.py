"""The size of this project at two commits, side by side: lines of each package, and what its folders are made of.

    python benchmarks/sizes.py [BEFORE AFTER] [--json FILE]        (default: HEAD~1 HEAD)

A line counts unless it is blank or only a comment (``#`` or ``//``); docstrings count. Read are the files in Python,
CUDA, C++ and shell. A function goes from its ``def`` to its last line, and a nested one counts by itself, too; its
arguments are all that it names but ``self`` and ``cls``.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
PACKAGES = ("kernels", "minigrad", "seq2seq", "benchmarks")
COUNTED = (".py", ".cu", ".cuh", ".cpp", ".hpp", ".sh")


class Size(NamedTuple):
    """Of a folder and all below it, or without what is below it."""

    files: int
    lines: int
    median: float
    longest: int
    arguments: int


def sources(revision: str) -> dict[PurePosixPath, str]:
    """The texts that count at a commit."""
    command = ["git", "archive", revision, *PACKAGES]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = {PurePosixPath(member.name): tar.extractfile(member) for member in tar if member.isfile()}
        return {path: file.read().decode() for path, file in found.items() if file and path.suffix in COUNTED}


def num_lines(text: str) -> int:
    """Without blank lines and those of comments."""
    lines = map(str.strip, text.splitlines())
    return sum(bool(line) and not line.startswith(("#!", "# ", "//")) and line != "#" for line in lines)


def functions(text: str) -> Iterator[tuple[int, int]]:
    """Lines and arguments of every function of a Python file."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            names = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            own = [name for name in names if name is not None and name.arg not in ("self", "cls")]
            yield (node.end_lineno or node.lineno) - node.lineno + 1, len(own)


def size(texts: dict[PurePosixPath, str]) -> Size:
    """Of some files."""
    found = [entry for path, text in texts.items() if path.suffix == ".py" for entry in functions(text)] or [(0, 0)]
    lengths, arguments = zip(*found, strict=True)
    return Size(len(texts), sum(map(num_lines, texts.values())), median(lengths), max(lengths), max(arguments))


def sizes(revision: str) -> dict[str, Size]:
    """Package or folder -> its size at a commit; a package's is of all its folders, and ends in a slash."""
    rooms: dict[str, dict[PurePosixPath, str]] = defaultdict(dict)
    for path, text in sources(revision).items():
        rooms[f"{path.parts[0]}/"][path] = text
        rooms[str(path.parent)][path] = text
    return {room: size(texts) for room, texts in rooms.items()}


def table(before: dict[str, Size], after: dict[str, Size]) -> Iterator[str]:
    """Markdown: the packages, then the folders, each figure before and after."""
    heads = ["files", "lines", "median function", "longest", "most arguments"]
    yield f"| folder | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    nothing = Size(0, 0, 0, 0, 0)
    for room in sorted({*before, *after}, key=lambda room: (not room.endswith("/"), room)):
        both = zip(before.get(room, nothing), after.get(room, nothing), strict=True)
        cells = (f"{was:,g}" if was == now else f"{was:,g} -> {now:,g}" for was, now in both)
        yield f"| {room} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("revisions", nargs="*", default=["HEAD~1", "HEAD"], help="two commits (default: HEAD~1 HEAD)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args(arguments)
    if len(options.revisions) != 2:
        parser.error(f"{len(options.revisions)} commits; expected two")
    before, after = map(sizes, options.revisions)
    print("\n".join(table(before, after)))
    if options.json:
        both: dict[str, Any] = {
            revision: {room: figures._asdict() for room, figures in found.items()}
            for revision, found in zip(options.revisions, (before, after), strict=True)
        }
        options.json.write_text(json.dumps(both, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
