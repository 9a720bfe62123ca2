"""What a data set is, and how a part of one is held out without leaks.

Contract: sentences are raw text, exactly as in the files; tokenizers and vocabularies come later. Held-out parts
depend on the source sentences alone: neither the order of the file nor a seed moves a sentence from one part to
another, and two pairs with the same source are always in the same part.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from seq2seq.errors import UserError

Pair = tuple[str, str]

DEFAULTS: dict[str, Any] = {"src_tokenizer": "word", "trg_tokenizer": "word", "lower": False, "min_freq": 2}


@dataclass(frozen=True)
class Dataset:
    """Sentence pairs in named splits.

    Attributes:
        name: the set's name, or the file specification.
        src_language, trg_language: language codes, for the word tokenizers.
        splits: "train", "valid" and mostly "test", each a list of (source, target) raw sentences.
        alternatives: for splits where a target is not the only right one: per pair every accepted target.
        defaults: settings that suit this set: src_tokenizer, trg_tokenizer, lower, min_freq.
        checksums: sha256 (hex) of every file read, by its name, or of every generated split.
        notes: what the user should know of the files before they are trained on, a line each.
        license: under which terms the text may be used; empty for the user's own files.
    """

    name: str
    src_language: str
    trg_language: str
    splits: dict[str, list[Pair]]
    alternatives: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=lambda: dict(DEFAULTS))
    checksums: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    license: str = ""

    def split(self, name: str) -> list[Pair]:
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
        shares: share of the distinct sources for each held-out part, rounded up to at least one source.
        limit: at most this many distinct sources for each part.

    Returns:
        The held-out parts in the order of `shares`, then what is left; each keeps the order of `pairs`.
    """
    sources = sorted({src for src, _ in pairs}, key=lambda src: hashlib.sha256(src.encode()).digest())
    part_of: dict[str, int] = {}
    for part, share in enumerate(shares):
        size = min(math.ceil(share * len(sources)), limit or len(sources))
        part_of.update(dict.fromkeys(sources[len(part_of) : len(part_of) + size], part))
    parts: list[list[Pair]] = [[] for _ in range(len(shares) + 1)]
    for pair in pairs:
        parts[part_of.get(pair[0], len(shares))].append(pair)
    return parts


def pairs_checksum(pairs: Sequence[Pair]) -> str:
    """The sha256 (hex) of the pairs written as source TAB target lines in UTF-8."""
    digest = hashlib.sha256()
    for src, trg in pairs:
        digest.update(f"{src}\t{trg}\n".encode())
    return digest.hexdigest()
