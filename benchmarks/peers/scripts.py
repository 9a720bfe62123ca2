"""A script of docs/examples, by either library: the same source with other import lines.

The script runs in a thread of its own and waits at each `backward` until it may go on, so its updates can take turns
with those of another process. An update is what lies between two of these calls, data and optimiser included.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
import threading
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


class ScriptTask(NamedTuple):
    """A script and its options, which ask for more epochs than a race takes."""

    name: str
    options: tuple[str, ...]

    kind = "Script"  # the class of a peer's module


class Script:
    """A script that does as many updates as it is told.

    Attributes:
        library: the name of the package that it imports.
    """

    library: str

    def __init__(self, task: ScriptTask, precision: str, threads: int) -> None:
        if precision != "fp32":
            raise RuntimeError(f"the scripts are of float32, not {precision}")
        importlib.import_module(self.library).set_num_threads(threads)
        self._losses: list[float] = []
        self._left = 0
        self._failure: BaseException | None = None
        self._may_go, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self._stop_at_backward()
        module = self._loaded(task.name)
        threading.Thread(target=self._run, args=(module, [*task.options]), daemon=True).start()
        self._waits.acquire()  # at its first loss: data and model are there
        self._check()

    def _loaded(self, name: str) -> ModuleType:
        """The script as a module, with this library's import lines."""
        if str(EXAMPLES) not in sys.path:
            sys.path.insert(0, str(EXAMPLES))
        source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").replace("minigrad", self.library)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}_of_{self.library}.py"
            path.write_text(source, encoding="utf-8")
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        return module

    def _stop_at_backward(self) -> None:
        tensor = importlib.import_module(self.library).Tensor
        backward = getattr(tensor.backward, "__wrapped__", tensor.backward)  # where a script before waits in ours

        @wraps(backward)
        def stopping(loss: Any, *args: Any, **kwargs: Any) -> Any:
            if self._left == 0:
                self._waits.release()
                self._may_go.acquire()
            self._left -= 1
            self._losses.append(float(loss.item()))
            return backward(loss, *args, **kwargs)

        tensor.backward = stopping

    def _run(self, module: ModuleType, options: list[str]) -> None:
        try:
            module.main(options)
            raise RuntimeError("the script ended")
        except BaseException as failure:
            self._failure = failure
            self._waits.release()

    def _check(self) -> None:
        if self._failure is not None:
            raise RuntimeError(f"{type(self._failure).__name__}: {self._failure}")

    def updates(self, count: int) -> float:
        """Do so many; the mean of their losses."""
        self._losses, self._left = [], count
        self._may_go.release()
        self._waits.acquire()
        self._check()
        return sum(self._losses) / count
