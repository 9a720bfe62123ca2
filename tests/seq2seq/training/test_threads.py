"""--threads sets the threads of the kernels and of BLAS."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from seq2seq import Translator

CODE = """
import numpy, minigrad, threadpoolctl
from seq2seq.run.cli import limit_threads

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
    root = Path(__file__).parents[3]
    result = subprocess.run([sys.executable, "-c", CODE], cwd=root, capture_output=True, text=True)
    assert result.stdout.split("\n")[:2] == ["2 True", "1 True"], result.stderr


def test_a_translator_serves_several_threads(train) -> None:
    """Each call gives the words that it gives alone, whatever the other threads ask meanwhile."""
    translator = Translator.load(train("run", "--epochs", 2))
    requests = [([f"{i} {j} 3"] * (1 + i % 3), 1 + j % 4) for i in range(10) for j in range(4)]
    alone = [translator.translate(sentences, beam_size) for sentences, beam_size in requests]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda request: translator.translate(*request), requests * 3))
    assert together == alone * 3
