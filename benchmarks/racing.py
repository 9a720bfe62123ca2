"""What all races share: which variants run here, taking turns, medians and ratios, the file of the figures.

A race opens a worker per variant, lets each make every call once (that warms up, and shows what compiling costs), then
goes round: every call to each of them, one after the other, in an order that turns. Times of one round are compared
with each other only, so a machine that slows down slows all of them.

A variant of a peer that fails in any way, or computes something else, is left out of a race, which says why and goes
on; a failure of ours ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from peers.problem import Task
from peers.worker import VARIANTS, Worker, missing

OURS = "minigrad"
WRONG = "wrong result: "  # begins the reason why a variant is left out
PACKAGES = ("numpy", "numba", "torch", "jax", "onnxruntime")


class Call(NamedTuple):
    """A method of the peers with its arguments; its time is divided by ``units``, and taken over so many in a row."""

    method: str
    arguments: tuple[Any, ...]
    units: float
    times: int = 1


def parser(documentation: str, rounds: int, quick: str) -> argparse.ArgumentParser:
    """The options that all scripts have; ``quick`` says what that option leaves."""
    made = argparse.ArgumentParser(description=documentation.splitlines()[0])
    made.add_argument("--rounds", type=int, default=rounds, help=f"timed rounds (default: {rounds})")
    made.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="of every peer (default: 2)")
    made.add_argument("--variants", type=lambda text: text.split(","), help="only these, for example minigrad,jax")
    made.add_argument("--json", type=Path, help="file for the figures")
    made.add_argument("--quick", action="store_true", help=quick)
    return made


def usable(names: Sequence[str], only: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """Those of ``names`` that are wanted and can run here, ours first; and why others of them are left out."""
    unknown = set(only or ()) - set(VARIANTS)
    if unknown:
        raise SystemExit(f"--variants is {', '.join(sorted(unknown))}; expected some of {', '.join(VARIANTS)}")
    wanted = [name for name in names if only is None or name in only]
    left_out = {name: reason for name in wanted if (reason := missing(name))}
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}", flush=True)
    found = [name for name in wanted if name not in left_out]
    return sorted(found, key=lambda name: not name.startswith(OURS)), left_out


@contextmanager
def spared(name: str, left_out: dict[str, str], strict: bool = True) -> Iterator[None]:
    """What goes wrong inside leaves a variant out, with the reason; if it is ours, and ``strict``, it is raised."""
    try:
        yield
    except Exception as error:
        if strict and name.startswith(OURS):
            raise
        said = " ".join(str(error).split()).removeprefix(f"{name}: ")
        kind = {AssertionError: WRONG, RuntimeError: ""}.get(type(error), f"{type(error).__name__}: ")
        left_out[name] = f"{kind}{said}"[:300]
        print(f"left out: {name}: {left_out[name]}", flush=True)


def check_ours(names: Sequence[str], left_out: dict[str, str]) -> None:
    """AssertionError where two frameworks or more differ from us in float32, and no variant agrees: we are wrong."""
    exact = [name for name in names if not name.startswith(OURS) and VARIANTS[name].precision == "fp32"]
    wrong = [name for name in exact if left_out.get(name, "").startswith(WRONG)]
    agree = any(name not in left_out for name in exact)
    if not agree and len({VARIANTS[name].peer for name in wrong}) > 1:
        raise AssertionError(f"{', '.join(wrong)} all differ from {OURS}")


@contextmanager
def open_workers(names: Sequence[str], threads: int, task: Task | None) -> Iterator[dict[str, Worker]]:
    """A process per variant, ended in any case."""
    workers = {name: Worker(name, threads, task) for name in names}
    try:
        yield workers
    finally:
        for worker in workers.values():
            worker.close()


class Arena(NamedTuple):
    """Where variants run.

    Attributes:
        open: (names, threads, task) -> a context with a worker per variant.
        reference: the variant that the others are held against.
        strict: whether a wrong result of ours ends it all, or leaves ours out as those of peers are.
    """

    open: Callable[..., Any]
    reference: str
    strict: bool


PROCESSES = Arena(open_workers, OURS, True)


def race(workers: dict[str, Worker], calls: Sequence[Call], rounds: int) -> dict[str, Any]:
    """Figures per variant and ratios of times, over rounds that go through ``calls`` again and again."""
    left_out: dict[str, str] = {}
    first: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {name: [] for name in workers}
    for name, worker in workers.items():
        with spared(name, left_out):
            first[name] = [worker.call(call.method, *call.arguments)[0] for call in calls]
    for turn in range(rounds):
        call, names = calls[turn % len(calls)], [name for name in workers if name not in left_out]
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            with spared(name, left_out):
                times[name].append(workers[name].call(call.method, *call.arguments, times=call.times)[0])
    units = np.array([calls[turn % len(calls)].units for turn in range(rounds)])
    able = {name: np.array(times[name]) for name in workers if name not in left_out}
    return {"rounds": rounds, **summary(first, able, units), "left_out": left_out}


def leave_out(found: dict[str, Any], left_out: dict[str, str]) -> None:
    """Take variants out of the figures of a race, which keep the reasons."""
    found["left_out"] = {**left_out, **found["left_out"]}
    for name in found["left_out"]:
        for figures in (found["variants"], *found["ratios"].values()):
            figures.pop(name, None)


def summary(first: dict[str, list[float]], seconds: dict[str, np.ndarray], units: np.ndarray) -> dict[str, Any]:
    """Medians and middle halves of microseconds per unit, and of every peer's time over ours."""
    variants = {
        name: {
            "framework": VARIANTS[name].peer,
            "precision": VARIANTS[name].precision,
            "us": quartiles(samples / units * 1e6),
            "first_calls_s": round(sum(first[name]), 3),
        }
        for name, samples in seconds.items()
    }
    ours = [name for name in seconds if name.startswith(OURS)]
    peers = [name for name in seconds if not name.startswith(OURS)]
    ratios = {
        us: {peer: quartiles(seconds[peer] / seconds[us]) for peer in peers if comparable(us, peer)} for us in ours
    }
    return {"variants": variants, "ratios": ratios}


def comparable(us: str, peer: str) -> bool:
    """In float32 against float32; where we may round to bfloat16 a peer may do as it likes best."""
    return VARIANTS[us].precision == "bf16" or VARIANTS[peer].precision in ("fp32", VARIANTS[us].precision)


def quartiles(values: np.ndarray) -> dict[str, float]:
    """Median and middle half."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return {"low": low, "median": median, "high": high}


def raise_peaks(worker: Worker, peaks: dict[str, float], rounds: int) -> None:
    """GFLOP/s that our best kernel reaches on one large product, in a worker of ours; the most is kept, since what a
    machine shared with others reaches changes from minute to minute. Of two rounds, a test's, it is not worth knowing.
    """
    for precision in ("fp32", "bf16"):
        rate = worker.call("matmul_rate", precision == "bf16", 30 if rounds > 2 else 1)[1]
        peaks[precision] = max(peaks.get(precision, 0), round(rate))


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures depend on: processor, threads, versions, and the speed of one large product."""
    peaks: dict[str, float] = {}
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    with open_workers([OURS], options.threads, None) as workers:
        raise_peaks(workers[OURS], peaks, options.rounds)
    return {
        "cores": os.cpu_count(), "threads": options.threads, "processor": processor(),
        "python": platform.python_version(), "versions": versions, "matmul_gflops": peaks,
    }  # fmt: skip


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


def show(title: str, found: dict[str, Any], unit: str, scale: float = 1.0) -> None:
    """A line per variant: its median time times ``scale``, and its ratio to ours of the same precision."""
    print(f"{title} ({found['rounds']} rounds)")
    for name, figures in found["variants"].items():
        us = f"{OURS}-bf16" if figures["precision"] == "bf16" and f"{OURS}-bf16" in found["ratios"] else OURS
        ratio = found["ratios"].get(us, {}).get(name)
        against = f"   {ratio['median']:5.2f} x ours ({ratio['low']:.2f} to {ratio['high']:.2f})" if ratio else ""
        extra = f"   {figures['peak_memory_mb']:6.0f} MB" if "peak_memory_mb" in figures else ""
        print(f"  {name:22} {figures['us']['median'] * scale:10.2f} {unit}{against}{extra}", flush=True)
    for name, reason in found["left_out"].items():
        print(f"  {name:22} {'left out':>10} {reason}", flush=True)


def write(path: Path | None, result: dict[str, Any]) -> None:
    """The figures as JSON, five significant digits; beside those of another processor, not in their place."""
    if path:
        path = place(path, result["processor"]) if "processor" in result else path
        path.write_text(json.dumps(_rounded(result), indent=1) + "\n", encoding="utf-8")


def place(path: Path, processor: dict[str, Any]) -> Path:
    """The file for figures of this processor: ``path``, or, if that holds another's (or does not say whose), one with
    the processor's name and vectors in its own, as in ``decoding.some-processor-avx2-fma.json``."""
    try:
        if json.loads(path.read_text(encoding="utf-8")).get("processor") == processor:
            return path
    except (FileNotFoundError, ValueError):
        return path
    words = " ".join([processor["name"], *processor.get("has", [])]).lower()
    own = path.with_suffix(f".{re.sub('[^a-z0-9]+', '-', words).strip('-')}{path.suffix}")
    if not own.exists():
        print(f"{path} holds figures of another processor; these are written to {own}", flush=True)
    return own


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def run(main: Callable[[], None], documentation: str = "", on_device: Callable[[Any], None] | None = None) -> None:
    """A script's main, or with ``--device cuda`` as the first arguments its race on a GPU, which has the options of a
    part of gpu/run.sh; a wrong result is one line and exit code 1."""
    if on_device and sys.argv[1:3] == ["--device", "cuda"]:
        sys.path.insert(0, str(Path(__file__).parent.parent))
        from gpu import part

        sys.exit(part.run(Path(sys.argv[0]).stem, documentation, on_device, sys.argv[3:]))
    try:
        main()
    except AssertionError as error:
        sys.exit(f"not equal: {error}")
