"""Padded rows to packed rows and back: plain index arithmetic, shared by the entries and backends that skip padding.

Rows are sorted by length, longest first and stable, and their P real tokens are laid out time-major: step t holds the
first `batch_size_t` sorted rows, those longer than t. So the rows alive at a step are always a prefix of those of the
step before.

A caller may give the tokens in that order itself and gets them back so: then there is nothing to pack.

A state buffer has N + P rows: first the N initial states in sorted order, then the state after each token. Hence the
states before step t and after it are two slices of one buffer, and a row of length 0 ends in its initial state without
a special case.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np


class Packing(NamedTuple):
    """Where the tokens of one batch lie. Without padding the four index arrays are None and packing is a reshape.
    Sequences below are padded, (T, N, F); or tokens, (P, F), if `given_packed`: then `pack` and `unpack` do nothing.

    A row of `steps` holds the first row, in a state buffer, of the states before the step and of those after it, and
    the number of rows alive; in a packed array the step's tokens begin N rows earlier than its states.
    """

    num_steps: int  # T of the padded batch
    batch_size: int  # N
    steps: np.ndarray  # (T, 3) int64, a row for each step that has tokens
    order: np.ndarray | None  # (N,) the batch row at each sorted position
    rows: np.ndarray | None  # (P,) the row of each token in the padded array, viewed as (T * N, .)
    previous: np.ndarray | None  # (P,) the row of each token's previous state in a state buffer
    last: np.ndarray | None  # (N,) the row of each sorted position's last state in a state buffer
    given_packed: bool = False

    @property
    def num_tokens(self) -> int:
        """P, the number of real tokens."""
        return self.num_steps * self.batch_size if self.rows is None else len(self.rows)

    @property
    def copies(self) -> bool:
        """Whether `pack` of a whole sequence makes a copy."""
        return self.rows is not None and not self.given_packed

    def tokens_before(self, step: int) -> int:
        """How many of the P tokens lie before a step."""
        return int(self.steps[step, 1]) - self.batch_size if step < len(self.steps) else self.num_tokens

    def shape(self, features: int) -> tuple[int, ...]:
        """Of a whole sequence."""
        return (self.num_tokens, features) if self.given_packed else (self.num_steps, self.batch_size, features)

    def stop(self, sequence: np.ndarray, start: int) -> int:
        """The step behind a piece of a sequence that begins at a step; -1 where it ends within a step or too late."""
        if not self.given_packed:
            return start + len(sequence) if start + len(sequence) <= self.num_steps else -1
        ends = [self.tokens_before(step) for step in range(start, self.num_steps + 1)]
        end = ends[0] + len(sequence)
        return start + ends.index(end) if end in ends else -1

    def pack(self, sequence: np.ndarray, start: int = 0) -> np.ndarray:
        """A sequence, or a piece of it that begins at a step -> its tokens (., F); a copy where there is padding."""
        if self.given_packed:
            return sequence
        flat = sequence.reshape(len(sequence) * self.batch_size, sequence.shape[2])
        if self.rows is None:
            return flat
        rows = self.rows[self.tokens_before(start) : self.tokens_before(start + len(sequence))]
        return flat[rows - start * self.batch_size]

    def unpack(self, tokens: np.ndarray, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Tokens (., F) of steps start .. stop - 1 (by default all) -> a sequence, zeros in its padding; a copy only
        where there is some."""
        if self.given_packed:
            return tokens
        stop = self.num_steps if stop is None else stop
        shape = (stop - start, self.batch_size, tokens.shape[1])
        if self.rows is None:
            return tokens.reshape(shape)
        padded = np.zeros(shape, tokens.dtype)
        rows = self.rows[self.tokens_before(start) : self.tokens_before(stop)]
        padded.reshape(-1, tokens.shape[1])[rows - start * self.batch_size] = tokens
        return padded

    def sort(self, state: np.ndarray) -> np.ndarray:
        """(N, H) in batch order -> a copy in sorted order."""
        return state.copy() if self.order is None else state[self.order]

    def unsort(self, state: np.ndarray) -> np.ndarray:
        """(N, H) in sorted order -> batch order; the array itself where no row has padding."""
        if self.order is None:
            return state
        unsorted = np.empty_like(state)
        unsorted[self.order] = state
        return unsorted

    def state_buffer(self, initial: np.ndarray) -> np.ndarray:
        """(N, H) initial states in batch order -> (N + P, H) buffer that holds them, its other rows unset."""
        states = np.empty((self.batch_size + self.num_tokens, initial.shape[1]), initial.dtype)
        states[: self.batch_size] = initial if self.order is None else initial[self.order]
        return states

    def previous_states(self, states: np.ndarray) -> np.ndarray:
        """State buffer (N + P, H) -> (P, H) state before each token; a view where no row has padding."""
        return states[: self.num_tokens] if self.previous is None else states[self.previous]

    def last_states(self, states: np.ndarray) -> np.ndarray:
        """State buffer (N + P, H) -> (N, H) state after each row's last token, in batch order; a copy."""
        return states[self.num_tokens :].copy() if self.last is None else self.unsort(states[self.last])


def packing_of(x: np.ndarray, lengths: np.ndarray | None, batch_size: int) -> Packing:
    """The packing of a sequence x, padded (T, N, F) or packed (P, F); `lengths` as for `pack_lengths`."""
    given_packed = x.ndim == 2
    num_steps = int(lengths.max(initial=0)) if given_packed and lengths is not None else len(x)
    return pack_lengths(lengths, num_steps, batch_size)._replace(given_packed=given_packed)


def pack_lengths(lengths: np.ndarray | None, num_steps: int, batch_size: int) -> Packing:
    """The packing of a batch of padded sequences.

    Args:
        lengths: (N,) integers in 0..T, or None where every row has T tokens.
        num_steps: T.
        batch_size: N.
    """
    if lengths is None:
        return _without_padding(num_steps, batch_size)
    return _pack_lengths(np.asarray(lengths, np.int64).tobytes(), num_steps, batch_size)


def _without_padding(num_steps: int, batch_size: int) -> Packing:
    starts = np.arange(num_steps + 1) * batch_size
    steps = np.stack([starts[:-1], starts[1:], np.full(num_steps, batch_size)], axis=1)
    return Packing(num_steps, batch_size, steps, None, None, None, None)


@lru_cache(maxsize=8)  # every layer of a model asks for the same
def _pack_lengths(int64s: bytes, num_steps: int, batch_size: int) -> Packing:
    lengths = np.frombuffer(int64s, np.int64)
    if not batch_size or lengths.min() == num_steps:
        return _without_padding(num_steps, batch_size)
    return ragged_packing(lengths, num_steps)


def ragged_packing(lengths: np.ndarray, num_steps: int) -> Packing:
    """`pack_lengths` with all index arrays, also where no row has padding; N is at least 1."""
    batch_size = len(lengths)
    order = np.argsort(-lengths, kind="stable")
    sorted_lengths = lengths[order]
    time, position = np.nonzero(np.arange(sorted_lengths[0])[:, None] < sorted_lengths)
    sizes = np.bincount(time, minlength=sorted_lengths[0])
    starts = np.concatenate([[0, batch_size], batch_size + np.cumsum(sizes)])
    return Packing(
        num_steps,
        batch_size,
        np.stack([starts[:-2], starts[1:-1], sizes], axis=1),
        order,
        rows=time * batch_size + order[position],
        previous=starts[time] + position,
        last=starts[sorted_lengths] + np.arange(batch_size),
    )
