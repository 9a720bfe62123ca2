"""The size of this project at two commits, side by side: files and lines of each package and folder.

    python benchmarks/sizes.py [BEFORE AFTER]        (default: HEAD~1 HEAD)

A line counts unless it is blank or only a comment (``#`` or ``//``); docstrings count. Read are the files in Python,
CUDA, C++ and shell.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent
PACKAGES = ("kernels", "minigrad", "seq2seq", "benchmarks")
COUNTED = (".py", ".cu", ".cuh", ".cpp", ".hpp", ".sh")


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


def sizes(texts: dict[PurePosixPath, str]) -> tuple[Counter[str], Counter[str]]:
    """Files and lines of every package, with all of its folders and a slash at its end, and of every folder."""
    files, lines = Counter[str](), Counter[str]()
    for path, text in texts.items():
        for room in (f"{path.parts[0]}/", str(path.parent)):
            files[room] += 1
            lines[room] += num_lines(text)
    return files, lines


def table(before: Sequence[Counter[str]], after: Sequence[Counter[str]]) -> Iterator[str]:
    """Markdown: the packages, then the folders, each figure before and after."""
    yield "| folder | files | lines |\n|---|---|---|"
    for room in sorted({*before[0], *after[0]}, key=lambda room: (not room.endswith("/"), room)):
        both = ((was[room], now[room]) for was, now in zip(before, after, strict=True))
        cells = (f"{was:,}" if was == now else f"{was:,} -> {now:,}" for was, now in both)
        yield f"| {room} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("revisions", nargs="*", default=["HEAD~1", "HEAD"], help="two commits (default: HEAD~1 HEAD)")
    options = parser.parse_args(arguments)
    if len(options.revisions) != 2:
        parser.error(f"{len(options.revisions)} commits; expected two")
    print("\n".join(table(*(sizes(sources(revision)) for revision in options.revisions))))


if __name__ == "__main__":
    main()
