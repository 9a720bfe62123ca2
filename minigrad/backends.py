"""``torch.backends``: the switches that programs set for cuDNN and cuBLAS. Here every run is deterministic."""

from types import SimpleNamespace
from typing import TYPE_CHECKING

import kernels
from minigrad.missing import for_module as _for_module


class _MatMul:
    """Products on a GPU."""

    @property
    def allow_tf32(self) -> bool:
        """Whether products in float32 may round their operands to TensorFloat-32, which is faster; off at first."""
        return kernels.tf32_allowed()

    @allow_tf32.setter
    def allow_tf32(self, flag: bool) -> None:
        kernels.allow_tf32(flag)


cudnn = SimpleNamespace(enabled=False, deterministic=True, benchmark=False, is_available=lambda: False)
cuda = SimpleNamespace(matmul=_MatMul())

if not TYPE_CHECKING:  # a checker would take every name for known
    __path__: list[str] = []  # or ``from ... import`` would not ask on for a name that is not here
    __getattr__ = _for_module(__name__)
