"""What is wrong with an index that NumPy has refused, in a sentence of this engine's own words."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import is_array
from minigrad.naming import described

Parts = list[Any]


def index_error(user: str, parts: Parts, shape: tuple[int, ...]) -> IndexError:
    """The error for an index of a tensor of ``shape``; ``parts`` are its members, tensors as arrays."""
    return IndexError(f"{user}: {_reason(parts, shape)}")


def _reason(parts: Parts, shape: tuple[int, ...]) -> str:
    parts = [np.asarray(part) if isinstance(part, list) and _is_regular(part) else part for part in parts]
    for part in parts:
        if not _is_allowed(part):
            return f"an index is {_named(part)}; expected integers, slices, ..., None, or integer or bool tensors"
    if sum(part is Ellipsis for part in parts) > 1:
        return "an index holds ... twice; expected it once at most"
    used = [_dims_of(part) for part in parts]
    if sum(used) > len(shape):
        return f"an index names {sum(used)} dimensions; expected at most {len(shape)} for shape {shape}"
    axis = 0
    for part, dims in zip(parts, used, strict=True):
        if part is Ellipsis:
            axis += len(shape) - sum(used)
        elif (reason := _misfit(part, axis, shape)) is not None:
            return reason
        axis += dims
    shapes = [part.shape for part in parts if is_array(part) and part.ndim]
    return f"index tensors have shapes {', '.join(map(str, shapes))}; expected shapes that broadcast"


def _is_regular(part: list) -> bool:
    try:
        return np.asarray(part).dtype.kind in "biuf"
    except ValueError:
        return False


def _is_truth(part: Any) -> bool:
    return isinstance(part, bool | np.bool_)


def _is_allowed(part: Any) -> bool:
    if isinstance(part, slice):
        return all(end is None or hasattr(end, "__index__") for end in (part.start, part.stop, part.step))
    if is_array(part):
        return part.dtype.kind in "biu" or not part.size
    return part is None or part is Ellipsis or isinstance(part, int | np.integer | np.bool_)


def _named(part: Any) -> str:
    return f"a tensor of dtype {part.dtype}" if is_array(part) else described(part)


def _dims_of(part: Any) -> int:
    """How many dimensions of the tensor a part of its index takes up."""
    if part is None or part is Ellipsis or _is_truth(part):
        return 0
    return part.ndim if is_array(part) and part.dtype == np.bool_ else 1


def _misfit(part: Any, axis: int, shape: tuple[int, ...]) -> str | None:
    """Why a part of an index does not fit the dimensions from ``axis`` on; None if it does."""
    if is_array(part) and part.dtype == np.bool_:
        place = shape[axis : axis + part.ndim]
        return None if part.shape == place else f"a mask has shape {part.shape}; expected {place} from dimension {axis}"
    if part is None or isinstance(part, slice) or _is_truth(part):
        return None
    outside = np.asarray(part)[(np.asarray(part) < -shape[axis]) | (np.asarray(part) >= shape[axis])]
    if not outside.size:
        return None
    size = shape[axis]
    return f"index {outside.flat[0]} is out of bounds for dimension {axis} with size {size}"
