"""The matrix unit's panels, on every machine; its tile, to the bit, where there is one; its code, for one.

`test_processors.py` runs this file for other processors too.
"""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import binding, ir

from kernels.cpu import matrix_unit, tiles
from kernels.cpu.blocks import pack_blocks
from kernels.cpu.jit import config, jit
from kernels.cpu.matrix_unit import BLOCK, TILE_COLUMNS, TILE_ROWS, configure, release, rows_of_blocks
from kernels.reference.precision import round_bf16
from tests.kernels.test_tile_code import loops

NEEDS_UNIT = pytest.mark.skipif(
    tiles.PAIR_ROWS != TILE_ROWS or config.DISABLE_JIT, reason="this processor has no matrix unit that may be used"
)
DEPTHS = [BLOCK, 2 * BLOCK, 5 * BLOCK]
HEIGHTS = pytest.mark.parametrize("heights", [1, 2])


@jit
def run_tile(a, a_at, b, b_at, c, c_at, ldc, depth, more, rows):
    configure()
    tiles.tile(a, a_at, b, b_at, c, c_at, ldc, depth, more, rows)
    release()


def pairs(numbers):
    """(rows, 2 depth) float32 that bfloat16 holds -> (rows, depth) uint32, the first of a pair in the low half."""
    halves = numbers.view(np.uint32) >> np.uint32(16)
    return halves[:, ::2] | halves[:, 1::2] << np.uint32(16)


def blocks_of_rows(elements):
    """(rows, depth), whole panels and blocks -> panels of A, index by index."""
    rows, depth = elements.shape
    panels = np.empty(elements.size, np.uint32)
    for r, k in np.ndindex(rows, depth):
        height, block = r // TILE_ROWS, k // BLOCK
        place = (height * (depth // BLOCK) + block) * TILE_ROWS * BLOCK
        panels[place + r % TILE_ROWS * BLOCK + k % BLOCK] = elements[r, k]
    return panels


def in_order(a, b, c):
    """c + a b in float32, as the unit adds up: a block's first halves, its second ones, and both to c."""
    for first in range(0, a.shape[1], 2 * BLOCK):
        sums = [np.zeros_like(c), np.zeros_like(c)]
        for k in range(first, min(first + 2 * BLOCK, a.shape[1])):
            sums[k % 2] = sums[k % 2] + a[:, k, None] * b[k]  # the product of two bfloat16 numbers is exact in float32
        c = c + (sums[0] + sums[1])
    return c


class Sample:
    """A tile's operands somewhere in longer arrays whose other elements are NaN."""

    def __init__(self, depth, heights, seed=0):
        rng = np.random.default_rng(seed)
        self.rows = heights * TILE_ROWS
        self.depth, self.ldc, self.a_at, self.b_at, self.c_at = depth, TILE_COLUMNS + 5, 3, 11, 7
        self.a = round_bf16(rng.standard_normal((self.rows, 2 * depth)).astype(np.float32))
        self.b = round_bf16(rng.standard_normal((2 * depth, TILE_COLUMNS)).astype(np.float32))
        self.c = np.full(self.c_at + self.rows * self.ldc + 3, np.nan, np.float32)
        self.inside = (self.c_at + np.arange(self.rows)[:, None] * self.ldc + np.arange(TILE_COLUMNS)).ravel()
        self.c[self.inside] = rng.standard_normal(len(self.inside))

    def start(self, more):
        return self.c[self.inside].reshape(self.rows, -1) * np.float32(more)

    def run(self, tile, more):
        """The tile's values after one call; nothing else may be written."""
        panels = blocks_of_rows(pairs(self.a)), pairs(np.ascontiguousarray(self.b.T)).T.ravel()
        poison = np.full(64, 0x7FC07FC0, np.uint32)
        a, b = (
            np.concatenate([poison[:at], panel, poison])
            for at, panel in zip((self.a_at, self.b_at), panels, strict=True)
        )
        c = self.c.copy()
        tile(a, self.a_at, b, self.b_at, c, self.c_at, self.ldc, self.depth, more, self.rows)
        outside = np.ones(len(c), bool)
        outside[self.inside] = False
        assert np.isnan(c[outside]).all(), "written outside"
        return c[self.inside].reshape(self.rows, -1)


@NEEDS_UNIT
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("more", [False, True])
@HEIGHTS
def test_the_tile_adds_up_in_its_order_to_the_bit(heights, depth, more):
    sample = Sample(depth, heights, seed=depth)
    np.testing.assert_array_equal(sample.run(run_tile, more), in_order(sample.a, sample.b, sample.start(more)))


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("more", [False, True])
@HEIGHTS
def test_its_twin_in_numpy(heights, depth, more):
    sample = Sample(depth, heights, seed=depth)
    exact = sample.a.astype(np.float64) @ sample.b + sample.start(more)
    bound = (2 * depth + 2) * np.finfo(np.float32).eps * (np.abs(sample.a) @ np.abs(sample.b) + 1)
    assert (np.abs(sample.run(tiles.tile_in_numpy, more) - exact) <= bound).all()


@pytest.mark.parametrize("fault", ["front to back", "rounded", "outside"])
def test_another_order_and_wrong_tiles_are_found(fault):
    """That the checks above can fail."""
    sample = Sample(2 * BLOCK, 2)
    expected = in_order(sample.a, sample.b, sample.start(True))

    def wrong(a, a_at, b, b_at, c, c_at, ldc, depth, more, rows):
        tiles.tile_in_numpy(a, a_at, b, b_at, c, c_at, ldc, depth, more, rows)
        if fault == "outside":
            c[c_at + TILE_COLUMNS] = 0

    def check():
        found = sample.run(wrong, True)
        if fault == "front to back":
            found = sample.start(True)
            for k in range(sample.a.shape[1]):
                found = found + sample.a[:, k, None] * sample.b[k]
        np.testing.assert_array_equal(found, expected + (fault == "rounded") * np.float32(1e-5))

    with pytest.raises(AssertionError):
        check()


@NEEDS_UNIT
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_pass(poison):
    sample = Sample(2 * BLOCK, 1)
    sample.a[1, 5] = poison
    found = sample.run(run_tile, False)
    assert not np.isfinite(found[1]).any()
    assert np.isfinite(np.delete(found, 1, axis=0)).all()


@given(
    rows=st.integers(1, 3 * TILE_ROWS), depth=st.integers(1, 100), k0=st.integers(0, 9).map(lambda k: 2 * k),
    transposed=st.booleans(),
)  # fmt: skip
def test_blocks(rows, depth, k0, transposed):
    """From rows and from columns alike; what rows and numbers do not fill is zero, nothing lies behind."""
    matrix = np.random.default_rng(0).standard_normal((rows, k0 + depth)).astype(np.float32)
    source, stride = (np.ascontiguousarray(matrix.T), rows) if transposed else (matrix, k0 + depth)
    size, whole = -(-depth // (2 * BLOCK)) * BLOCK, -(-rows // TILE_ROWS) * TILE_ROWS
    panels = np.full(whole * size + 8, 7, np.uint32)
    pack_blocks(source.ravel(), transposed, 0, stride, rows, k0, k0 + depth, panels)
    assert (panels[whole * size :] == 7).all()
    expected = np.zeros((whole, 2 * size), np.float32)
    expected[:rows, :depth] = round_bf16(matrix[:, k0:])
    np.testing.assert_array_equal(panels[: whole * size], blocks_of_rows(pairs(expected)))
    np.testing.assert_array_equal(rows_of_blocks(panels[: whole * size], size), pairs(expected))


@HEIGHTS
def test_the_loop_is_loads_and_products_alone(heights):
    """Compiled for a processor that has the unit, on any machine."""
    triple, i64 = "x86_64-unknown-linux-gnu", ir.IntType(64)
    module = ir.Module()
    module.triple = triple
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [i64] * 5 + [ir.IntType(1)]), "tile")
    builder = ir.IRBuilder(function.append_basic_block())
    unit = matrix_unit._Unit(builder)
    unit.configure()
    unit.tile(*function.args, heights)
    unit.call("tilerelease")
    builder.ret_void()
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple(triple)
    except RuntimeError as error:
        pytest.skip(f"this LLVM cannot compile for it: {error}")
    code = target.create_target_machine(cpu="sapphirerapids", opt=3).emit_assembly(binding.parse_assembly(str(module)))
    names = re.findall(r"^\s+(tile\w+|tdp\w+|ldtilecfg|call)", code, re.MULTILINE)
    counts = {name: names.count(name) for name in set(names)}
    assert counts == {
        "ldtilecfg": 1, "tileloadd": 2 + 3 * heights, "tilezero": 2 * heights, "tdpbf16ps": 2 * heights,
        "tilestored": 2 * heights, "tilerelease": 1,
    }  # fmt: skip
    (body,) = loops(code)
    found = [line.split()[0] for line in body if line.startswith("t")]
    assert found == 2 * ["tileloadd"] + heights * ["tileloadd", "tdpbf16ps", "tdpbf16ps"]
    assert not any("(%rsp" in line for line in body)
