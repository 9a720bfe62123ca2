"""Files as a data set whose training pairs are never all in memory: they are read anew whenever they are gone through.

Contract: the same pairs in the same splits as ``corpus.load_files`` gives. What is told of the text is looked for in
the first hundred thousand pairs of each part.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from seq2seq.run.errors import UserError
from seq2seq.sources import report
from seq2seq.sources.corpus import (
    HELD_OUT_LIMIT,
    HELD_OUT_SHARE,
    Reader,
    files_of,
    files_of_splits,
    name_of,
    parts_of_splits,
)
from seq2seq.sources.dataset import Dataset, Languages, Pair, parts_of_files, source_hash
from seq2seq.sources.files import STDIN, BadLines, sha256_of, unchanged
from seq2seq.sources.reading import PLAIN, Reading
from seq2seq.sources.specs import Part

_LOOKED_AT = 100_000


class StreamedPairs(Sequence[Pair]):
    """The training pairs with text on both sides that are not held out; going through them reads the files.

    Args:
        parts: what they are read from.
        held_out: hashes of the sources that are not among them.
        count: how many there are.
    """

    def __init__(
        self, reader: Reader, reading: Reading, parts: Sequence[Part], held_out: set[bytes], count: int
    ) -> None:
        self._reader, self._reading, self._parts, self._held_out, self._count = reader, reading, parts, held_out, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Pair]:
        for part in self._parts:
            for _, pair in self._reader.stream(part, self._reading.faults())[1]:
                if is_whole(pair) and not (self._held_out and source_hash(pair[0]) in self._held_out):
                    yield pair

    def __getitem__(self, index: Any) -> Any:
        """One pair, or some of a slice; each is found by reading from the beginning."""
        if isinstance(index, slice):
            return list(islice(self, *index.indices(len(self))))
        return next(islice(self, index, None))


def is_whole(pair: Pair) -> bool:
    """Whether a pair has text on both sides."""
    return bool(pair[0].strip()) and bool(pair[1].strip())


class _HeldOut:
    """Those of the distinct sources with the smallest hashes, with their pairs, found in one pass."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, bytes]] = []  # the largest first
        self._pairs: dict[bytes, list[tuple[int, Pair]]] = {}
        self._distinct: set[bytes] = set()  # up to as many as matter for the share
        self._most = math.ceil(HELD_OUT_LIMIT / HELD_OUT_SHARE)

    def add(self, number: int, pair: Pair) -> None:
        digest = source_hash(pair[0])
        if len(self._distinct) < self._most:
            self._distinct.add(digest)
        if digest in self._pairs:
            self._pairs[digest].append((number, pair))
            return
        entry = (-int.from_bytes(digest, "big"), digest)
        if len(self._heap) < HELD_OUT_LIMIT:
            heapq.heappush(self._heap, entry)
        elif entry > self._heap[0]:
            del self._pairs[heapq.heappushpop(self._heap, entry)[1]]
        else:
            return
        self._pairs[digest] = [(number, pair)]

    def found(self) -> tuple[set[bytes], list[Pair]]:
        """Hashes of the sources that are held out, and their pairs in their order."""
        size = min(math.ceil(HELD_OUT_SHARE * len(self._distinct)), HELD_OUT_LIMIT)
        chosen = sorted(self._pairs)[:size]
        return set(chosen), [pair for _, pair in sorted((n, p) for digest in chosen for n, p in self._pairs[digest])]


def load_streamed(
    data: str, languages: Languages = (None, None), valid: str | None = None, test: str | None = None,
    reading: Reading = PLAIN,
) -> Dataset:  # fmt: skip
    """A data set of files, as ``load_files`` gives it, whose training pairs are ``StreamedPairs``."""
    given = {name: spec for name, spec in (("train", data), ("valid", valid), ("test", test)) if spec is not None}
    parts = parts_of_splits(given, languages, False, reading)
    if any(part.paths == (STDIN,) for part in parts["train"]):
        raise UserError("data is '-'; with data_cache the files are read more than once, expected names of files")
    reader = Reader(reading, languages, one_sided=False)
    files = files_of(path for each in parts.values() for part in each for path in part.paths)
    with unchanged(files):
        splits: dict[str, Sequence[Pair]] = {
            name: [pair for part in each for pair in reader.read(part, training=False)[1].pairs]
            for name, each in parts.items() if name != "train"
        }  # fmt: skip
        scan = _Scan(reader, reading, parts["train"], "valid" not in splits)
        checksums = {path: sha256_of(path) for path in files}
    if scan.held_out is not None:
        splits["valid"] = scan.held_out
    reader.notes, notes = [], tuple(reader.notes)  # each pass would add them
    train = StreamedPairs(reader, reading, parts["train"], scan.digests, scan.whole - len(scan.held_out or ()))
    if not len(train):
        raise UserError(f"{data}: no two distinct source sentences; expected more, or a valid file beside it")
    src, trg = (asked or found for asked, found in zip(languages, scan.languages or ("xx", "xx"), strict=True))
    return Dataset(
        name=data, src_language=src, trg_language=trg, splits={"train": train, **splits}, checksums=checksums,
        parts=parts_of_files(files_of_splits(parts)), notes=notes, left_out=scan.read - scan.whole,
        unreadable=scan.unreadable,
    )  # fmt: skip


class _Scan:
    """What one pass over the training pairs tells.

    Attributes:
        read, whole: pairs, and those with text on both sides.
        unreadable: lines that were skipped.
        digests, held_out: of sources that are held out, and their pairs; None where none are to be.
        languages: codes of source and target.
    """

    def __init__(self, reader: Reader, reading: Reading, parts: Sequence[Part], hold_out: bool) -> None:
        self.read = self.whole = self.unreadable = 0
        self.languages: tuple[str, str] | None = None
        chosen = _HeldOut() if hold_out else None
        for part in parts:
            self._part(part, reader, reading.faults(), chosen)
        self.digests: set[bytes] = set()
        self.held_out: list[Pair] | None = None
        if chosen is not None:
            self.digests, self.held_out = chosen.found()

    def _part(self, part: Part, reader: Reader, fail: BadLines, chosen: _HeldOut | None) -> None:
        names, rows = reader.stream(part, fail)
        self.languages = self.languages or reader.languages(part, names)
        lines: list[int] = []
        head: list[Pair] = []
        for line, pair in rows:
            self.read += 1
            if len(head) < _LOOKED_AT:
                lines.append(line)
                head.append(pair)
            if is_whole(pair):
                self.whole += 1
                if chosen is not None:
                    chosen.add(self.whole, pair)
        reader.notes += report.report(head, name_of(part), training=True, lines=lines)
        reader.tell(name_of(part), fail)
        self.unreadable += fail.count
