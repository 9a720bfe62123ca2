"""A worker process of a loader: it fetches the tasks that it is given, one after the other.

Workers are started by spawn: a copy made by fork of a process whose threads compute may hang or be killed. So the data
set, the collate function and ``worker_init_fn`` travel to them, and must be of a module, or of a script whose own work
stands below ``if __name__ == "__main__"``. They are unpacked here, where a failure can be told.
"""

from __future__ import annotations

import queue
import random as python_random
import signal
import traceback
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import kernels
from minigrad import random
from minigrad.utils.data.fetch import Fetch, fetcher
from minigrad.utils.data.worker_info import WorkerInfo, become

PATIENCE = 5.0  # seconds between two looks at whether the loader's process is still there


class Work(NamedTuple):
    """What the workers of a loader are to do."""

    dataset: Any
    collate: Callable[[Any], Any]
    drop_last: bool
    worker_init_fn: Callable[[int], Any] | None


class BeginEpoch:
    """In place of a task: what goes through a stream starts anew."""


class End:
    """In place of a task: there will be none."""


class Result(NamedTuple):
    """What came of a task: a value, the end of a stream, or an error."""

    value: Any = None
    ended: bool = False
    error: tuple[type[Exception], str] | None = None


class Worker(NamedTuple):
    """What a worker is told when it starts. ``packed`` is its Work, ``seed`` what its random numbers start from."""

    number: int
    num_workers: int
    seed: int
    packed: bytes

    def unpack(self) -> Work:
        """Its work, with the random numbers seeded and ``worker_init_fn`` called."""
        python_random.seed(self.seed)
        random.manual_seed(self.seed)
        np.random.seed(self.seed % 2**32)
        work: Work = ForkingPickler.loads(self.packed)
        become(WorkerInfo(self.number, self.num_workers, self.seed, work.dataset))
        if work.worker_init_fn is not None:
            work.worker_init_fn(self.number)
        return work

    def failure(self, error: Exception) -> Result:
        """An error as one line: which worker, what, and where in the user's code."""
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        said = str(error).strip().splitlines()
        text = f"DataLoader: worker {self.number}: {type(error).__name__}: {said[0] if said else 'no text'}{where}"
        return Result(error=(_class_to_raise(error), text))


def _class_to_raise(error: Exception) -> type[Exception]:
    """The error's class, if the loader's process knows it and it can be made of one text."""
    kind = type(error)
    try:
        ForkingPickler.dumps(kind)
        return kind if str(kind("text")) in ("text", "'text'") else RuntimeError
    except Exception:
        return RuntimeError


def serve(worker: Worker, tasks: Any, results: Any) -> None:
    """The life of a worker. It ends when it is told to, or when the loader's process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the loader's process says when to end
    kernels.set_num_threads(1)
    work: Work | None = None
    fetch: Fetch | None = None
    failed: Result | None = None
    while not isinstance(task := _next(tasks), End):
        if isinstance(task, BeginEpoch):
            try:
                work = work or worker.unpack()
                fetch, failed = fetcher(work.dataset, work.collate, work.drop_last), None
            except Exception as error:
                failed = worker.failure(error)
        elif not _sent(worker, results, failed or _result(worker, fetch, task)):
            return


def _next(tasks: Any) -> Any:
    """The next task; End too if nobody is there any more to give one."""
    while True:
        try:
            return tasks.get(timeout=PATIENCE)
        except queue.Empty:
            loader = parent_process()
            if loader is None or not loader.is_alive():
                return End()


def _result(worker: Worker, fetch: Any, task: Any) -> Result:
    try:
        return Result(fetch(task))
    except StopIteration:
        return Result(ended=True)
    except Exception as error:
        return worker.failure(error)


def _sent(worker: Worker, results: Any, result: Result) -> bool:
    """Send a result, or why it cannot be sent; False if nobody listens any more."""
    try:
        results.send(result)
    except OSError:
        return False
    except Exception as error:  # the value cannot be packed; nothing has been sent
        return _sent(worker, results, worker.failure(error))
    return True
