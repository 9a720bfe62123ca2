"""Where sentence pairs come from: a public data set, a generated one, or the user's files.

Contract: `load_dataset` is the one entry; what it gives is raw text in splits (`Dataset`). `batches` and `sampler` turn
encoded pairs into padded arrays.
"""

from pathlib import Path

from seq2seq.data.batches import (
    Batch,
    EncodedSplit,
    NumberedTokens,
    Ragged,
    drop_long,
    encode_split,
    make_batch,
    pad_sources,
    tokenize_pairs,
)
from seq2seq.data.dataset import Dataset, Pair, hold_out
from seq2seq.data.files import decode_lines, read_lines, read_parallel, read_tsv, sha256_of
from seq2seq.data.named import NAMED_SETS, load_named
from seq2seq.data.numbers import load_numbers
from seq2seq.data.sampler import BatchSampler, evaluation_batches
from seq2seq.errors import UserError

__all__ = [
    "Batch",
    "BatchSampler",
    "Dataset",
    "EncodedSplit",
    "NumberedTokens",
    "Pair",
    "Ragged",
    "decode_lines",
    "drop_long",
    "encode_split",
    "evaluation_batches",
    "load_dataset",
    "make_batch",
    "pad_sources",
    "read_lines",
    "read_pairs",
    "read_parallel",
    "read_tsv",
    "tokenize_pairs",
]

_HELD_OUT_SHARE, _HELD_OUT_LIMIT = 0.02, 1000


def load_dataset(
    data: str,
    *,
    data_dir: str | Path | None = None,
    src_language: str | None = None,
    trg_language: str | None = None,
    valid: str | None = None,
    test: str | None = None,
    seed: int = 1234,
) -> Dataset:
    """Sentence pairs by the name of a set or from files.

    Args:
        data: "numbers", "multi30k", "spa-eng", "scan", "scan:length", "scan:addprim", "cmudict" or "cmudict:stress"; or
            files: `CORPUS.tsv`, `CORPUS.tsv.gz`, or two parallel files as `SRC,TRG`, each plain or .gz.
        data_dir: for the public sets, a folder that already holds them; None downloads them once.
        src_language, trg_language: language codes; None takes the set's usual ones, or for files the two-letter suffix
            as in train.de, else "xx" (any language).
        valid, test: for files only, further files of the same form. Without `valid`, 2 % of the train sources, at most
            1,000 and chosen by a hash, are held out; without `test` there is no such split.
        seed: for "numbers", chooses the numbers.

    Raises:
        UserError: the name is unknown, an argument does not apply, or a file is at fault.
    """
    name = data.partition(":")[0]
    if name not in NAMED_SETS and name != "numbers":
        return _load_files(data, src_language, trg_language, valid, test)
    for argument, value in (("valid", valid), ("test", test)):
        if value is not None:
            raise UserError(f"{argument} is {value!r}; expected none: {data} has its own splits")
    if name != "numbers":
        return load_named(data, src_language, trg_language, data_dir)
    if data != name:
        raise UserError(f"data is {data!r}; expected numbers without a variant")
    return load_numbers(src_language or "en", trg_language or "fr", seed)


def _load_files(
    data: str, src_language: str | None, trg_language: str | None, valid: str | None, test: str | None
) -> Dataset:
    """A data set of the user's own files; arguments as `load_dataset`."""
    given = {name: spec for name, spec in (("train", data), ("valid", valid), ("test", test)) if spec is not None}
    splits = {name: read_pairs("data" if name == "train" else name, spec) for name, spec in given.items()}
    if valid is None:
        splits["valid"], splits["train"] = hold_out(splits["train"], (_HELD_OUT_SHARE,), _HELD_OUT_LIMIT)
    if not splits["train"]:
        raise UserError(f"{data}: one distinct source sentence; expected more, or a valid file beside it")
    paths = [path for spec in given.values() for path in spec.split(",")]
    return Dataset(
        name=data,
        src_language=src_language or _suffix_language(data.split(",")[0]),
        trg_language=trg_language or _suffix_language(data.split(",")[-1]),
        splits=splits,
        checksums={path: sha256_of(path) for path in paths},
    )


def read_pairs(argument: str, spec: str) -> list[Pair]:
    """The pairs of `SRC,TRG` or of one tab-separated file; `argument` is what the user called it."""
    paths = spec.split(",")
    if len(paths) == 2 and all(paths):
        return read_parallel(*paths)
    if len(paths) == 1 and spec.endswith((".tsv", ".tsv.gz")):
        return read_tsv(spec)
    names = ", ".join(["numbers", *NAMED_SETS])
    sets = f"one of {names}, or " if argument == "data" else ""  # a named set has its own splits
    raise UserError(f"{argument} is {spec!r}; expected {sets}files as CORPUS.tsv[.gz] or SRC,TRG")


def _suffix_language(path: str) -> str:
    """The language code at the end of a file name such as train.de.gz, else "xx"."""
    suffix = Path(path.removesuffix(".gz")).suffix[1:]
    return suffix.lower() if len(suffix) == 2 and suffix.isalpha() else "xx"
