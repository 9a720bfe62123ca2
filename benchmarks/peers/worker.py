"""A process of its own for every peer: thread pools of two libraries in one process slow each other down.

A worker waits on a pipe while another computes. Its process starts with the environment that its libraries do best in:
no BLAS forced to older kernels, and threads on as many cores as are asked for. One that dies takes no race with it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NamedTuple


class Variant(NamedTuple):
    """A way to run a peer: its module here, the precision of products or weights, and options of its class."""

    peer: str
    precision: str
    options: dict[str, Any]


_WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "minigrad": ("minigrad", {}),
    "pytorch": ("pytorch", {}),
    "pytorch-packed": ("pytorch", {"packed": True}),
    "pytorch-compiled": ("pytorch", {"compiled": True}),
    "pytorch-loop": ("pytorch", {"step_by_step": True}),
    "jax": ("jax", {}),
    "minigrad-graph": ("minigrad", {"graphed": True}),  # these on a GPU only
    "pytorch-graph": ("pytorch", {"graphed": True}),
    "minigrad-eager": ("minigrad", {"eager": True}),
}
VARIANTS = {
    way if precision == "fp32" else f"{way}-{precision}": Variant(peer, precision, options)
    for precision in ("fp32", "bf16", "tf32", "fp16", "fp64", "f16", "int8")
    for way, (peer, options) in _WAYS.items()
} | {
    "onnxruntime": Variant("onnxruntime", "fp32", {}),
    "minigrad-cpu": Variant("minigrad", "fp32", {"device": "cpu"}),  # beside a GPU
}

# What may stand in the environment and would hold a peer back: a BLAS forced to older kernels, threads put to sleep.
_UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OMP_WAIT_POLICY", "MKL_ENABLE_INSTRUCTIONS", "XLA_FLAGS")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LIMIT = float(os.environ.get("BENCHMARK_LIMIT", 900))  # seconds that a call may take, compiling included
_LEAVE = 10.0  # seconds that a process has to end in
_QUIET = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"}


def missing(name: str) -> str | None:
    """Why a variant cannot run here, or None."""
    needed = {"pytorch": ["torch"], "onnxruntime": ["onnxruntime", "onnx"]}.get(
        VARIANTS[name].peer, [VARIANTS[name].peer]
    )
    absent = [module for module in needed if importlib.util.find_spec(module) is None]
    return f"{absent[0]} is not installed" if absent else None


def best_environment() -> dict[str, str]:
    """This process's environment without what would hold a library back."""
    return {key: value for key, value in os.environ.items() if key not in _UNSET}


class Worker:
    """A peer's process; every call is answered with (seconds, result).

    It is stopped between calls: threads of a peer that go on spinning after their work would take a core from the next.
    A process that has died is started again by the next call; one that has hung is not. POSIX only.
    """

    def __init__(self, name: str, threads: int, task: Any = None) -> None:
        self.name, self._threads, self._task = name, threads, task
        self._hung = ""
        self._start()

    def _start(self) -> None:
        self._pipe, theirs = Pipe()
        environment = best_environment() | dict.fromkeys(_THREADS, str(self._threads)) | _QUIET
        program = "from peers.worker import serve; serve()"
        with theirs:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                [sys.executable, "-c", program, str(theirs.fileno())],
                pass_fds=[theirs.fileno()], env=environment, cwd=Path(__file__).parent.parent,
            )  # fmt: skip

    def call(self, method: str, *arguments: Any, times: int = 1) -> tuple[float, Any]:
        """Seconds and result of a method of the peer, or of a function below.

        With ``times`` it is called so often in a row, as short steps are in a real loop; the seconds are those of one.
        "build" with a Task drops the peer; the next call makes one for that task first, which is not timed.

        Raises:
            RuntimeError: the peer's error, the end of its process, or LIMIT seconds without an answer.
        """
        if self._hung:
            raise RuntimeError(self._hung)
        if self._process is None:
            self._start()
        if method == "build":
            self._task = arguments[0]
        self._signal("SIGCONT")
        seconds, result, error = self._answer(
            (VARIANTS[self.name], self._threads, self._task), method, arguments, times
        )
        self._signal("SIGSTOP")
        if error:
            raise RuntimeError(f"{self.name}: {method}: {error}")
        return seconds, result

    def _answer(self, peer: Any, method: str, arguments: Any, times: int) -> Any:
        try:
            self._pipe.send((peer, method, arguments, times))
            if self._pipe.poll(LIMIT):
                return self._pipe.recv()
        except (EOFError, OSError):
            raise RuntimeError(f"{self.name}: {method}: its process {self._end(_LEAVE)}") from None
        self._end(0.0)
        self._hung = f"{self.name}: {method}: no answer within {LIMIT:g} s"
        raise RuntimeError(self._hung)

    def _end(self, patience: float) -> str:
        """Have the process ended, by force after so many seconds; how it did."""
        process, self._process = self._process, None
        if process is None:
            return "had ended"
        self._pipe.close()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        code = process.returncode
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _signal(self, name: str) -> None:
        """Send a signal, where the system has it."""
        if hasattr(signal, name) and self._process is not None and self._process.poll() is None:
            self._process.send_signal(getattr(signal, name))

    def close(self) -> None:
        """End the process."""
        self._signal("SIGCONT")
        self._end(_LEAVE)


def serve() -> None:
    """The loop of a worker process: build the peer, then answer calls until the pipe closes."""
    pipe = Connection(int(sys.argv[1]))
    peer = None
    while True:
        try:
            (variant, threads, task), method, arguments, times = pipe.recv()
        except EOFError:
            return
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        start, result, error = time.perf_counter(), None, None
        try:
            if method == "build":
                peer = None
            elif method in _FUNCTIONS:
                result = _FUNCTIONS[method](*arguments)
            else:
                peer = peer or build(variant, threads, task)
                start = time.perf_counter()
                for _ in range(times):
                    result = getattr(peer, method)(*arguments)
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
        pipe.send(((time.perf_counter() - start) / times, result, error))


def build(variant: Variant, threads: int, task: Any) -> Any:
    """The peer of a task's kind: of a model (`problem.Task`), or of a layer (`layers.LayerTask`)."""
    module = importlib.import_module(f"peers.{variant.peer}")
    return getattr(module, task.kind)(task, variant.precision, threads, **variant.options)


def peak_memory() -> float:
    """The most memory this process had, in MB (10**6 bytes).

    VmHWM where the system tells it: ru_maxrss also counts what the parent held when it started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def matmul_rate(bf16: bool, repeats: int) -> float:
    """GFLOP/s of this package's best kernel on one large product (1024x512 by 512x2048)."""
    from peers.minigrad import matmul_rate as rate

    return rate(bf16, repeats)


_FUNCTIONS: dict[str, Any] = {"peak_memory": peak_memory, "matmul_rate": matmul_rate}
