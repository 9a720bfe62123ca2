"""CUDA sources of the kernels, and what a launch needs to know of them: its geometry and the order of packed weights.

Not a backend yet: nothing here launches anything, and `kernels.backend_for` refuses arrays on a GPU. The sources are
compiled and run by the tests (tests/cuda_sim), on the processor. What each kernel reads and writes stands at the head
of its file; docs/cuda.md draws them.
"""

from pathlib import Path

SOURCE_FOLDER = Path(__file__).parent
