"""Products in bfloat16: ``with autocast("cpu", dtype=bfloat16):`` or ``autocast("cuda")``, as in PyTorch.

Inside, the products of matmul, linear, LSTM, GRU and the fused output layer round their float32 operands to bfloat16
and sum in float32. Weights, states, gates, losses, gradients and optimiser stay float32. A gradient is computed in the
precision of its forward, wherever backward is called. float64 operands are never rounded.
"""

from __future__ import annotations

from typing import Any

from minigrad.dtypes import float32
from minigrad.modes import Mode, ThreadSetting
from minigrad.naming import described


class _BFloat16:
    """Names the precision of products; no array has this dtype."""

    def __repr__(self) -> str:
        return "bfloat16"


bfloat16 = _BFloat16()


_rounded = ThreadSetting(False)


def bf16_enabled() -> bool:
    """Whether products of this thread are in bfloat16 now."""
    return _rounded.value


class autocast(Mode):  # noqa: N801  (PyTorch's name, used like a function)
    """Within the block, or the decorated function, products of this thread run in ``dtype``.

    Args:
        device_type: "cpu" or "cuda"; products are rounded on both, wherever their operands lie.
        dtype: bfloat16, or float32 to switch it off inside another block.
        enabled: False leaves products in float32.

    Raises:
        TypeError: ``device_type`` is a function: as a decorator it needs brackets.
        ValueError: another device or dtype.
    """

    setting = _rounded

    def __init__(self, device_type: str = "cpu", dtype: Any = bfloat16, enabled: bool = True) -> None:
        if callable(device_type):
            raise TypeError(f"autocast: device_type is {described(device_type)}; expected 'cpu' or 'cuda' in brackets")
        if device_type not in ("cpu", "cuda"):
            raise ValueError(f"autocast: device_type is {device_type!r}; expected 'cpu' or 'cuda'")
        if dtype is not bfloat16 and dtype != float32:
            raise ValueError(f"autocast: dtype is {dtype}; expected bfloat16 or float32")
        self.value = enabled and dtype is bfloat16

    def __enter__(self) -> autocast:
        super().__enter__()
        return self
