"""The threads of every kernel: `run(function, count)` calls function(0) .. function(count - 1) on several of them.

Kernels release Python's global lock, so plain threads run them side by side. They split what is independent (rows of a
batch, rows of a product, chunks of an array), never a sum: results have the same bits for any number of threads. The
calling thread takes part. Workers only ever wait for work, so any number of Python threads may call at the same time,
and a call from inside a task runs alone. A forked child starts with no workers and makes its own.

Why not Numba's `prange`: its portable layer dies when two Python threads enter it, its OpenMP layer after a fork.
"""

import os
import queue
import threading
from collections.abc import Callable, Iterator


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Settings:
    num_threads = available_cores()


def set_num_threads(count: int) -> None:
    """Let kernels use up to `count` threads from now on, the calling one included. Raises ValueError below 1."""
    if count < 1:
        raise ValueError(f"set_num_threads: count is {count}; expected 1 or more")
    _Settings.num_threads = count


def get_num_threads() -> int:
    """Threads that kernels may use; at first the cores of this process."""
    return _Settings.num_threads


class _Job:
    """Tasks that several threads take from one counter until none is left."""

    def __init__(self, function: Callable[[int], None], count: int) -> None:
        self._function = function
        self._tasks: Iterator[int] = iter(range(count))  # next() is atomic under the global lock
        self._left = count
        self._lock = threading.Lock()
        self._all_done = threading.Lock()
        self._all_done.acquire()
        self.error: BaseException | None = None

    def work(self) -> None:
        """Take tasks until there are none; after an error the rest is skipped."""
        done = 0
        for task in self._tasks:
            try:
                if self.error is None:
                    self._function(task)
            except BaseException as error:
                self.error = error
            done += 1
        with self._lock:
            self._left -= done
            if done and self._left == 0:
                self._all_done.release()

    def wait(self) -> None:
        self._all_done.acquire()


class _Pool:
    """Worker threads that take jobs from one queue; more are started when more are asked for."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._size = 0

    def submit(self, job: _Job, helpers: int) -> None:
        with self._lock:
            while self._size < helpers:
                threading.Thread(target=self._serve, name="minigrad-kernel", daemon=True).start()
                self._size += 1
        for _ in range(helpers):
            self._jobs.put(job)

    def _serve(self) -> None:
        _Local.inside = True
        while True:
            self._jobs.get().work()


class _LocalState(threading.local):
    inside = False


_Local = _LocalState()
_pool = _Pool()


def _forget_workers() -> None:
    """A forked child has none of its parent's threads, and locks in whatever state they were."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)


def run(function: Callable[[int], None], count: int) -> None:
    """Call function(task) once for each task 0 .. count - 1; returns when all are done, raises what one of them raised.

    Tasks must be independent and write to different memory; in which order and where they run is left open.
    """
    helpers = 0 if _Local.inside else min(count, _Settings.num_threads) - 1
    if helpers < 1:
        for task in range(count):
            function(task)
        return
    job = _Job(function, count)
    _pool.submit(job, helpers)
    _Local.inside = True
    try:
        job.work()
    finally:
        _Local.inside = False
    job.wait()
    if job.error is not None:
        raise job.error


def chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """0 .. count cut into [start, stop) of `size`."""
    starts = range(0, count, size)
    return ((start, min(start + size, count)) for start in starts)
