"""What a data set is, and how a part of one is held out without leaks.

Contract: sentences are raw text, exactly as in the files; tokenizers and vocabularies come later. A source may be
something else than a sentence: what, is its kind's affair (``seq2seq.sources.contract``). Held-out parts depend on the
sources alone: neither the order of the file nor a seed moves one from one part to another, and two pairs with the same
source are always in the same part.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from seq2seq.run.errors import UserError, require_integer

Pair = tuple[Any, str]  # a source, of text a sentence, and a target sentence
Languages = tuple[str | None, str | None]  # codes of source and target that are asked for

DEFAULTS: dict[str, Any] = {"src_tokenizer": "word", "trg_tokenizer": "word", "lower": False, "min_freq": 2}


@dataclass(frozen=True)
class Dataset:
    """Pairs of a source and a target sentence, in named splits.

    Attributes:
        name: the set's name, or the file specification.
        src_language, trg_language: language codes, for the word tokenizers.
        splits: "train", "valid" and mostly "test", each a sequence of (source, target), raw.
        alternatives: for splits where a target is not the only right one: per pair every accepted target.
        defaults: settings that suit this set: src_tokenizer, trg_tokenizer, lower, min_freq.
        checksums: sha256 (hex) of every file read, by its name, or of every generated split.
        parts: the splits that a file has a part in, by its name; all, where it is not there.
        notes: what the user should know of the files before they are trained on, a line each.
        license: under which terms the text may be used; empty for the user's own files.
        left_out: training pairs that were left out since a side of them is empty.
        unreadable: training lines that were skipped since they cannot be read.
    """

    name: str
    src_language: str
    trg_language: str
    splits: Mapping[str, Sequence[Pair]]
    alternatives: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=lambda: dict(DEFAULTS))
    checksums: dict[str, str] = field(default_factory=dict)
    parts: dict[str, set[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    license: str = ""
    left_out: int = 0
    unreadable: int = 0

    def split(self, name: str) -> Sequence[Pair]:
        """The pairs of one split.

        Raises:
            UserError: the set has no split of that name.
        """
        if name not in self.splits:
            raise UserError(f"split is {name!r}; expected one of {', '.join(self.splits)} of {self.name}")
        return self.splits[name]

    def references(self, name: str) -> list[tuple[str, ...]]:
        """Per pair of a split the accepted raw targets, the pair's own first: what evaluation compares with."""
        return self.alternatives.get(name) or [(trg,) for _, trg in self.split(name)]


def hold_out(pairs: Sequence[Pair], shares: Sequence[float], limit: int | None = None) -> list[list[Pair]]:
    """Split pairs by the sha256 of their source sentence.

    Args:
        pairs: (source, target) sentences.
        shares: share of the distinct sources for each held-out part, rounded up to at least one source; 0 or more, 1 at
            most in all.
        limit: at most this many distinct sources for each part; 1 or more.

    Returns:
        The held-out parts in the order of `shares`, then what is left; each keeps the order of `pairs`.

    Raises:
        UserError: a share or the limit is out of range.
        TypeError: the pairs are no pairs of strings.
    """
    if not isinstance(shares, Sequence) or not all(isinstance(share, Real) and 0 <= share <= 1 for share in shares):
        raise UserError(f"shares are {shares!r}; expected a list of numbers from 0 to 1")
    if sum(shares) > 1:
        raise UserError(f"shares are {shares!r}; expected 1 at most in all")
    if limit is not None:
        require_integer("limit", limit, 1)
    _require_pairs(pairs)
    digests = {src: source_hash(src) for src, _ in pairs}
    numbers = held_out([digests[src] for src, _ in pairs], shares, limit)
    return [[pairs[number] for number in part] for part in numbers]


def held_out(digests: Sequence[bytes], shares: Sequence[float], limit: int | None) -> list[list[int]]:
    """The numbers of the pairs of each part, by the sha256 of the source of each pair; as ``hold_out``."""
    sources = sorted(set(digests))
    part_of: dict[bytes, int] = {}
    for part, share in enumerate(shares):
        size = min(math.ceil(share * len(sources)), limit or len(sources))
        part_of.update(dict.fromkeys(sources[len(part_of) : len(part_of) + size], part))
    parts: list[list[int]] = [[] for _ in range(len(shares) + 1)]
    for number, digest in enumerate(digests):
        parts[part_of.get(digest, len(shares))].append(number)
    return parts


def _require_pairs(pairs: Sequence[Pair]) -> None:
    if isinstance(pairs, str) or not isinstance(pairs, Sequence):
        raise TypeError(f"pairs are {pairs!r}; expected a list of (source, target)")
    for number, pair in enumerate(pairs):
        if not (
            isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], str)
        ):
            raise TypeError(f"pairs[{number}] is {pair!r}; expected two strings, (source, target)")


def source_hash(src: str) -> bytes:
    """The sha256 of a source sentence, by which parts are held out."""
    return hashlib.sha256(src.encode("utf-8", "surrogatepass")).digest()


def parts_of_files(files: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """The splits that each file has a part in, given the files of each split; without validation data a part of the
    training data is held out for it."""
    found: dict[str, set[str]] = {}
    for split, names in files.items():
        also = {"valid"} if split == "train" and "valid" not in files else set()
        for name in names:
            found.setdefault(name, set()).update({split} | also)
    return found


def pairs_checksum(pairs: Sequence[Pair]) -> str:
    """The sha256 (hex) of the pairs written as source TAB target lines in UTF-8."""
    digest = hashlib.sha256()
    for src, trg in pairs:
        digest.update(f"{src}\t{trg}\n".encode())
    return digest.hexdigest()
