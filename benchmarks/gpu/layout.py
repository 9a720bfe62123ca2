"""What the kernels believe of the hardware: fragments of the tensor cores, shuffles, flags, rounding, functions.

    python -m gpu.layout --device cuda --json OUT/layout.json

The small kernels of tests/cuda_sim/selftest.cu, which the simulator passes, but for its barrier of the whole grid.
Where the layout of a fragment is not as believed, the row says where the elements that came out belong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cupy
import numpy as np
from figures import Figures
from racing import parser

from kernels.cuda.recurrent import pack
from kernels.cuda.recurrent.pack import bf16_bits
from kernels.cuda.runtime import launcher
from kernels.cuda.runtime.geometry import Launch

TILES: dict[str, tuple[int, Any, Any]] = {  # columns of a tile of weights, rounding, the values of what it gives
    "bf16": (16, pack.bf16_bits, pack.bf16_values),
    "tf32": (8, pack.tf32_values, np.asarray),
}
WARP, BLOCKS = Launch((1,), (32,)), 7
SELF_TEST = Path(__file__).parents[2] / "tests" / "cuda_sim" / "selftest.cu"
OF_GRID = re.compile(r"#define USE_GRID_SYNC\n|// sum\[b\] =.*?\n}\n", re.DOTALL)


class Checks:
    """Each method launches one kernel and returns what is wrong, "" if nothing."""

    def __init__(self, kernels: Any) -> None:
        self.kernels = kernels
        self.rng = np.random.default_rng(0)

    def tensor_core_bf16(self) -> str:
        """mma m16n8k16, ldmatrix, cp.async: random tiles."""
        return self._product("bf16")

    def tensor_core_tf32(self) -> str:
        """mma m16n8k8."""
        return self._product("tf32")

    def tensor_core_by_element(self) -> str:
        """The same, one row at a time against the identity, so that a wrong layout shows where an element has gone."""
        wrong = []
        for kind, (columns, *_) in TILES.items():
            for row in range(16):
                a, right = np.zeros((16, columns), np.float32), np.zeros((16, 16), np.float32)
                a[row] = np.arange(1, columns + 1)
                right[:, :columns] = a
                found = self._tile(kind, a, np.eye(16, columns, dtype=np.float32))
                if not np.array_equal(found, right):
                    wrong.append(f"{kind}: row {row} came out at {np.argwhere(found).tolist()[:4]}")
        return "; ".join(wrong[:4])

    def _product(self, kind: str) -> str:
        columns, to, back = TILES[kind]
        a, b = self.rng.standard_normal((2, 16, columns)).astype(np.float32)
        right = back(to(a)).astype(float) @ back(to(b)).astype(float).T
        error = np.linalg.norm(self._tile(kind, a, b) - right) / np.linalg.norm(right)
        return "" if error < 1e-6 else f"relative error {error:.2g}"

    def _tile(self, kind: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """a b^T by one warp; b is rounded to tf32 where it is multiplied."""
        columns, to, _ = TILES[kind]
        row, column = pack.tile_order(kind)
        words = cupy.asarray(pack.pack_weights(a, row * columns + column, kind))
        d = cupy.full((16, 16), np.nan, np.float32)
        stored = cupy.asarray(b if kind == "tf32" else to(b))
        kernel = self.kernels.one_tile if kind == "bf16" else getattr(self.kernels, f"one_tile_{kind}")
        kernel(Launch((1,), (32,), 16 * 48), (words, stored, d))
        return cupy.asnumpy(d)

    def shuffles(self) -> str:
        x, lanes = self.rng.standard_normal(32).astype(np.float32), np.arange(32)
        xored, up = cupy.empty(32, np.float32), cupy.empty(32, np.int32)
        self.kernels.shuffles(WARP, (cupy.asarray(x), xored, up, np.int32(5), np.int32(3)))
        right = np.array_equal(cupy.asnumpy(xored), x[lanes ^ 5])
        right &= np.array_equal(cupy.asnumpy(up), np.where(lanes < 3, lanes, lanes - 3))
        return "" if right else "a lane has another's value"

    def blocks_that_wait(self) -> str:
        """A ring of blocks: by flag and by marked data."""
        data, error = cupy.full((BLOCKS, 4), 0xFFFFFFFF, np.uint32), cupy.zeros(1, np.uint32)
        data[0] = cupy.asarray(np.array([100, 0, 0, 0], np.uint32))
        self.kernels.ring(Launch((BLOCKS,), (32,), 0, True), (cupy.zeros(1, np.uint32), data, error))
        if int(cupy.asnumpy(error)[0]):
            return "a block waited in vain"
        found = cupy.asnumpy(data)[:, 0]
        return "" if np.array_equal(found, 100 + np.arange(BLOCKS)) else f"the ring is {found.tolist()}"

    def rounding_and_functions(self) -> str:
        """bf16 to nearest even; sigmoid, tanh and exp with the hardware's approximations."""
        special = [0, -0.0, 1, np.inf, -np.inf, np.nan, 3.4e38, 1.00390625, 1.01171875, 100, -100, 80, -80]
        x = np.concatenate([np.array(special, np.float32), (self.rng.standard_normal(4000) * 8).astype(np.float32)])
        rounded, *out = cupy.empty(len(x), np.uint16), *(cupy.empty(len(x), np.float32) for _ in range(3))
        launch = Launch((-(-len(x) // 32),), (32,))
        self.kernels.functions(launch, (cupy.asarray(x), rounded, *out, np.int32(len(x))))
        wrong = [] if np.array_equal(cupy.asnumpy(rounded), bf16_bits(x)) else ["to_bf16 rounds otherwise"]
        with np.errstate(all="ignore"):
            wide = x.astype(np.float64)
            right = {"sigmoid": 1 / (1 + np.exp(-wide)), "tanh": np.tanh(wide), "exp": np.exp(wide)}
            for (name, want), got in zip(right.items(), out, strict=True):
                if not np.allclose(cupy.asnumpy(got), want.astype(np.float32), 1e-5, 2e-7, equal_nan=True):
                    worst = np.nanmax(np.abs(cupy.asnumpy(got)[len(special) :] - want[len(special) :]))
                    wrong.append(f"{name} is off by {worst:.2g} at worst")
        return "; ".join(wrong)


def answered(check: Callable[[Checks], str], checks: Checks) -> dict[str, str]:
    return {"wrong": check(checks)}


def main() -> None:
    """One row per check: "wrong" is empty where all is as believed."""
    options = parser(__doc__).parse_args()
    options.seconds = 1e9  # what follows rests on all of them
    with TemporaryDirectory() as folder, Figures(options) as figures:
        source = Path(folder) / "selftest.cu"
        source.write_text(OF_GRID.sub("", SELF_TEST.read_text(encoding="utf-8")), encoding="utf-8")
        checks = Checks(launcher.module(source))
        named = {name: check for name, check in vars(Checks).items() if not name.startswith("_")}
        asked = {name.replace("_", " "): partial(answered, check, checks) for name, check in named.items()}
        for what, row in figures.measure(asked):
            print(f"{what:30} {row.get('error') or row['wrong'] or 'as believed'}", flush=True)
        launcher.check()


if __name__ == "__main__":
    main()
