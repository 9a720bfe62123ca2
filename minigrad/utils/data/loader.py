"""DataLoader: goes through a data set in batches, epoch after epoch.

Contract: PyTorch's arguments, defaults and order of batches for a given order of indices, with and without workers. The
order of a shuffled epoch is drawn from ``generator`` or the stream of ``manual_seed``: the same seed gives the same
orders here, and other ones than in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any

from minigrad.arguments import is_integer
from minigrad.checks import check_number
from minigrad.naming import described
from minigrad.random import Generator
from minigrad.utils.data.collate import default_collate, default_convert
from minigrad.utils.data.dataset import IterableDataset
from minigrad.utils.data.fetch import fetcher
from minigrad.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler, draw_seed

if TYPE_CHECKING:
    from minigrad.utils.data.workers import Workers

_FIXED = (
    "dataset", "batch_size", "batch_sampler", "sampler", "drop_last", "collate_fn", "num_workers", "persistent_workers",
)  # fmt: skip


class DataLoader:
    """Batches of a data set; each ``iter(loader)`` is an epoch.

    Args:
        dataset: with ``__getitem__`` and ``__len__``, or an IterableDataset.
        batch_size: items in a batch. None: no batches, each item by itself.
        shuffle: a new random order in every epoch.
        sampler: gives the order of indices, in place of ``shuffle``.
        batch_sampler: gives lists of indices, in place of ``batch_size``, ``shuffle``, ``sampler`` and ``drop_last``.
        num_workers: processes that fetch items ahead; 0: this process does, when a batch is asked for.
        collate_fn: makes a batch of a list of items; by default ``default_collate``, which stacks tensors.
        pin_memory: accepted; it changes nothing here.
        drop_last: leave out a last batch that is shorter.
        timeout: seconds that a batch of a worker may take; 0: as long as it takes.
        worker_init_fn: is called in each worker with its number, before its first item.
        multiprocessing_context: "spawn" (the default), "forkserver", or such a context of ``multiprocessing``.
        generator: the stream that shuffles, and from which the workers' seeds are drawn.
        prefetch_factor: batches that each worker has ready, 2 by default.
        persistent_workers: keep the workers from one epoch to the next.
        pin_memory_device, in_order: accepted; batches always come in order.

    Raises:
        ValueError: arguments that exclude each other, or out of range. TypeError: of a wrong type.
        What the data set raises; from a worker in one line that names it.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        self._workers: Workers | None = None
        self.dataset, self.num_workers, self.timeout = dataset, num_workers, timeout
        self.worker_init_fn, self.multiprocessing_context = worker_init_fn, multiprocessing_context
        self.generator, self.pin_memory, self.persistent_workers = generator, pin_memory, persistent_workers
        self.prefetch_factor = 2 if prefetch_factor is None and num_workers else prefetch_factor
        self._check(prefetch_factor, collate_fn)
        if isinstance(dataset, IterableDataset):
            _exclude("an IterableDataset", shuffle=shuffle, sampler=sampler, batch_sampler=batch_sampler)
        elif batch_sampler is not None:
            given = None if batch_size == 1 else batch_size
            _exclude("batch_sampler", batch_size=given, shuffle=shuffle, sampler=sampler, drop_last=drop_last)
            batch_size, drop_last = None, False
        elif sampler is not None:
            _exclude("sampler", shuffle=shuffle)
        if batch_size is None and batch_sampler is None:
            _exclude("batch_size=None", drop_last=drop_last)
        self.batch_size, self.drop_last = batch_size, drop_last
        self.sampler = self._order(shuffle) if sampler is None else sampler
        self.batch_sampler = self._batches() if batch_sampler is None else batch_sampler
        alone = batch_size is None and batch_sampler is None
        self.collate_fn = collate_fn or (default_convert if alone else default_collate)
        self._made = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and "_made" in self.__dict__:
            raise ValueError(f"DataLoader: {name} cannot be changed once the loader is made; make another one")
        super().__setattr__(name, value)

    def _check(self, prefetch_factor: Any, collate_fn: Any) -> None:
        if not is_integer(self.num_workers) or self.num_workers < 0:
            raise _wrong("num_workers", self.num_workers, "an integer of 0 or more")
        check_number("DataLoader", "timeout", self.timeout)
        if not self.timeout >= 0:
            raise _wrong("timeout", self.timeout, "0 or more seconds")
        if prefetch_factor is not None and not (is_integer(prefetch_factor) and prefetch_factor > 0):
            raise _wrong("prefetch_factor", prefetch_factor, "an integer above 0")
        if not self.num_workers:
            _exclude(
                "num_workers=0",
                prefetch_factor=prefetch_factor,
                persistent_workers=self.persistent_workers,
                multiprocessing_context=self.multiprocessing_context,
            )
        if self.multiprocessing_context == "fork":
            raise _wrong("multiprocessing_context", "fork", "'spawn' or 'forkserver'")
        if collate_fn is not None and not callable(collate_fn):
            raise TypeError(f"DataLoader: collate_fn is {described(collate_fn)}; expected a function")

    def _order(self, shuffle: bool | None) -> Iterable[Any]:
        if isinstance(self.dataset, IterableDataset):
            return repeat(None)
        if shuffle is not None and not isinstance(shuffle, bool):
            raise TypeError(f"DataLoader: shuffle is {described(shuffle)}; expected True or False")
        return RandomSampler(self.dataset, generator=self.generator) if shuffle else SequentialSampler(self.dataset)

    def _batches(self) -> Iterable[Any] | None:
        if self.batch_size is None:
            return None
        if not is_integer(self.batch_size) or self.batch_size <= 0:
            raise _wrong("batch_size", self.batch_size, "an integer above 0, or None")
        if isinstance(self.dataset, IterableDataset):
            return repeat(int(self.batch_size))
        return BatchSampler(self.sampler, self.batch_size, self.drop_last)

    def __len__(self) -> int:
        """Batches in an epoch; of a stream, as its length says."""
        if not isinstance(self.dataset, IterableDataset):
            return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]
        count = len(self.dataset)  # type: ignore[arg-type]  # TypeError where it has none
        if self.batch_size is None:
            return count
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        seed = draw_seed(self.generator)
        tasks = iter(self.sampler if self.batch_sampler is None else self.batch_sampler)
        return self._in_workers(tasks, seed) if self.num_workers else self._here(tasks)

    def _here(self, tasks: Iterator[Any]) -> Iterator[Any]:
        fetch = fetcher(self.dataset, self.collate_fn, self.drop_last)
        for task in tasks:
            try:
                batch = fetch(task)
            except StopIteration:
                return
            yield batch

    def _in_workers(self, tasks: Iterator[Any], seed: int) -> Iterator[Any]:
        from minigrad.utils.data.worker import Work
        from minigrad.utils.data.workers import Workers

        workers = self._workers
        if workers is None:
            work = Work(self.dataset, self.collate_fn, self.drop_last, self.worker_init_fn)
            workers = Workers(work, self.num_workers, seed, self.timeout, self.multiprocessing_context)
        if self.persistent_workers:
            self._workers = workers
        workers.begin_epoch()
        try:
            yield from workers.results(tasks, self.num_workers * (self.prefetch_factor or 2))
        finally:
            if workers is not self._workers:
                workers.stop()


def _wrong(name: str, value: Any, expected: str) -> ValueError:
    return ValueError(f"DataLoader: {name} is {described(value)}; expected {expected}")


def _exclude(owner: str, **others: Any) -> None:
    """Raise ValueError if any of the others is given too."""
    for name, value in others.items():
        if value is not None and value is not False:
            raise ValueError(f"DataLoader: {owner} and {name}={described(value)} exclude each other; leave one out")
