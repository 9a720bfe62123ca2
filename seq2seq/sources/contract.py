"""What a source promises: how the examples that a model reads get from a data set to its encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from seq2seq.run.registry import NoOptions
from seq2seq.sources.batches import Batch, EncodedSplit, IntArray, target_arrays


class Source:
    """A kind of source, registered with ``register("source", NAME)``; an instance has the ``options`` of one run.

    An item is what one example is kept as: a list of ids, or rows of numbers. Of N items ``collate`` makes what the
    encoder is given, packed.

    Attributes:
        Options: dataclass of its settings.
        marks: positions that ``collate`` adds to each item.
        capturable: whether items are ids, so that a training step can be a CUDA graph.
    """

    name: ClassVar[str]
    Options: ClassVar[type] = NoOptions
    marks: ClassVar[int] = 0
    capturable: ClassVar[bool] = False

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options

    def collate(self, items: Sequence[Any]) -> tuple[np.ndarray, IntArray]:
        """N items -> (S, N) int64 ids or (S, N, F) numbers, padded, and the positions (N,) of each."""
        raise NotImplementedError

    def own(self, positions: np.ndarray) -> np.ndarray:
        """What there is for each position (..., S) that ``collate`` makes of an item -> for the item's own elements, in
        their order: without marks."""
        return positions

    def random_items(self, rng: np.random.Generator, lengths: Sequence[int], num_inputs: int) -> Any:
        """Made-up items of these lengths, as a side of an ``EncodedSplit``: for gradient checks and trial steps."""
        raise NotImplementedError

    def batch(self, split: EncodedSplit, indices: Sequence[int] | IntArray) -> Batch:
        """The pairs of the given numbers (N,), padded; they become the columns, in this order."""
        numbers = [int(i) for i in indices]
        src, src_lengths = self.collate([split.src[i] for i in numbers])
        targets = target_arrays([split.trg[i].tolist() for i in numbers])
        return Batch(src, src_lengths, *targets, np.array(numbers, dtype=np.int64))
