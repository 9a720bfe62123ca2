"""Small drawings as SVG: bars, lines, maps of weights, and what a beam went through."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from seq2seq.pages.html import Markup, tag

LETTER = 7  # pixels that a letter takes at most, on average
COLOURS = ("#0b6e4f", "#c8553d", "#3d5a80", "#f28f3b", "#8d5a97")


def drawing(width: float, height: float, *parts: object) -> Markup:
    """An SVG of a size in pixels, to be scrolled where that is more than the window has."""
    box = f"0 0 {width:g} {height:g}"
    shown = tag("svg", *parts, viewBox=box, width=f"{width:g}", height=f"{height:g}", role="img")
    return tag("div", shown, class_="drawing", tabindex=0)


def text(x: float, y: float, content: object, anchor: str = "start", turn: float = 0) -> Markup:
    """A text; ``turn`` is in degrees, counter-clockwise."""
    return tag(
        "text", content, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor,
        transform=f"rotate({-turn:g} {x:.1f} {y:.1f})" if turn else None,
    )  # fmt: skip


def bars(labels: Sequence[str], series: Mapping[str, Sequence[float]], unit: str = "") -> Markup:
    """Groups of bars from 0; a value that is no number has none."""
    values = [value for one in series.values() for value in one if math.isfinite(value)]
    most, left, height = max([*values, 1e-9]), 40, 140
    thick = max(10.0, min(26.0, 320 / max(len(labels) * len(series), 1)))
    group = thick * len(series) + 22
    parts, legend = [], float(left)
    for number, (name, one) in enumerate(series.items()):
        parts.append(tag("rect", x=f"{legend:g}", y=4, width=10, height=10, fill=COLOURS[number % 5]))
        parts.append(text(legend + 15, 13, name))
        legend += 35 + LETTER * len(name)
        for place, value in enumerate(one):
            if math.isfinite(value):
                x, tall = left + place * group + number * thick, height * value / most
                bar = {"x": f"{x:.1f}", "y": f"{30 + height - tall:.1f}", "width": f"{thick - 2:.1f}"}
                parts.append(tag("rect", **bar, height=f"{tall:.1f}", fill=COLOURS[number % 5]))
                parts.append(text(x + thick / 2 - 1, 27 + height - tall, f"{value:.0f}", "middle"))
    for place, label in enumerate(labels):
        parts.append(text(left + place * group + thick * len(series) / 2, 44 + height, label, "middle"))
    parts.append(text(left - 6, 30 + height, f"0 {unit}", "end"))
    return drawing(max(left + group * max(len(labels), 1) + 20, legend), height + 54, *parts)


def histogram(values: Sequence[int], title: str) -> Markup:
    """A narrow bar for each value, from 0, which shows when it is pointed at."""
    width, height, most = 320, 120, max([1, *values])
    thick = width / max(1, len(values))
    parts: list[object] = []
    for number, value in enumerate(values):
        tall = height * value / most
        parts.append(tag(
            "rect", tag("title", f"{value:,}"), x=f"{number * thick:.1f}", y=f"{height - tall:.1f}",
            width=f"{thick - 2:.1f}", height=f"{tall:.1f}", fill=COLOURS[0],
        ))  # fmt: skip
    return drawing(width, height + 24, *parts, text(0, height + 18, title))


def heat_map(rows: Sequence[str], columns: Sequence[str], weights: np.ndarray) -> Markup:
    """Weights from 0 to 1, (rows, columns): the darker, the more."""
    cell, left, top = 20, 12 + 7 * max(map(len, rows), default=1), 16 + 6 * max(map(len, columns), default=1)
    parts: list[object] = []
    for place, column in enumerate(columns):
        parts.append(text(left + place * cell + 13, top - 5, column, turn=60))
    for number, row in enumerate(rows):
        parts.append(text(left - 6, top + number * cell + 14, row, "end"))
        for place, weight in enumerate(weights[number]):
            shade = tag("title", f"{row} - {columns[place]}: {weight:.2f}")
            parts.append(tag(
                "rect", shade, x=left + place * cell, y=top + number * cell, width=cell - 1, height=cell - 1,
                fill="#1f3a5f", fill_opacity=f"{float(np.clip(weight, 0, 1)):.3f}", stroke="#e4e4e4",
            ))  # fmt: skip
    return drawing(left + cell * len(columns) + top, top + cell * len(rows) + 8, *parts)


def lines(labels: Sequence[str], series: Mapping[str, Sequence[float]], low: float = 0.0, high: float = 1.0) -> Markup:
    """Lines over labelled places, from ``low`` to ``high``."""
    step, left, height = 44, 40, 110

    def at(place: int, value: float) -> tuple[float, float]:
        return left + 20 + place * step, 24 + height * (1 - (min(max(value, low), high) - low) / (high - low))

    parts: list[object] = []
    for value in (low, (low + high) / 2, high):
        y = at(0, value)[1]
        parts.append(tag("line", x1=left, y1=f"{y:.1f}", x2=left + step * len(labels), y2=f"{y:.1f}", stroke="#e4e4e4"))
        parts.append(text(left - 6, y + 4, f"{value:g}", "end"))
    for number, (name, one) in enumerate(series.items()):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(place, value) for place, value in enumerate(one)))
        parts.append(tag("polyline", points=points, fill="none", stroke=COLOURS[number % 5], stroke_width=2))
        parts.append(tag("rect", x=left + 110 * number, y=2, width=10, height=10, fill=COLOURS[number % 5]))
        parts.append(text(left + 15 + 110 * number, 11, name))
    for place, label in enumerate(labels):
        parts.append(text(at(place, low)[0], 24 + height + 16, label, "end", turn=40))
    bottom = 24 + height + 24 + 5 * max(map(len, labels), default=1)
    return drawing(left + step * len(labels) + 30, bottom, *parts)
