"""Sequences of unequal length: padded, packed, reversed. All differentiable; nothing depends on the padded values.

Contract: PyTorch's functions. A packed sequence holds the real tokens only, time-major with the longest sequence first:
``data`` (P, *) with P = sum(lengths), ``batch_sizes`` (T,) how many sequences are still running at each step.
Every change of layout is one op, ``PlaceRows``. T time, B batch, P packed rows, R rows of any kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import kernels
from minigrad import ops
from minigrad.missing import for_module as _for_module
from minigrad.naming import described
from minigrad.nn.checks import check_tensor, tensors_of
from minigrad.ops.packed import PlaceRows
from minigrad.tensor import Tensor


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


class PackedSequence(_Packed):
    """Real tokens of a batch of sequences.

    Attributes:
        data: (P, *) tokens, step by step, in each step the longest sequence first.
        batch_sizes: (T,) int64, sequences running at each step.
        sorted_indices: (B,) int64, the original position of each sorted sequence, or None if already sorted.
        unsorted_indices: (B,) int64, its inverse, which need not be given, or None.

    All but ``data`` stay on the host.
    """

    __slots__ = ()

    def __new__(
        cls, data: Tensor, batch_sizes: Tensor, sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:  # fmt: skip
        if unsorted_indices is None and sorted_indices is not None:
            unsorted_indices = Tensor(np.argsort(sorted_indices.array))
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **keywords: Any) -> PackedSequence:
        """The same sequence with ``data.to(...)``."""
        return self._replace(data=self.data.to(*args, **keywords))


def as_lengths(lengths: Any) -> np.ndarray:
    """Lengths given as Tensor, array or list as an int64 array of the host."""
    if lengths is None or isinstance(lengths, str):
        raise TypeError(f"lengths is {described(lengths)}; expected (batch,) integers")
    array = np.asarray(kernels.to_host(lengths.array if isinstance(lengths, Tensor) else lengths))
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"lengths has shape {array.shape} and dtype {array.dtype}; expected (batch,) integers")
    return array.astype(np.int64)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Drop the padding.

    Args:
        input: (T, B, *), or (B, T, *) with ``batch_first``.
        lengths: (B,) Tensor or list, each from 1 to T.
        batch_first: layout of ``input``.
        enforce_sorted: require descending lengths; False sorts, and the order is undone by ``pad_packed_sequence``.

    Raises:
        RuntimeError: lengths not descending, or one of them not in 1..T.
    """
    check_tensor("pack_padded_sequence", "input", input)
    if input.dim() < 2:
        raise ValueError(f"pack_padded_sequence: input has shape {input.shape}; expected (T, B, *), or (B, T, *)")
    counts = as_lengths(lengths)
    x = input.transpose(0, 1) if batch_first else input
    _check_lengths(counts, x.shape[0], x.shape[1], enforce_sorted)
    if enforce_sorted:
        return _pack(x, counts, None)
    return _pack(x, counts, np.argsort(-counts, kind="stable"))


def _check_lengths(counts: np.ndarray, T: int, B: int, enforce_sorted: bool) -> None:
    if len(counts) != B:
        raise RuntimeError(f"pack_padded_sequence: lengths has {len(counts)} entries; expected the batch size {B}")
    if enforce_sorted and (np.diff(counts) > 0).any():
        raise RuntimeError(
            "pack_padded_sequence: lengths must be sorted in decreasing order when enforce_sorted is True; "
            "pass enforce_sorted=False to have them sorted"
        )
    if B and not (counts.min() > 0 and counts.max() <= T):
        raise RuntimeError(
            f"pack_padded_sequence: lengths are from {counts.min()} to {counts.max()}; expected 1 to {T}"
        )


def _pack(x: Tensor, counts: np.ndarray, order: np.ndarray | None) -> PackedSequence:
    """Pack ``x`` (T, B, *) whose sequences, taken in ``order`` (None: as they are), have descending ``counts``."""
    T, B = x.shape[:2]
    columns = np.arange(B) if order is None else order
    steps = np.arange(counts.max(initial=0))[:, None]
    running = steps < counts[columns]
    rows = (steps * B + columns)[running]
    if x.requires_grad:
        data = PlaceRows.apply(x.reshape(T * B, *x.shape[2:]), rows, 0)
    else:  # as of token ids: nothing to record
        data = Tensor(x.array.reshape(T * B, *x.shape[2:])[kernels.like(rows, x.array)])
    batch_sizes = Tensor(running.sum(1))
    if order is None:
        return PackedSequence(data, batch_sizes)
    return PackedSequence(data, batch_sizes, Tensor(order), Tensor(np.argsort(order)))


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Undo ``pack_padded_sequence``.

    Args:
        sequence: the packed tokens.
        batch_first: layout of the result.
        padding_value: what fills the steps after a sequence's end.
        total_length: length T of the result; by default the longest sequence's.

    Returns:
        padded (T, B, *) or (B, T, *), and the lengths (B,) int64, both in the original order.
    """
    if not isinstance(sequence, PackedSequence):
        raise TypeError(f"pad_packed_sequence: sequence is {described(sequence)}; expected a PackedSequence")
    batch_sizes, counts = sequence.batch_sizes.array, lengths_of(sequence)
    T = len(batch_sizes) if total_length is None else total_length
    if len(batch_sizes) > T:
        raise ValueError(
            f"pad_packed_sequence: total_length is {T}; expected at least the longest length {len(batch_sizes)}"
        )
    first_rows = np.concatenate([[0], np.cumsum(batch_sizes)[:-1], np.zeros(T - len(batch_sizes), np.int64)])[:T]
    rows = first_rows[:, None] + np.arange(len(counts))
    if sequence.unsorted_indices is not None:
        rows = rows[:, sequence.unsorted_indices.array]
    padded = _pad_rows(sequence.data, rows, np.arange(len(rows))[:, None] < counts, padding_value)
    return (padded.transpose(0, 1) if batch_first else padded), Tensor(counts)


def lengths_of(sequence: PackedSequence) -> np.ndarray:
    """(B,) int64, the length of every sequence, in the original order."""
    batch_sizes = sequence.batch_sizes.array
    counts = (batch_sizes[:, None] > np.arange(batch_sizes.max(initial=0))).sum(0)
    return counts if sequence.unsorted_indices is None else counts[sequence.unsorted_indices.array]


def rows_of(sequence: PackedSequence) -> np.ndarray:
    """(P,) int64: which of the B sequences, in the original order, each packed token belongs to."""
    sizes = sequence.batch_sizes.array
    order = np.arange(sizes.max(initial=0)) if sequence.sorted_indices is None else sequence.sorted_indices.array
    return np.concatenate([order[:size] for size in sizes])


def is_stably_sorted(sequence: PackedSequence, lengths: np.ndarray) -> bool:
    """Whether sequences of equal length stand in their original order, as ``pack_padded_sequence`` leaves them."""
    order = sequence.sorted_indices
    return order is None or bool((order.array == np.argsort(-lengths, kind="stable")).all())


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Stack sequences (L_b, *) of unequal length into (T, B, *), or (B, T, *) with ``batch_first``; T = max(L_b).

    ``padding_side``: where what is missing to T is filled in, "right" (behind a sequence) or "left" (before it).
    """
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"pad_sequence: padding_side is {described(padding_side)}; expected 'left' or 'right'")
    sequences = _sequences_of("pad_sequence", sequences)
    if not sequences:
        raise RuntimeError("pad_sequence: sequences is empty; expected one or more")
    counts = np.array([len(sequence) for sequence in sequences], np.int64)
    first_rows = np.cumsum(counts) - counts
    steps = np.arange(counts.max(initial=0))[:, None]
    steps = steps - (len(steps) - counts) if padding_side == "left" else steps
    padded = _pad_rows(ops.cat(list(sequences), 0), steps + first_rows, (steps >= 0) & (steps < counts), padding_value)
    return padded.transpose(0, 1) if batch_first else padded


def _sequences_of(owner: str, sequences: Any) -> list[Tensor]:
    """Several sequences; of one Tensor its entries along the first dimension."""
    return list(sequences.unbind(0)) if isinstance(sequences, Tensor) else tensors_of(owner, "sequences", sequences)


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L_b, *); see ``pack_padded_sequence``."""
    sequences = _sequences_of("pack_sequence", sequences)
    return pack_padded_sequence(pad_sequence(sequences), [len(s) for s in sequences], enforce_sorted=enforce_sorted)


def reverse_sequence(x: Tensor, lengths: np.ndarray | None) -> Tensor:
    """``x`` (T, B, F) with the first ``lengths[b]`` (None: all) steps of every sequence in reverse order.

    Its own inverse; padding stays where it is.
    """
    if lengths is None:
        return ops.flip(x, (0,))
    T, B, F = x.shape
    steps = np.arange(T)[:, None]
    source = np.where(steps < lengths, lengths - 1 - steps, steps)
    return PlaceRows.apply(x.reshape(T * B, F), source * B + np.arange(B), 0)


def delay_sequence(sequence: PackedSequence, first: Tensor) -> PackedSequence:
    """Each token in the place of the next, the last one dropped; ``first`` (B, F) stands where a sequence begins."""
    batch_sizes, order = sequence.batch_sizes.array, sequence.sorted_indices
    if order is not None:
        first = ops.index_select(first, 0, order.to(first.device))
    starts = np.cumsum([0, len(first), *batch_sizes])  # of the tokens before each step, behind those of ``first``
    rows = np.concatenate([start + np.arange(size) for start, size in zip(starts, batch_sizes, strict=False)])
    return sequence._replace(data=PlaceRows.apply(ops.cat([first, sequence.data]), rows, 0))


def repack_like(x: Tensor, sequence: PackedSequence, lengths: np.ndarray) -> PackedSequence:
    """Pack ``x`` (T, B, *), in the original order, exactly as ``sequence`` is packed."""
    order = None if sequence.sorted_indices is None else sequence.sorted_indices.array
    return _pack(x, lengths, order)


def _pad_rows(data: Tensor, rows: np.ndarray, within: np.ndarray, padding_value: float) -> Tensor:
    """(T, B, *): ``data[rows[t, b]]`` where ``within[t, b]``, else the padding value."""
    return PlaceRows.apply(data, np.where(within, rows, -1), padding_value)


if not TYPE_CHECKING:  # a checker would take every name for known
    __path__: list[str] = []  # or ``from ... import`` would not ask on for a name that is not here
    __getattr__ = _for_module(__name__)
