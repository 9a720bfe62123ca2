"""What is wrong with an index that NumPy has refused, in a sentence of this engine's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import is_array
from minigrad.naming import described

Items = list[Any]


def index_error(user: str, items: Items, shape: tuple[int, ...]) -> IndexError:
    """The error for an index of a tensor of ``shape``; ``items`` are what it consists of, tensors as arrays."""
    return IndexError(f"{user}: {_reason(items, shape)}")


def _reason(items: Items, shape: tuple[int, ...]) -> str:
    items = [np.asarray(item) if isinstance(item, list) and _is_regular(item) else item for item in items]
    for item in items:
        if not _is_allowed(item):
            return f"an index is {_named(item)}; expected integers, slices, ..., None, or integer or bool tensors"
    if sum(item is Ellipsis for item in items) > 1:
        return "an index holds ... twice; expected it once at most"
    used = [_dims_of(item) for item in items]
    if sum(used) > len(shape):
        return f"an index names {sum(used)} dimensions; expected at most {len(shape)} for shape {shape}"
    axis = 0
    for item, dims in zip(items, used, strict=True):
        if item is Ellipsis:
            axis += len(shape) - sum(used)
        elif (reason := _misfit(item, axis, shape)) is not None:
            return reason
        axis += dims
    shapes = [item.shape for item in items if is_array(item) and item.ndim]
    return f"index tensors have shapes {', '.join(map(str, shapes))}; expected shapes that broadcast"


def _is_regular(item: list) -> bool:
    try:
        return np.asarray(item).dtype.kind in "biuf"
    except ValueError:
        return False


def _is_truth(item: Any) -> bool:
    return isinstance(item, bool | np.bool_)


def _is_allowed(item: Any) -> bool:
    if isinstance(item, slice):
        return all(end is None or hasattr(end, "__index__") for end in (item.start, item.stop, item.step))
    if is_array(item):
        return item.dtype.kind in "biu" or not item.size
    return item is None or item is Ellipsis or isinstance(item, int | np.integer | np.bool_)


def _named(item: Any) -> str:
    return f"a tensor of dtype {item.dtype}" if is_array(item) else described(item)


def _dims_of(item: Any) -> int:
    """How many dimensions of the tensor a item of its index takes up."""
    if item is None or item is Ellipsis or _is_truth(item):
        return 0
    return item.ndim if is_array(item) and item.dtype == np.bool_ else 1


def _misfit(item: Any, axis: int, shape: tuple[int, ...]) -> str | None:
    """Why a item of an index does not fit the dimensions from ``axis`` on; None if it does."""
    if is_array(item) and item.dtype == np.bool_:
        dims = shape[axis : axis + item.ndim]
        return None if item.shape == dims else f"a mask has shape {item.shape}; expected {dims} from dimension {axis}"
    if item is None or isinstance(item, slice) or _is_truth(item):
        return None
    outside = np.asarray(item)[(np.asarray(item) < -shape[axis]) | (np.asarray(item) >= shape[axis])]
    if not outside.size:
        return None
    size = shape[axis]
    return f"index {outside.flat[0]} is out of bounds for dimension {axis} with size {size}"
