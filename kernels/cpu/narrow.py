"""Narrow panels: a right-hand side B in int8, with a float32 scale for each of its columns, or in float16.

They are for weights that are read often and change never: a half or a quarter of the memory of float32, and of the time
where that is what counts. What they are multiplied with stays float32, and so do the sums (`kernels.cpu.tiles`).

    float16: [block of k][panel][k][COLUMNS], the bits as uint16; as those of float32
    int8:    cut, then [block of k][panel][scales, k][COLUMNS]

A column of B is a row of a weight, and weights that lie beside each other in one product have scales of their own. So
an int8 B is cut along k where its second part begins (`cut`, an int32 before all else), a block of k ends there too,
and the scales of a block's columns lie before the numbers of each panel.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from kernels.cpu.jit import jit
from kernels.cpu.panels import of_dtype, panel_columns, scale_rows
from kernels.forms import int8_rows

CUT = np.dtype(np.int32)
STORED: dict[str, Any] = {"int8": np.int8, "f16": np.uint16}  # by form
PART = 1 << 18  # numbers that a task packs


@of_dtype
def panels_begin(panels: Any) -> int:
    """Where the panels begin, behind `cut`."""
    return CUT.itemsize if panels.dtype == np.int8 else 0


@jit
def cut_of(panels: Any, depth: int) -> int:
    """Where along k a block has to end: `cut`, or the end, where it has to anyway."""
    return panels[: panels_begin(panels)].view(np.int32)[0] if panels_begin(panels) else depth


def narrow_panels(rows: np.ndarray, form: str, cut: int, longest: int) -> tuple[np.ndarray, list[Callable[[], None]]]:
    """The panels of B, the transpose of rows (N, K) float32, and the tasks that fill them.

    Args:
        form: "int8" or "f16"; of f16 what float16 cannot hold becomes infinite.
        cut: the first k of a second part of int8, with scales of its own; 0 for none.
        longest: most numbers along k of a block.
    """
    (columns, depth), dtype = rows.shape, STORED[form]
    if rows.size == 0:
        return np.empty(0, dtype), []
    none = np.empty(0, dtype)
    width, head, start = panel_columns(none), scale_rows(none), panels_begin(none)
    cut = cut if start and 0 < cut < depth else depth
    parts, count = ((0, cut), (cut, depth)), -(-columns // width)
    blocks = [(k, min(k + longest, end)) for begin, end in parts for k in range(begin, end, longest)]
    panels = np.empty(start + sum(k1 - k0 + head for k0, k1 in blocks) * count * width, dtype)
    panels[:start].view(CUT)[:] = cut
    tasks: list[Callable[[], None]] = []
    for k0, k1 in blocks:
        size = (k1 - k0 + head) * count * width
        block = panels[start : start + size].reshape(count, -1, width)
        start += size
        step = max(1, PART // (width * (k1 - k0)))
        tasks += [
            partial(_fill, rows[first * width :], (k0, k1), parts[k0 >= parts[0][1]], block[first : first + step])
            for first in range(0, count, step)
        ]
    return panels, tasks


def _fill(rows: np.ndarray, block: tuple[int, int], part: tuple[int, int], panels: np.ndarray) -> None:
    """Panels (., head + k, width) of a block of k, from the first rows (., K); the last panel may have fewer.

    Args:
        block, part: from where to where along k, and of what the scales are.
    """
    count, _, width = panels.shape
    head, some = scale_rows(panels), rows[: count * width]
    filled = np.zeros((count * width, block[1] - block[0]), panels.dtype)
    if head:
        q, scale = int8_rows(some[:, slice(*part)])
        filled[: len(q)] = q[:, block[0] - part[0] : block[1] - part[0]]
        scales = np.zeros(count * width, np.float32)
        scales[: len(scale)] = scale
        panels[:, :head] = scales.view(np.int8).reshape(count, head, width)
    else:
        with np.errstate(over="ignore"):
            filled[: len(some)] = some[:, slice(*block)].astype(np.float16).view(np.uint16)
    panels[:, head:] = filled.reshape(count, width, -1).transpose(0, 2, 1)
