"""Data sets: what can be asked for item ``i``, or gone through in order."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar

from minigrad import random
from minigrad.arguments import is_integer
from minigrad.naming import described
from minigrad.tensor import Tensor

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """Base class of data sets with ``__getitem__(index)`` and, for all samplers but your own, ``__len__()``.

    A subclass may also have ``__getitems__(indices)``, which gives the items of a batch at once as a list.
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__(index), which gives the item of an index")

    def __add__(self, other: Dataset[T_co]) -> ConcatDataset[T_co]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """Base class of data sets with ``__iter__()`` alone: a stream.

    With several workers each goes through a copy of the data set; ``get_worker_info()`` tells it which share is its.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__(), which gives the items in order")

    def __add__(self, other: Dataset[T_co]) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Item i is row i of each tensor, as a tuple.

    Raises:
        TypeError: something is no tensor. ValueError: unequal numbers of rows, or a tensor without dimensions.
    """

    def __init__(self, *tensors: Tensor) -> None:
        for position, tensor in enumerate(tensors):
            if not isinstance(tensor, Tensor):
                raise TypeError(f"TensorDataset: tensor {position} is {described(tensor)}; expected a tensor")
            if not tensor.dim():
                raise ValueError(f"TensorDataset: tensor {position} is 0-d; expected rows")
            if len(tensor) != len(tensors[0]):
                raise ValueError(
                    f"TensorDataset: tensor {position} has {len(tensor)} rows; expected {len(tensors[0])} as the first"
                )
        if not tensors:
            raise ValueError("TensorDataset: got no tensors; expected one or more")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class StackDataset(Dataset[Any]):
    """Item i is item i of several data sets of one length: a tuple of them, or a dict for data sets given by name."""

    def __init__(self, *datasets: Any, **named: Any) -> None:
        if bool(datasets) == bool(named):
            raise ValueError("StackDataset: expected data sets by position or by name")
        lengths = [len(each) for each in (datasets or named.values())]
        if len(set(lengths)) > 1:
            raise ValueError(f"StackDataset: the data sets have {lengths} items; expected one length")
        self.datasets: Any = datasets or named
        self._length = lengths[0]

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.datasets, dict):
            return {name: each[index] for name, each in self.datasets.items()}
        return tuple(each[index] for each in self.datasets)

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[T_co]):
    """The items of several data sets, one data set after the other.

    Attributes:
        cumulative_sizes: behind which index each data set ends.
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: datasets is empty; expected at least one data set")
        if any(isinstance(each, IterableDataset) for each in self.datasets):
            raise TypeError("ConcatDataset: an IterableDataset has no indices; use ChainDataset")
        self.cumulative_sizes = list(accumulate(len(each) for each in self.datasets))

    def __getitem__(self, index: int) -> T_co:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"ConcatDataset: index is {index}; expected {-len(self)} to {len(self) - 1}")
        number = bisect_right(self.cumulative_sizes, position)
        return self.datasets[number][position - (self.cumulative_sizes[number - 1] if number else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset[Any]):
    """Streams, one after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        for position, each in enumerate(self.datasets):
            if not isinstance(each, IterableDataset):
                raise TypeError(f"ChainDataset: data set {position} is {described(each)}; expected an IterableDataset")

    def __iter__(self) -> Iterator[Any]:
        for each in self.datasets:
            yield from each

    def __len__(self) -> int:
        return sum(len(each) for each in self.datasets)


class Subset(Dataset[T_co]):
    """The items ``indices`` of a data set, in that order."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> T_co:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: Sequence[int]) -> list[T_co]:
        wanted = [self.indices[i] for i in indices]
        at_once = getattr(self.dataset, "__getitems__", None)
        return at_once(wanted) if at_once is not None else [self.dataset[i] for i in wanted]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Any, lengths: Sequence[float], generator: random.Generator | None = None
) -> list[Subset[Any]]:
    """Parts of a data set that have no item in common, drawn at random.

    Args:
        dataset: with a length.
        lengths: how many items each part has; or shares, which add up to 1: what rounding leaves goes to the first
            parts, one item each.
        generator: the stream to draw from.

    Raises:
        ValueError: the lengths do not add up, or one is negative.
    """
    total, shares = len(dataset), sum(lengths)
    if any(length < 0 for length in lengths):
        raise ValueError(f"random_split: lengths are {list(lengths)}; expected 0 or more")
    if math.isclose(shares, 1) and shares <= 1:
        counts = [math.floor(total * share) for share in lengths]
        for position in range(total - sum(counts)):
            counts[position % len(counts)] += 1
    elif shares == total and all(is_integer(length) for length in lengths):
        counts = [int(length) for length in lengths]
    else:
        raise ValueError(
            f"random_split: lengths are {list(lengths)}; expected integers that add up to {total}, the length of the "
            "data set, or shares that add up to 1"
        )
    order = random.generator(generator).permutation(total).tolist()
    ends = list(accumulate(counts))
    return [Subset(dataset, order[end - count : end]) for end, count in zip(ends, counts, strict=True)]
