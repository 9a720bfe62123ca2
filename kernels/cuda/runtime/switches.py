"""The ways in which kernels of a device can be run, for measurements and tests that compare them.

    with switched(persistent=False, step_graphs=False):
        ...

They are those of the whole process. Only `switched` sets them, but that graphs are given up where a device refuses one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kernels.cuda.runtime.compiler import SOURCE_FOLDER


@dataclass
class Switches:
    """What is chosen now.

    Attributes:
        persistent: one launch takes a layer through all steps, where there is a kernel for it; else a step at a time.
        marked: its blocks poll the data itself instead of a flag, where a kernel does (lstm_forward.cu). No GPU has yet
            said which is faster; benchmarks/ablations.py asks.
        step_graphs: loops over time steps are captured, and launched as one when they come again.
        sources: the folder whose .cu files are compiled.
    """

    persistent: bool = True
    marked: bool = False
    step_graphs: bool = True
    sources: Path = SOURCE_FOLDER


switches = Switches()


@contextmanager
def switched(**changes: Any) -> Iterator[None]:
    """Some switches set for a while, then all as before; TypeError for a name that is none."""
    former = vars(switches).copy()
    vars(switches).update(vars(replace(switches, **changes)))
    try:
        yield
    finally:
        vars(switches).update(former)
