"""How a task becomes what a loader gives: items fetched by index, or drawn from a stream, and collated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from minigrad.tensor import Tensor
from minigrad.utils.data.collate import default_collate
from minigrad.utils.data.dataset import IterableDataset, Subset, TensorDataset


class Fetch(Protocol):
    """Give it a task, an index or a list of them (of a stream: how many items); StopIteration at a stream's end."""

    def __call__(self, task: Any) -> Any: ...


class ByIndex:
    """Items of a data set that has indices. ``collate`` makes a batch of a list, or converts a single item."""

    def __init__(self, dataset: Any, collate: Callable[[Any], Any]) -> None:
        self._dataset, self._collate = dataset, collate

    def __call__(self, task: Any) -> Any:
        return _without_end(self._fetched, task)

    def _fetched(self, task: Any) -> Any:
        if not isinstance(task, list | tuple):
            return self._collate(self._dataset[task])
        if self._collate is default_collate and (batch := _rows(self._dataset, task)):
            return batch
        at_once = getattr(self._dataset, "__getitems__", None)
        return self._collate(at_once(task) if at_once is not None else [self._dataset[index] for index in task])


def _rows(dataset: Any, indices: Sequence[Any]) -> list[Tensor] | None:
    """What `default_collate` would make of the items of a TensorDataset, taken at once: hundreds of indexings less.

    None for other data sets, and for what it refuses.
    """
    if type(dataset) is Subset:
        return _rows(dataset.dataset, [dataset.indices[index] for index in indices])
    if type(dataset) is not TensorDataset or not indices or any(type(index) is not int for index in indices):
        return None
    try:
        return [tensor[np.asarray(indices)] for tensor in dataset.tensors]
    except IndexError:
        return None


def _without_end(function: Callable[[Any], Any], argument: Any) -> Any:
    """What a user's function gives; its StopIteration would end the epoch without a word."""
    try:
        return function(argument)
    except StopIteration as error:
        raise RuntimeError("DataLoader: the data set, or its collate_fn, raised StopIteration") from error


def _next_of(items: Iterator[Any], count: int) -> Iterator[Any]:
    """At most so many of the next items. ``islice`` would call ``iter`` on them, which may begin anew."""
    for _ in range(count):
        try:
            item = next(items)
        except StopIteration:
            return
        yield item


class FromStream:
    """The next items of a stream. ``drop_last``: without a last batch that is shorter."""

    def __init__(self, dataset: Any, collate: Callable[[Any], Any], drop_last: bool) -> None:
        self._items: Iterator[Any] = iter(dataset)
        self._collate, self._drop_last = collate, drop_last

    def __call__(self, task: int | None) -> Any:
        if task is None:
            return _without_end(self._collate, next(self._items))
        items = list(_next_of(self._items, task))
        if not items or (self._drop_last and len(items) < task):
            raise StopIteration
        return _without_end(self._collate, items)


def fetcher(dataset: Any, collate: Callable[[Any], Any], drop_last: bool) -> Fetch:
    """What fetches the items of a data set for one epoch."""
    return (
        FromStream(dataset, collate, drop_last) if isinstance(dataset, IterableDataset) else ByIndex(dataset, collate)
    )
