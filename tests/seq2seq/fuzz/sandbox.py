"""A folder with everything a command could meet: data, two runs, and files of every kind that are none."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import stat
from pathlib import Path

from bounded import run_here

TINY = (
    "--src-tokenizer", "space", "--trg-tokenizer", "space", "--embedding-size", "4", "--hidden-size", "6",
    "--num-layers", "1", "--min-freq", "1", "--batch-size", "16", "--epochs", "1", "--max-steps", "2",
)  # fmt: skip
Entry = tuple[int, bytes]  # the mode of a path, and its bytes or where it leads


class Sandbox:
    """The folder ``root``, put back to how it was made by ``reset``; commands run in ``work`` below it.

    Args:
        root: a folder that does not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.work, self._template = root, root / "work", root.with_name("template")
        (self.work / "folder.tsv").mkdir(parents=True)
        (root / "outside").mkdir()
        (root / "outside" / "kept.txt").write_text("kept\n")
        _write_data(self.work)
        for name, data in (("run", "digits.tsv"), ("other", "letters.tsv")):
            words = ["--data", str(self.work / data), "--run-dir", str(self.work / name), *TINY]
            outcome = run_here("train", words, limit=250)
            assert outcome.code == 0, outcome.err
        _write_links(self.work)
        shutil.copytree(root, self._template, symlinks=True)
        self.reset()

    def reset(self) -> None:
        shutil.rmtree(self.root)
        shutil.copytree(self._template, self.root, symlinks=True)
        for name in ("fifo", "fifo.tsv"):
            os.mkfifo(self.work / name)
        for name in ("unreadable", "unreadable.tsv"):
            (self.work / name).chmod(0)

    def snapshot(self) -> dict[str, Entry]:
        """Each path below ``root``: its mode, and its bytes or where it leads."""
        return {str(path.relative_to(self.root)): _entry(path) for path in self.root.rglob("*")}


def _entry(path: Path) -> Entry:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return mode, os.fsencode(os.readlink(path))
    return mode, path.read_bytes() if stat.S_ISREG(mode) else b""


def _write_data(work: Path) -> None:
    rng = random.Random(1)
    pairs = [(" ".join(map(str, line)), " ".join(map(str, line[::-1]))) for line in _lines(rng)]
    lines = "".join(f"{src}\t{trg}\n" for src, trg in pairs)
    contents = {
        "digits.tsv": lines, "valid.tsv": "1 2 3\t3 2 1\n4 5\t5 4\n", "letters.tsv": lines.translate(_TO_LETTERS),
        "digits.src": "".join(f"{src}\n" for src, _ in pairs), "digits.trg": "".join(f"{trg}\n" for _, trg in pairs),
        "input.txt": "1 2 3\n\n9 8\n", "empty.tsv": "", "one.tsv": "1\t1\n", "header.tsv": "source\ttarget\n" + lines,
        "uneven.tsv": lines + "1 2 3\n", "long.tsv": lines + "1 " * 70_000 + "\t1\n", "tab\there.tsv": lines,
        "日本.tsv": lines, "unreadable": lines, "unreadable.tsv": lines,
        "settings.yaml": "hidden_size: 5\ndropout: 0.1\n",
        "folder/inside.txt": "kept\n", "a b/c'd": lines,
    }  # fmt: skip
    for name, content in contents.items():
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text(content, encoding="utf-8")
    (work / "binary.tsv").write_bytes(rng.randbytes(3000))
    packed = gzip.compress(lines.encode(), mtime=0)
    (work / "digits.tsv.gz").write_bytes(packed)
    (work / "broken.tsv.gz").write_bytes(packed[: len(packed) // 2])


_TO_LETTERS = str.maketrans("0123456789", "abcdefghij")


def _lines(rng: random.Random) -> list[list[int]]:
    return [[number // 10, number % 10, *rng.choices(range(10), k=rng.randint(0, 3))] for number in range(60)]


def _write_links(work: Path) -> None:
    for name, target in (("loop", "loop"), ("loop.tsv", "loop.tsv"), ("dangling", "nowhere"), ("link", "run")):
        (work / name).symlink_to(target)
    (work / "dangling.tsv").symlink_to("nowhere.tsv")
    (work / os.fsdecode(b"\xff.tsv")).write_bytes((work / "digits.tsv").read_bytes())
