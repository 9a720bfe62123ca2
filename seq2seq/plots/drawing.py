"""Figures of Matplotlib without its state, and the files that they are written to.

Contract: nothing is shown, no window is opened, and no setting of a user is read or changed; equal figures make equal
bytes. A page of HTML holds the figure as SVG, and asks for nothing.
"""

from __future__ import annotations

import io
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seq2seq.pages.html import Markup, page
from seq2seq.run.errors import UserError
from seq2seq.run.streams import say

INSTALL_PLOT = "pip install 'matplotlib>=3.8'"  # works in any folder; pyproject.toml says the same
FORMS = (".png", ".svg", ".html")
COLOURS = ("#0b6e4f", "#c8553d", "#3d5a80", "#f28f3b", "#7cb518", "#8d5a97", "#98a6b5", "#444444")
_SALT = {"svg.hashsalt": "minigrad", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9.0}


def require_matplotlib() -> None:
    """UserError where Matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise UserError(f"plot: Matplotlib is not installed; {INSTALL_PLOT}")


def require_form(path: str) -> None:
    """UserError unless a file's name says in which form it is to be written."""
    if Path(path).suffix.lower() not in FORMS:
        raise UserError(f"output is {path!r}; expected a name that ends in {', '.join(FORMS)}")


def new_figure(rows: int, columns: int, width: float = 4.2, height: float = 3.0) -> tuple[Any, list[Any]]:
    """A figure and its axes, row by row; ``width`` and ``height`` are inches of each."""
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(rows * columns)]
    return figure, axes


def colour(number: int) -> str:
    """That of the run of this number."""
    return COLOURS[number % len(COLOURS)]


def as_bytes(figure: Any, form: str, title: str = "") -> bytes:
    """A figure as a file of the form ".png", ".svg" or ".html"."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    picture = "png" if form == ".png" else "svg"
    settings: Any = _SALT
    with rc_context(settings), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(buffer, format=picture, dpi=150, metadata={} if picture == "png" else {"Date": None})
    lacking = [warning for warning in caught if "missing from font" in str(warning.message)]
    if picture == "png" and lacking:
        say("note: Matplotlib's font lacks some characters, which are boxes; a reader's own fonts show a .svg or .html")
    for warning in caught:
        if warning not in lacking:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if form != ".html":
        return buffer.getvalue()
    svg = buffer.getvalue().decode("utf-8")
    return page(title, Markup(svg[svg.index("<svg") :]))
