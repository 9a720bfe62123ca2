"""The findings as one HTML page that needs nothing else: no script, no request, all text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seq2seq.inspection.contract import Finding, Item
from seq2seq.inspection.figures import SIDES
from seq2seq.inspection.suggestions import Suggestion
from seq2seq.pages import html, svg
from seq2seq.pages.html import Markup, joined, table, tag
from seq2seq.run.messages import counted

_LONGEST = 500  # characters of a sentence that are shown


def page(
    name: str, figures: dict[str, Any], findings: Sequence[Finding], suggestions: Sequence[Suggestion]
) -> bytes:  # fmt: skip
    """The whole page."""
    return html.page(
        name, _counts(figures), *(_side(side, figures[side]) for side in SIDES), tag("h2", "Findings"),
        _findings(findings), tag("h2", "Settings"), _settings(suggestions),
    )  # fmt: skip


def _counts(figures: dict[str, Any]) -> Markup:
    rows = [(split, f"{count:,}") for split, count in figures["pairs"].items()]
    return joined([tag("p", "-".join(figures["languages"])), table(("split", "pairs"), rows, [1])])


def _side(name: str, side: dict[str, Any]) -> Markup:
    """The figures of a side, and two drawings of them."""
    head = ("", "number", "median", "95 %", "99 %", "longest")
    rows = [(kind, *(f"{value:,}" for value in side[kind].values())) for kind in ("words", "characters")]
    vocabulary = side["vocabulary"]
    told = f"{vocabulary['distinct']:,} distinct words, {vocabulary['once']:,} of them once"
    return joined([
        tag("h2", name.capitalize()), table(head, rows, range(1, len(head))), tag("p", told),
        svg.histogram(side["histogram"], f"lines by their words, 0 to {side['edges'][-1]:g}"),
        svg.histogram(vocabulary["growth"], "distinct words after each tenth of the pairs"),
    ])  # fmt: skip


def _findings(findings: Sequence[Finding]) -> Markup:
    if not findings:
        return tag("p", "None.")
    return joined(
        part
        for finding in findings
        for part in (
            tag("h3", f"{finding.level}: {counted(finding.count, 'pair', finding.message)}", class_=finding.level),
            tag("p", finding.advice),
            table(("where", "source", "target"), map(_example, finding.examples)),
        )
    )


def _example(item: Item) -> tuple[str, Markup, Markup]:
    return f"{item.file}:{item.line}", _text(item.src), _text(item.trg)


def _text(sentence: str) -> Markup:
    """A sentence with its blanks."""
    return tag("span", sentence[:_LONGEST], class_="text")


def _settings(suggestions: Sequence[Suggestion]) -> Markup:
    rows = [(tag("code", one.options), one.reason) for one in suggestions]
    return table(("option", "reason"), rows) if suggestions else tag("p", "The usual ones.")
