"""The promise of at least 2,000 checked gradients: counted over all workers, demanded of complete runs only."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[2] / "conftest.py"
SUITE = """
import pytest

@pytest.mark.parametrize("i", range(8))
def test_counts(i, count_case):
    for _ in range({per_test}):
        count_case()
"""


def run(folder: Path, per_test: int, *arguments: str) -> subprocess.CompletedProcess:
    tests = folder / "tests"
    tests.mkdir()
    shutil.copy(CONFTEST, tests / "conftest.py")
    (tests / "test_it.py").write_text(SUITE.format(per_test=per_test))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("per_test", "arguments", "code", "line"),
    [
        (250, ["tests", "-n", "2"], 0, "gradient cases checked: 2000\n"),
        (249, ["tests", "-n", "2"], 1, "gradient cases checked: 1992 (FAILED: the complete suite requires 2000)"),
        (1, ["tests"], 1, "gradient cases checked: 8 (FAILED"),
        (1, ["tests", "-k", "counts"], 0, "gradient cases checked: 8\n"),
        (1, ["tests/test_it.py"], 0, "gradient cases checked: 8\n"),
    ],
)
def test_a_complete_run_needs_its_cases(tmp_path, per_test, arguments, code, line):
    result = run(tmp_path, per_test, *arguments)
    assert line in result.stdout
    assert result.returncode == code
