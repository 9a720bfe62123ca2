"""To another dtype, device or memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.device import require_cpu
from minigrad.ops.elementwise import cast, clone
from minigrad.tensor import Tensor


def to(x: Tensor, *targets: Any, dtype: Any = None, device: Any = None, **_options: Any) -> Tensor:
    """``to(dtype)``, ``to(device)``, ``to(other)``: ``x`` itself where nothing changes."""
    for target in targets:
        if isinstance(target, Tensor):
            dtype = target.dtype
        elif isinstance(target, np.dtype | type):
            dtype = target
        else:
            device = target
    require_cpu(device)
    return x if dtype is None or np.dtype(dtype) == x.dtype else cast(x, np.dtype(dtype))


def type_as(x: Tensor, other: Tensor) -> Tensor:
    return to(x, dtype=other.dtype)


def cpu(x: Tensor) -> Tensor:
    return x


def cuda(x: Tensor, index: Any = None) -> Tensor:
    return to(x, device="cuda")


def contiguous(x: Tensor) -> Tensor:
    """``x`` itself if its elements lie in C order, else a copy."""
    return x if x.is_contiguous() else clone(x)
