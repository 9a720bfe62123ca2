"""The figures of a script, and the file in which they are kept: written anew after every row, and one per processor.

What was found before a crash, a hang, a signal or the end of the time stays. A run that was cut off goes on behind the
rows that it has begun, since one that hung would hang once more; after a complete one all begins anew.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "numba", "torch", "jax", "onnxruntime", "cupy-cuda13x")
BEGUN = "begun, and never ended"


class Figures:
    """Use it as a context: what ends it is told in the file as "status".

    Args:
        options: of `racing.parser`.
        key: what the file calls the rows.
        more: what else is in the file, in front of the rows.

    Attributes:
        rows: name -> what was found; "error" where that failed on a device. On the processor an error ends all.
    """

    def __init__(self, options: argparse.Namespace, key: str = "rows", **more: Any) -> None:
        self._on_device, self._end = options.device == "cuda", time.monotonic() + options.seconds
        self.result: dict[str, Any] = {"status": "running", "quick": options.quick, **machine(options), **more}
        self._path = place(options.json, self.result["processor"]) if options.json else None
        former = read(self._path)
        goes_on = former.get("status", "complete") != "complete" and former.get("quick") == options.quick
        self.rows: dict[str, dict[str, Any]] = former[key] if goes_on else {}
        self.result |= {"notes": [], key: self.rows}

    def __enter__(self) -> Figures:
        self.save()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.result["status"] = "complete" if error is None else f"failed: {one_line(error)}"
        self.save()

    def measure(self, asked: dict[str, Callable[[], dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and row of all that is not in the file yet, as soon as it is, for as long as there is time."""
        new = [name for name in asked if name not in self.rows]
        for number, name in enumerate(new):
            if time.monotonic() > self._end:
                self.note(f"time was up: {len(new) - number} rows from {name!r} on are left out")
                return
            self.rows[name] = {"error": BEGUN}
            self.save()
            try:
                self.rows[name] = asked[name]()
            except Exception as error:
                if not self._on_device:
                    raise
                self.rows[name] = {"error": one_line(error)}
                self.save()
                device().recover()  # raises where no other row can work either
            self.save()
            yield name, self.rows[name]

    def note(self, text: str) -> None:
        """Something to know beside the rows."""
        print(text, flush=True)
        self.result["notes"].append(text)

    def save(self) -> None:
        """A reader never sees half of it."""
        if self._path:
            partial = self._path.with_name(f".{self._path.name}")
            partial.write_text(json.dumps(rounded(self.result), indent=1) + "\n", encoding="utf-8")
            partial.replace(self._path)


def read(path: Path | None) -> dict[str, Any]:
    """What a file holds; nothing if there is none, or no JSON in it."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (FileNotFoundError, ValueError):
        return {}


def place(path: Path, processor: dict[str, Any]) -> Path:
    """The file for figures of this processor: ``path``, or, if that holds another's (or does not say whose), one named
    after it, as in ``decoding.some-processor-avx2-fma.json``."""
    held = read(path)
    if not held or held.get("processor") == processor:
        return path
    words = " ".join([processor["name"], *processor.get("has", [])]).lower()
    own = path.with_suffix(f".{re.sub('[^a-z0-9]+', '-', words).strip('-')}{path.suffix}")
    if not own.exists():
        print(f"{path} holds figures of another processor; these are written to {own}", flush=True)
    return own


def write(path: Path, result: dict[str, Any]) -> None:
    """Figures that come all at once, in the place of their processor."""
    found = {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version(), **result}
    place(path, found["processor"]).write_text(json.dumps(rounded(found), indent=1) + "\n", encoding="utf-8")


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures depend on: processor or GPU, threads, versions."""
    versions = {found.name: found.version for found in metadata.distributions() if found.name in PACKAGES}
    own: dict[str, Any] = {"threads": options.threads, "processor": processor()}
    if options.device == "cuda":
        own = {"processor": {"name": device().name()}, "gpu": device().facts()}
    return {"cores": os.cpu_count(), **own, "python": platform.python_version(), "versions": versions}


def processor() -> dict[str, Any]:
    """Name and what it can do for matrix products, as far as the system tells."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {"name": platform.processor() or platform.machine()}
    lines = dict(line.partition(":")[::2] for line in path.read_text().splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    known = {"avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16", "i8mm"}
    model = " ".join([platform.machine(), *(fields.get(f"CPU {key}", "") for key in ("implementer", "part"))]).strip()
    flags = fields.get("flags", fields.get("Features", ""))
    return {"name": fields.get("model name", model), "has": sorted(known & set(flags.split()))}


def device() -> Any:
    """The module; only now, since it needs CuPy."""
    return importlib.import_module("peers.device")


def one_line(error: BaseException) -> str:
    """Type and message of an exception, cut."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def rounded(value: Any) -> Any:
    """Five significant digits."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
