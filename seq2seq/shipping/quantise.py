"""Weights in fewer bits: float16, or int8 with a scale for each row, of the matrices alone.

    row = scale * q,  scale = max |row| / 127,  q = round(row / scale) in -127 .. 127

Vectors (biases, gains) stay as they are: they are few. A model that was loaded keeps matrices as the file has them, and
they are float32 for whoever reads them; a compiled search packs them in the same numbers (``minigrad.decoding``).

Source: Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference"
(2018), symmetric and by row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from minigrad.decoding import int8_rows

NARROW = ("f16", "int8")
FORMS = ("full", *NARROW)
SCALE = ":scale"  # behind the name of a matrix: (rows,) float32
_MOST = float(np.finfo(np.float16).max)
Array = np.ndarray


def quantised(weights: Mapping[str, Array], form: str) -> dict[str, Array]:
    """The arrays that stand for weights in a form of FORMS; of int8 two for each matrix.

    Raises:
        ValueError: a weight is too large for float16.
    """
    found: dict[str, Array] = {}
    for name, array in weights.items():
        if array.ndim < 2 or form == "full":
            found[name] = array
        elif form == "f16":
            if np.abs(array).max(initial=0) > _MOST:
                raise ValueError(f"{name} has numbers beyond {_MOST:.0f}; expected the form full or int8")
            found[name] = array.astype(np.float16)
        else:
            found[name], found[name + SCALE] = int8_rows(array)
    return found


def restored(arrays: Mapping[str, Any], dtype: Any) -> dict[str, Array]:
    """The weights that arrays stand for, of a floating dtype.

    Raises:
        ValueError: what is no array, a matrix of int8 without its scales, or scales without it.
    """
    found: dict[str, Array] = {}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype not in (np.float64, np.float32, np.float16, np.int8):
            raise ValueError(f"{name} is no array of floating numbers or int8")
        if name.endswith(SCALE):
            if name.removesuffix(SCALE) not in arrays:
                raise ValueError(f"{name} belongs to no matrix")
            continue
        scale = arrays.get(name + SCALE) if array.dtype == np.int8 else None
        fits = isinstance(scale, np.ndarray) and array.ndim == 2 and scale.shape == array.shape[:1]
        if array.dtype == np.int8 and not fits:
            raise ValueError(f"{name} is int8; expected a matrix with a scale for each of its rows")
        found[name] = _restored(array, scale, dtype)
    return found


def restoring(arrays: Mapping[str, Array], dtype: Any) -> dict[str, Callable[[], Array]]:
    """For each matrix in fewer bits what makes the same of it as ``restored``, which has been called."""
    narrow = {name: array for name, array in arrays.items() if array.dtype in (np.int8, np.float16)}
    return {name: partial(_restored, array, arrays.get(name + SCALE), dtype) for name, array in narrow.items()}


def _restored(array: Array, scale: Array | None, dtype: Any) -> Array:
    """What an array stands for, in memory of its own."""
    found: Array = array.astype(dtype)
    if scale is not None:
        found *= scale[:, None].astype(dtype)
    return found
