"""``torch.backends``: the switches that programs set for cuDNN and cuBLAS. Here every run is deterministic."""

from types import SimpleNamespace

import kernels


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
