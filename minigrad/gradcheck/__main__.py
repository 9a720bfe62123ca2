"""``python -m minigrad.gradcheck``: check the gradient of every op and print a table; exit code 1 if one is wrong."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from minigrad.gradcheck.op_table import OP_TABLE, check_gradient
from minigrad.gradcheck.report import GradcheckRow, format_rows
from minigrad.ops.op_case import Dims, OpCase

SIZES: tuple[Dims, ...] = ((3, 2, 4), (2, 3, 2), (1, 1, 1), (4, 1, 3), (2, 0, 3))


def check_case(case: OpCase, num_samples: int, seed: int) -> GradcheckRow:
    """The worst row over ``num_samples`` samples of one op."""
    worst = GradcheckRow(case.name, 0.0, 0.0, True)
    for number in range(num_samples):
        sample = case.draw(seed + number, SIZES[number % len(SIZES)])
        try:
            report = check_gradient(case, sample, num_directions=2, seed=seed, raise_exception=False)
        except Exception as error:
            detail = f"sample {number} raised {type(error).__name__}: {error}"
            return GradcheckRow(case.name, float("nan"), float("nan"), False, detail)
        for row in report.rows:
            if not row.relative_error <= worst.relative_error:
                detail = f"sample {number}, {row.name}: {row.detail}"
                worst = GradcheckRow(case.name, row.relative_error, row.absolute_error, row.passed, detail)
        if report.problems:
            return GradcheckRow(case.name, float("nan"), float("nan"), False, "; ".join(report.problems))
    return worst


class _Parser(argparse.ArgumentParser):
    """A mistake is one line on standard error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def _whole(low: int, high: int) -> Callable[[str], int]:
    """The type of an option that takes a whole number from ``low`` to ``high``."""

    def convert(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"{text[:40]!r}; expected a whole number, {low} to {high}")
        return int(text)

    return convert


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m minigrad.gradcheck", description=__doc__)
    parser.add_argument("ops", nargs="*", help="check only these ops (default: all)")
    samples = "random samples per op (1 to 10000; default: %(default)s)"
    parser.add_argument("--samples", type=_whole(1, 10_000), default=20, help=samples)
    seed = "all that is drawn is a function of it (0 to 4294967295; default: %(default)s)"
    parser.add_argument("--seed", type=_whole(0, 2**32 - 1), default=0, help=seed)
    options = parser.parse_args(arguments)
    known = {case.function for case in OP_TABLE if case.differentiable}
    if unknown := set(options.ops) - known:
        parser.error(f"no such op: {', '.join(sorted(unknown))}; expected some of {', '.join(sorted(known))}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the table; returns the exit code."""
    options = _parse(arguments)
    start = time.perf_counter()
    wanted = [case for case in OP_TABLE if case.differentiable and (not options.ops or case.function in options.ops)]
    rows = [check_case(case, options.samples, options.seed) for case in wanted]
    failed = [row for row in rows if not row.passed]
    print(format_rows(rows, heading="op"))
    for row in failed:
        print(f"  {row.name}: {row.detail}")
    seconds = time.perf_counter() - start
    print(f"{len(rows) - len(failed)} of {len(rows)} passed, {options.samples} samples each, {seconds:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
