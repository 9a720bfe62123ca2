"""Variational dropout: every dropout has one mask for each sequence, the same at all of its steps.

    masks = nn.variational_dropout(tokens)     # of N packed sequences; a number N: of padded ones (T, N, F)
    with masks:
        y, _ = lstm(tokens._replace(data=dropout(embedding(tokens.data))))
    with masks.step():                         # the same masks for a single step, as often as one likes
        y, state = lstm(dropout(embedding(next_tokens)).unsqueeze(0), state)

Modules need not know of it: inside, what ``nn.Dropout``, ``nn.LSTM(dropout=...)`` and ``F.dropout`` draw in training is
a mask (N, F) in place of one over all rows. Its numbers come from the same counter-based stream (``minigrad.random``).

Source: Gal and Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks" (2016),
sections 4 and 5. Recurrent connections are left to ``nn.utils.weight_drop``.
P packed rows, R the next ones of them, T steps, N sequences, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

import numpy as np

from minigrad import creation, ops, random
from minigrad.grad_mode import no_grad
from minigrad.modes import ThreadSetting
from minigrad.nn.utils.rnn import PackedSequence, rows_of
from minigrad.tensor import Tensor

Array = np.ndarray
_active = ThreadSetting(None)


class variational_dropout:  # noqa: N801  (used like a function)
    """The masks of a batch of sequences; ``with`` lets every dropout of this thread have them, one after the other.

    Entered again, it begins with the first mask: what is computed twice is dropped alike.

    Args:
        sequences: packed as what is dropped inside, rows (P, F); or how many there are, N. Of tensors (..., N, F) with
            more than two dimensions the sequences stand in their original order.

    Raises:
        ValueError: in a dropout inside, of a tensor of another shape.
    """

    def __init__(self, sequences: PackedSequence | int) -> None:
        self._rows = rows_of(sequences) if isinstance(sequences, PackedSequence) else np.arange(sequences)
        self._count = int(self._rows.max(initial=-1)) + 1
        self._keys: list[random.State] = []  # of the masks so far
        self._next = 0

    def __enter__(self) -> Self:
        self._next = 0
        _active.enter(self, self)
        return self

    def __exit__(self, *exception: object) -> None:
        _active.leave(self)

    def step(self) -> variational_dropout:
        """The same masks for one step of all sequences, in their original order: rows (N, F)."""
        one = variational_dropout(self._count)
        one._keys = self._keys
        return one

    def mask(self, p: float) -> Mask:
        """The next one."""
        if self._next == len(self._keys):
            self._keys.append(random.next_key())
        self._next += 1
        return Mask(p, self._keys[self._next - 1], self._rows, self._count)

    @staticmethod
    def active() -> variational_dropout | None:
        """The innermost block that is open in this thread."""
        found: variational_dropout | None = _active.value
        return found

    @staticmethod
    def repacked(sequences: PackedSequence) -> AbstractContextManager[Any]:
        """Inside a block one of further masks for other steps of the sequences, as of a layer that halves the time;
        elsewhere nothing."""
        return nullcontext() if _active.value is None else variational_dropout(sequences)


class Mask:
    """One mask: (N, F), of the F that it is first asked for.

    Args:
        p: probability that an element is zeroed.
        key: of the draw.
        rows: (P,) int64, the sequence of each packed row.
        count: N.
    """

    def __init__(self, p: float, key: random.State, rows: Array, count: int) -> None:
        self._p, self._key, self._rows, self._count = p, key, rows, count
        self._factors: Tensor | None = None  # 0 or 1 / (1 - p)

    def __call__(self, x: Tensor, first: int | None = None) -> Tensor:
        """All rows, x (P, F) or (..., N, F), or those from ``first`` on, x (R, F) -> the same shape."""
        rows = None if x.dim() != 2 else self._rows if first is None else self._rows[first : first + len(x)]
        if x.shape[-2:-1] != (self._count if rows is None else len(rows),):
            raise ValueError(
                f"dropout: input has shape {x.shape}; expected ({len(self._rows)}, F) or (..., {self._count}, F), "
                "rows of the sequences of variational_dropout"
            )
        factors = self._of(x)
        return x * (factors if rows is None else ops.index_select(factors, 0, Tensor(rows).to(x.device)))

    def _of(self, x: Tensor) -> Tensor:
        if self._factors is None:
            shape = self._count, x.shape[-1]
            with no_grad():
                ones = creation.ones(*shape, dtype=x.dtype, device=creation.device_like(x))
                self._factors = ops.dropout(ones, self._p, self._key)
        return self._factors


def next_dropout(p: float) -> Callable[[Tensor, int], Tensor]:
    """What the next dropout does to packed rows (R, F), given how many came before them: of any part of them alike."""
    masks = variational_dropout.active()
    if masks is not None:
        return masks.mask(p)
    key = random.next_key()
    return lambda x, first: ops.dropout(x, p, key, first * x.shape[1])
