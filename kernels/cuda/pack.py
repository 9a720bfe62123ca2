"""Packs the recurrent matrix weight_hh (4H, H), gates in blocks i f g o, into the order of the kernels' registers.

A tensor-core instruction multiplies a 16 x 16 tile of the weights; lane l of a warp holds eight of its elements in four
32-bit registers, two bf16 each, the lower half first:

    register r, half e  ->  tile row  l // 4 + 8 * (r % 2),   tile column  (l % 4) * 2 + 8 * (r // 2) + e

Each packed array ends in [k tile][lane][register] and starts with the block and the warp, so that a warp reads its
weights as consecutive vectors of 16 bytes, 512 bytes per instruction. What a tile row and column stand for:

    forward   [H/32 slice][4 mw][2 kw][2 m][H/32 k][32][4]   row: gate 2m + r % 2 of unit 32 slice + 8 mw + l // 4
                                                             column: kw H/2 + 16 k + tile column
    wide      [H/16 slice][2 mw][4 kw][2 m][H/64 k][32][4]   row: gate 2m + r % 2 of unit 16 slice + 8 mw + l // 4
                                                             column: kw H/4 + 16 k + tile column
    backward  [H/32 slice][8 warp][2 m][H/32 k][32][4]       row: unit 32 slice + 16 m + tile row, a column of W_hh
                                                             column: warp H/2 + 16 k + tile column: a row of it

The forward orders put i and f of a unit into rows x and x + 8 of one tile, g and o into the next: the thread that gets
those rows of the product finishes the unit without talking to another lane.

Source of the layout: NVIDIA, "Parallel Thread Execution ISA", version 9.0, fragments of mma.m16n8k16.
"""

import numpy as np

LANE = np.arange(32)[:, None, None]
REGISTER = np.arange(4)[None, :, None]
HALF = np.arange(2)[None, None, :]
TILE_ROW = LANE // 4 + 8 * (REGISTER % 2) + 0 * HALF
TILE_COLUMN = LANE % 4 * 2 + 8 * (REGISTER // 2) + HALF


def bf16_bits(x: np.ndarray) -> np.ndarray:
    """float32 -> bf16 as uint16, to nearest even; every NaN becomes 0x7FFF, as on the GPU."""
    x = np.ascontiguousarray(x, np.float32)
    bits = x.view(np.uint32)
    rounded = ((bits + (0x7FFF + (bits >> 16 & 1)).astype(np.uint32)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FFF), rounded)


def bf16_values(bits: np.ndarray) -> np.ndarray:
    """bf16 as uint16 -> float32, exactly."""
    return (np.asarray(bits, np.uint16).astype(np.uint32) << 16).view(np.float32)


def pack_tile(tile: np.ndarray) -> np.ndarray:
    """(16, 16) float32 -> (32, 4) uint32, one tile in register order."""
    return _gather(tile, TILE_ROW, TILE_COLUMN)


def pack_forward(weight_hh: np.ndarray) -> np.ndarray:
    """weight_hh (4H, H) float32, H a multiple of 64 -> (H/32, 4, 2, 2, H/32, 32, 4) uint32 for lstm_forward."""
    return _pack_gates(weight_hh, units=32, k_warps=2)


def pack_forward_wide(weight_hh: np.ndarray) -> np.ndarray:
    """weight_hh (4H, H) float32, H a multiple of 64 -> (H/16, 2, 4, 2, H/64, 32, 4) uint32 for lstm_forward_wide."""
    return _pack_gates(weight_hh, units=16, k_warps=4)


def pack_backward(weight_hh: np.ndarray) -> np.ndarray:
    """weight_hh (4H, H) float32, H a multiple of 64 -> (H/32, 8, 2, H/32, 32, 4) uint32 for lstm_backward."""
    H = weight_hh.shape[1]
    block, warp, m, k = _axes(H // 32, 8, 2, H // 32)
    unit = block * 32 + m * 16 + TILE_ROW
    row_of_w = warp * (H // 2) + k * 16 + TILE_COLUMN
    return _gather(weight_hh, *np.broadcast_arrays(row_of_w, unit))


def pad_hidden(weight_hh: np.ndarray, to: int) -> np.ndarray:
    """(4H, H) -> (4 to, to) with zero rows and columns: padded units keep h = c = 0 where input_part is 0 there."""
    H = weight_hh.shape[1]
    padded = np.zeros((4, to, to), weight_hh.dtype)
    padded[:, :H, :H] = weight_hh.reshape(4, H, H)
    return padded.reshape(4 * to, to)


def _pack_gates(weight_hh: np.ndarray, units: int, k_warps: int) -> np.ndarray:
    """The forward orders, for blocks of `units` units whose K is split over `k_warps` warps."""
    H = weight_hh.shape[1]
    block, mw, kw, m, k = _axes(H // units, units // 8, k_warps, 2, H // k_warps // 16)
    unit = block * units + mw * 8 + LANE // 4
    gate = m * 2 + REGISTER % 2
    rows = gate * H + unit
    columns = kw * (H // k_warps) + k * 16 + TILE_COLUMN
    return _gather(weight_hh, *np.broadcast_arrays(rows, columns))


def _gather(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """bf16 elements (..., lane, register, half) -> little-endian 32-bit words (..., lane, register)."""
    return np.ascontiguousarray(bf16_bits(matrix)[rows, columns]).view("<u4")[..., 0]


def _axes(*lengths: int) -> tuple[np.ndarray, ...]:
    """Indices along the leading axes, each followed by the three axes of a tile's registers."""
    return np.ogrid[tuple(slice(length) for length in (*lengths, 1, 1, 1))][: len(lengths)]
