"""Settings of Numba in the environment or in a file: a value it cannot use is an ImportError of one line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kernels.cpu import jit

PROGRAM = "import kernels.cpu.jit"


def imported(tmp_path, **variables: str) -> tuple[int, list[str]]:
    """Exit code and standard error of a process that imports Numba."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    root = os.path.dirname(os.path.dirname(os.path.dirname(jit.__file__)))
    environment |= {"PYTHONPATH": root, **variables}
    child = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    return child.returncode, child.stderr.splitlines()


@pytest.mark.parametrize(
    ("name", "value"),
    [("NUMBA_NUM_THREADS", "0"), ("NUMBA_NUM_THREADS", "-3"), ("NUMBA_NUM_THREADS", ""), ("NUMBA_NUM_THREADS", "x"),
     ("NUMBA_NUM_THREADS", "9" * 30), ("NUMBA_CPU_FEATURES", "avx2"), ("NUMBA_CPU_FEATURES", "+a,,-b")],
)  # fmt: skip
def test_a_variable_that_would_end_the_process(monkeypatch, name, value) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ImportError, match=f"^the environment variable {name} is '.*'; expected "):
        jit._check_environment()


@pytest.mark.parametrize(
    ("name", "value"),
    [("NUMBA_NUM_THREADS", "4"), ("NUMBA_CPU_FEATURES", ""), ("NUMBA_CPU_FEATURES", "+avx2,-avx512f,+sse4.2")],
)
def test_a_variable_that_is_right(monkeypatch, name, value) -> None:
    monkeypatch.setenv(name, value)
    jit._check_environment()


def test_a_variable_that_numba_cannot_read(tmp_path) -> None:
    code, lines = imported(tmp_path, NUMBA_OPT="9")
    assert code == 1
    assert lines[-1].startswith("ImportError: Environment variable 'NUMBA_OPT' is defined but its associated value '9'")


def test_a_broken_settings_file_of_numba(tmp_path) -> None:
    (tmp_path / ".numba_config.yaml").write_text("- [\n")
    code, lines = imported(tmp_path)
    assert code == 1
    assert lines[-1].startswith("ImportError: Numba cannot be imported (ParserError: ")


def test_locators_of_the_environment_do_not_concern_our_folder(monkeypatch) -> None:
    if jit.CACHE_FOLDER is None:
        pytest.skip("compiled kernels are not kept")
    monkeypatch.setattr(jit.config, "CACHE_LOCATOR_CLASSES", "NoSuchLocator", raising=False)

    def plus(a: float, b: float) -> float:
        return a + b

    assert jit._compile(plus, jit.FLAGS)(1.0, 2.0) == 3.0
    assert jit.config.CACHE_LOCATOR_CLASSES == "NoSuchLocator"
