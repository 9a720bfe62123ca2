"""The oracle: every kernel as plain array code, one line per equation, in float32 or float64.

No packing, no buffers, no tricks: padding is masked with `np.where`, so that a reader can check each line against the
paper and a test can check every other backend against this one. Arguments are not checked here; `kernels` does that.
"""

from typing import TYPE_CHECKING, Any

from kernels.contracts import publish

globals().update(functions := publish(__name__, __path__))
__all__ = sorted(functions)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Any entry; its types stand in its stub."""
