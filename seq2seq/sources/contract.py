"""What a source promises: how the examples that a model reads get from files to its encoder.

A source owns its side of a run, and all of it stands in its one file: which files it reads, what it learns from the
training data and a run keeps of that, how examples become items, and how N items become what an encoder is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.registry import Configured
from seq2seq.sources.batches import Batch, EncodedSplit, IntArray, Items, target_arrays
from seq2seq.sources.dataset import Dataset, Languages, Pair


class Examples(NamedTuple):
    """Pairs of a source and a target text, with every accepted target of each."""

    pairs: list[Pair]
    references: list[tuple[str, ...]]


class SourceSide:
    """What a run knows of its sources: how raw ones (sentences, rows of numbers) become items."""

    @property
    def num_inputs(self) -> int:
        """Of ids how many there are, of rows of numbers how many are in a row."""
        raise NotImplementedError

    def encode(self, raw: Sequence[Any]) -> Items:
        """The items of raw sources; UserError for one that does not fit the run."""
        raise NotImplementedError

    def checked(self, raw: Iterable[Any], name: str, noun: str) -> list[Any]:
        """What a Python program gives to ``name``, as a list of raw sources; ``noun`` says what one is.

        Raises:
            UserTypeError: it holds something else.
            UserError: a source with a fault.
        """
        raise NotImplementedError

    def tokens(self, raw: Any) -> list[str]:
        """What stands at each position of a raw source, in words; UserError where there are none."""
        raise UserError("replace_unk: this source has no words to put in place of <unk>; expected one of text")

    def positions(self, raw: Any, count: int) -> list[str]:
        """What people are shown for each of ``count`` positions of a raw source: its token, or the number of the place
        where there are no words, or other positions."""
        return [str(place) for place in range(1, count + 1)]

    def spoken(self, items: Items, raw: Sequence[Any]) -> Items:
        """The items of raw sources that are to be translated; one without positions is answered with nothing."""
        return items

    def require_known(self, items: Items, name: str) -> None:
        """UserError where the run can make nothing of any of the items; ``name`` is where they come from."""

    def stored(self) -> dict[str, Any]:
        """All that makes it, as JSON can hold it, under the ``keys`` of its source."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """sha256 (hex) of what the weights belong to."""
        raise NotImplementedError

    def __str__(self) -> str:
        """For people, in a few words."""
        raise NotImplementedError


class Learner:
    """The raw sources of all splits on their way to items.

    Attributes:
        lengths: (number of pairs,) int64 positions of each item, marks not counted.
    """

    lengths: IntArray

    def share(self, other: Learner) -> None:
        """Learn one vocabulary together with the other side; UserError where this side has none."""
        raise UserError("share_vocab is true; expected a source of text, which has a vocabulary")

    def learn(self, kept: np.ndarray) -> tuple[SourceSide, Items]:
        """What is learnt from those that ``kept`` (number of pairs,) bool names, and the items of all."""
        raise NotImplementedError


class KnownSide(Learner):
    """A side that is known already: nothing is learnt of the raw sources of all splits."""

    def __init__(self, side: SourceSide, raw: Sequence[Any]) -> None:
        self._side, self._items = side, side.encode(raw)
        self.lengths = self._items.lengths

    def learn(self, kept: np.ndarray) -> tuple[SourceSide, Items]:
        return self._side, self._items


class Source(Configured):
    """A kind of source, registered with ``register("source", NAME)``; an instance has the ``options`` of one run.

    Raw sources are what is in the files: sentences, or rows of numbers. An item is what one example is kept as: ids, or
    rows. Of N items ``collate`` makes what the encoder is given, packed.

    Attributes:
        keys: of what its side stores; text.json has them with "src_" before each.
        ids: whether items are ids, else rows of numbers.
        marks: positions that ``collate`` adds to each item.
        capturable: whether a training step can be a CUDA graph; for ids alone.
    """

    keys: ClassVar[tuple[str, ...]]
    ids: ClassVar[bool] = False
    marks: int = 0
    capturable: ClassVar[bool] = False

    def load(self, config: Config) -> Dataset:
        """The data set that ``config`` names; UserError where it names none, or a file is at fault."""
        raise NotImplementedError

    def read_examples(self, argument: str, spec: str, languages: Languages = (None, None)) -> Examples:
        """The examples of further files, in the form of ``data``; ``argument`` is what the user called them, and
        ``languages`` are those of the run, by which columns or files may be called."""
        raise NotImplementedError

    def read(self, path: str, languages: Languages = (None, None)) -> list[Any]:
        """The raw sources of a file, to be translated; "-" is standard input, where it can be read from that."""
        raise NotImplementedError

    def stream(self) -> Iterator[Any]:
        """The raw sources of standard input one by one, as they come; UserError where that cannot be."""
        raise UserError(f"stream: source {self.name} is not read line by line; expected one of text")

    def label(self, raw: Any) -> str:
        """A raw source for people, in a line."""
        raise NotImplementedError

    def shown(self, item: Any, side: Any) -> str:
        """An item for people, as the encoder is given it, in a line; ``side`` is the source's own."""
        return self.label(item)

    def learner(self, dataset: Dataset, config: Config) -> Learner:
        """Begin to learn from a data set."""
        raise NotImplementedError

    def restored(self, stored: dict[str, Any]) -> SourceSide:
        """What ``SourceSide.stored`` told; it is not trusted (UserError)."""
        raise NotImplementedError

    def collate(self, items: Sequence[Any]) -> tuple[np.ndarray, IntArray]:
        """N items -> (S, N) int64 ids or (S, N, F) numbers, padded, and the positions (N,) of each."""
        raise NotImplementedError

    def own(self, positions: np.ndarray) -> np.ndarray:
        """What there is for each position (..., S) that ``collate`` makes of an item -> for the item's own elements, in
        their order: without marks."""
        return positions

    def for_training(self, items: Any, side: Any, seed: int) -> Items:
        """Of the items of the training data those of which an epoch may read something else (``Items.of_epoch``), by
        numbers drawn from the seed. ``side`` is the source's own. By default every epoch reads the same."""
        trained: Items = items
        return trained

    def random_items(self, rng: np.random.Generator, lengths: Sequence[int], num_inputs: int) -> Items:
        """Made-up items of these lengths: for gradient checks and trial steps."""
        raise NotImplementedError

    def batch(self, split: EncodedSplit, indices: Sequence[int] | IntArray) -> Batch:
        """The pairs of the given numbers (N,), padded; they become the columns, in this order."""
        numbers = [int(i) for i in indices]
        src, src_lengths = self.collate([split.src[i] for i in numbers])
        targets = target_arrays([split.trg[i].tolist() for i in numbers])
        return Batch(src, src_lengths, *targets, np.array(numbers, dtype=np.int64))
