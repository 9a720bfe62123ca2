"""What the whole suite shares: one BLAS thread, Hypothesis profiles, and the count of gradient-checked cases.

The suite promises at least ``REQUIRED_CASES`` gradients compared with finite differences. Tests call the ``count_case``
fixture once per comparison; the sum over all workers is printed at the end, and a run of the complete suite fails if it
falls short, so that the promise cannot erode unnoticed.
"""

from __future__ import annotations

import errno
import gc
import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Tiny products in several test processes: more BLAS threads than that would only wait for each other. Set before NumPy
# or PyTorch is loaded; programs that tests start inherit it.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

REQUIRED_CASES = 2000

settings.register_profile(
    "ci",
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", parent=settings.get_profile("ci"), max_examples=1000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


class GradientCases:
    """How many gradients this process (and, in the controller of a parallel run, its workers) compared."""

    def __init__(self) -> None:
        self.total = 0

    def __call__(self) -> None:
        self.total += 1


CASES = pytest.StashKey[GradientCases]()


def pytest_configure(config: pytest.Config) -> None:
    import kernels  # only now: NumPy reads the settings above

    kernels.set_num_threads(1)  # for the same reason; tests of threads set their own number
    config.stash[CASES] = GradientCases()


@pytest.fixture(scope="module", autouse=True)
def long_lived() -> None:
    """What is there when a module begins stays, so the garbage collector need not look at it over and over: half a
    million objects of Numba, PyTorch and Hypothesis took a third of the suite's time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def count_case(pytestconfig: pytest.Config) -> Callable[[], None]:
    """Call it once per gradient-checked case."""
    return pytestconfig.stash[CASES]


def pytest_runtest_setup(item: pytest.Item) -> None:
    simulated = os.environ.get("MINIGRAD_GPU_TESTS") == "simulator"  # to try the tests themselves, at small sizes
    if item.get_closest_marker("gpu") is not None and not (simulated or _on_a_gpu()):
        pytest.skip("needs a GPU, and CuPy to see it")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """full_disk(): from now on nothing can be brought to the disk, as the system tells where one asks it to (fsync).

    A file system of its own, which a test could fill, takes root.
    """

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "fsync", refuse)


STANDIN = Path(__file__).parent / "cuda_sim" / "standin"


def _on_a_gpu() -> bool:
    """Whether the CuPy that is installed sees a device."""
    if importlib.util.find_spec("cupy") is None:
        return False
    import cupy

    return bool(cupy.cuda.is_available())


@pytest.fixture
def strict_float32() -> Iterator[None]:
    """Whatever a test allows, the next one has to allow it for itself."""
    import kernels

    kernels.allow_tf32(False)
    yield
    kernels.allow_tf32(False)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, strict_float32: None) -> Iterator[ModuleType]:
    """CuPy: the real one where there is a GPU, else the stand-in on the processor, for one test."""
    if _on_a_gpu():
        yield importlib.import_module("cupy")
        return
    if shutil.which("g++") is None:
        pytest.skip("the stand-in for CuPy compiles with g++")
    outside = {name: module for name, module in sys.modules.items() if _comes_and_goes(name)}
    for name in outside:
        del sys.modules[name]
    monkeypatch.syspath_prepend(str(STANDIN))
    sys.modules.update(_LOADED)
    from minigrad.device import use

    try:
        yield importlib.import_module("cupy")
    finally:
        use.index, use.started = None, False
        _LOADED.update({name: module for name, module in sys.modules.items() if _comes_and_goes(name)})
        for name in _LOADED:
            del sys.modules[name]
        sys.modules.update(outside)


@pytest.fixture
def poisoned(cuda: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each replay of a CUDA graph all memory of its own is NaN (as integers: -1), not what a replay left there.

    So a result shows if it was made of anything that the replay itself has not written.
    """
    if not cuda.__version__.endswith("standin"):
        pytest.skip("the memory of CuPy's own pools is not to be had")
    from kernels.cuda.runtime.capture import Recording

    replay = Recording.replay

    def poisoned_replay(recording: Any, *arguments: Any) -> None:
        recording._pool.poison()
        replay(recording, *arguments)

    monkeypatch.setattr(Recording, "replay", poisoned_replay)


# The stand-in and what has imported it, kept between tests: a second copy would have other classes.
_LOADED: dict[str, ModuleType] = {}


def _comes_and_goes(name: str) -> bool:
    return name.split(".")[0] in ("cupy", "cupyx", "cuda")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker of pytest-xdist ended: add its count."""
    node.config.stash[CASES].total += getattr(node, "workeroutput", {}).get("gradient_cases", 0)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    cases = session.config.stash[CASES].total
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["gradient_cases"] = cases
    elif cases < REQUIRED_CASES and _is_complete(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    cases = config.stash[CASES].total
    short = cases < REQUIRED_CASES and _is_complete(config)
    note = f" (FAILED: the complete suite requires {REQUIRED_CASES})" if short else ""
    terminalreporter.write_line(f"gradient cases checked: {cases}{note}")


def _is_complete(config: pytest.Config) -> bool:
    """Whether every test of this folder was asked for."""
    option = config.option
    narrowed = (
        option.keyword
        or option.markexpr
        or option.maxfail
        or option.collectonly
        or getattr(option, "lf", False)
        or getattr(option, "stepwise", False)
    )
    asked = {(config.invocation_params.dir / argument).resolve() for argument in config.args}
    return not narrowed and not option.deselect and asked == {Path(__file__).resolve().parent}
