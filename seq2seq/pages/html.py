"""Elements of HTML and SVG from Python. Text is escaped unless it is made here; a page allows no script and no request.

Contract: what comes from a file or a model goes through ``tag``, as a child or an attribute; ``Markup`` is what ``tag``
made.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_VOID = {"br", "wbr", "meta", "hr", "line", "rect", "circle", "polyline"}  # closed at once
_STYLE = """
body{font:14px/1.45 sans-serif;color:#222;margin:2em auto;max-width:1100px;padding:0 1em}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em;border-bottom:1px solid #ddd}
table{border-collapse:collapse;margin:.6em 0}th,td{padding:.25em .6em;text-align:left;vertical-align:top}
th{border-bottom:1px solid #999;font-weight:600}tr:nth-child(even){background:#f6f6f4}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.note{color:#666}.card{border:1px solid #ddd;border-radius:4px;padding:.5em .9em;margin:.9em 0}
mark{padding:0 .15em;border-radius:2px}mark.missing{background:#ffd9d2}mark.invented{background:#ffe9b8}
mark.repeated{background:#e6d7f5}mark.unknown{background:#d8e6f7}
.error{color:#b00020}.warning{color:#8a5a00}.hint{color:#555}code{background:#f3f3f3;padding:0 .3em}
.text{white-space:pre-wrap;word-break:break-word}
.drawing{display:inline-block;max-width:100%;margin-right:1.5em;overflow-x:auto}svg text{font:11px sans-serif;fill:#333}
""".strip()
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element. A trailing underscore of an attribute's name is dropped, and others become hyphens; one that is None
    is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{joined(children)}</{name}>")


def joined(children: Iterable[object]) -> Markup:
    """Markup as it is, all else escaped."""
    return Markup("".join(child if isinstance(child, Markup) else html.escape(str(child)) for child in children))


def breakable(text: str, behind: str) -> Markup:
    """A text without blanks, which may go on in another line behind each such mark."""
    first, *others = text.split(behind)
    return joined([first, *(part for other in others for part in (behind, tag("wbr"), other))])


def table(head: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()) -> Markup:
    """A table; ``numbers`` are the columns that stand at the right."""

    def cells(kind: str, row: Sequence[object]) -> list[Markup]:
        return [tag(kind, cell, class_="n" if place in numbers else None) for place, cell in enumerate(row)]

    body = [tag("tr", *cells("td", row)) for row in rows]
    return tag("table", tag("thead", tag("tr", *cells("th", head))), tag("tbody", *body))


def page(title: str, *parts: object) -> bytes:
    """A whole document."""
    head = tag(
        "head", tag("meta", charset="utf-8"), tag("title", title),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"/>'), tag("style", Markup(_STYLE)),
    )  # fmt: skip
    body = tag("body", tag("h1", title), *parts)
    text = f'<!DOCTYPE html>\n<html lang="en">{head}\n{body}</html>\n'
    return text.encode("utf-8", "backslashreplace")
