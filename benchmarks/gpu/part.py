"""What every part has: options, a file of figures that is written anew after each row, and a clock that ends it."""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from racing import show, write

from gpu import device

Row = TypeVar("Row")

TIME_IS_UP = "time was up: "
MEANINGLESS = "none that mean anything: there is no GPU, and the kernels ran in the simulator"


class Part:
    """The figures of a part on their way into ``OUT/NAME.json``.

    Where that file is there, made with the same sizes, its rows stay, and `each` begins behind those that were begun.
    One that cannot be gone on with becomes ``OUT/NAME-1.json``.

    Attributes:
        small: tiny sizes, for a test of the script.
        result: what the file holds: "status" is "running" as long as the part has not ended by itself.
    """

    def __init__(self, name: str, documentation: str, arguments: Sequence[str] | None = None) -> None:
        parser = argparse.ArgumentParser(description=documentation.splitlines()[0])
        parser.add_argument("out", type=Path, help="folder for the figures")
        parser.add_argument("--small", action="store_true", help="tiny sizes, for a test of this script")
        parser.add_argument("--seconds", type=float, default=60.0, help="no row is begun after so many (default: 60)")
        parser.add_argument("--data-dir", help="folder with multi30k/; random words without it")
        options = parser.parse_args(arguments)
        self.name, self.small, self.data_dir, self.out = name, options.small, options.data_dir, options.out
        self._started, self._seconds = time.monotonic(), options.seconds
        self.out.mkdir(parents=True, exist_ok=True)
        self.result: dict[str, Any] = {
            "rows": [], "notes": [], "begun": {}, "seconds": 0.0, **self._former(),
            "part": name, "status": "running", "device": device.name(), "simulated": device.SIMULATED,
            "times": MEANINGLESS if device.SIMULATED else "microseconds", "small": self.small,
        }  # fmt: skip
        self._before = self.result["seconds"]
        self.save()

    def _former(self) -> dict[str, Any]:
        """What an earlier visit has found, where it can be gone on with."""
        path = self.out / f"{self.name}.json"
        if not path.exists():
            return {}
        found = json.loads(path.read_text(encoding="utf-8"))
        if not found["begun"] or found["small"] != self.small:
            path.replace(free(self.out, f"{self.name}-", ".json"))
            return {}
        return {**found, "notes": [note for note in found["notes"] if not note.startswith(TIME_IS_UP)]}

    def seconds_left(self) -> float:
        return self._seconds - (time.monotonic() - self._started)

    def each(self, what: str, rows: Sequence[Row], keep: float = 0.0) -> Iterator[Row]:
        """The rows, for as long as there is time (less ``keep`` seconds); says how many are left out.

        The same ones at every visit: a row that was begun is not begun again, or one that hangs would hang once more.
        """
        begun = self.result["begun"]
        for number in range(begun.get(what, 0), len(rows)):
            if self.seconds_left() < keep:
                self.note(f"{TIME_IS_UP}{len(rows) - number} of {len(rows)} {what} left out")
                return
            begun[what] = number + 1
            self.save()
            yield rows[number]

    def attempt(self, row: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Adds ``row | measure()``, or the error; raises only where the device takes no more work."""
        try:
            row = row | measure()
        except Exception as error:
            row = row | {"error": one_line(error)}
            self.result["rows"].append(row)
            self.save()
            device.synchronize()  # fails where the context is lost: then so would every row to come
            device.free_memory()
        else:
            self.result["rows"].append(row)
            self.save()
        return row

    def tell(self, title: str, row: dict[str, Any], unit: str, scale: float = 1.0) -> None:
        """A race of the row in the log."""
        if "error" in row:
            print(f"{title}: {row['error']}", flush=True)
        else:
            show(title, row, unit, scale)

    def note(self, text: str) -> None:
        """Something to know beside the rows."""
        print(f"{self.name}: {text}", flush=True)
        self.result["notes"].append(text)
        self.save()

    def save(self) -> None:
        """Write the file; a reader never sees half of it."""
        self.result["seconds"] = self._before + time.monotonic() - self._started
        partial = self.out / f".{self.name}.json"
        write(partial, self.result)
        partial.replace(self.out / f"{self.name}.json")

    def finish(self, status: str) -> None:
        self.result["status"] = status
        self.save()


def one_line(error: BaseException) -> str:
    """Type and message of an exception, cut."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def free(folder: Path, stem: str, end: str) -> Path:
    """The first of ``stem1end``, ``stem2end``, ... that is not there."""
    return next(path for path in (folder / f"{stem}{number}{end}" for number in count(1)) if not path.exists())


def run(name: str, documentation: str, main: Callable[[Part], None], arguments: Sequence[str] | None = None) -> int:
    """A part from its options to its end; the exit code of its process."""
    part = Part(name, documentation, arguments)
    if reason := device.why_no_torch():
        part.note(f"nothing of PyTorch's: {reason}")
    try:
        main(part)
    except Exception as error:
        traceback.print_exc()
        part.finish(f"failed: {one_line(error)}")
        return 1
    errors = [row for row in part.result["rows"] if "error" in row]
    part.finish("complete" if not errors else f"complete, {len(errors)} rows with errors")
    for row in errors[:5]:
        print(f"{name}: {row}", file=sys.stderr)
    return 0
