"""The tile of every height and element type against its NumPy twin, against float64, and against wrong tiles.

`test_processors.py` runs this file for other processors too.
"""

import numpy as np
import pytest

from kernels.cpu import tiles
from kernels.cpu.tiles import COLUMNS, COLUMNS_64, ROWS
from kernels.reference.precision import round_bf16

KINDS = ["float32", "float64", "bfloat16"]
DEPTHS = [1, 2, 7, 64]


def pairs(numbers):
    """(depth, 2, .) float32 that bfloat16 holds -> (depth, .) uint32, the first of a pair in the low half."""
    halves = numbers.view(np.uint32) >> np.uint32(16)
    return halves[:, 0] | halves[:, 1] << np.uint32(16)


class Sample:
    """Panels and a result somewhere in longer arrays whose other elements are NaN."""

    def __init__(self, kind, rows, depth, seed=0):
        rng = np.random.default_rng(seed)
        self.rows, self.depth = rows, depth
        self.columns = COLUMNS_64 if kind == "float64" else COLUMNS
        self.dtype = np.dtype(np.float64 if kind == "float64" else np.float32)
        halves = (2,) if kind == "bfloat16" else ()
        self.a, self.b = (
            rng.standard_normal((depth, *halves, width)).astype(self.dtype) for width in (rows, self.columns)
        )
        if kind == "bfloat16":
            self.a, self.b = round_bf16(self.a), round_bf16(self.b)
        self.pack = pairs if kind == "bfloat16" else lambda numbers: numbers
        self.ldc, self.a_at, self.b_at, self.c_at = self.columns + 5, 3, 11, 7
        self.c = np.full(self.c_at + rows * self.ldc + 3, np.nan, self.dtype)
        self.inside = (self.c_at + np.arange(rows)[:, None] * self.ldc + np.arange(self.columns)).ravel()
        self.c[self.inside] = rng.standard_normal(len(self.inside))

    def run(self, tile, more):
        """c (flat) after one call of a tile."""
        a, b = (
            np.concatenate([np.full(at, 0x7FC07FC0, np.uint32).view(panel.dtype), panel.ravel(), panel[-1]])
            if panel.dtype != np.float64
            else np.concatenate([np.full(at, np.nan), panel.ravel(), panel[-1]])
            for at, panel in ((self.a_at, self.pack(self.a)), (self.b_at, self.pack(self.b)))
        )
        c = self.c.copy()
        tile(a, self.a_at, b, self.b_at, c, self.c_at, self.ldc, self.depth, more, self.rows)
        return c

    def truth(self, more):
        """The tile in float64, and the error that so many float32 (or float64) sums may have."""
        a, b = (panel.astype(np.float64).reshape(-1, panel.shape[-1]) for panel in (self.a, self.b))
        start = self.c[self.inside].reshape(self.rows, -1).astype(np.float64) if more else 0
        # Each sum is rounded at most once a product and once more: Higham, "Accuracy and Stability of Numerical
        # Algorithms", 2nd ed., eq. 3.5; without fused multiply-adds each product is rounded too.
        bound = (len(a) + 2) * np.finfo(self.dtype).eps * (np.abs(a).T @ np.abs(b) + np.abs(start))
        return a.T @ b + start, bound

    def check(self, tile):
        for more in (False, True):
            c = self.run(tile, more)
            outside = np.ones(len(c), bool)
            outside[self.inside] = False
            assert np.isnan(c[outside]).all(), "written outside"
            expected, bound = self.truth(more)
            assert (np.abs(c[self.inside].reshape(expected.shape) - expected) <= bound).all(), "wrong sums"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", range(1, ROWS + 1))
def test_every_tile(kind, rows):
    for depth in DEPTHS:
        sample = Sample(kind, rows, depth, seed=depth)
        sample.check(tiles.tile)
        sample.check(tiles.tile_in_numpy)
        for more in (False, True):
            expected, bound = sample.run(tiles.tile_in_numpy, more)[sample.inside], sample.truth(more)[1].ravel()
            assert (np.abs(sample.run(tiles.tile, more)[sample.inside] - expected) <= bound).all()


def last_k_missing(a, a_at, b, b_at, c, c_at, ldc, depth, more, rows):
    tiles.tile_in_numpy(a, a_at, b, b_at, c, c_at, ldc, depth - 1, more, rows)


def always_more(a, a_at, b, b_at, c, c_at, ldc, depth, more, rows):
    tiles.tile_in_numpy(a, a_at, b, b_at, c, c_at, ldc, depth, True, rows)


def never_more(a, a_at, b, b_at, c, c_at, ldc, depth, more, rows):
    tiles.tile_in_numpy(a, a_at, b, b_at, c, c_at, ldc, depth, False, rows)


def shifted_panel(a, a_at, b, b_at, c, c_at, ldc, depth, more, rows):
    tiles.tile_in_numpy(a, a_at + 1, b, b_at, c, c_at, ldc, depth, more, rows)


def shifted_result(a, a_at, b, b_at, c, c_at, ldc, depth, more, rows):
    tiles.tile_in_numpy(a, a_at, b, b_at, c, c_at + 1, ldc, depth, more, rows)


def one_row_too_many(a, a_at, b, b_at, c, c_at, ldc, depth, more, rows):
    tiles.tile_in_numpy(a, a_at, b, b_at, c, c_at, ldc, depth, more, rows)
    c[c_at + rows * ldc] = 0


def rounded_sums(a, a_at, b, b_at, c, c_at, ldc, depth, more, rows):
    tiles.tile_in_numpy(a, a_at, b, b_at, c, c_at, ldc, depth, more, rows)
    c *= 1 + 300 * np.finfo(c.dtype).eps


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "wrong",
    [last_k_missing, always_more, never_more, shifted_panel, shifted_result, one_row_too_many, rounded_sums],
)
def test_a_wrong_tile_is_caught(kind, wrong):
    with pytest.raises(AssertionError, match=r"wrong sums|written outside"):
        Sample(kind, ROWS, 7).check(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_has_the_same_bits_in_tiles_of_any_height(kind):
    tall = Sample(kind, ROWS, 64)
    expected = tall.run(tiles.tile, True)[tall.inside].reshape(ROWS, -1)
    for rows in range(1, ROWS):
        flat = Sample(kind, rows, 64)
        flat.a, flat.b = np.ascontiguousarray(tall.a[..., -rows:]), tall.b
        flat.c[flat.inside] = tall.c[tall.inside].reshape(ROWS, -1)[-rows:].ravel()
        found = flat.run(tiles.tile, True)[flat.inside].reshape(rows, -1)
        np.testing.assert_array_equal(found, expected[-rows:])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_pass(kind, poison):
    sample = Sample(kind, ROWS, 7)
    sample.a[5, ..., 1] = poison
    with np.errstate(invalid="ignore"):
        c = sample.run(tiles.tile, False)[sample.inside].reshape(ROWS, -1)
        expected = sample.truth(False)[0]
    assert not np.isfinite(c[1]).any()
    assert np.isfinite(np.delete(c, 1, axis=0)).all()
    np.testing.assert_array_equal(c[1], expected[1])  # signs of infinities included
    sample = Sample(kind, ROWS, 7)
    sample.c[sample.inside[3]] = poison
    c = sample.run(tiles.tile, True)[sample.inside]
    np.testing.assert_array_equal(c[3], poison)
    assert np.isfinite(np.delete(c, 3)).all()
