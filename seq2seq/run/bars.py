"""Bars of progress where somebody looks at them: on a terminal, or in a notebook; nothing elsewhere."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from seq2seq.run.streams import is_quiet


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    return "ipykernel" in sys.modules


def bar(total: int, unit: str, initial: int = 0) -> Any | None:
    """A bar of tqdm on standard error, or in the notebook; None where nobody looks."""
    if is_quiet() or (not is_notebook() and (sys.stderr is None or not sys.stderr.isatty())):
        return None
    with warnings.catch_warnings(), suppress(OSError):
        warnings.simplefilter("ignore")  # of a notebook without widgets, where the bar is text
        from tqdm.auto import tqdm

        return tqdm(total=total, initial=initial, unit=unit, dynamic_ncols=True)
    return None


@contextmanager
def counting(total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Inside, the function counts what is done on a bar that goes away at the end."""
    shown = bar(total, unit)

    def count(done: int) -> None:
        if shown is not None:
            with suppress(OSError):  # a terminal that has gone
                shown.update(done)

    try:
        yield count
    finally:
        if shown is not None:
            shown.leave = False
            with suppress(OSError):
                shown.close()
