"""Runs the parts one after the other, each in a process with a budget, and keeps one archive of what they have found.

Options and exit codes: run.sh. The archive is written anew after every part and, while one runs, every other second, to
another name which then takes the place of the former: a run that is killed at any moment leaves what it has measured.
What a part leaves of its time is of use to those behind it; one that failed goes on once, behind what it has begun.
"""

from __future__ import annotations

import argparse
import ctypes
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[2]
TOTAL, GRACE, TICK, LEAST = 580.0, 15.0, 2.0, 5.0  # seconds; a part that runs GRACE longer than its budget is ended
# In the order of what teaches most. A wrong belief makes all that follows void. The first 180 s say whether the kernels
# are right, which way to exchange h is faster, and how they stand beside cuDNN.
PLAN = {
    "gpu.layout": 15.0, "gpu.ceilings": 25.0, "layers": 140.0, "ablations": 60.0, "training_step": 110.0,
    "gpu.device_tests": 80.0, "decoding": 50.0, "paper_scale": 70.0,
}  # fmt: skip
NAMES = {module.rpartition(".")[2]: module for module in PLAN}
PR_SET_PDEATHSIG = 1


class Interrupted(Exception):  # noqa: N818 - no error
    """The signal that ends the run."""


def visits(text: str) -> list[tuple[str, float]]:
    """ "layout:20 layers" -> parts and their seconds, those of the plan where none are given; ValueError for others."""
    found = []
    for entry in text.split():
        name, _, seconds = entry.partition(":")
        if name not in NAMES:
            raise ValueError(f"no part {name}; there are {', '.join(NAMES)}")
        if not re.fullmatch(r"(:\d+(\.\d+)?)?", entry.removeprefix(name)):
            raise ValueError(f"--parts has {entry}; expected seconds behind the colon, as in {name}:20")
        found.append((name, float(seconds) if seconds else PLAN[NAMES[name]]))
    return found


def end_with_parent() -> None:
    """In a new process: have the system end it if this one is killed, so that nobody goes on using the GPU."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Archive:
    """``OUT/answers.tar.gz`` of the files in a folder; ``answers-2.tar.gz`` if there is one of another run, and so on.

    Args:
        out: is made.
        folder: whose files it is to hold, without those whose names begin with a dot.
    """

    def __init__(self, out: Path, folder: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._folder, self._held = folder, b""
        names = (f"answers{'' if number == 1 else f'-{number}'}.tar.gz" for number in count(1))
        self.path = next(out / name for name in names if not (out / name).exists())

    def refresh(self) -> None:
        """Bring it up to date; who reads it sees the former one or this one, never a part of it."""
        found = packed(self._folder)
        if found == self._held:
            return
        partial = self.path.with_name(f".{self.path.name}.partial")
        with partial.open("wb") as file:
            file.write(gzip.compress(found, 6))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)
        self._held = found


def packed(folder: Path) -> bytes:
    """The files of a folder as a tar. A file that grows meanwhile is held as far as it was read."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or not path.is_file():
                continue
            content, entry = path.read_bytes(), tarfile.TarInfo(path.name)
            entry.size, entry.mtime = len(content), int(path.stat().st_mtime)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class Run:
    """A run on its way: what it was asked for, where parts leave their files, and the archive of these."""

    def __init__(self, options: argparse.Namespace, folder: Path, environment: dict[str, str]) -> None:
        self._start, self._options, self._folder, self._environment = time.monotonic(), options, folder, environment
        self.archive = Archive(options.out, folder)

    def elapsed(self) -> float:
        return time.monotonic() - self._start

    def say(self, text: str) -> None:
        print(f"== {text} ({self.elapsed():.0f} s after the start)", flush=True)

    def visit(self, part: str, until: float) -> bool:
        """Whether a part ended by itself and well, or had no time; ``until`` so many seconds after the start."""
        seconds = min(until, self._options.total - GRACE) - self.elapsed()
        if seconds < LEAST:
            self.say(f"{part}: no time left")
            return True
        self.say(f"{part}, at most {seconds:.0f} s")
        command = ["-m", NAMES[part], "--device", "cuda", "--json", str(self._folder / f"{part}.json")]
        command += ["--seconds", f"{seconds:.1f}", *(["--quick", "--rounds", "2"] if self._options.small else [])]
        if part == "training_step" and self._options.data_dir:
            command += ["--data-dir", str(self._options.data_dir)]
        code = self.process(command, part, seconds + GRACE)
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
                    print(read.read().decode(errors="replace"), end="", flush=True)
                    self.archive.refresh()
            finally:
                stop(child)
                print(read.read().decode(errors="replace"), end="", flush=True)
                self.archive.refresh()
        return child.returncode

    def believed(self) -> bool:
        """False if the device has answered otherwise than the kernels believe."""
        path = self._folder / "layout.json"
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else {}
        return not any(row.get("wrong") for row in rows.values())

    def perform(self, asked: Sequence[tuple[str, float]]) -> int:
        """All visits, then the report; the exit code."""
        good, until = True, 0.0
        for part, seconds in asked:
            until += seconds
            good &= self.visit(part, until) or self.visit(part, until)
            if part == "layout" and not self.believed():
                self.say("the device is not what the kernels believe: nothing else would mean anything")
                good = False
                break
        self.say("report")
        left = max(self._options.total - self.elapsed(), LEAST)
        return int(self.process(["-m", "report", "--of", str(self._folder)], "report", left) != 0 or not good)


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
    parser.add_argument("--parts", default=" ".join(NAMES), help="in order, each with seconds or those of the plan")
    parser.add_argument("--small", action="store_true", help="tiny sizes; without a GPU in the simulator")
    parser.add_argument("--data-dir", type=Path, help="folder with multi30k/; random words without it")
    return parser.parse_args()


def interrupted(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


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
            return run.perform(asked)
        except Interrupted as error:
            run.archive.refresh()
            return 128 + int(error.args[0])


if __name__ == "__main__":
    sys.exit(main())
