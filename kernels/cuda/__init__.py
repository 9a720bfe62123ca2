"""The CUDA backend: kernels of our own, launched through CuPy, and matrix products by cuBLAS.

Arguments are checked by `kernels` and arrive as C-contiguous CuPy arrays. Same names as `kernels.reference`. float32 is
computed by the kernels of the .cu files, float64 by the oracle on the device's arrays, and so is an entry whose stub
says `by_reference`.
Importing this package touches no device and does not import CuPy; the first call does.

What each kernel reads and writes stands at the head of its file; docs/cuda.md draws them. The rooms: `runtime` (what
launches and multiplies, and the machine), `recurrent`, `search`, `losses`, `updates`, `layers` (products, embedding,
dropout, GELU). A .py file stands beside the .cu files that it launches; these name headers by room and file.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from kernels import reference
from kernels.arrays import watch_fetches
from kernels.contracts import publish
from kernels.cuda.runtime import capture, launcher
from kernels.cuda.runtime.compiler import SOURCE_FOLDER

OUT_OF_RANGE = 2  # what kernels write into the error word for an id that is

globals().update(functions := publish(__name__, __path__, reference))
__all__ = sorted(functions)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Any entry; its types stand in its stub."""


def report_ids(wrong: Any) -> None:
    """See `kernels.report_ids`."""
    word = launcher.error_word()
    np.maximum(word, wrong.any().astype(np.uint32) * np.uint32(OUT_OF_RANGE), out=word)


watch_fetches(lambda: capture.refuse("a value that the host asks for"), launcher.check)
