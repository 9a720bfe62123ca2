"""Packed rows: where the tokens of a batch of sequences lie, as plain index arithmetic.

Rows are sorted by length, longest first and stable, and their P tokens are laid out time-major: step t holds the first
`batch_size_t` sorted rows, those longer than t. So the rows alive at a step are always a prefix of those of the step
before.

A state buffer has N + P rows: first the N initial states in sorted order, then the state after each token. Hence the
states before step t and after it are two slices of one buffer, and a row of length 0 ends in its initial state without
a special case.

Of a packing that is walked backwards (`pack_lengths(..., reverse=True)`) tokens lie as ever, but each sequence starts
at its last token. Its steps come in the order of the walk, so the rows alive grow. A state buffer holds for each step
the states before it, which are initial ones in the rows that start there, and behind all steps the last states.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np


class Packing(NamedTuple):
    """Where the tokens of one batch lie. Where all rows are equally long, the four index arrays are None.

    A row of `steps` holds the first row, in a state buffer, of the states before the step and of those after it, and
    the number of rows alive; in an array of tokens the step's begin N rows earlier than its states.
    """

    num_tokens: int  # P
    num_steps: int  # T, the longest length
    batch_size: int  # N
    steps: np.ndarray  # (T, 3) int64
    order: np.ndarray | None  # (N,) the batch row at each sorted position
    rows: np.ndarray | None  # (P,) the row of each token in a padded array, viewed as (T * N, .)
    previous: np.ndarray | None  # (P,) the row of each token's previous state in a state buffer
    last: np.ndarray | None  # (N,) the row of each sorted position's last state in a state buffer
    initial: np.ndarray | None = None  # (N,) the row of each sorted position's initial state; None: they come first
    after: np.ndarray | None = None  # (P,) the row of each token's next state; None: they come behind the initial ones
    is_reverse: bool = False  # whether steps go backwards in time

    @property
    def tokens(self) -> np.ndarray:
        """(T,) the first token of each step."""
        if not self.is_reverse:
            return self.steps[:, 1] - self.batch_size
        sizes = self.steps[::-1, 2]
        return (np.cumsum(sizes) - sizes)[::-1].copy()

    def tokens_before(self, step: int) -> int:
        """How many of the P tokens come before a step."""
        if step == len(self.steps):
            return self.num_tokens
        return int(self.steps[step, 0]) if self.is_reverse else int(self.steps[step, 1]) - self.batch_size

    def stop(self, start: int, count: int) -> int:
        """The step behind `count` tokens that begin at a step; -1 where they end within a step or too late."""
        ends = [self.tokens_before(step) for step in range(start, self.num_steps + 1)]
        end = ends[0] + count
        return start + ends.index(end) if end in ends else -1

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
        self.put_initial(states, initial if self.order is None else initial[self.order])
        return states

    def put_initial(self, states: np.ndarray, initial: np.ndarray) -> None:
        """Write the initial states (N, H), in sorted order, to where a state buffer holds them."""
        states[slice(self.batch_size) if self.initial is None else self.initial] = initial

    def next_states(self, states: np.ndarray) -> np.ndarray:
        """State buffer (N + P, H) -> (P, H) state after each token; a view where steps go forwards."""
        return states[self.batch_size :] if self.after is None else states[self.after]

    def previous_states(self, states: np.ndarray) -> np.ndarray:
        """State buffer (N + P, H) -> (P, H) state before each token; a view where no row has padding."""
        return states[: self.num_tokens] if self.previous is None else states[self.previous]

    def last_states(self, states: np.ndarray) -> np.ndarray:
        """State buffer (N + P, H) -> (N, H) state after each row's last token, in batch order; a copy."""
        return states[self.num_tokens :].copy() if self.last is None else self.unsort(states[self.last])


def pack_lengths(lengths: np.ndarray, reverse: bool = False) -> Packing:
    """The packing of sequences of these lengths, (N,) integers that are not negative."""
    return _pack_lengths(np.asarray(lengths, np.int64).tobytes(), reverse)


@lru_cache(maxsize=8)
def equal_lengths(num_steps: int, batch_size: int) -> Packing:
    """The packing of N sequences of T tokens each."""
    starts = np.arange(num_steps + 1) * batch_size
    steps = np.stack([starts[:-1], starts[1:], np.full(num_steps, batch_size)], axis=1)
    return Packing(num_steps * batch_size, num_steps, batch_size, steps, None, None, None, None)


@lru_cache(maxsize=8)  # every layer of a model asks for the same
def _pack_lengths(int64s: bytes, reverse: bool) -> Packing:
    lengths = np.frombuffer(int64s, np.int64)
    if reverse and len(lengths):
        return _walked_backwards(ragged_packing(lengths))
    if not len(lengths) or lengths.min() == lengths.max():
        return equal_lengths(int(lengths.max(initial=0)), len(lengths))
    return ragged_packing(lengths)


def ragged_packing(lengths: np.ndarray) -> Packing:
    """`pack_lengths` with all index arrays, also where all rows are equally long; N is at least 1."""
    batch_size = len(lengths)
    order = np.argsort(-lengths, kind="stable")
    sorted_lengths = lengths[order]
    time, position = np.nonzero(np.arange(sorted_lengths[0])[:, None] < sorted_lengths)
    sizes = np.bincount(time, minlength=sorted_lengths[0])
    starts = np.concatenate([[0, batch_size], batch_size + np.cumsum(sizes)])
    return Packing(
        len(time),
        int(sorted_lengths[0]),
        batch_size,
        np.stack([starts[:-2], starts[1:-1], sizes], axis=1),
        order,
        rows=time * batch_size + order[position],
        previous=starts[time] + position,
        last=starts[sorted_lengths] + np.arange(batch_size),
    )


def _walked_backwards(packing: Packing) -> Packing:
    """A ragged packing with its steps in reverse."""
    sizes, N, P = packing.steps[::-1, 2], packing.batch_size, packing.num_tokens
    before = np.cumsum(sizes) - sizes  # a block of states before each step
    after = np.append(before, P)[1:]  # and the next step's, or the last states
    position = np.concatenate([np.arange(size) for size in sizes[::-1]] or [np.empty(0, np.int64)])
    time = np.repeat(np.arange(packing.num_steps), sizes[::-1])
    lengths = np.bincount(position, minlength=N)  # in sorted order
    return packing._replace(
        steps=np.stack([before, after, sizes], axis=1),
        previous=before[::-1][time] + position,
        after=after[::-1][time] + position,
        last=P + np.arange(N),
        initial=np.append(before[::-1], P)[lengths - 1] + np.arange(N),  # a sequence without tokens keeps its state
        is_reverse=True,
    )
