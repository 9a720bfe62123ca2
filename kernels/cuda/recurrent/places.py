"""Packed rows on the device: what the methods of `kernels.packing.Packing` do, with indices that are copied there once.

The index arithmetic itself stays on the host. A packing serves every layer of a model, forwards and backwards, so the
device copies of the last few are kept. In a captured step they lie where every replay puts those of its own batch: then
arrays are made for as many tokens as the capture had, and -1 stands behind the last (`kernels.cuda.runtime.capture`).
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from kernels.cuda.runtime import capture, geometry
from kernels.cuda.runtime.arrays import gather
from kernels.cuda.runtime.capture import kept
from kernels.cuda.runtime.geometry import Launch
from kernels.cuda.runtime.launcher import current_device, module
from kernels.packing import Packing


class Places(NamedTuple):
    """Indices of a packing with padding, int64 on the device; -1 stands for zeros."""

    order: Any  # (N,) the batch row at each sorted position
    rank: Any  # (N,) the sorted position of each batch row
    previous: Any  # (P,) the row of each token's previous state in a state buffer
    last: Any  # (N,) the row of each sorted position's last state in a state buffer
    last_of_row: Any  # (N,) the same of each batch row


def places_of(packing: Packing) -> Places:
    """The device copies of a packing that has padding."""
    recording = capture.current()
    if recording is not None:
        return Places(*recording.indices(packing, _indices))
    # Made with the packing, or the id of its rows might come back.
    return kept(("places", id(packing.rows)), lambda: (_copies(packing), packing))[0]


class Step(NamedTuple):
    """A time step as products and the kernels of cells take it."""

    before: int  # the row of its first state before it, in a state buffer
    token: int  # the row of its first token
    alive: int  # N of the step
    launch: Launch
    numbers: tuple[np.int32, ...]  # token, before, after, alive


def steps_of(packing: Packing, H: int, start: int = 0, stop: int | None = None) -> list[Step]:
    """Steps start .. stop - 1 (by default all) that have tokens, of a layer of H units."""
    capture.refuse("a layer that takes a step at a time")
    rows = packing.steps[start:stop]

    def make() -> list[Step]:
        found = []
        for before, after, alive in rows.tolist():
            if alive:
                numbers = after - packing.batch_size, before, after, alive
                launch = geometry.gates(alive, H)
                found.append(Step(before, numbers[0], alive, launch, tuple(map(np.int32, numbers))))
        return found

    return kept(("steps", packing.batch_size, H, rows.tobytes()), make)


def _copies(packing: Packing) -> Places:
    """One copy for all of them."""
    indices = _indices(packing, packing)
    whole = current_device().cupy.asarray(np.concatenate(indices))
    ends = np.cumsum([len(index) for index in indices]).tolist()
    return Places(*(whole[end - len(index) : end] for index, end in zip(indices, ends, strict=True)))


def _indices(packing: Packing, capacity: Packing) -> tuple[np.ndarray, ...]:
    """The arrays of `Places` on the host, with room for the tokens and steps of `capacity`."""
    order, previous, last = packing.order, packing.previous, packing.last
    assert order is not None
    assert previous is not None
    assert last is not None
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    previous = _filled(previous, capacity.num_tokens, -1)
    return tuple(index.astype(np.int64) for index in (order, rank, previous, last, last[rank]))


def _filled(values: np.ndarray, size: int, value: int) -> np.ndarray:
    return np.concatenate([values, np.full(size - len(values), value)])


def start_states(
    packing: Packing, h0: Any, c0: Any, H: int, h: Any = None, h_bf16: Any = None, c: Any = None, flags: Any = None
) -> None:
    """(N, H) states, or gradients of states, in batch order (None: zeros) into the first N rows of buffers (., width).

    They come in sorted order, with zeros from column H on; h_bf16 is h in bfloat16, flags become zero. What is None is
    not written.
    """
    order = None if packing.order is None else places_of(packing).order
    target = next(buffer for buffer in (h, h_bf16, c) if buffer is not None)
    sizes = 0 if flags is None else len(flags), packing.batch_size, H, target.shape[1]
    arguments = h0, c0, order, h, h_bf16, c, flags, *map(np.int32, sizes)
    module("recurrent/states").start_states(geometry.states(packing.batch_size, target.shape[1]), arguments)


def end_states(packing: Packing, h: Any, c: Any, H: int) -> tuple[Any, Any]:
    """State buffers (N + P, width), h in float32 or bfloat16 and c or None -> (N, H) float32 states after each row's
    last token, in batch order."""
    rows = None if packing.last is None else places_of(packing).last_of_row
    return _taken(packing, h, c, rows, packing.num_tokens, H)


def unsorted(packing: Packing, dh: Any, dc: Any, H: int) -> tuple[Any, Any]:
    """(N, width) gradients of states in sorted order, the second may be None -> (N, H) in batch order; the arrays
    themselves where nothing moves."""
    if packing.order is None and dh.shape[1] == H:
        return dh, dc
    return _taken(packing, dh, dc, None if packing.order is None else places_of(packing).rank, 0, H)


def _taken(packing: Packing, h: Any, c: Any, rows: Any, first: int, H: int) -> tuple[Any, Any]:
    """Rows of buffers, by index or from `first` on, and their first H columns."""
    N = packing.batch_size
    h_n, c_n = (None if buffer is None else np.empty((N, H), np.float32, like=h) for buffer in (h, c))
    states = (h, None) if h.dtype == np.float32 else (None, h)
    arguments = *states, c, rows, h_n, c_n, *map(np.int32, (first, N, H, h.shape[1]))
    module("recurrent/states").end_states(geometry.states(N, H), arguments)
    return h_n, c_n


def previous_states(packing: Packing, states: Any) -> Any:
    """State buffer (N + P, H) -> (P, H) state before each token; a view where no row has padding."""
    return states[: packing.num_tokens] if packing.previous is None else gather(states, places_of(packing).previous)


def lengths_and_first(packing: Packing, shift: int = 0) -> tuple[Any, Any]:
    """lengths (N,) of the sorted rows, and first (T + 1,), the row of each step's first token plus `shift`; int32 on
    the device."""

    recording = capture.current()
    if recording is not None:
        lengths, first = recording.indices(packing, _steps(shift))
        return lengths, first

    def make() -> tuple[Any, Any]:
        lengths, first = map(current_device().cupy.asarray, _steps(shift)(packing, packing))
        return lengths, first

    return kept(("lengths", packing.batch_size, packing.steps.tobytes(), shift), make)


def piece(packing: Packing, start: int, stop: int, shift: int) -> tuple[Any, Any]:
    """`lengths_and_first` of steps start .. stop - 1 as if there were no others: of the rows alive at the first one,
    counted from the states before it."""

    def make() -> tuple[Any, Any]:
        steps = packing.steps[start:stop]
        before, _, alive = steps[0].tolist()
        lengths = (np.arange(alive)[:, None] < steps[:, 2]).sum(axis=1)
        first = np.append(steps[:, 1], steps[-1, 1] + steps[-1, 2]) - before - alive + shift
        both = current_device().cupy.asarray(np.concatenate([lengths, first]).astype(np.int32))
        return both[:alive], both[alive:]

    return kept(("piece", packing.batch_size, packing.steps[start:stop].tobytes(), shift), make)


@cache
def _steps(shift: int) -> capture.Compute:
    """What makes `lengths_and_first` on the host, with room for the steps of a capacity."""

    def compute(packing: Packing, capacity: Packing) -> tuple[np.ndarray, ...]:
        starts, sizes = packing.steps[:, 1] - packing.batch_size, packing.steps[:, 2]
        lengths = (np.arange(packing.batch_size)[:, None] < sizes).sum(axis=1)
        first = _filled(starts, len(capacity.steps) + 1, packing.num_tokens) + shift
        return lengths.astype(np.int32), first.astype(np.int32)

    return compute
