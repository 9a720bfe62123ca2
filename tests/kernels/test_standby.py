"""Threads that stand by: every part done once, whoever comes, is absent, is busy elsewhere or has no memory."""

import os
import textwrap
import threading
import time
from typing import Any

import numpy as np
import pytest
from numba import config

import kernels
from kernels import threads
from kernels.cpu import standby
from kernels.cpu.jit import jit
from kernels.cpu.standby import ARGUMENTS, MOST_ARGUMENTS, TAKEN, WATCHING, array_at, meet, share
from tests.kernels.test_threads import python

pytestmark = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled, so nobody stands by")

ROUNDS = 2000


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = kernels.get_num_threads()
    yield
    kernels.set_num_threads(before)


@jit
def count_up(words: Any, part: Any) -> None:
    """One more in the place of the part."""
    array_at(words[0], (words[1],), np.empty(0, np.int64))[part] += 1


@jit
def fail_at(words: Any, part: Any) -> None:
    """Fails at a part as one without memory does, and counts the others."""
    if part == words[2]:
        raise MemoryError("no memory")
    array_at(words[0], (words[1],), np.empty(0, np.int64))[part] += 1


def share_counts(counts, task=count_up, rounds=1, failing=-1):
    """Let threads count up every number of `counts`, again and again."""
    words = np.zeros(MOST_ARGUMENTS, np.int64)
    words[:3] = counts.ctypes.data, len(counts), failing
    for _ in range(rounds):
        share(meet(task, len(counts)), words, len(counts))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_part_is_done_once(count):
    kernels.set_num_threads(count)
    for parts in (1, 2, 7, 62):
        counts = np.zeros(parts, np.int64)
        share_counts(counts, rounds=ROUNDS)
        assert counts.tolist() == [ROUNDS] * parts
    assert standby._board[TAKEN] == 0


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_thread_that_sleeps_is_called_and_goes_back_to_sleep():
    kernels.set_num_threads(3)
    wait_for(lambda: standby._board[WATCHING] == 0)
    counts = np.zeros(3, np.int64)
    share_counts(counts)
    wait_for(lambda: standby._board[WATCHING] == 0)
    assert counts.tolist() == [1, 1, 1]


def test_others_do_parts():
    """Otherwise the tests here would show nothing: here nobody else could do them."""
    kernels.set_num_threads(2)
    helper = threading.Thread(target=standby._watch, args=(standby._board, 1, standby._board[standby.CALLS]))
    counts = np.zeros(2, np.int64)
    words = standby._board[ARGUMENTS:]
    words[:3] = counts.ctypes.data, 2, -1
    standby._board[standby.TASK] = meet(count_up, 2).task
    helper.start()
    standby.publish(standby._board, 2)
    wait_for(lambda: standby._board[standby.PENDING] == 0)
    helper.join(60)
    assert counts.tolist() == [1, 1]


def test_more_threads_come_when_more_are_allowed():
    """Also while those that are there do not sleep; with a pool of its own, since others have made theirs large."""
    code = """
        import time
        import numpy as np
        import kernels
        from kernels.cpu import standby
        from tests.kernels.test_standby import share_counts
        for count in (2, 4, 3):
            kernels.set_num_threads(count)
            most, end = 0, time.monotonic() + 60
            while most < count - 1 and time.monotonic() < end:
                share_counts(np.zeros(count, np.int64))
                most = max(most, int(standby._board[standby.WATCHING]))
            print(most >= count - 1)
    """
    assert python(textwrap.dedent(code)).split() == ["True"] * 3


def test_nobody_else_need_come(monkeypatch):
    monkeypatch.setattr(threads, "wake", lambda absent, helpers: None)
    kernels.set_num_threads(4)
    wait_for(lambda: standby._board[WATCHING] == 0)
    counts = np.zeros(9, np.int64)
    share_counts(counts, rounds=9)
    assert counts.tolist() == [9] * 9


@pytest.mark.parametrize("count", [1, 3])
def test_a_part_without_memory_is_told_and_the_threads_live_on(count):
    kernels.set_num_threads(count)
    for failing in range(3):
        counts = np.zeros(3, np.int64)
        with pytest.raises(MemoryError, match="a kernel that threads share has no memory for its part"):
            share_counts(counts, fail_at, failing=failing)
        assert counts.tolist() == [number != failing for number in range(3)]
    counts = np.zeros(3, np.int64)
    share_counts(counts, fail_at, ROUNDS)
    assert counts.tolist() == [ROUNDS] * 3


def test_many_callers_at_once():
    """One has the board, the others work alone."""
    kernels.set_num_threads(3)
    found = {}

    def call(number):
        counts = np.zeros(number, np.int64)
        share_counts(counts, rounds=ROUNDS)
        found[number] = set(counts.tolist())

    callers = [threading.Thread(target=call, args=(number,)) for number in range(2, 8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == {number: {ROUNDS} for number in range(2, 8)}
    assert standby._board[TAKEN] == 0


def test_inside_a_task_there_are_no_helpers():
    kernels.set_num_threads(3)
    shared = []
    threads.run(lambda task: shared.append(meet(count_up, 5).shared), 4)
    assert shared == [False] * 4
    assert meet(count_up, 5).shared
    assert not meet(count_up, 1).shared


def test_threads_that_stand_by_come_for_jobs():
    """A job of the pool is not left lying while a worker looks at the board."""
    kernels.set_num_threads(2)
    for _ in range(20):
        share_counts(np.zeros(2, np.int64))
        begun = threading.Barrier(2)
        threads.run(lambda task, begun=begun: begun.wait(60), 2)  # neither ends before the other has begun


FORK = """
import os
import numpy as np
import kernels
from kernels.cpu import once

kernels.set_num_threads(3)
once.SHARED_WORK = once.PART_WORK = 1
rng = np.random.default_rng(0)
a, b = rng.standard_normal((40, 50)), rng.standard_normal((50, 200))
expected = kernels.matmul(a, b).tobytes()
results = []
for _ in range(10):
    child = os.fork()
    equal = all(kernels.matmul(a, b).tobytes() == expected for _ in range(50))
    if not child:
        os._exit(0 if equal else 1)
    results.append(equal and os.waitpid(child, 0)[1] == 0)
print(results == [True] * 10)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_has_helpers_of_its_own():
    assert python(FORK) == "True"


def test_an_array_at_an_address():
    numbers = np.arange(6.0)
    found = array_at(numbers.ctypes.data, (2, 3), np.empty(0))
    np.testing.assert_array_equal(found, [[0, 1, 2], [3, 4, 5]])
    assert np.shares_memory(found, numbers)
