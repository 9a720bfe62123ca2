"""What a gradient check found: a row per checked argument, printable as a table, true if and only if all passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class GradcheckRow:
    """The worst comparison of one argument.

    ``relative_error`` is defined in ``minigrad.gradcheck.checker``; ``absolute_error`` is |analytic - numeric| of the
    same comparison; ``detail`` says where it was and shows both numbers.
    """

    name: str
    relative_error: float
    absolute_error: float
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class GradcheckReport:
    """All rows, and ``problems`` that no row can show (a function that is not deterministic, a changed input)."""

    rows: tuple[GradcheckRow, ...]
    problems: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.problems and all(row.passed for row in self.rows)

    def __str__(self) -> str:
        failures = [f"  {row.name}: {row.detail}" for row in self.rows if not row.passed]
        problems = [f"  {problem}" for problem in self.problems]
        return "\n".join([format_rows(self.rows), *failures, *problems])


class GradcheckError(AssertionError):
    """A gradient is wrong. ``report`` holds the whole comparison."""

    def __init__(self, report: GradcheckReport) -> None:
        super().__init__(f"gradcheck failed\n{report}")
        self.report = report


def format_rows(rows: Sequence[GradcheckRow], heading: str = "argument") -> str:
    """The table as text: name, worst relative error, pass or FAIL."""
    width = max([len(heading), *(len(row.name) for row in rows)])
    lines = [f"{heading:<{width}}  worst relative error"]
    lines += [f"{row.name:<{width}}  {row.relative_error:>20.2e}  {'pass' if row.passed else 'FAIL'}" for row in rows]
    return "\n".join(lines)
