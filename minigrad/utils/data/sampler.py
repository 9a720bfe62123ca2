"""Samplers: in which order a loader takes the items of a data set. Each is gone through once an epoch.

Orders are drawn from ``generator``, or from the stream of ``manual_seed``. For one seed they are not PyTorch's: the
random numbers are others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np

from minigrad import creation, random
from minigrad.arguments import is_integer
from minigrad.naming import described
from minigrad.ops.select import multinomial
from minigrad.random import Generator

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """Base class: a subclass has ``__iter__()``, which gives indices (or lists of them), and perhaps ``__len__()``."""

    def __init__(self, data_source: Any = None) -> None:
        pass

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__(), which gives the indices in order")


class SequentialSampler(Sampler[int]):
    """All items in order."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Items in random order.

    Args:
        data_source: with a length.
        replacement: whether an item may come again.
        num_samples: how many to draw, by default as many as there are; more than that go through all of them again.
        generator: the stream to draw from.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        _check_bool("RandomSampler", "replacement", replacement)
        self.data_source, self.replacement, self.generator = data_source, replacement, generator
        self._num_samples = num_samples
        if num_samples is not None and not (is_integer(num_samples) and num_samples > 0):
            raise ValueError(f"RandomSampler: num_samples is {described(num_samples)}; expected an integer above 0")
        if self.num_samples <= 0:
            raise ValueError("RandomSampler: the data set is empty; expected at least one item")

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        size, wanted = len(self.data_source), self.num_samples
        if self.replacement:
            yield from creation.randint(size, (wanted,), generator=self.generator).tolist()
            return
        for start in range(0, wanted, size):
            yield from creation.randperm(size, generator=self.generator).tolist()[: wanted - start]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Given indices in random order."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices, self.generator = indices, generator

    def __iter__(self) -> Iterator[int]:
        for position in creation.randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[position]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices with probabilities in proportion to weights.

    Args:
        weights: (V,) one for each index, none negative; a list, an array or a tensor.
        num_samples: how many to draw.
        replacement: whether an index may come again.
        generator: the stream to draw from.
    """

    def __init__(
        self, weights: Any, num_samples: int, replacement: bool = True, generator: Generator | None = None
    ) -> None:
        if not is_integer(num_samples) or num_samples <= 0:
            raise ValueError(
                f"WeightedRandomSampler: num_samples is {described(num_samples)}; expected an integer above 0"
            )
        _check_bool("WeightedRandomSampler", "replacement", replacement)
        self.weights = creation.as_tensor(weights, dtype=np.dtype(np.float64))
        if self.weights.dim() != 1:
            raise ValueError(f"WeightedRandomSampler: weights have shape {self.weights.shape}; expected (V,)")
        self.num_samples, self.replacement, self.generator = int(num_samples), replacement, generator

    def __iter__(self) -> Iterator[int]:
        yield from multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator).tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """What another sampler gives, in lists of ``batch_size``; ``drop_last``: without the last if it is shorter."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not is_integer(batch_size) or batch_size <= 0:
            raise ValueError(f"BatchSampler: batch_size is {described(batch_size)}; expected an integer above 0")
        _check_bool("BatchSampler", "drop_last", drop_last)
        self.sampler, self.batch_size, self.drop_last = sampler, int(batch_size), drop_last

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]  # where it has one
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


def draw_seed(generator: Generator | None) -> int:
    """A seed for what an epoch's workers draw, 0 to 2**63 - 1."""
    return int(random.generator(generator).integers(2**63))


def _check_bool(owner: str, name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{owner}: {name} is {described(value)}; expected True or False")
