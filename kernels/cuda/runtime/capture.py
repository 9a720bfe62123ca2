"""A training step as one CUDA graph: what a replay is given anew, and where it lies.

While a stream is captured nothing runs. What the graph does at every replay, it does with the addresses and numbers of
the capture. Three things follow:

    memory      comes from a pool of the graph's own, which lives as long as the graph.
    numbers     from the host that differ from step to step (the key of random words, Adam's scalars) lie at a place of
                their own on the device (`varying`), and so do the indices of packed rows (`Recording.indices`). One
                copy rewrites them all before a replay. Other numbers are copied once (`on_device`).
    capacity    A graph is captured for the most tokens that it may be given. A batch with fewer leaves rows behind its
                last token: products read them, so they have to hold numbers (`scratch` gives zeros, and nobody may
                write a NaN there, not even as a mark), and since their gradients are zero they add nothing.

A rounding apart (cuBLAS may add up more rows in another order) a replay gives what the step gives without a graph.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np

from kernels.cuda.runtime import cublas
from kernels.cuda.runtime.launcher import current_device, error_word
from kernels.devices import CaptureError
from kernels.packing import Packing, pack_lengths, ragged_packing

Compute = Callable[[Packing, Packing], tuple[np.ndarray, ...]]
ALIGNMENT = 16
KEPT = 128  # things made of host numbers, on the device
NUMBERS_BYTES = 4096  # room for varying numbers, beside that for indices
BYTES_PER_TOKEN, BYTES_PER_ROW = 64, 128  # more than the indices of `kernels.cuda.recurrent.places` take


class Slot(NamedTuple):
    """A place on the device, and what it is to hold at the next replay."""

    device: Any
    host: np.ndarray


class Recording:
    """A graph under construction, and then one that can be replayed.

    Args:
        lengths: of each packed batch inside, (N,) integers that say how many tokens its rows may have together. No two
            may be equal, and the rows of one may not all be equally long: a batch with padding is another program.
        beside: another recording, whose memory is used too: the results of one are read before the other is replayed.

    Raises:
        ValueError: lengths that are not so.
    """

    def __init__(self, lengths: Sequence[np.ndarray], beside: "Recording | None" = None) -> None:
        self.cupy = current_device().cupy
        if beside is None:  # a pool keeps the memory of each stream apart
            self._pool, self._stream = self.cupy.cuda.MemoryPool(), self.cupy.cuda.Stream(non_blocking=True)
            self._copies = self.cupy.cuda.Stream(non_blocking=True)  # goes on while the other is captured
        else:
            self._pool, self._stream, self._copies = beside._pool, beside._stream, beside._copies
        self._capacities = [pack_lengths(each) for each in lengths]
        if any(packing.rows is None for packing in self._capacities):
            raise ValueError("graph: the rows of a batch are all equally long; expected one that is shorter")
        if len({id(packing.rows) for packing in self._capacities}) < len(lengths):
            raise ValueError("graph: two batches have equal lengths; expected lengths that tell them apart")
        rows = sum(packing.batch_size * (2 + packing.num_steps // 8) for packing in self._capacities)
        tokens = sum(packing.num_tokens for packing in self._capacities)
        room = NUMBERS_BYTES + rows * BYTES_PER_ROW + tokens * BYTES_PER_TOKEN
        self._host, self._device = np.zeros(room, np.uint8), self.cupy.zeros(room, np.uint8)
        self._forget()

    def _forget(self) -> None:
        """What a capture leaves behind."""
        self._used = 0  # bytes of places
        self._indices: dict[tuple[int, Compute], tuple[Slot, ...]] = {}
        self._key: Slot | None = None
        self._last: Slot | None = None
        self._constants: list[Any] = []
        self._equal: dict[tuple[int, int, Compute], tuple[Any, ...]] = {}
        self._later: list[Callable[[], None]] = []
        self._graph: Any = None
        self._replayed = False

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        """Inside, the step runs as it will be captured, so that what it loads and keeps is there.

        That must not lie in the graph's pool, where any other graph of the same pool might write: hence the pool that
        everybody uses. What the step itself took from it is given back to the device, the graph will need as much.
        """
        before = self.cupy.cuda.get_current_stream().record()
        with self._stream:
            self._stream.wait_event(before)
            cublas.handle()
            yield
        self._stream.synchronize()
        self.cupy.get_default_memory_pool().free_all_blocks()

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Inside, the step is recorded and not done."""
        global _current
        if _current is not None:
            raise RuntimeError("graph: another step is being captured")
        self._forget()
        with self._stream:
            cublas.handle()
        with self.cupy.cuda.using_allocator(self._pool.malloc), self._stream:
            self._stream.begin_capture()
            _current = self
            try:
                yield
            except BaseException:
                with suppress(Exception):  # a capture that has gone wrong cannot be ended, and need not be
                    self._stream.end_capture()
                raise
            finally:
                _current = None
            graph = self._stream.end_capture()
        if {number for number, _ in self._indices} != set(range(len(self._capacities))):
            raise CaptureError("graph: lengths that no layer has asked for: it would keep those of the capture")
        self._graph = graph

    def slot(self, values: np.ndarray) -> Slot:
        """A place that holds these values at the first replay."""
        end = self._used + -(-values.nbytes // ALIGNMENT) * ALIGNMENT
        if end > len(self._host):
            raise RuntimeError(f"graph: more than {len(self._host)} bytes of numbers vary from step to step")
        place = slice(self._used, self._used + values.nbytes)
        both = (memory[place].view(values.dtype).reshape(values.shape) for memory in (self._device, self._host))
        self._last, self._used = Slot(*both), end
        self._last.host[...] = values
        return self._last

    def lasting(self, make: Callable[[], Any]) -> Any:
        """What `make` gives, at once and not where a graph may write: outside of the capture, and of the pool."""
        elsewhere = self.cupy.get_default_memory_pool().malloc
        with self.cupy.cuda.using_allocator(elsewhere), self._copies:
            self._constants.append(make())
            self._copies.synchronize()
        return self._constants[-1]

    def key(self, seed: int, step: int) -> Any:
        """Where kernels read what random words are keyed by."""
        if self._key is None:
            self._key = self.slot(np.array([seed, step], np.uint64))
        return self._key.device

    def indices(self, packing: Packing, compute: Compute) -> tuple[Any, ...]:
        """Places for the arrays that `compute` makes of the lengths of the day and of the capacity."""
        number = next((k for k, each in enumerate(self._capacities) if each.rows is packing.rows), None)
        if number is None and packing.rows is None:  # rows of one length: nothing varies
            key = packing.num_steps, packing.batch_size, compute
            if key not in self._equal:
                arrays = compute(packing, packing)
                self._equal[key] = self.lasting(lambda: tuple(map(self.cupy.asarray, arrays)))
            return self._equal[key]
        if number is None:
            raise RuntimeError("graph: a layer is given lengths that the graph was not told of")
        if (number, compute) not in self._indices:
            capacity = self._capacities[number]
            self._indices[number, compute] = tuple(map(self.slot, compute(capacity, capacity)))
        return tuple(slot.device for slot in self._indices[number, compute])

    def refresh(self, make: Callable[[], np.ndarray]) -> None:
        """Before every replay but the first, the numbers that were placed last are to be those that `make` gives."""
        slot = self._last
        assert slot is not None

        def work() -> None:
            slot.host[...] = make()

        self._later.append(work)

    def refuse(self, what: str) -> None:
        """Raises CaptureError."""
        raise CaptureError(f"graph: {what} cannot be captured")

    def at_replay(self, work: Callable[[], None]) -> None:
        """Have something done on the host before every replay but the first."""
        self._later.append(work)

    def replay(self, lengths: Sequence[np.ndarray], seed: int, step: int) -> None:
        """Enqueue the step on the current stream, for a batch with these lengths and random words of this key.

        Raises:
            ValueError: lengths for which there is no room.
        """
        if self._graph is None:
            raise RuntimeError("graph: nothing has been captured")
        now = [self._fitting(*both) for both in zip(lengths, self._capacities, strict=True)]
        for work in self._later if self._replayed else ():
            work()
        for (number, compute), slots in self._indices.items():
            for slot, array in zip(slots, compute(now[number], self._capacities[number]), strict=True):
                slot.host[...] = array
        if self._key is not None:
            self._key.host[...] = seed, step
        self._device[: self._used].set(self._host[: self._used])
        error_word()  # the graph's kernels may write to it again
        self._graph.launch(self.cupy.cuda.get_current_stream())
        self._replayed = True

    def _fitting(self, lengths: np.ndarray, capacity: Packing) -> Packing:
        found = len(lengths), int(lengths.sum()), int(lengths.max(initial=0))
        room = capacity.batch_size, capacity.num_tokens, capacity.num_steps
        if found[0] != room[0] or found[1] > room[1] or found[2] > room[2]:
            given = f"{found[0]} rows of {found[1]} tokens, the longest of {found[2]}"
            raise ValueError(
                f"graph: {given}; expected {room[0]} rows of at most {room[1]} tokens, none longer than {room[2]}"
            )
        return ragged_packing(lengths)


_current: Recording | None = None
_kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()


def current() -> Recording | None:
    """What is being captured."""
    return _current


def refuse(what: str) -> None:
    """Raises CaptureError under capture."""
    if _current is not None:
        _current.refuse(what)


def scratch(shape: Any, dtype: Any, like: Any) -> Any:
    """Memory for results whose rows behind the last token nobody writes: empty, or under capture zeros."""
    return np.empty(shape, dtype, like=like) if _current is None else np.zeros(shape, dtype, like=like)


def varying(values: np.ndarray) -> Any:
    """A device copy of host numbers that differ from step to step; whoever knows the next ones calls `refresh`."""
    return on_device(values) if _current is None else _current.slot(values).device


def kept(key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    """What `make` gave for this key on this device; the last few are kept. Under capture it is made anew, for the graph
    alone."""
    if _current is not None:
        return _current.lasting(make)
    key = id(current_device()), *key
    if key not in _kept:
        _kept[key] = make()
        if len(_kept) > KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return _kept[key]


def on_device(values: np.ndarray) -> Any:
    """A device copy of host numbers for kernels to read, kept for the next call with equal ones."""
    return kept((values.dtype.str, values.shape, values.tobytes()), lambda: current_device().cupy.asarray(values))
