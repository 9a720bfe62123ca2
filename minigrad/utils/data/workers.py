"""The worker processes of a loader, as the loader sees them: tasks go out in turn, results come back in that order.

Each worker has a pipe of its own for its results and works in order, so the next result is that of the worker whose
turn it is. A worker that ended unasked, and one that takes too long, are errors in one line.
"""

from __future__ import annotations

import multiprocessing
import weakref
from collections import deque
from collections.abc import Iterator
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

from minigrad.utils.data.worker import PATIENCE, BeginEpoch, End, Result, Work, Worker, serve


class _Process(NamedTuple):
    """A worker: its process, the queue of its tasks, the pipe of its results."""

    process: Any
    tasks: Any
    results: Any


class Workers:
    """The worker processes of one loader.

    Args:
        work: what they do.
        num_workers: how many.
        seed: worker i starts its random numbers from seed + i.
        timeout: seconds to wait for a result; 0: as long as it takes.
        context: of ``multiprocessing``, or its name; None for spawn.

    Raises:
        TypeError: a part of the work cannot be sent to another process.
    """

    def __init__(self, work: Work, num_workers: int, seed: int, timeout: float, context: Any) -> None:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise RuntimeError(
                "DataLoader: workers are started while a worker imports the script; expected the script's own work "
                'below if __name__ == "__main__":'
            )
        self._timeout = timeout
        method = (
            multiprocessing.get_context(context or "spawn") if context is None or isinstance(context, str) else context
        )
        packed = _packed(work)
        self._processes = [
            _started(method, Worker(number, num_workers, seed + number, packed)) for number in range(num_workers)
        ]
        self._stop = weakref.finalize(self, _stop, self._processes)
        self._waiting: deque[int] = deque()  # whose results will come, in order
        self._active: list[int] = []
        self._turn = 0

    def begin_epoch(self) -> None:
        """Forget what is still to come, and have every worker start anew."""
        while self._waiting:
            self._receive(self._waiting.popleft())
        self._active, self._turn = list(range(len(self._processes))), 0
        for each in self._processes:
            each.tasks.put(BeginEpoch())

    def put(self, task: Any) -> bool:
        """Give a task to the worker whose turn it is; False if the streams of all have ended."""
        if not self._active:
            return False
        number = self._active[self._turn % len(self._active)]
        self._turn = (self._turn + 1) % len(self._active)
        self._processes[number].tasks.put(task)
        self._waiting.append(number)
        return True

    def results(self, tasks: Iterator[Any], ahead: int) -> Iterator[Any]:
        """What comes of the tasks, in order; ``ahead`` tasks are given out beforehand."""
        for _, task in zip(range(ahead), tasks, strict=False):
            self.put(task)
        while self._waiting:
            number = self._waiting.popleft()
            result = self._receive(number)
            if result.ended:
                self._retire(number)
            for task in tasks:
                self.put(task)
                break
            if result.error is not None:
                kind, text = result.error
                raise kind(text)
            if not result.ended:
                yield result.value

    def stop(self) -> None:
        """End the processes."""
        self._stop()

    def _retire(self, number: int) -> None:
        """The stream of a worker has ended: the turn goes on with the next."""
        if number in self._active:
            position = self._active.index(number)
            self._active.remove(number)
            self._turn -= position < self._turn
            self._turn %= max(len(self._active), 1)

    def _receive(self, number: int) -> Result:
        each = self._processes[number]
        ready = connection.wait([each.results, each.process.sentinel], self._timeout or None)
        if not ready:
            raise RuntimeError(f"DataLoader: worker {number} gave no batch within timeout={self._timeout} seconds")
        try:
            if each.results in ready or each.results.poll():
                return each.results.recv()
        except EOFError:
            pass
        each.process.join(PATIENCE)
        raise RuntimeError(f"DataLoader: worker {number} ended unasked, {_ending(each.process.exitcode)}")


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"by signal {-code}" + (": perhaps the memory was exhausted" if code == -9 else "")
    return (
        f"with exit code {code}; what it printed says why. Scripts that start workers have their own work below "
        'if __name__ == "__main__":'
    )


def _packed(work: Work) -> bytes:
    names = {"dataset": "dataset", "collate": "collate_fn", "worker_init_fn": "worker_init_fn"}
    for field, name in names.items():
        try:
            ForkingPickler.dumps(getattr(work, field))
        except Exception as error:
            raise TypeError(
                f"DataLoader: {name} cannot be sent to worker processes: {str(error).splitlines()[0]}; "
                "expected what a module defines at its top level, or num_workers=0"
            ) from None
    return bytes(ForkingPickler.dumps(work))


def _started(method: Any, worker: Worker) -> _Process:
    receiving, sending = method.Pipe(duplex=False)
    tasks = method.Queue()
    process = method.Process(target=serve, args=(worker, tasks, sending), daemon=True)
    process.start()
    sending.close()  # so that the pipe ends when the worker does
    return _Process(process, tasks, receiving)


def _stop(processes: list[_Process]) -> None:
    """Ask every worker to end; one that does not is made to."""
    for each in processes:
        each.results.close()  # a worker that is sending notices
        each.tasks.put(End())
    for each in processes:
        each.process.join(PATIENCE)
        if each.process.is_alive():
            each.process.terminate()
            each.process.join()
        each.tasks.cancel_join_thread()
        each.tasks.close()
