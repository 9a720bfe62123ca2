"""What all races share: options, where they are, which variants run there, taking turns, medians and ratios.

A race opens a worker per variant, lets each make every call once (that warms up, and shows what compiling costs), then
goes round: every call to each of them, one after the other, in an order that turns. Times of one round are compared
with each other only, so a machine that slows down slows all of them.

A variant that fails, or computes something else, is left out of a race, which says why and goes on; a failure of ours
ends it, but on a GPU (`peers/device.py`), where what others do is worth knowing.
"""

from __future__ import annotations

import argparse
import atexit
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from peers.worker import VARIANTS, Worker, missing

OURS = "minigrad"
WRONG = "wrong result: "  # begins the reason why a variant is left out


class Call(NamedTuple):
    """A method of the peers with its arguments; its time is divided by ``units``, and taken over so many in a row.

    On a GPU ``times=0`` leaves that to the contestant.
    """

    method: str
    arguments: tuple[Any, ...]
    units: float
    times: int = 1


def parser(documentation: str | None, rounds: int = 7) -> argparse.ArgumentParser:
    """The options that all scripts have."""
    made = argparse.ArgumentParser(description=str(documentation).splitlines()[0])
    made.add_argument("--rounds", type=int, default=rounds, help=f"timed rounds (default: {rounds})")
    made.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="of every peer (default: 2)")
    made.add_argument("--variants", type=lambda text: text.split(","), help="only these, for example minigrad,jax")
    made.add_argument("--json", type=Path, help="file for the figures")
    made.add_argument("--quick", action="store_true", help="tiny sizes, for a test of this script")
    made.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where the races are (default: cpu)")
    made.add_argument("--seconds", type=float, default=math.inf, help="begin no row after so many")
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
def open_workers(names: Sequence[str], threads: int, task: Any) -> Iterator[dict[str, Worker]]:
    """A process per variant, ended in any case."""
    workers = {name: Worker(name, threads, task) for name in names}
    try:
        yield workers
    finally:
        for worker in workers.values():
            worker.close()


_kept: dict[tuple[str, int], Worker] = {}


@contextmanager
def kept_workers(names: Sequence[str], threads: int, task: Any) -> Iterator[dict[str, Worker]]:
    """The same for a quick run, which starts each process once for all that it does; they end with this one."""
    for name in names:
        if (name, threads) in _kept:
            _kept[name, threads].call("build", task)
        else:
            _kept[name, threads] = Worker(name, threads, task)
            atexit.register(_kept[name, threads].close)
    yield {name: _kept[name, threads] for name in names}


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
QUICK = Arena(kept_workers, OURS, True)


def arena(options: argparse.Namespace) -> Arena:
    """Processes on the processor; all in this one on a GPU."""
    if options.device == "cpu":
        return QUICK if options.quick else PROCESSES
    from peers import device as gpu

    return Arena(gpu.open_here, gpu.reference(), strict=False)


def race(workers: dict[str, Any], calls: Sequence[Call], rounds: int, strict: bool = True) -> dict[str, Any]:
    """Figures per variant and ratios of times, over rounds through ``calls``; a failure of ours ends a strict one."""
    left_out: dict[str, str] = {}
    first: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {name: [] for name in workers}
    for name, worker in workers.items():
        with spared(name, left_out, strict):
            first[name] = [worker.call(call.method, *call.arguments)[0] for call in calls]
    for turn in range(rounds):
        call, names = calls[turn % len(calls)], [name for name in workers if name not in left_out]
        for name in names[turn % max(len(names), 1) :] + names[: turn % max(len(names), 1)]:
            with spared(name, left_out, strict):
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
    variants, ratios = {}, {}
    for name, samples in seconds.items():
        figures = {"us": quartiles(samples / units * 1e6), "first_calls_s": round(sum(first[name]), 3)}
        variants[name] = {"framework": VARIANTS[name].peer, "precision": VARIANTS[name].precision, **figures}
        if name.startswith(OURS):
            peers = [peer for peer in seconds if not peer.startswith(OURS) and comparable(name, peer)]
            ratios[name] = {peer: quartiles(seconds[peer] / samples) for peer in peers}
    return {"variants": variants, "ratios": ratios}


def comparable(us: str, peer: str) -> bool:
    """In float32 against float32; where we may round to bfloat16 a peer may do as it likes best."""
    return VARIANTS[us].precision == "bf16" or VARIANTS[peer].precision in ("fp32", VARIANTS[us].precision)


def quartiles(values: np.ndarray) -> dict[str, float]:
    """Median and middle half."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return {"low": low, "median": median, "high": high}


def raise_peaks(worker: Any, peaks: dict[str, float], rounds: int) -> None:
    """GFLOP/s of our best kernel on a large product; the most is kept, since what a shared machine reaches changes."""
    for precision in ("fp32", "bf16"):
        rate = worker.call("matmul_rate", precision == "bf16", 30 if rounds > 2 else 1)[1]
        peaks[precision] = max(peaks.get(precision, 0), round(rate))


def show(title: str, found: dict[str, Any], unit: str, scale: float = 1.0) -> None:
    """A line per variant: its median time times ``scale``, and its ratio to ours of the same precision."""
    if "error" in found:
        print(f"{title}: {found['error']}", flush=True)
        return
    print(f"{title} ({found['rounds']} rounds)")
    for name, figures in found["variants"].items():
        alike = [us for us in found["ratios"] if VARIANTS[us].precision == figures["precision"]]
        us = next(iter([*alike, *found["ratios"]]), OURS)
        ratio = found["ratios"].get(us, {}).get(name)
        against = f"   {ratio['median']:5.2f} x ours ({ratio['low']:.2f} to {ratio['high']:.2f})" if ratio else ""
        extra = f"   {figures['peak_memory_mb']:6.0f} MB" if "peak_memory_mb" in figures else ""
        print(f"  {name:22} {figures['us']['median'] * scale:10.2f} {unit}{against}{extra}", flush=True)
    for name, reason in found["left_out"].items():
        print(f"  {name:22} {'left out':>10} {reason}", flush=True)


def run(main: Callable[[], None]) -> None:
    """A script's main; a wrong result is one line and exit code 1."""
    try:
        main()
    except AssertionError as error:
        sys.exit(f"not equal: {error}")
