"""No product reads or writes beyond its arrays: they end, or begin, at a page that must not be touched.

A wrong access ends the process, so this runs in an interpreter of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

GUARDED = """
import ctypes, itertools, mmap, sys
import numpy as np
from kernels.cpu import gemm, product
from kernels.cpu.tiles import COLUMNS, ROWS

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PAGE = mmap.PAGESIZE


class Guarded:
    # Memory between two forbidden pages; arrays lie at its end or at its beginning.
    def __init__(self, size):
        pages = -(-size // PAGE)
        self.map = mmap.mmap(-1, (pages + 2) * PAGE)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        self.end = self.start + (pages + 1) * PAGE
        for page in (self.start, self.end):
            assert libc.mprotect(page, PAGE, 0) == 0

    def array(self, values, at_end):
        address = self.end - values.nbytes if at_end else self.start + PAGE
        memory = (ctypes.c_char * max(values.nbytes, 1)).from_address(address)
        array = np.frombuffer(memory, values.dtype, values.size).reshape(values.shape)
        array[...] = values
        return array


spaces = [Guarded(1 << 22) for _ in range(5)]
rng = np.random.default_rng(0)
heights = (1, ROWS - 1, ROWS + 1, 2 * ROWS, 2 * ROWS + 1)
sizes = itertools.product(heights, (1, 7, 16, 33, 515), (1, 5, COLUMNS, COLUMNS + 3))
for M, K, N in sizes:
    for dtype, bf16 in ((np.float32, False), (np.float64, False), (np.float32, True)):
        a, b = rng.standard_normal((M, K)).astype(dtype), rng.standard_normal((K, N)).astype(dtype)
        for left, right, at_end in itertools.product((False, True), repeat=3):
            source = spaces[0].array(np.ascontiguousarray(b.T) if right else b, at_end)
            packed = gemm.prepack(source, right, bf16)
            panels = spaces[1].array(packed.panels, at_end)
            matrix = spaces[2].array(np.ascontiguousarray(a.T) if left else a, at_end)
            out = spaces[3].array(np.zeros((M, N), dtype), at_end)
            work = spaces[4].array(np.zeros(product.workspace(M, K), panels.dtype), at_end)
            product.multiply_block(
                matrix.reshape(-1), left, 0, matrix.shape[1], M, work, panels, K, N, 0, N, out.reshape(-1), 0, N, True
            )
            scale = np.abs(a) @ np.abs(b)
            assert (np.abs(out - a @ b) <= (0.02 if bf16 else 1e-4) * scale).all()
if "beyond" in sys.argv:
    spaces[0].array(np.zeros(4), True)
    ctypes.c_char.from_address(spaces[0].end).value
print("inside")
"""


def guarded(*arguments):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", GUARDED, *arguments]
    return subprocess.run(command, cwd=root, env={**os.environ}, capture_output=True, text=True, timeout=250)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forbids pages as Linux does")
def test_products_stay_inside_their_arrays():
    result = guarded()
    assert result.stdout.strip() == "inside", result.stderr
    assert guarded("beyond").returncode != 0  # the proof that such an access is noticed
