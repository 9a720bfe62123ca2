"""The table of sizes counts what it says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path, PurePosixPath

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


def test_lines_functions_and_arguments_are_counted() -> None:
    assert sizes.num_lines(PROGRAM) == 6
    assert sizes.num_lines(KERNEL) == 3
    assert sorted(sizes.functions(PROGRAM)) == [(1, 0), (5, 4)]
    both = {PurePosixPath("a/b.py"): PROGRAM, PurePosixPath("a/c.cu"): KERNEL}
    assert sizes.size(both) == sizes.Size(files=2, lines=9, median=3, longest=5, arguments=4)


def test_a_folder_that_has_gone_stands_beside_one_that_has_come() -> None:
    one, other = sizes.Size(1, 20, 3, 4, 2), sizes.Size(2, 1200, 3, 5, 2)
    lines = list(sizes.table({"a/": one, "a/old": one}, {"a/": other, "a/new": other}))
    assert lines[2:] == [
        "| a/ | 1 -> 2 | 20 -> 1,200 | 3 | 4 -> 5 | 2 |",
        "| a/new | 0 -> 2 | 0 -> 1,200 | 0 -> 3 | 0 -> 5 | 0 -> 2 |",
        "| a/old | 1 -> 0 | 20 -> 0 | 3 -> 0 | 4 -> 0 | 2 -> 0 |",
    ]


def test_two_commits_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=sizes.ROOT, capture_output=True).returncode:
        pytest.skip("no git checkout")
    sizes.main(["HEAD", "HEAD", "--json", str(tmp_path / "sizes.json")])
    assert "| kernels/ |" in capsys.readouterr().out
    found = json.loads((tmp_path / "sizes.json").read_text())["HEAD"]
    assert found["kernels/"]["lines"] > found["kernels/cpu"]["lines"] > 0
