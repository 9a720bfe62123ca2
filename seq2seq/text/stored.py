"""The ids of training pairs in files that are mapped into memory, for corpora that are larger than it.

    DATA_CACHE/ids-KEY/  {src,trg}.ids      int32, all ids, one list after the other
                         {src,trg}.lengths  int32, of each list
                         {src,trg}.ends     int64, where each list ends
                         meta.json          what they were made from, both vocabularies, the sha256 of each file

Contract: the same ids and vocabularies as ``TextCodec.build_encoded`` gives. KEY is a digest of the data and of all
settings and libraries that ids depend on, so other data have other files. A folder is written under another name and
renamed when it is whole; one that was changed since is made anew. Memory holds some pairs of text, the distinct tokens
and nothing that grows with the pairs.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from seq2seq.run import locking, manifest, registry
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted
from seq2seq.run.streams import say
from seq2seq.sources import Dataset, EncodedSplit, Pair, Ragged, Reading
from seq2seq.sources.batches import IntArray
from seq2seq.sources.files import sha256_of
from seq2seq.text import sampling
from seq2seq.text.codec import TextCodec, output_limit
from seq2seq.text.side import TextSide, cut, new_tokenizer, setting, vocabulary_of
from seq2seq.text.vocabulary import Vocabulary

VERSION = 1
SIDES = ("src", "trg")
_KINDS = {"ids": np.int32, "lengths": np.int32, "ends": np.int64}
_DAY = 24 * 60 * 60  # seconds
_TOGETHER = 50_000  # pairs that are tokenised at a time
_PIECE = 1 << 22  # numbers that are looked at together
_FOR_PIECES = 1_000_000  # sentences that subwords are learnt of
# Settings that ids depend on; what else they do stands in the digests of the data.
_SETTINGS = ("src_language", "trg_language", "src_tokenizer", "trg_tokenizer", "lower", "min_freq", "max_vocab_size",
             "share_vocab", "subword_model", "max_length", "max_output_length", "truncate_source",
             *(field.name for field in dataclasses.fields(Reading)))  # fmt: skip


class Stored(NamedTuple):
    """A codec, the splits, of which the training pairs are in files, and how many pairs were too long."""

    codec: TextCodec
    encoded: dict[str, EncodedSplit]
    too_long: int


def check(config: Config) -> None:
    """UserError where a run keeps its ids in files and asks for what that cannot give."""
    if config.data_cache is None:
        return
    odd = {
        "source": config.source != "text", "task": getattr(config, "task", "translate") != "translate",
        "noise_drop": getattr(config, "noise_drop", 0), "noise_shuffle": getattr(config, "noise_shuffle", 0),
        "subword_alpha": sampling.asked(config) is not None and config.subword_alpha, "bpe_dropout": config.bpe_dropout,
        "decoder": registry.reads(config).copies, "add_data": config.add_data, "init_from": config.init_from,
    }  # fmt: skip
    for name, is_odd in odd.items():
        if is_odd:
            raise UserError(f"{name} is {getattr(config, name)}; with data_cache the ids of text are the same always")
    if config.dry_run:
        raise UserError("data_cache: holds the ids, and dry_run writes nothing; expected one of them")


def stored(config: Config, dataset: Dataset, codec: TextCodec | None = None) -> Stored:
    """The splits of ``dataset`` as ids; those of training pairs are read from ``config.data_cache``, or written to it.

    Args:
        codec: of a run that goes on; else one is learnt of the training pairs.

    Raises:
        UserError: the folder cannot be used, or as ``TextCodec.build_encoded``.
    """
    folder = Path(cast(str, config.data_cache)) / f"ids-{_key(config, dataset, codec)[:16]}"
    found = _opened(folder, config, codec)
    if found is None:
        say(f"writing the ids of {counted(len(dataset.splits['train']), 'training pair')} to {folder} ...")
        _write(folder, config, dataset, codec)
        found = _opened(folder, config, codec)
        assert found is not None
    codec, train, too_long = found
    others = {name: codec.encode_pairs(pairs) for name, pairs in dataset.splits.items() if name != "train"}
    return Stored(codec, {"train": train, **others}, too_long)


def _key(config: Config, dataset: Dataset, codec: TextCodec | None) -> str:
    parts = {
        "version": VERSION, "files": list(dataset.checksums.values()), "valid": config.valid, "test": config.test,
        "defaults": dataset.defaults, "codec": codec and codec.fingerprint(),
        "languages": [dataset.src_language, dataset.trg_language],
        "settings": {name: getattr(config, name) for name in _SETTINGS},
        "libraries": {name: manifest.version_of(name) for name in ("spacy", "sacremoses", "sentencepiece")},
    }  # fmt: skip
    parts |= {name: parts[name] is not None for name in ("valid", "test")}  # wherever they lie
    return manifest.sha256(json.dumps(parts, sort_keys=True).encode())


# --- reading ----------------------------------------------------------------------------------------------------------
def _opened(folder: Path, config: Config, codec: TextCodec | None) -> tuple[TextCodec, EncodedSplit, int] | None:
    """What a folder holds; None where it does not stand, or not as it was written."""
    path = folder / "meta.json"
    try:
        meta = json.loads(path.read_bytes())
        if any(sha256_of(folder / name) != digest for name, digest in meta["sha256"].items()):
            return None
        known = codec or TextCodec.restored(meta["codec"], config, path)
        src, trg = (_mapped(folder, side, meta["pairs"]) for side in SIDES)
        return known, EncodedSplit(src, trg), int(meta["too_long"])
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None


def _mapped(folder: Path, side: str, pairs: int) -> Ragged:
    ids, lengths, ends = (_map(folder / f"{side}.{kind}", dtype) for kind, dtype in _KINDS.items())
    if not len(lengths) == len(ends) == pairs or (pairs and ends[-1] != len(ids)):
        raise ValueError(f"{folder}: numbers of another size")
    return Ragged.mapped(ids, cast(IntArray, lengths), ends)


def _map(path: Path, dtype: type) -> npt.NDArray[Any]:
    """The numbers of a file, read-only; an empty one cannot be mapped."""
    return np.memmap(path, dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype)


# --- writing ----------------------------------------------------------------------------------------------------------
def _write(folder: Path, config: Config, dataset: Dataset, codec: TextCodec | None) -> None:
    """Write the files of a folder, which stands when it is whole; meanwhile it is locked."""
    _sweep(folder.parent)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        unfinished.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"data_cache {config.data_cache}: {error.strerror}; expected a folder to write to") from None
    try:
        with ExitStack() as held:
            with suppress(UserError):  # a file system without locks
                held.enter_context(locking.locked(unfinished))
            meta = _written(unfinished, config, dataset, codec)
        (unfinished / locking.NAME).unlink(missing_ok=True)
        meta["sha256"] = {path.name: sha256_of(path) for path in sorted(unfinished.iterdir())}
        (unfinished / "meta.json").write_bytes(json.dumps(meta, ensure_ascii=False).encode())
        if folder.exists():  # it was changed since it was written
            shutil.rmtree(folder)
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _sweep(cache: Path) -> None:
    """Remove what killed processes left: folders whose lock nobody holds, and such without one that are a day old, as
    from before there were locks, or from a process that was killed beside its lock."""
    for path in cache.glob(".ids-*.tmp"):
        with suppress(UserError, OSError):  # somebody writes to it, or it is gone meanwhile
            if path.is_symlink():
                continue
            if locking.can_be_left(path):
                with locking.locked(path):
                    shutil.rmtree(path)
            elif not (path / locking.NAME).exists() and time.time() - path.stat().st_mtime > _DAY:
                shutil.rmtree(path)


def _written(folder: Path, config: Config, dataset: Dataset, codec: TextCodec | None) -> dict[str, Any]:
    """Write the ids of the training pairs; what is to be known of them."""
    writers = [_Side(side, folder, config, dataset, codec) for side in SIDES]
    too_long = 0
    for chunk in _chunks(dataset.splits["train"]):
        begun = [writer.tokens([pair[number] for pair in chunk]) for number, writer in enumerate(writers)]
        sides = [list(tokens) for tokens in begun]
        if config.max_length is not None:
            kept = [max(map(len, both)) <= config.max_length for both in zip(*sides, strict=True)]
            sides = [list(compress(lists, kept)) for lists in sides]
            too_long += kept.count(False)
        for writer, lists in zip(writers, sides, strict=True):
            writer.add(lists)
    pairs = writers[0].close()
    writers[1].close()
    if not pairs:
        raise UserError(f"data {config.data}: no training pairs are left with max_length {config.max_length}")
    codec = codec or _learnt(writers, config, dataset)
    return {"pairs": pairs, "too_long": too_long, "codec": codec.to_dict()}


def _chunks(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    iterator = iter(pairs)
    while chunk := list(islice(iterator, _TOGETHER)):
        yield chunk


class _Numbers(dict[str, int]):
    """Each distinct token by the place at which it first occurred."""

    def __missing__(self, token: str) -> int:
        number = self[token] = len(self)
        return number


class _Side:
    """One side on its way to files: numbers of tokens, until ids take their place; or ids, where a codec is there.

    Attributes:
        numbers: the distinct tokens.
        longest: tokens of the longest list.
    """

    def __init__(self, side: str, folder: Path, config: Config, dataset: Dataset, codec: TextCodec | None) -> None:
        known = None if codec is None else cast(TextSide, codec.source) if side == "src" else codec.target
        self.name, self.folder, self.numbers, self.longest = side, folder, _Numbers(), 0
        self.tokenizer = known.tokenizer if known else new_tokenizer(side, _sampled(dataset), config)
        self.first = config.truncate_source if side == "src" else 0
        self._encode: Callable[[Iterable[str]], Iterable[int]] = (
            known.vocabulary.encode if known else lambda tokens: map(self.numbers.__getitem__, tokens)
        )
        self._files: list[BinaryIO] = [open(folder / f"{side}.{kind}", "wb") for kind in _KINDS]  # noqa: SIM115
        self._end, self._pairs = 0, 0

    def tokens(self, sentences: Sequence[str]) -> Iterable[list[str]]:
        return cut(self.tokenizer.tokenize_all(sentences), self.first)

    def add(self, token_lists: Sequence[Sequence[str]]) -> None:
        """Write some lists."""
        ids = array("i", self._encode(chain.from_iterable(token_lists)))
        lengths = np.array([len(tokens) for tokens in token_lists], np.int32)
        ends = self._end + np.cumsum(lengths, dtype=np.int64)
        for file, data in zip(self._files, (ids.tobytes(), lengths.tobytes(), ends.tobytes()), strict=True):
            file.write(data)
        self._end += len(ids)
        self._pairs += len(lengths)
        self.longest = max(self.longest, int(lengths.max(initial=0)))

    def close(self) -> int:
        """Close the files; the number of lists."""
        for file in self._files:
            file.close()
        return self._pairs

    def counts(self) -> dict[str, int]:
        """How often each token occurs."""
        counted = np.zeros(len(self.numbers), np.int64)
        for piece in self._pieces("r"):
            counted += np.bincount(piece, minlength=len(counted))
        return dict(zip(self.numbers, counted.tolist(), strict=True))

    def renumber(self, vocabulary: Vocabulary) -> None:
        """Put the ids of a vocabulary in place of the numbers of tokens."""
        new_ids = np.array(vocabulary.encode(self.numbers), np.int32)
        for piece in self._pieces("r+"):
            piece[:] = new_ids[piece]

    def _pieces(self, mode: Any) -> Iterator[npt.NDArray[np.int32]]:
        """The numbers, some at a time; each piece is mapped by itself."""
        path = self.folder / f"{self.name}.ids"
        for start in range(0, self._end, _PIECE):
            count = min(_PIECE, self._end - start)
            yield np.memmap(path, np.int32, mode, offset=4 * start, shape=(count,))


def _sampled(dataset: Dataset) -> Dataset:
    """The data set with as many training pairs as subwords are learnt of, evenly taken."""
    train = dataset.splits["train"]
    step = -(-len(train) // _FOR_PIECES)
    return dataset if step <= 1 else dataclasses.replace(dataset, splits={"train": _EveryNth(train, step)})


class _EveryNth(Sequence[Pair]):
    """Every so manieth of some pairs, whenever they are gone through."""

    def __init__(self, pairs: Sequence[Pair], step: int) -> None:
        self._pairs, self._step = pairs, step

    def __len__(self) -> int:
        return -(-len(self._pairs) // self._step)

    def __iter__(self) -> Iterator[Pair]:
        return islice(self._pairs, 0, None, self._step)

    def __getitem__(self, index: Any) -> Any:
        return next(islice(self, index, None))


def _learnt(writers: Sequence[_Side], config: Config, dataset: Dataset) -> TextCodec:
    """The codec of what was written, whose ids take the place of numbers."""
    counts = [writer.counts() for writer in writers]
    least = setting(dataset, config, "min_freq") or 1
    if config.share_vocab:
        both = {token: sum(each.get(token, 0) for each in counts) for token in (*counts[0], *counts[1])}
        counts = [both, both]
    sides = []
    for writer, of_side in zip(writers, counts, strict=True):
        vocabulary = vocabulary_of(writer.name, of_side, least, config.max_vocab_size)
        writer.renumber(vocabulary)
        sides.append(TextSide(writer.tokenizer, vocabulary, writer.first))
    return TextCodec(sides[0], sides[1], output_limit(config, writers[1].longest))
