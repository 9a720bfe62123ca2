"""The findings as one HTML page that needs nothing else: no script, no request, all text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from seq2seq.inspection.contract import Finding, Item
from seq2seq.inspection.figures import SIDES
from seq2seq.inspection.suggestions import Suggestion

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
td, th { padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
.error { color: #b00020; } .warning { color: #8a5a00; } .hint { color: #555; }
code { background: #f3f3f3; padding: 0 .3rem; }
td.text { white-space: pre-wrap; word-break: break-word; } svg { margin-right: 2rem; }
"""
_WIDTH, _HEIGHT = 320, 120


def page(
    name: str, figures: dict[str, Any], findings: Sequence[Finding], suggestions: Sequence[Suggestion]
) -> str:  # fmt: skip
    """The whole page."""
    body = [
        f"<h1>{escape(name)}</h1>", _counts(figures), *(_side(side, figures[side]) for side in SIDES),
        f"<h2>Findings</h2>{_findings(findings)}", "<h2>Settings</h2>", _settings(suggestions),
    ]  # fmt: skip
    head = f"<meta charset=utf-8><title>{escape(name)}</title><style>{_STYLE}</style>"
    return f"<!doctype html>\n<html lang=en><head>{head}</head>\n<body>{''.join(body)}</body></html>\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; cells are HTML."""
    lines = [[f"<th>{name}</th>" for name in head], *rows]
    return f"<table>{''.join('<tr>' + ''.join(line) + '</tr>' for line in lines)}</table>"


def _number(value: int) -> str:
    return f"<td class=n>{value:,}</td>"


def _text(value: str) -> str:
    return f"<td class=text>{escape(value[:500])}</td>"


def _counts(figures: dict[str, Any]) -> str:
    languages = escape("-".join(figures["languages"]))
    rows = ([f"<td>{escape(split)}</td>", _number(count)] for split, count in figures["pairs"].items())
    return f"<p>{languages}</p>{_table(('split', 'pairs'), rows)}"


def _side(name: str, side: dict[str, Any]) -> str:
    """The figures of a side, and two drawings of them."""
    head = ("", "number", "median", "95 %", "99 %", "longest")
    rows = ([f"<td>{kind}</td>", *map(_number, side[kind].values())] for kind in ("words", "characters"))
    vocabulary = side["vocabulary"]
    told = f"{vocabulary['distinct']:,} distinct words, {vocabulary['once']:,} of them once"
    bars = _bars(side["histogram"], f"lines by their words, 0 to {side['edges'][-1]:g}")
    growth = _bars(vocabulary["growth"], "distinct words after each tenth of the pairs")
    return f"<h2>{name.capitalize()}</h2>{_table(head, rows)}<p>{told}</p>{bars}{growth}"


def _bars(values: Sequence[int], title: str) -> str:
    """A bar for each value."""
    highest, width = max([1, *values]), _WIDTH / max(1, len(values))
    drawn = []
    for number, value in enumerate(values):
        height = _HEIGHT * value / highest
        drawn.append(
            f'<rect x="{number * width:.1f}" y="{_HEIGHT - height:.1f}" width="{width - 2:.1f}" height="{height:.1f}" '
            f'fill="#4a7"><title>{value:,}</title></rect>'
        )
    label = f'<text x="0" y="{_HEIGHT + 18}" font-size="12">{escape(title)}</text>'
    return f'<svg width="{_WIDTH}" height="{_HEIGHT + 24}" role="img">{"".join(drawn)}{label}</svg>'


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<p>None.</p>"
    return "".join(
        f"<h3 class={finding.level}>{finding.level}: {finding.count:,} pairs {escape(finding.message)}</h3>"
        f"<p>{escape(finding.advice)}</p>{_table(('where', 'source', 'target'), map(_example, finding.examples))}"
        for finding in findings
    )


def _example(item: Item) -> list[str]:
    return [f"<td>{escape(item.file)}:{item.line}</td>", _text(item.src), _text(item.trg)]


def _settings(suggestions: Sequence[Suggestion]) -> str:
    rows = ([f"<td><code>{escape(one.options)}</code></td>", _text(one.reason)] for one in suggestions)
    return _table(("option", "reason"), rows) if suggestions else "<p>The usual ones.</p>"
