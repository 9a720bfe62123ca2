"""Values that nobody should give an option, and some that are good: numbers, words, paths, JSON and raw text."""

from __future__ import annotations

import random
from typing import Any

# Whole numbers in the range of an option are small here: a round may really train with them.
NUMBERS = (
    "0", "1", "2", "3", "-1", "-0", "+2", "007", " 2 ", "2\n", "1_000", "0x10", "1.5", "2.0", ".5", "1e-3", "1e3",
    "-0.0", "1e400", "1e-400", "nan", "-nan", "inf", "-Infinity", "٣", "２", "½", "²", "1,5", "1" * 13, "9" * 20,
    "9" * 400, "9" * 5000, str(2**63), str(2**64), str(-(2**63)), "0." + "3" * 3000, "1e", "--", "",
)  # fmt: skip
WORDS = (
    "", " ", "\t", "\n", "\r\n", "a\nb", "a b", "null", "true", "false", "yes", "TRUE", "-", "--", "-x", "--x", "=",
    ",", ",,", ":", "a,b", "a,b,c", "xx", "de", "zh", "ja", "word", "space", "char", "sentencepiece", "spacy", "cpu",
    "cuda", "cuda:7", "fp32", "fp64", "bf16", "tf32", "fp16", "train", "valid", "test", "best", "last", "numbers",
    "numbers:x", "scan:length", "cmudict:x", "multi30k", "é", "e\u0301", "日本", "\u202eabc", "\u2028", "\x85",
    "\x1b[31m", "\x07", "\udcff", "\ud800", "a\0b", "\0", "%s", "%(prog)s", "{}", "{0.__class__}", "$HOME", "~", "*",
    "x" * 300, "x" * 70_000, "'", '"', "\\", "None", "[]", "{}", "(1,)", "__class__", "!!python/none",
    "https://localhost/x.tsv", "file:///dev/null",
)  # fmt: skip
PATHS = (
    "", ".", "..", "/", "./", "digits.tsv", "./digits.tsv", "digits.src", "digits.src,digits.trg",
    "digits.tsv,digits.tsv", "digits.src,digits.src,digits.src", "digits.src,", ",digits.trg", "digits.tsv.gz",
    "broken.tsv.gz", "valid.tsv", "input.txt", "settings.yaml", "missing", "missing.tsv", "missing/deep/er", "folder",
    "folder/", "folder.tsv", "folder/inside.txt", "fifo", "fifo.tsv", "loop", "loop.tsv", "loop/x", "dangling",
    "dangling.tsv", "unreadable", "unreadable.tsv", "binary.tsv", "empty.tsv", "header.tsv", "uneven.tsv", "long.tsv",
    "one.tsv", "run", "run/", "link", "other", "run/config.json", "run/manifest.json", "run/checkpoints",
    "run/checkpoints/last.safetensors", "run/new", "run/../run", "digits.tsv/x", "a b/c'd", "new", "new/deep/er",
    "x" * 300, "x/" * 2500 + "x", "/dev/null", "/dev/full", "/dev/zero", "/dev/zero,/dev/zero", "/proc/none/x",
    "/proc/self/environ", "\udcff.tsv", "\ud800.tsv", "a\0b.tsv", "-", "tab\there.tsv", "new\nline", "日本.tsv",
    "../outside/kept.txt", "~/x", "file:digits.tsv",
)  # fmt: skip
JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 1.5, -0.0, 1e300, float("nan"), float("inf"), 2**31, 2**63, 10**30, 10**4000,
    "", "x", "1", "null", "\0", "\ud800", "é" * 50, "x" * 5000, [], [[]], [1, 2], ["a"], {}, {"a": 1}, {"": None},
    [None] * 20, "9" * 5000, "/dev/zero", "fifo", "loop", "word", "sentencepiece", "cuda", "fp64",
)  # fmt: skip
_ALPHABETS = (
    "0123456789 ", "0 1 2 3 \n", "abc \t\r\n", "é日本\u202e\u200d\u0301 ", "\0\x01\x1b\x7f\x85\u2028\u2029 \n",
    "\U0001f600\u200d\U0001f467 \ufeff",
)  # fmt: skip


def number(rng: random.Random) -> str:
    return rng.choice(NUMBERS)


def word(rng: random.Random) -> str:
    """A word, a path or a number, or one that never was."""
    kind = rng.random()
    if kind < 0.2:
        return "".join(
            chr(rng.choice((rng.randrange(1, 128), rng.randrange(1, 0x3000)))) for _ in range(rng.randint(1, 8))
        )
    return rng.choice(WORDS if kind < 0.6 else PATHS if kind < 0.9 else NUMBERS)


def path(rng: random.Random) -> str:
    return rng.choice(PATHS) if rng.random() < 0.9 else word(rng)


def text(rng: random.Random) -> bytes:
    """What someone may pipe into a program: lines, blanks, other scripts, bytes that are no UTF-8."""
    pieces = []
    for _ in range(rng.choice((0, 1, 2, 5, 30))):
        letters = rng.choice(_ALPHABETS)
        pieces.append("".join(rng.choices(letters, k=rng.choice((0, 1, 7, 40)))).encode())
        pieces.append(rng.choice((b"\n", b"\n", b"\r\n", b"", b" \n")))
    kind = rng.random()
    if kind < 0.1:
        pieces.insert(rng.randint(0, len(pieces)), rng.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"1 " * 60_000)))
    elif kind < 0.2:
        pieces.insert(0, rng.choice((b"\xef\xbb\xbf", b"\xff\xfe1\0", b"\x1f\x8b\x08\0", b"PK\x03\x04")))
    return b"".join(pieces)
