"""Ids in a compact store, and padded batches cut so that little of them is padding.

Contract: arrays are time-major (T, N), C-contiguous, ids int64. Here and nowhere else lives what teacher forcing needs:
the decoder reads `trg_input` = <sos> tokens and is scored against `trg_output` = tokens <eos>, one step ahead of it.
What the encoder reads is the source's own affair (`seq2seq.sources.contract`).
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from seq2seq.run.errors import require_integer
from seq2seq.text.tokenizers import Tokenizer
from seq2seq.text.vocabulary import EOS_ID, PAD_ID, SOS_ID, Vocabulary

IntArray = npt.NDArray[np.int64]


class Items(Protocol):
    """One side of encoded pairs: lists of ids (``Ragged``), or whatever else a source keeps its examples as.

    Attributes:
        lengths: (number of items,) int64 positions of each.
    """

    lengths: IntArray

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...

    def part(self, start: int, stop: int) -> "Items":
        """Items `start` to `stop` - 1."""

    def take(self, indices: Sequence[int]) -> "Items":
        """The items of these numbers, in this order."""

    @property
    def longest(self) -> int:
        """The most positions that an item may have in any epoch."""
        return int(self.lengths.max(initial=0))

    def of_epoch(self, epoch: int) -> "Items":
        """The items as an epoch of training reads them, a function of its number; by default always the same."""
        return self


class Ragged(Items):
    """Lists of ids of unequal length in one flat int32 array.

    Args:
        lists: the id lists.

    Attributes:
        flat: (sum of lengths,) int32, all ids, read-only.
        lengths: (number of lists,) int64.
    """

    def __init__(self, lists: Iterable[Sequence[int]]) -> None:
        flat, lengths = array("i"), array("q")
        for ids in lists:
            flat.extend(ids)
            lengths.append(len(ids))
        self._set(np.array(flat, dtype=np.int32), np.array(lengths, dtype=np.int64))

    def _set(self, flat: npt.NDArray[np.int32], lengths: IntArray) -> None:
        flat.flags.writeable = False
        self.flat, self.lengths = flat, lengths
        self._ends = np.cumsum(lengths)

    @classmethod
    def from_flat(cls, flat: npt.NDArray[np.int32], lengths: IntArray) -> "Ragged":
        """Lists that are one array already; it is not copied, and cannot be written any more."""
        ragged = cls(())
        ragged._set(flat, lengths)
        return ragged

    @classmethod
    def mapped(cls, flat: npt.NDArray[np.int32], lengths: IntArray, ends: IntArray) -> "Ragged":
        """Lists of arrays that are read-only already, such as files mapped into memory; ``ends`` (number of lists,)
        are the sums of the lengths up to each."""
        ragged = cls(())
        ragged.flat, ragged.lengths, ragged._ends = flat, lengths, ends
        return ragged

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> npt.NDArray[np.int32]:
        """The ids of list `index`, a read-only view."""
        end = self._ends[index]
        return self.flat[end - self.lengths[index] : end]

    def __iter__(self) -> Iterator[npt.NDArray[np.int32]]:
        return (self[index] for index in range(len(self)))

    def of_epoch(self, epoch: int) -> "Ragged":
        return self

    def part(self, start: int, stop: int) -> "Ragged":
        """Lists `start` to `stop` - 1, with ids of their own."""
        begin, end = (int(self._ends[number - 1]) if number else 0 for number in (start, min(stop, len(self))))
        return Ragged.from_flat(self.flat[begin:end].copy(), self.lengths[start:stop].copy())

    def take(self, indices: Sequence[int]) -> "Ragged":
        """The lists of these numbers, in this order, with ids of their own."""
        return Ragged(self[index].tolist() for index in indices)

    def renumbered(self, new_ids: npt.ArrayLike) -> "Ragged":
        """The lists with `new_ids[i]` in place of each id i."""
        return Ragged.from_flat(np.asarray(new_ids, dtype=np.int32)[self.flat], self.lengths)


class NumberedTokens:
    """Token lists in little space: each distinct token once, the lists as numbers of tokens.

    Args:
        token_lists: the tokenised sentences; they are not kept.

    Attributes:
        tokens: the distinct tokens in the order in which they first occur.
        numbers: the lists, each token as its place in `tokens`.
    """

    def __init__(self, token_lists: Iterable[Sequence[str]]) -> None:
        places: dict[str, int] = {}
        self.numbers = Ragged([places.setdefault(token, len(places)) for token in tokens] for tokens in token_lists)
        self.tokens = list(places)

    def counts(self, kept: npt.NDArray[np.bool_]) -> dict[str, int]:
        """How often each token occurs in the lists where `kept` (number of lists,) is true."""
        numbers = self.numbers.flat[np.repeat(kept, self.numbers.lengths)]
        return dict(zip(self.tokens, np.bincount(numbers, minlength=len(self.tokens)).tolist(), strict=True))

    def encode(self, vocabulary: Vocabulary) -> Ragged:
        """The lists in the vocabulary's ids."""
        return self.numbers.renumbered(vocabulary.encode(self.tokens))


@dataclass(frozen=True)
class EncodedSplit:
    """Pairs of an item and target ids, without <sos>, <eos> and padding.

    Attributes:
        src: the source's items, of text lists of ids.
        trg: the id lists; `src.lengths` and `trg.lengths` are int64 (number of pairs,).
    """

    src: Items
    trg: Ragged

    def __len__(self) -> int:
        return len(self.src)

    def of_epoch(self, epoch: int) -> "EncodedSplit":
        """The pairs as an epoch of training reads them."""
        return EncodedSplit(self.src.of_epoch(epoch), self.trg.of_epoch(epoch))

    def cut(self, sizes: Iterable[int]) -> "list[EncodedSplit]":
        """Consecutive parts of `sizes` pairs."""
        ends = list(accumulate(sizes, initial=0))
        return [EncodedSplit(self.src.part(*bounds), self.trg.part(*bounds)) for bounds in pairwise(ends)]


@dataclass(frozen=True)
class Batch:
    """N pairs, padded.

    Attributes:
        src: (S, N) int64 ids or (S, N, F) numbers, as `Source.collate` makes them.
        src_lengths: (N,) int64, real positions of src, <sos> and <eos> counted.
        trg_input: (T, N) int64, <sos> tokens.
        trg_output: (T, N) int64, tokens <eos>.
        trg_lengths: (N,) int64, real positions of trg_output, <eos> counted.
        indices: (N,) int64, the pairs' numbers in their split.
        whole_src: src with the words that were dropped of it, which can be copied; None where none were.
    """

    src: np.ndarray
    src_lengths: IntArray
    trg_input: IntArray
    trg_output: IntArray
    trg_lengths: IntArray
    indices: IntArray
    whole_src: IntArray | None = None

    @property
    def num_src_tokens(self) -> int:
        """Real positions of src: no padding, <sos> and <eos> of text counted."""
        return int(self.src_lengths.sum())

    @property
    def num_trg_tokens(self) -> int:
        """Real positions of trg_output: no padding, <eos> counted; the number of predictions."""
        return int(self.trg_lengths.sum())


def encode_split(
    pairs: Iterable[tuple[str, str]],
    src_tokenizer: Tokenizer,
    trg_tokenizer: Tokenizer,
    src_vocabulary: Vocabulary,
    trg_vocabulary: Vocabulary,
) -> EncodedSplit:
    """Tokenize raw sentence pairs and look their tokens up."""
    src, trg = tokenize_pairs(list(pairs), src_tokenizer, trg_tokenizer)
    return EncodedSplit(Ragged(map(src_vocabulary.encode, src)), Ragged(map(trg_vocabulary.encode, trg)))


def tokenize_pairs(
    pairs: Sequence[tuple[str, str]], src_tokenizer: Tokenizer, trg_tokenizer: Tokenizer
) -> tuple[Iterable[list[str]], Iterable[list[str]]]:
    """The tokens of the sources and of the targets, to be read once; both sides' work starts now."""
    src = src_tokenizer.tokenize_all([src for src, _ in pairs])
    return src, trg_tokenizer.tokenize_all([trg for _, trg in pairs])


def drop_long(split: EncodedSplit, max_length: int) -> tuple[EncodedSplit, int]:
    """Leave out the pairs with a side of more than `max_length` tokens, and say how many they were.

    Args:
        split: the pairs.
        max_length: the most tokens (of a source that is no text, positions) a side may have, marks not counted.

    Returns:
        The pairs that are left, in their order, and the number of those dropped.

    Raises:
        UserError: max_length is no integer or below 1.
    """
    require_integer("max_length", max_length, 1)
    kept = np.flatnonzero(np.maximum(split.src.lengths, split.trg.lengths) <= max_length).tolist()
    if len(kept) == len(split):
        return split, 0
    return EncodedSplit(split.src.take(kept), split.trg.take(kept)), len(split) - len(kept)


def target_arrays(targets: Sequence[Sequence[int]]) -> tuple[IntArray, IntArray, IntArray]:
    """N lists of target ids -> trg_input (T, N), trg_output (T, N) and trg_lengths (N,) of a `Batch`."""
    trg_input, _ = padded([[SOS_ID, *ids] for ids in targets])
    return trg_input, *padded([[*ids, EOS_ID] for ids in targets])


def padded(columns: Sequence[Sequence[int]]) -> tuple[IntArray, IntArray]:
    """Lists as columns of one (T, N) array, filled up with <pad>, and their lengths (N,)."""
    lengths = np.array([len(column) for column in columns], dtype=np.int64)
    matrix = np.full((int(lengths.max(initial=0)), len(columns)), PAD_ID, dtype=np.int64)
    for number, column in enumerate(columns):
        matrix[: len(column), number] = column
    return matrix, lengths
