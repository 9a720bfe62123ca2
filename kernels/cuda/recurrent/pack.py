"""Packs the recurrent matrix weight_hh (4H, H), gates in blocks i f g o, into the order of the kernels' registers.

A tensor-core instruction multiplies a tile of the weights, 16 rows of 32 bytes; lane l of a warp holds it in four
registers of 32 bits: two neighbours e = 0, 1 of a 16-bit type, the lower half first, or one float32 (e = 0).

    register r, element e  ->  tile row     l // 4 + 8 * (r % 2)
                               tile column  (l % 4) * 2 + 8 * (r // 2) + e      of 16: bf16
                                            l % 4 + 4 * (r // 2)                of 8: tf32

Each packed array ends in [k tile][lane][register] and starts with the block and the warp, so that a warp reads its
weights as consecutive vectors of 16 bytes, 512 bytes per instruction. With c the columns of a tile:

    forward   [H/32 slice][4 mw][2 kw][2 m][H/2c k][32][4]   row: gate 2m + r % 2 of unit 32 slice + 8 mw + l // 4
                                                             column: kw H/2 + c k + tile column
    wide      [H/16 slice][2 mw][4 kw][2 m][H/4c k][32][4]   row: gate 2m + r % 2 of unit 16 slice + 8 mw + l // 4
                                                             column: kw H/4 + c k + tile column
    backward  [H/32 slice][8 warp][2 m][H/2c k][32][4]       row: unit 32 slice + 16 m + tile row, a column of W_hh
                                                             column: warp H/2 + c k + tile column: a row of it
    backward  [H/128 out][H/U in][4 mw][2 kw][2 m]           row: unit 128 out + 32 mw + 4 (l // 4) + 2m + r % 2, a
    wide              [16 k][32][4], U = 8c                       column of W_hh
                                                             column: gate 2 kw + (c k + tile column) // U of unit
                                                                  U in + (c k + tile column) % U: a row of it

The forward orders put i and f of a unit into rows x and x + 8 of one tile, g and o into the next: the thread that gets
those rows of the product finishes the unit without talking to another lane.

An order is an array of flat indices into weight_hh, so that lstm_prepare.cu can follow it on the GPU.

Source of the layouts: NVIDIA, "Parallel Thread Execution ISA", version 9.0, fragments of mma.m16n8k16 and mma.m16n8k8.
"""

import numpy as np

TILE_COLUMNS = {"bf16": 16, "tf32": 8}


def bf16_bits(x: np.ndarray) -> np.ndarray:
    """float32 -> bf16 as uint16, to nearest even; every NaN becomes 0x7FFF, as on the GPU."""
    x = np.ascontiguousarray(x, np.float32)
    bits = x.view(np.uint32)
    rounded = ((bits + (0x7FFF + (bits >> 16 & 1)).astype(np.uint32)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FFF), rounded)


def bf16_values(bits: np.ndarray) -> np.ndarray:
    """bf16 as uint16 -> float32, exactly."""
    return (np.asarray(bits, np.uint16).astype(np.uint32) << 16).view(np.float32)


def tf32_values(x: np.ndarray) -> np.ndarray:
    """float32 -> the nearest with ten bits of mantissa, halves away from zero; every NaN becomes 0x7FFFFFFF."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = np.where(np.isinf(x), bits, (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000))
    return np.where(np.isnan(x), np.uint32(0x7FFFFFFF), rounded).view(np.float32)


def tile_order(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of a tile that lane l, register r, element e holds: two arrays that broadcast to (32, 4, E)."""
    lane, register = np.arange(32)[:, None, None], np.arange(4)[None, :, None]
    row, right = lane // 4 + 8 * (register % 2), register // 2
    if kind == "tf32":
        return row, lane % 4 + 4 * right
    return row, lane % 4 * 2 + 8 * right + np.arange(2)


def forward_order(H: int, kind: str = "bf16") -> np.ndarray:
    """H a multiple of 64 -> (H/32, 4, 2, 2, H/2c, 32, 4, E) int32 for lstm_forward."""
    return _gates_order(H, kind, units=32, k_warps=2)


def forward_wide_order(H: int, kind: str = "bf16") -> np.ndarray:
    """H a multiple of 64 -> (H/16, 2, 4, 2, H/4c, 32, 4, E) int32 for lstm_forward_wide."""
    return _gates_order(H, kind, units=16, k_warps=4)


def backward_order(H: int, kind: str = "bf16") -> np.ndarray:
    """H a multiple of 64 -> (H/32, 8, 2, H/2c, 32, 4, E) int32 for lstm_backward."""
    (tile_row, tile_column), c = tile_order(kind), TILE_COLUMNS[kind]
    block, warp, m, k = _axes(H // 32, 8, 2, H // 2 // c)
    unit = block * 32 + m * 16 + tile_row
    row_of_w = warp * (H // 2) + k * c + tile_column
    return (row_of_w * H + unit).astype(np.int32)


def backward_wide_order(H: int, kind: str = "bf16") -> np.ndarray:
    """H a multiple of 128 -> (H/128, H/8c, 4, 2, 2, 16, 32, 4, E) int32 for lstm_backward_wide."""
    (tile_row, tile_column), c = tile_order(kind), TILE_COLUMNS[kind]
    units = 8 * c
    out, block, mw, kw, m, k = _axes(H // 128, H // units, 4, 2, 2, 16)
    unit = out * 128 + mw * 32 + tile_row % 8 * 4 + m * 2 + tile_row // 8
    gate, of_slice = np.divmod(k * c + tile_column, units)
    row_of_w = (kw * 2 + gate) * H + block * units + of_slice
    return (row_of_w * H + unit).astype(np.int32)


def within(order: np.ndarray, padded: int, H: int) -> np.ndarray:
    """An order of `padded` units -> the same for weights (4H, H) of fewer: -1, which packs as 0, in the padding. Padded
    units keep h = c = 0 where input_part is 0 there.
    """
    row, column = np.divmod(order, padded)
    gate, unit = np.divmod(row, padded)
    return np.where((unit < H) & (column < H), (gate * H + unit) * H + column, -1).astype(np.int32)


def pack_weights(weight_hh: np.ndarray, order: np.ndarray, kind: str = "bf16") -> np.ndarray:
    """weight_hh (4H, H) float32, an order (..., 32, 4, E) for this kind -> (..., 32, 4) uint32, as lstm_prepare.cu.

    Rounded to bf16, two to a word, or to tf32.
    """
    values = np.where(order < 0, np.float32(0), np.ascontiguousarray(weight_hh, np.float32).reshape(-1)[order])
    rounded = {"bf16": bf16_bits, "tf32": tf32_values}[kind](values)
    return np.ascontiguousarray(rounded).view("<u4")[..., 0]


def _gates_order(H: int, kind: str, units: int, k_warps: int) -> np.ndarray:
    """The forward orders, for blocks of `units` units whose K is split over `k_warps` warps."""
    (tile_row, tile_column), c = tile_order(kind), TILE_COLUMNS[kind]
    block, mw, kw, m, k = _axes(H // units, units // 8, k_warps, 2, H // k_warps // c)
    unit = block * units + mw * 8 + tile_row % 8
    gate = m * 2 + tile_row // 8
    return ((gate * H + unit) * H + kw * (H // k_warps) + k * c + tile_column).astype(np.int32)


def _axes(*lengths: int) -> tuple[np.ndarray, ...]:
    """Indices along the leading axes, each followed by the three axes of a tile's registers."""
    return np.ogrid[tuple(slice(length) for length in (*lengths, 1, 1, 1))][: len(lengths)]
