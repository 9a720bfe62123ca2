"""Modules of which only the shapes matter, as to count what a model would need: their parameters take no memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.modes import Mode, ThreadSetting

_setting = ThreadSetting(False)


class shapes_only(Mode):  # noqa: N801  (used like a function)
    """Inside, new parameters have shape and dtype, but no memory; initialisation leaves them as they are."""

    setting = _setting
    value = True


def is_shapes_only() -> bool:
    """Whether memory is to be left out."""
    return _setting.value


def without_memory(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array, read-only, all of whose elements are one zero."""
    return np.broadcast_to(np.zeros((), dtype), shape)
