"""The table of sizes counts what it says."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import PurePosixPath

import pytest
import sizes

PROGRAM = '''#!/usr/bin/env python3
"""Docstrings count."""

# A comment does not.
class A:
    def f(self, a, *b, c, **d):
        x = 1  # this line counts

        def g(): return x
        return g
'''
KERNEL = "#include <a>\n\n// not this\n#pragma unroll\nint x;\n"


def test_files_and_lines_are_counted() -> None:
    assert sizes.num_lines(PROGRAM) == 6
    assert sizes.num_lines(KERNEL) == 3
    files, lines = sizes.sizes({PurePosixPath("a/b.py"): PROGRAM, PurePosixPath("a/c/d.cu"): KERNEL})
    assert files == {"a/": 2, "a": 1, "a/c": 1}
    assert lines == {"a/": 9, "a": 6, "a/c": 3}


def test_a_folder_that_has_gone_stands_beside_one_that_has_come() -> None:
    before, after = (
        ({"a/": 1, "a/old": 1}, {"a/": 20, "a/old": 20}),
        ({"a/": 1, "a/new": 1}, {"a/": 1200, "a/new": 1200}),
    )
    lines = sizes.table(*([Counter(each) for each in both] for both in (before, after)))
    assert list(lines)[1:] == [
        "| a/ | 1 | 20 -> 1,200 |",
        "| a/new | 0 -> 1 | 0 -> 1,200 |",
        "| a/old | 1 -> 0 | 20 -> 0 |",
    ]


def test_two_commits_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=sizes.ROOT, capture_output=True).returncode:
        pytest.skip("no git checkout")
    sizes.main(["HEAD", "HEAD"])
    assert "| kernels/ |" in capsys.readouterr().out
