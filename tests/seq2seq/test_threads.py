"""--threads sets the threads of the kernels and of BLAS."""

import subprocess
import sys
from pathlib import Path

CODE = """
import numpy, minigrad, threadpoolctl
from seq2seq.cli import limit_threads

limit_threads(None)
before = minigrad.get_num_threads()
limit_threads(before + 2)
pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
print(minigrad.get_num_threads() - before, all(count <= before + 2 for count in pools))
limit_threads(1)
pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
print(minigrad.get_num_threads(), set(pools) <= {1})
"""


def test_limit_threads():
    """In an interpreter of its own: the limit lasts until the process ends."""
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", CODE], cwd=root, capture_output=True, text=True)
    assert result.stdout.split("\n")[:2] == ["2 True", "1 True"], result.stderr
