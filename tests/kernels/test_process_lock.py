"""A lock that a forked child finds free, although a thread of its parent held it."""

import os
import subprocess
import sys

import pytest

LOCK = """
import os, signal, threading, warnings
from kernels import ProcessLock
warnings.simplefilter("ignore")
lock, held, done = ProcessLock(), threading.Event(), threading.Event()

def hold():
    with lock.held, lock.held:  # its thread may take it again
        held.set()
        done.wait(60)

thread = threading.Thread(target=hold)
thread.start()
held.wait(60)
child = os.fork()
if child == 0:
    signal.alarm(20)  # ends a child that waits for ever
    with lock.held:
        os._exit(0)
assert os.waitpid(child, 0)[1] == 0
done.set()
thread.join()
with lock.held:
    print("free")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_lock_is_free_in_a_forked_child():
    result = subprocess.run([sys.executable, "-c", LOCK], capture_output=True, text=True, check=True)
    assert result.stdout == "free\n"
