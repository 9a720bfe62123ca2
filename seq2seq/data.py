"""The name of ``seq2seq.sources`` in version 0.1, with its functions for padded batches."""

from collections.abc import Sequence

from seq2seq.sources import *  # noqa: F403
from seq2seq.sources import Batch, EncodedSplit, TextSource
from seq2seq.sources.batches import IntArray


def make_batch(split: EncodedSplit, indices: Sequence[int] | IntArray, reverse_source: bool = False) -> Batch:
    """``TextSource.batch``."""
    return TextSource(TextSource.Options(reverse_source=reverse_source)).batch(split, indices)


def pad_sources(id_lists: Sequence[Sequence[int]], reverse_source: bool = False) -> tuple[IntArray, IntArray]:
    """``TextSource.collate``."""
    return TextSource(TextSource.Options(reverse_source=reverse_source)).collate(id_lists)
