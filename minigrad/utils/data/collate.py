"""From a list of items to a batch: tensors are stacked, numbers become tensors, dicts and tuples are gone into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minigrad import creation
from minigrad.naming import described
from minigrad.ops.shape import stack
from minigrad.tensor import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """The items of a batch as one.

    Args:
        batch: the items, of one kind. Tensors and arrays of one shape are stacked along a new first dimension, numbers
            become a tensor (floats float64, integers int64, truths bool), text stays as it is; of dicts, named tuples
            and lists each entry is collated, and a tuple becomes a list.

    Raises:
        RuntimeError: shapes or lengths differ. TypeError: something else.
    """
    if not len(batch):
        raise ValueError("default_collate: the batch is empty; expected at least one item")
    first = batch[0]
    if isinstance(first, Tensor):
        return _stacked([item if isinstance(item, Tensor) else _odd(first, item) for item in batch])
    if isinstance(first, np.ndarray | np.generic):
        if first.dtype.kind not in "biuf":
            raise _unknown(first)
        return _stacked([creation.as_tensor(item) for item in batch])
    if isinstance(first, bool | int | float):
        dtype = np.dtype(np.float64) if isinstance(first, float) else None
        return creation.tensor(list(batch), dtype=dtype)
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        return _like(first, {name: default_collate([item[name] for item in batch]) for name in first})
    if isinstance(first, Sequence):
        return _columns(first, batch)
    raise _unknown(first)


def _stacked(tensors: list[Tensor]) -> Tensor:
    shapes = {tensor.shape for tensor in tensors}
    if len(shapes) > 1:
        first, other, *_ = dict.fromkeys(tensor.shape for tensor in tensors)
        raise RuntimeError(
            f"default_collate: the items have shapes {first} and {other}; "
            "expected one shape, or a collate_fn of your own that pads them"
        )
    return stack(tensors)


def _columns(first: Sequence[Any], batch: Sequence[Sequence[Any]]) -> Any:
    """Each place of the items collated."""
    if any(len(item) != len(first) for item in batch):
        lengths = sorted({len(item) for item in batch})
        raise RuntimeError(
            f"default_collate: the items have {lengths[0]} to {lengths[-1]} entries; "
            "expected equally many, or a collate_fn of your own that pads them"
        )
    columns = [default_collate(column) for column in zip(*batch, strict=True)]
    if hasattr(first, "_fields"):
        return type(first)(*columns)
    return columns if isinstance(first, tuple) else _like(first, columns)


def _like(example: Any, values: Any) -> Any:
    """Values in a container of the example's class, where it can be made of them."""
    try:
        return type(example)(values)
    except TypeError:
        return values


def _odd(first: Tensor, item: Any) -> Tensor:
    raise TypeError(f"default_collate: an item is {described(item)}; expected a tensor, as the first")


def _unknown(item: Any) -> TypeError:
    return TypeError(
        f"default_collate: an item is {described(item)}; expected tensors, arrays, numbers, text, dicts, lists or "
        "tuples; for others give DataLoader a collate_fn"
    )


def default_convert(data: Any) -> Any:
    """An item as a loader without batches gives it: arrays become tensors, also within dicts, lists and tuples."""
    if isinstance(data, np.ndarray | np.generic) and data.dtype.kind in "biuf":
        return creation.as_tensor(data)
    if isinstance(data, Mapping):
        return _like(data, {name: default_convert(value) for name, value in data.items()})
    if hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, tuple):
        return [default_convert(value) for value in data]
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _like(data, [default_convert(value) for value in data])
    return data
