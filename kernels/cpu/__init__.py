"""The CPU backend: Numba throughout, products included (`kernels.cpu.gemm`); no step of training calls BLAS.

Threads. Every loop here is serial code that releases Python's lock; `kernels.threads` runs several of them side by
side. There is one pool of threads: two in one training step, one of which spins while the other works, make the step
two to five times slower than either alone.

Arguments are checked by `kernels` and arrive C-contiguous. Same files and names as `kernels.reference`.
"""

from typing import TYPE_CHECKING, Any

from kernels.contracts import publish
from kernels.cpu import jit as _jit  # first: it looks at the environment before Numba does

globals().update(functions := publish(__name__, __path__))
__all__ = sorted(functions)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Any entry; its types stand in its stub."""
