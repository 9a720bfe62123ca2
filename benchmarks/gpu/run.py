"""Runs the parts one after the other, each in a process with a budget, and keeps one archive of what they have found.

    benchmarks/gpu/run.sh OUT [--total SECONDS] [--parts "layout:20 lstm:70 ..."] [--small] [--data-dir DIR]

OUT gets one file, answers.tar.gz. It is written anew after every part and, while one runs, every other second, to
another name which then takes the place of the former: a run that is killed at any moment leaves what it has measured.
A part that comes a second time goes on with the rows that it has not begun. Exit code: 0; 1 if a part failed or the
layouts are not those believed, which ends the run; 2 if nothing could be run.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from gpu.archive import Archive

ROOT = Path(__file__).parents[2]
TOTAL, GRACE, TICK, LEAST = 580.0, 15.0, 2.0, 5.0  # seconds; a part that runs GRACE longer than its budget is ended
# In the order of what teaches most. A wrong belief makes all that follows void. The first 155 s say whether the kernels
# are right, which way to exchange h is faster, and how they stand beside cuDNN.
PLAN = (
    "layout:15 ceilings:20 lstm:70 ablations:50 "
    "environment:15 device_tests:80 training_step:110 lstm:100 decoding:40 ceilings:35 ablations:30"
)
RACES = ("training_step", "decoding")  # those of every device
PR_SET_PDEATHSIG = 1


class Visit(NamedTuple):
    """A part, and the seconds it is given."""

    part: str
    seconds: float


class Interrupted(Exception):  # noqa: N818 - no error
    """The signal that ends the run."""


def visits(text: str) -> list[Visit]:
    """ "layout:20 lstm" -> visits, with the seconds of the plan where none are given; ValueError for what is not so."""
    known: dict[str, float] = {}
    for entry in PLAN.split():
        known.setdefault(entry.partition(":")[0], float(entry.partition(":")[2]))
    found = []
    for entry in text.split():
        name, _, seconds = entry.partition(":")
        if name not in known:
            raise ValueError(f"no part {name}; there are, with seconds: {PLAN}")
        if not re.fullmatch(r"(:\d+(\.\d+)?)?", entry.removeprefix(name)):
            raise ValueError(f"--parts has {entry}; expected seconds behind the colon, as in {name}:20")
        found.append(Visit(name, float(seconds) if seconds else known[name]))
    return found


def end_with_parent() -> None:
    """In a new process: have the system end it if this one is killed, so that nobody goes on using the GPU."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Run:
    """A run on its way: what it was asked for, where parts leave their files, and the archive of these."""

    def __init__(self, options: argparse.Namespace, folder: Path, environment: dict[str, str]) -> None:
        self._start, self._total = time.monotonic(), options.total
        self._folder, self._environment = folder, environment
        self._options = ["--small"] if options.small else []
        self._options += ["--data-dir", str(options.data_dir)] if options.data_dir else []
        self.archive = Archive(options.out, folder)

    def left(self) -> float:
        """Seconds of the total."""
        return float(self._total - (time.monotonic() - self._start))

    def say(self, text: str) -> None:
        print(f"== {text} ({time.monotonic() - self._start:.0f} s after the start)", flush=True)

    def visit(self, part: str, seconds: float) -> bool:
        """Whether a part ended by itself and well, or had no time."""
        seconds = min(seconds, self.left() - GRACE)
        if seconds < LEAST:
            self.say(f"{part}: no time left")
            return True
        self.say(f"{part}, at most {seconds:.0f} s")
        module = ["-m", part, "--device", "cuda"] if part in RACES else ["-m", f"gpu.{part}"]
        command = [*module, str(self._folder), "--seconds", f"{seconds:.1f}", *self._options]
        code = self.process(command, part, seconds + GRACE)
        self.archive.refresh()
        self.say(f"{part} is done" if code == 0 else f"{part} ended with code {code}")
        return code == 0

    def process(self, arguments: Sequence[str], name: str, limit: float) -> int:
        """Exit code of this Python with arguments; what it says is shown and kept in NAME.log."""
        end, log = time.monotonic() + limit, self._folder / f"{name}.log"
        with log.open("ab") as written, log.open("rb") as read:
            read.seek(0, os.SEEK_END)
            child = subprocess.Popen(
                [sys.executable, *arguments], stdout=written, stderr=subprocess.STDOUT, env=self._environment,
                start_new_session=True, preexec_fn=end_with_parent,
            )  # fmt: skip
            try:
                while not ended(child, min(TICK, max(end - time.monotonic(), 0.0))) and time.monotonic() < end:
                    show(read.read())
                    self.archive.refresh()
            finally:
                stop(child)
                show(read.read())
        return child.returncode

    def report(self) -> bool:
        """Tables of all that was found, printed, and with the rest."""
        code = self.process(["-m", "gpu.report", str(self._folder)], "report", max(self.left(), LEAST))
        self.archive.refresh()
        return code == 0

    def believed(self) -> bool:
        """False if the device has answered otherwise than the kernels believe."""
        path = self._folder / "layout.json"
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
        return not any(row.get("wrong") and not row["wrong"].startswith("not asked") for row in rows)


def ended(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a process ends within so many seconds."""
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def stop(child: subprocess.Popen[bytes]) -> None:
    """End a process that still runs, and those that it has started: asked first, then killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is None:
            os.killpg(child.pid, number)
            ended(child, 3.0)


def show(output: bytes) -> None:
    sys.stdout.write(output.decode(errors="replace"))
    sys.stdout.flush()


def environment(small: bool) -> dict[str, str] | None:
    """What parts run with: a GPU, or the simulator in place of one if ``small``; None where there is neither."""
    question = [sys.executable, "-c", "import cupy, sys; sys.exit(not cupy.cuda.is_available())"]
    if subprocess.run(question, capture_output=True).returncode == 0:
        return dict(os.environ)
    standin = str(ROOT / "tests" / "cuda_sim" / "standin")
    return {**os.environ, "PYTHONPATH": os.pathsep.join((standin, os.environ["PYTHONPATH"]))} if small else None


def parsed() -> Any:
    """The options."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu/run.sh", description=str(__doc__).splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the archive of all answers")
    parser.add_argument("--total", type=float, default=TOTAL, help=f"seconds of the whole run (default: {TOTAL:.0f})")
    parser.add_argument("--parts", default=PLAN, help=f"names and seconds, in order (default: {PLAN})")
    parser.add_argument("--small", action="store_true", help="tiny sizes; without a GPU in the simulator")
    parser.add_argument("--data-dir", type=Path, help="folder with multi30k/; random words without it")
    return parser.parse_args()


def interrupted(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


def perform(run: Run, asked: Sequence[Visit]) -> int:
    """All visits, then the report; the exit code."""
    good = True
    for part, seconds in asked:
        good &= run.visit(part, seconds)
        if part == "layout" and not run.believed():
            run.say("the device is not what the kernels believe: nothing else would mean anything")
            good = False
            break
    run.say("report")
    return int(not (run.report() and good))


def main() -> int:
    """One run; a signal ends it with all that it has found in the archive."""
    options = parsed()
    try:
        asked = visits(options.parts)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    around = environment(options.small)
    if around is None:
        print("CuPy finds no GPU here (or there is no CuPy); --small runs in the simulator", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, interrupted)
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        run = Run(options, Path(folder), around)
        try:
            return perform(run, asked)
        except Interrupted as error:
            run.archive.refresh()
            return 128 + int(error.args[0])


if __name__ == "__main__":
    sys.exit(main())
