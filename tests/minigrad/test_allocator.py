"""Freed memory stays with the process: arrays made again need no new pages."""

import subprocess
import sys

import pytest

import minigrad

CODE = """
import sys, resource, numpy as np, minigrad
kept = sys.argv[1] == "keep" and minigrad.keep_freed_memory()
def use():
    arrays = [np.ones(int(sys.argv[2]), np.float32) for _ in range(3)]
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
@pytest.mark.parametrize("size", [5_000_000, 15_000_000])
def test_pages_are_not_asked_for_again(size):
    def faults(mode):
        command = [sys.executable, "-c", CODE, mode, str(size)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        kept, count = result.stdout.split()
        if mode == "keep" and kept == "False":
            pytest.skip("the C library has no such setting")
        return int(count)

    assert faults("leave") > 1000  # else this test shows nothing
    assert faults("keep") < 100


def test_other_systems_have_no_such_setting(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert minigrad.keep_freed_memory() is False
