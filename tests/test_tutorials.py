"""The lessons of docs/tutorials: each runs as it stands, and what it claims it asserts itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "tutorials"
LESSONS = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_proves_what_it_says(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / f"{name}.py")]
    here = tmp_path / "here"
    here.mkdir()
    around = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run(command, cwd=here, capture_output=True, text=True, env=around)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert list(here.iterdir()) == []


def test_every_lesson_is_listed_once() -> None:
    linked = re.findall(r"\]\((\w+)\.py\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(linked) == LESSONS
