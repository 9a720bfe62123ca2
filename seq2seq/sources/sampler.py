"""Which pairs share a batch, and in which order the batches come.

Contract: the batches of an epoch are a function of (lengths, settings, seed, epoch) and of nothing else, so a resumed
run sees what the uninterrupted one would have seen. Sentences of like length meet because large shuffled pools are
sorted before they are cut; over 90 % of such batches is real tokens on Multi30k.
"""

import bisect
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from seq2seq.run.errors import UserError, require_integer
from seq2seq.sources.batches import IntArray

_BLOCKS = 4  # the stream of blocks, beside (seed, epoch) of plain batches, noise and subwords


class BatchSampler:
    """Cuts a split into batches, anew for every epoch.

    Args:
        src_lengths, trg_lengths: (number of pairs,) tokens of each side.
        batch_size: the most pairs of a batch; None where ``max_tokens`` alone limits it.
        seed: with the epoch, the only source of randomness; not negative.
        pool: size of a pool in batches; 1 gives plain random batches, larger pools give less padding.
        max_tokens: if given, the most padded positions of a batch, marks of both sides counted; a pair that alone
            exceeds it forms its own batch.
        stream: further numbers that choose what is drawn.
        marks: positions that the source adds to each item.

    Raises:
        UserError: batch_size, pool or max_tokens is no integer or below 1, or both limits are None, or the seed is
            below 0; the lengths are no two equally long lists of integers, or one is negative.
    """

    def __init__(
        self,
        src_lengths: npt.ArrayLike,
        trg_lengths: npt.ArrayLike,
        batch_size: int | None,
        seed: int,
        pool: int = 100,
        max_tokens: int | None = None,
        stream: Sequence[int] = (),
        marks: int = 2,
    ) -> None:
        require_integer("seed", seed, 0)
        require_integer("pool", pool, 1)
        self._stream = stream
        self._lengths = _both_lengths(src_lengths, trg_lengths, marks)
        self._limits = _checked_limits(batch_size, max_tokens)
        self._seed = seed
        self._pool_size = pool * (batch_size or _usual_pairs(self._lengths, max_tokens or 1))

    def batches(self, epoch: int) -> list[IntArray]:
        """The batches of one epoch: arrays of pair numbers, every pair in exactly one of them.

        Args:
            epoch: the number of the epoch; not negative.
        """
        require_integer("epoch", epoch, 0)
        stream = np.random.PCG64([self._seed, epoch, *self._stream])
        order = _permutation(stream, self._lengths.shape[1])
        pools = [order[start : start + self._pool_size] for start in range(0, len(order), self._pool_size)]
        cut = [batch for pool in pools for batch in _cut(_by_length(pool, self._lengths), self._lengths, *self._limits)]
        return [cut[i] for i in _permutation(stream, len(cut))]


class BlockSampler:
    """Cuts a split into batches block by block: of ``block`` neighbouring pairs each, the last one of what is left.

    The blocks of an epoch come in an order drawn from (seed, epoch), and each is cut as a split of its own, by what is
    drawn from (seed, epoch, its number). So memory holds the order of one block, and pairs are read from one part of
    their files at a time. Arguments otherwise as of ``BatchSampler``.
    """

    def __init__(
        self, src_lengths: IntArray, trg_lengths: IntArray, batch_size: int | None, seed: int, block: int,
        pool: int = 100, max_tokens: int | None = None, marks: int = 2,
    ) -> None:  # fmt: skip
        require_integer("block", block, 1)
        self._both, self._block, self._seed = (src_lengths, trg_lengths), block, seed
        self._limits, self._pool, self._max_tokens, self._marks = batch_size, pool, max_tokens, marks

    def batches(self, epoch: int) -> Sequence[IntArray]:
        """As of ``BatchSampler``; they are cut when they are asked for."""
        count = -(-len(self._both[0]) // self._block)
        stream = np.random.PCG64([self._seed, epoch, _BLOCKS])
        order = _permutation(stream, count).tolist()
        counts = None if self._max_tokens is not None else [self._count(number) for number in order]
        return BlockBatches([self._of_block(number, epoch) for number in order], counts)

    def _count(self, number: int) -> int:
        """The batches of a block, where pairs alone limit them."""
        size = min(self._block, len(self._both[0]) - number * self._block)
        pools, rest = divmod(size, self._pool * (self._limits or 1))
        return pools * self._pool + -(-rest // (self._limits or 1))

    def _of_block(self, number: int, epoch: int) -> Callable[[], list[IntArray]]:
        """What gives the batches of a block."""
        start = number * self._block
        part = slice(start, start + self._block)

        def cut() -> list[IntArray]:
            src, trg = (lengths[part] for lengths in self._both)
            stream = (_BLOCKS, number)
            limits = self._pool, self._max_tokens
            sampler = BatchSampler(src, trg, self._limits, self._seed, *limits, stream, self._marks)
            return [start + batch for batch in sampler.batches(epoch)]

        return cut


class BlockBatches(Sequence[IntArray]):
    """The batches of an epoch, of which those of one block are there at a time.

    Args:
        blocks: for each block, in order, what gives its batches.
        counts: how many these are; without it all are cut once to know.
    """

    def __init__(self, blocks: Sequence[Callable[[], list[IntArray]]], counts: Sequence[int] | None = None) -> None:
        self._blocks, self._counts = blocks, counts
        self._at, self._cut = -1, list[IntArray]()

    @functools.cached_property
    def _ends(self) -> list[int]:
        """Up to each block, the number of batches."""
        return list(itertools.accumulate(self._counts or (len(cut()) for cut in self._blocks)))

    def __len__(self) -> int:
        return self._ends[-1] if self._blocks else 0

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"batch {index}; expected one of {len(self)}")
        index %= len(self)
        block = bisect.bisect_right(self._ends, index)
        if block != self._at:
            self._at, self._cut = block, self._blocks[block]()
        return self._cut[index - (self._ends[block] - len(self._cut))]


def _usual_pairs(lengths: IntArray, max_tokens: int) -> int:
    """How many pairs of mean length a batch of so many positions holds."""
    return max(1, max_tokens * lengths.shape[1] // max(1, int(lengths.sum())))


def evaluation_batches(
    src_lengths: npt.ArrayLike, trg_lengths: npt.ArrayLike, batch_size: int, max_tokens: int | None = None
) -> list[IntArray]:
    """All pairs sorted by length and cut, nothing shuffled: the least padding.

    Args and errors as `BatchSampler`; where targets are not known yet, `trg_lengths` are zeros.
    """
    lengths = _both_lengths(src_lengths, trg_lengths)
    return _cut(_by_length(np.arange(lengths.shape[1]), lengths), lengths, *_checked_limits(batch_size, max_tokens))


def _both_lengths(src_lengths: npt.ArrayLike, trg_lengths: npt.ArrayLike, marks: int = 2) -> IntArray:
    """(2, number of pairs): the positions of src and of trg_output, marks counted, ``marks`` of a source."""
    src, trg = _lengths("src_lengths", src_lengths), _lengths("trg_lengths", trg_lengths)
    if len(src) != len(trg):
        raise UserError(f"src_lengths are {len(src)}, trg_lengths {len(trg)}; expected one of each for a pair")
    return np.stack([src + marks, trg + 1])


def _lengths(name: str, values: npt.ArrayLike) -> IntArray:
    lengths = np.asarray(values)
    if lengths.ndim != 1 or (lengths.size and lengths.dtype.kind not in "iu") or lengths.min(initial=0) < 0:
        raise UserError(f"{name} is {str(values)[:40]}; expected a list of integers, none negative")
    return lengths.astype(np.int64)


def _checked_limits(batch_size: int | None, max_tokens: int | None) -> tuple[int, int | None]:
    if max_tokens is not None:
        require_integer("max_tokens", max_tokens, 1)
    if batch_size is None and max_tokens is not None:
        return max_tokens, max_tokens  # a pair has more positions than one
    require_integer("batch_size", batch_size, 1)
    return batch_size or 1, max_tokens


def _permutation(stream: np.random.PCG64, count: int) -> IntArray:
    """A random order of `count` things from raw random bits, a stream NumPy never changes between versions."""
    return np.argsort(stream.random_raw(count), kind="stable")


def _by_length(indices: IntArray, lengths: IntArray) -> IntArray:
    """The pairs by target length, then source length; pairs equal in both keep their order."""
    return indices[np.lexsort(lengths[:, indices])]


def _cut(indices: IntArray, lengths: IntArray, batch_size: int, max_tokens: int | None) -> list[IntArray]:
    """Consecutive pieces of at most batch_size pairs and max_tokens padded positions."""
    if max_tokens is None:
        return [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    pieces: list[list[int]] = []
    longest_src = longest_trg = 0
    for index, src, trg in zip(indices.tolist(), *lengths[:, indices].tolist(), strict=True):
        longest_src, longest_trg = max(longest_src, src), max(longest_trg, trg)
        size = len(pieces[-1]) + 1 if pieces else 1
        if not pieces or size > batch_size or size * (longest_src + longest_trg) > max_tokens:
            pieces.append([])
            longest_src, longest_trg = src, trg
        pieces[-1].append(index)
    return [np.array(piece, dtype=np.int64) for piece in pieces]
