"""The threads of every kernel: `run(function, count)` calls function(0) .. function(count - 1) on several of them.

Kernels release Python's global lock, so plain threads run them side by side. They split what is independent (rows of a
batch, rows of a product, chunks of an array), never a sum: results have the same bits for any number of threads. The
calling thread takes part. Workers only ever wait for work, so any number of Python threads may call at the same time,
and a call from inside a task runs alone. A forked child starts with no workers and makes its own.

Why not Numba's `prange`: its portable layer dies when two Python threads enter it, its OpenMP layer after a fork.
"""

import operator
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Standby:
    """What a worker without a job does before it sleeps; here nothing, see `kernels.cpu.standby`."""

    def calls(self) -> int:
        """How often `call` was called."""
        return 0

    def call(self) -> None:
        """Let the workers that stand by look for jobs."""

    def watch(self, member: int, calls: int) -> bool:
        """Stand by for a while, as long as `calls()` is what is given; True if it is no more."""
        return False


class _Settings:
    num_threads = available_cores()
    standby = Standby()


def stand_by(standby: Standby) -> None:
    """Let the workers of this process stand by so."""
    _Settings.standby = standby


def set_num_threads(count: int) -> None:
    """Let each kernel use up to `count` threads from now on, the calling one included; for all threads of the process.

    Raises:
        TypeError: count is not an integer.
        ValueError: count is below 1.
    """
    try:
        number = operator.index(count)
    except TypeError:
        raise TypeError(f"set_num_threads: count is {count!r}; expected an integer") from None
    if number < 1:
        raise ValueError(f"set_num_threads: count is {count}; expected 1 or more")
    _Settings.num_threads = number


def get_num_threads() -> int:
    """Threads that kernels may use; at first the cores of this process."""
    return _Settings.num_threads


class ProcessLock:
    """A lock of all threads of the process, which the thread that holds it may take again; free in a forked child.

    Attributes:
        held: the lock itself, for ``with``; to be read anew each time.
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.held = threading.RLock()


class _Job:
    """Tasks that several threads take from one counter until none is left."""

    def __init__(self, function: Callable[[int], None], count: int) -> None:
        self._function: Callable[[int], None] | None = function
        self._tasks: Iterator[int] = iter(range(count))  # next() is atomic under the global lock
        self._changed = threading.Condition(threading.Lock())
        self._helping = 0
        self.error: BaseException | None = None

    def work(self, function: Callable[[int], None]) -> None:
        """Take tasks until there are none; after an error the rest is left."""
        try:
            for task in self._tasks:
                if self.error is not None:
                    return
                function(task)
        except BaseException as error:
            self.error = self.error or error

    def help(self) -> None:
        """What a worker does; one that comes after `finish` finds nothing to do."""
        with self._changed:
            function = self._function
            if function is None:
                return
            self._helping += 1
        try:
            self.work(function)
        finally:
            del function
            with self._changed:
                self._helping -= 1
                self._changed.notify_all()

    def finish(self) -> None:
        """Let no worker begin, wait for those at work, let go of the function; an interrupt is kept for later."""
        while self._function is not None or self._helping:
            try:
                with self._changed:
                    self._function = None  # late workers must not hold what it holds: arrays
                    self._changed.wait_for(lambda: not self._helping)
            except BaseException as error:
                self.error = self.error or error


class _Pool:
    """Worker threads that take jobs from one queue; more are started when more are asked for."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._size = 0

    def submit(self, job: _Job, helpers: int) -> None:
        self._put(job, self._start(helpers))
        _Settings.standby.call()

    def wake(self, absent: int, helpers: int) -> None:
        """Let so many of the helpers, who sleep or are not there yet, stand by."""
        if self._jobs.empty():
            self._put(_NO_JOB, min(absent, self._start(helpers)))

    def _put(self, job: _Job, times: int) -> None:
        for _ in range(times):
            self._jobs.put(job)

    def _start(self, helpers: int) -> int:
        """Make sure that so many workers are there; returns how many of them are."""
        with self._lock:
            while self._size < helpers:
                arguments = (self._size + 1,)
                try:
                    threading.Thread(target=self._serve, args=arguments, name="minigrad-kernel", daemon=True).start()
                except RuntimeError:  # the system has no more threads, or the interpreter is ending
                    helpers = self._size
                else:
                    self._size += 1
        return helpers

    def _serve(self, member: int) -> None:
        _Local.inside = True
        while True:
            calls = _Settings.standby.calls()
            if self._jobs.empty() and _Settings.standby.watch(member, calls):
                continue
            self._jobs.get().help()


class _LocalState(threading.local):
    inside = False


_Local = _LocalState()
_NO_JOB = _Job(lambda task: None, 0)
_pool = _Pool()


def _forget_workers() -> None:
    """A forked child has none of its parent's threads, and locks in whatever state they were."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)


def spare() -> int:
    """Threads beside this one that its next call may use; none inside a task."""
    return 0 if _Local.inside else _Settings.num_threads - 1


def wake(absent: int, helpers: int) -> None:
    """Let so many of the helpers of a call, who sleep or are not there yet, stand by."""
    _pool.wake(absent, helpers)


def run(function: Callable[[int], None], count: int) -> None:
    """Call function(task) once for each task 0 .. count - 1; returns when all are done.

    Tasks must be independent and write to different memory; in which order and where they run is left open. What one of
    them raises is raised here, and so is an interrupt, after the tasks that had begun have ended; others are left out.
    """
    helpers = min(count - 1, spare())
    if helpers < 1:
        for task in range(count):
            function(task)
        return
    job = _Job(function, count)
    try:
        _Local.inside = True
        _pool.submit(job, helpers)
        job.work(function)
    finally:
        job.finish()
        _Local.inside = False
    error, job.error = job.error, None
    if error is not None:
        try:
            raise error
        finally:
            del error  # its traceback holds this frame


def run_all(*lists: Sequence[Callable[[], None]]) -> None:
    """`run` for tasks of several kinds: threads that are done with one kind go on with the next without waiting."""
    tasks = [task for tasks in lists for task in tasks]
    if len(tasks) == 1:
        tasks[0]()
        return
    run(lambda number: tasks[number](), len(tasks))


def chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """0 .. count cut into [start, stop) of `size`."""
    starts = range(0, count, size)
    return ((start, min(start + size, count)) for start in starts)
