"""Vectors of sentences in a plane: the two directions in which they differ most (principal components), as in figure 2
of Sutskever et al., "Sequence to sequence learning with neural networks" (2014)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seq2seq.plots.drawing import colour, new_figure
from seq2seq.run.errors import UserError

_LONGEST = 48  # characters of a label


def components(vectors: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The first principal components: places (N, count) of vectors (N, D), and the share (count,) of all variance.

    The sign of each is such that its largest weight is positive. UserError for fewer than two vectors.
    """
    if len(vectors) < 2:
        raise UserError(f"vectors: there are {len(vectors)}; expected two sentences or more")
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:count]
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])
    signs[signs == 0] = 1
    places = np.zeros((len(vectors), count))
    places[:, : len(directions)] = centred @ (directions * signs[:, None]).T
    shares = np.zeros(count)
    total = float((singular**2).sum())
    shares[: len(directions)] = singular[:count] ** 2 / total if total > 0 else 0.0
    return places, shares


def plane(vectors: np.ndarray, labels: Sequence[str]) -> Any:
    """A figure of vectors (N, D), each with its sentence beside it."""
    places, shares = components(vectors)
    figure, (axis,) = new_figure(1, 1, 9.0, 6.5)
    axis.scatter(places[:, 0], places[:, 1], s=14, color=colour(0))
    for (x, y), label in zip(places, labels, strict=True):
        text = label if len(label) <= _LONGEST else f"{label[: _LONGEST - 3]}..."
        axis.annotate(text.replace("$", r"\$"), (x, y), xytext=(4, 3), textcoords="offset points", fontsize=7)
    axis.set_xlabel(f"first component, {shares[0]:.0%} of the variance")
    axis.set_ylabel(f"second component, {shares[1]:.0%}")
    axis.margins(0.15)
    axis.grid(alpha=0.3)
    return figure
