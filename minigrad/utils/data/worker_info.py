"""What a worker of a loader knows of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WorkerInfo:
    """One worker of a loader.

    Attributes:
        id: 0 to num_workers - 1.
        num_workers: how many there are.
        seed: what its random numbers start from: the epoch's seed and ``id``.
        dataset: its copy of the data set.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


_current: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """Which worker this process is; None in the process that made the loader."""
    return _current


def become(info: WorkerInfo) -> None:
    """Make this process a worker."""
    global _current
    _current = info
