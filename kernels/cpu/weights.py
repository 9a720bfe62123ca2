"""Weights that are read often and change never, packed in one of the forms of `kernels.forms`."""

import numpy as np

from kernels.cpu.gemm import Prepacked, prepack
from kernels.cpu.narrow import narrow_panels
from kernels.cpu.product import DEPTH, prepare
from kernels.forms import NARROW
from kernels.threads import run_all


def prepack_as(form: str, weight: np.ndarray, cut: int = 0) -> Prepacked:
    """The transpose of a weight (N, K) as the right-hand side of products; float64 is left as it is.

    Args:
        cut: where in the rows a second weight begins, which has scales of its own; 0 for none.
    """
    if form not in NARROW or weight.dtype != np.float32:
        return prepack(weight, True, form == "bf16")
    panels, tasks = narrow_panels(weight, form, cut, DEPTH)
    prepare(panels.dtype)
    run_all(tasks)
    return Prepacked(panels, weight.shape[1], len(weight))
