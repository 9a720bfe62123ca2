"""Drawings as SVG text: small multiples with logarithmic axes for all that is varied, plain curves, bars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

WIDTH, HEIGHT, LEFT, TOP, GAP = 170, 150, 46, 46, 50
COLOURS = ("#0b6e4f", "#7cb518", "#c8553d", "#f28f3b", "#3d5a80", "#98a6b5")
LABELS = {"N": "batch size N", "H": "cells H", "T": "steps T", "V": "words V", "threads": "threads"}
NAMES = {"minigrad": "ours", "pytorch": "PyTorch", "jax": "JAX"}


def scaling(result: dict[str, Any]) -> str:
    """The SVG of benchmarks/results/scaling.json: microseconds per token over each swept quantity."""
    sweeps = result["sweeps"]
    series = list(dict.fromkeys(name for sweep in sweeps.values() for point in sweep for name in point["us"]))
    colours = dict(zip(series, COLOURS, strict=False))
    times = [us for sweep in sweeps.values() for point in sweep for us in point["us"].values()]
    bounds = 10 ** math.floor(math.log10(min(times))), 10 ** math.ceil(math.log10(max(times)))
    width = LEFT + len(sweeps) * (WIDTH + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + HEIGHT + 44}" font-family="sans-serif" '
        f'font-size="11" fill="#333">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        *_legend(colours),
    ]
    for number, (name, sweep) in enumerate(sweeps.items()):
        parts += _panel(LEFT + number * (WIDTH + GAP), name, sweep, colours, bounds)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(colours: dict[str, str]) -> Iterable[str]:
    yield '<text x="8" y="16">training step, microseconds per token</text>'
    for number, (name, colour) in enumerate(colours.items()):
        x = 250 + 130 * number
        yield f'<line x1="{x}" y1="12" x2="{x + 18}" y2="12" stroke="{colour}" stroke-width="2"/>'
        yield f'<text x="{x + 23}" y="16">{label(name)}</text>'


def label(variant: str) -> str:
    """ "pytorch-bf16" -> "PyTorch bf16"."""
    framework, _, rest = variant.partition("-")
    return f"{NAMES.get(framework, framework)} {rest}".strip()


def _panel(
    left: float, name: str, sweep: Sequence[dict[str, Any]], colours: dict[str, str], bounds: tuple[float, float]
) -> Iterable[str]:
    values = [point["value"] for point in sweep]
    ends = min(values), max(max(values), min(values) * 2)

    def across(value: float) -> float:
        return round(left + WIDTH * math.log(value / ends[0]) / math.log(ends[1] / ends[0]), 1)

    def down(us: float) -> float:
        return round(TOP + HEIGHT * (1 - math.log(us / bounds[0]) / math.log(bounds[1] / bounds[0])), 1)

    yield f'<text x="{left + WIDTH / 2}" y="{TOP + HEIGHT + 34}" text-anchor="middle">{LABELS[name]}</text>'
    for decade in range(round(math.log10(bounds[0])), round(math.log10(bounds[1])) + 1):
        y = down(10.0**decade)
        yield f'<line x1="{left}" y1="{y}" x2="{left + WIDTH}" y2="{y}" stroke="#ddd"/>'
        yield f'<text x="{left - 4}" y="{y + 4}" text-anchor="end">{10.0**decade:g}</text>'
    for value in values:
        yield f'<text x="{across(value)}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{_short(value)}</text>'
    for variant, colour in colours.items():
        points = [(across(p["value"]), down(p["us"][variant])) for p in sweep if variant in p["us"]]
        path = " ".join(f"{x},{y}" for x, y in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield "".join(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>' for x, y in points)


def _short(value: int) -> str:
    return f"{value // 1000}k" if value >= 1000 and value % 1000 == 0 else str(value)


def curves(lines: dict[str, Sequence[tuple[float, float]]], across_text: str, title: str) -> str:
    """An SVG of lines of points (x, y) by name, both axes linear and from 0."""
    width, height, colours = 3 * WIDTH, 2 * HEIGHT, dict(zip(lines, COLOURS, strict=False))
    points = [point for line in lines.values() for point in line]
    most_x, most_y = (_round_up(max(point[axis] for point in points)) for axis in (0, 1))

    def place(x: float, y: float) -> tuple[float, float]:
        return round(LEFT + width * x / most_x, 1), round(TOP + height * (1 - y / most_y), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + width + GAP} {TOP + height + 44}" '
        'font-family="sans-serif" font-size="11" fill="#333">',
        '<rect width="100%" height="100%" fill="#fff"/>', f'<text x="8" y="16">{title}</text>',
        f'<text x="{LEFT + width / 2}" y="{TOP + height + 34}" text-anchor="middle">{across_text}</text>',
    ]  # fmt: skip
    for part in range(6):
        x, y = place(most_x * part / 5, most_y * part / 5)
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{LEFT + width}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{most_y * part / 5:g}</text>')
        parts.append(f'<text x="{x}" y="{TOP + height + 16}" text-anchor="middle">{most_x * part / 5:g}</text>')
    for number, (name, line) in enumerate(lines.items()):
        path = " ".join(",".join(map(str, place(*point))) for point in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colours[name]}" stroke-width="2"/>')
        parts.append(f'<text x="{LEFT + width - 6}" y="{TOP + height - 10 - 15 * number}" text-anchor="end" '
                     f'fill="{colours[name]}">{name}</text>')  # fmt: skip
    return "\n".join([*parts, "</svg>"]) + "\n"


def bars(rows: dict[str, tuple[float, float, float]], title: str) -> str:
    """An SVG of a bar for each ratio (median, low, high) by name, and a line where both are equal."""
    left, width, step = 180, 2.4 * WIDTH, 26
    most, bottom = _round_up(max(high for _, _, high in rows.values())), TOP + step * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + GAP:g} {bottom + 16}" '
        'font-family="sans-serif" font-size="11" fill="#333">',
        '<rect width="100%" height="100%" fill="#fff"/>', f'<text x="8" y="16">{title}</text>',
    ]  # fmt: skip
    for number, (name, (median, low, high)) in enumerate(rows.items()):
        y, length = TOP + step * number, width * median / most
        ends = [round(left + width * end / most, 1) for end in (low, high)]
        parts += [
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{name}</text>',
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="16" fill="{COLOURS[0 if median >= 1 else 2]}"/>',
            f'<line x1="{ends[0]}" y1="{y + 8}" x2="{ends[1]}" y2="{y + 8}" stroke="#333"/>',
            f'<text x="{ends[1] + 6}" y="{y + 12}">{median:.2f}</text>',
        ]
    equal = round(left + width / most, 1)
    parts.append(f'<line x1="{equal}" y1="{TOP - 8}" x2="{equal}" y2="{bottom}" stroke="#333" stroke-dasharray="3 3"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _round_up(value: float) -> float:
    """To a number that five parts divide well."""
    step = 10 ** math.floor(math.log10(value)) / 2
    return math.ceil(value / step) * step
