"""Packing into panels: the layout against an oracle of one line per index, and the rounding to bfloat16, every pattern.

`test_processors.py` runs this file for other processors too.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.cpu.gemm import prepack
from kernels.cpu.panels import pack_narrow, pack_rows, panel_depth, panel_rows, per_element, to_bf16
from kernels.cpu.product import DEPTH
from kernels.cpu.tiles import COLUMNS, COLUMNS_64, ROWS
from kernels.reference.precision import round_bf16

KINDS = pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16"])
EDGES = np.array([
    0x00000000, 0x80000000,  # zeros
    0x00000001, 0x00007FFF, 0x00008000, 0x00008001, 0x00018000, 0x007FFFFF, 0x80008001,  # denormals, ties among them
    0x3F800000, 0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0xBF808000, 0xBF818000,  # about 1: ties to even
    0x7F7F7FFF, 0x7F7F8000, 0x7F7FFFFF, 0xFF7FFFFF,  # the last number below infinity, and those that round to it
    0x7F800000, 0xFF800000,  # infinities
    0x7FC00000, 0x7F800001, 0x7F80FFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFF800001, 0xFFC12345,  # NaNs
], np.uint32)  # fmt: skip


def nearest_bf16(x):
    """Rounding from its definition: the closer neighbour, at a tie the one whose last bit is 0."""
    down = x.view(np.uint32) & np.uint32(0xFFFF0000)
    up = down + np.uint32(0x10000)
    with np.errstate(invalid="ignore", over="ignore"):
        low, high, exact = (bits.view(np.float32).astype(np.float64) for bits in (down, up, x.view(np.uint32)))
        high = np.where(np.isinf(high), np.sign(high) * 2.0**128, high)  # where infinity would be, were it a number
        to_low, to_high = np.abs(exact - low), np.abs(high - exact)
    odd = (down >> np.uint32(16) & np.uint32(1)).astype(bool)
    rounded = np.where((to_high < to_low) | ((to_high == to_low) & odd), up, down).view(np.float32)
    return np.where(np.isfinite(x), rounded, x)


def assert_same_numbers(found, expected):
    """Bit by bit, but any NaN for a NaN."""
    is_nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), is_nan)
    np.testing.assert_array_equal(found[~is_nan].view(np.uint32), expected[~is_nan].view(np.uint32))


def unpack_pairs(elements):
    """uint32 -> the two float32 of each, along a new last axis."""
    return np.stack([elements << np.uint32(16), elements & np.uint32(0xFFFF0000)], -1).view(np.float32)


def all_patterns():
    """Every upper half of a float32 with the lower halves about which rounding turns: 2^16 x 8 numbers."""
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xC000, 0xFFFF, 0x1234], np.uint32)
    return (np.arange(1 << 16, dtype=np.uint32)[:, None] << np.uint32(16) | lower).view(np.float32)


def test_rounding_of_the_reference():
    numbers = np.concatenate([all_patterns().ravel(), EDGES.view(np.float32)])
    assert_same_numbers(round_bf16(numbers), nearest_bf16(numbers))


def test_scalar_rounding():
    numbers = EDGES.view(np.float32)
    found = np.array([to_bf16(number) for number in numbers], np.uint32) << np.uint32(16)
    assert_same_numbers(found.view(np.float32), round_bf16(numbers))


def test_rounding_while_packing():
    """Along k and across it, in vectors and in single elements."""
    for numbers in (all_patterns()[:, :7], np.resize(EDGES.view(np.float32), (37, 41))):
        for transposed in (False, True):
            found = unpacked(prepack(np.ascontiguousarray(numbers), transposed, bf16=True))
            assert_same_numbers(found, round_bf16(numbers.T if transposed else numbers))


def test_truncation_instead_of_rounding_is_found():
    numbers = EDGES.view(np.float32)
    with pytest.raises(AssertionError):
        assert_same_numbers((EDGES & np.uint32(0xFFFF0000)).view(np.float32), nearest_bf16(numbers))


def unpacked(packed):
    """The matrix (K, N) that a Prepacked holds, read off its documented layout."""
    pair = per_element(packed.panels)
    width = COLUMNS_64 if packed.panels.dtype == np.float64 else COLUMNS
    panels = -(-packed.columns // width)
    blocks, at = [], 0
    for k0 in range(0, packed.depth, DEPTH):
        numbers = min(DEPTH, packed.depth - k0)
        size = panel_depth(packed.panels, numbers)
        block = packed.panels[at : at + panels * size * width].reshape(panels, size, width)
        at += block.size
        if pair == 2:
            halves = unpack_pairs(block).transpose(0, 1, 3, 2).reshape(panels, 2 * size, width)
            assert not halves[:, numbers:].any()  # the missing half of the last pair, and the rest of a block
            block = halves[:, :numbers]
        blocks.append(block.transpose(1, 0, 2).reshape(numbers, panels * width))
    assert at == packed.panels.size
    matrix = np.concatenate(blocks) if blocks else np.empty((0, panels * width), np.float32)
    assert not matrix[:, packed.columns :].any()  # filled up with zeros
    return matrix[:, : packed.columns]


def numbers_of(shape, kind, seed=0):
    numbers = np.random.default_rng(seed).standard_normal(shape)
    return numbers.astype(np.float64 if kind == "float64" else np.float32)


@KINDS
@given(
    depth=st.integers(0, 40) | st.integers(DEPTH - 2, DEPTH + 3) | st.integers(2 * DEPTH - 1, 2 * DEPTH + 70),
    columns=st.integers(0, 3 * COLUMNS + 1),
    transposed=st.booleans(),
)
def test_pack(kind, depth, columns, transposed):
    matrix = numbers_of((depth, columns), kind)
    source = np.ascontiguousarray(matrix.T) if transposed else matrix
    packed = prepack(source, transposed, bf16=kind == "bfloat16")
    assert (packed.depth, packed.columns) == (depth, columns)
    np.testing.assert_array_equal(unpacked(packed), round_bf16(matrix) if kind == "bfloat16" else matrix)


def test_float64_is_never_rounded():
    matrix = numbers_of((5, 9), "float64")
    assert prepack(matrix, False, bf16=True).panels.dtype == np.float64
    np.testing.assert_array_equal(unpacked(prepack(matrix, False, bf16=True)), matrix)


@KINDS
@given(rows=st.integers(1, ROWS), depth=st.integers(1, 40), k0=st.integers(0, 9).map(lambda k: 2 * k))
def test_narrow_panels(kind, rows, depth, k0):
    """A panel of A is as narrow as its rows, from rows and from columns alike; nothing is written behind it."""
    matrix = numbers_of((rows, k0 + depth), kind)
    by_k = np.ascontiguousarray(matrix.T)
    dtype = np.dtype(np.uint32) if kind == "bfloat16" else matrix.dtype
    if panel_rows(np.empty(0, dtype)) > ROWS:
        return  # a matrix unit has panels of its own
    pair = 2 if kind == "bfloat16" else 1
    size = -(-depth // pair) * rows
    first, second = np.zeros(size + 8, dtype), np.zeros(size + 8, dtype)
    pack_rows(matrix.ravel(), 0, k0 + depth, rows, k0, k0 + depth, first, 0, rows)
    pack_narrow(by_k.ravel(), 0, rows, rows, k0, k0 + depth, second)
    np.testing.assert_array_equal(first, second)
    assert not first[size:].any()
    panel = first[:size].reshape(-1, rows)
    if pair == 2:
        panel = unpack_pairs(panel).transpose(0, 2, 1).reshape(-1, rows)[:depth]
    expected = matrix[:, k0:].T
    np.testing.assert_array_equal(panel, round_bf16(expected) if pair == 2 else expected)
