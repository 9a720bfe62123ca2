"""The threads of the kernels: equal bits for any number, many callers at once, forks, errors, interrupts."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

import kernels
import minigrad
from kernels import threads
from kernels.cpu import team
from kernels.threads import chunks, run

COUNTS = (2, 3, 5)


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = kernels.get_num_threads()
    yield
    kernels.set_num_threads(before)


def layer_results(layer, bf16=False, seed=0):
    """Outputs and gradients of a layer large enough to be cut among threads, one row without tokens."""
    rng = np.random.default_rng(seed)
    inputs = layer.sample(rng, 12, 23, 24, 96, np.float32)
    lengths = rng.integers(1, 13, 23)
    lengths[3] = 0
    outputs, cache = layer.forward(kernels, inputs, lengths, bf16)
    grads = layer.backward(kernels, outputs, cache)
    return [array.tobytes() for array in (*outputs.values(), *grads.values())]


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])
def test_a_layer_has_the_same_bits_on_any_number_of_threads(layer, bf16):
    kernels.set_num_threads(1)
    expected = layer_results(layer, bf16)
    for count in COUNTS:
        kernels.set_num_threads(count)
        assert layer_results(layer, bf16) == expected


def test_the_layer_of_these_tests_is_cut_among_threads(layer, monkeypatch):
    """Otherwise the test above would show nothing."""
    shares = []
    monkeypatch.setattr(team, "run", lambda function, count: (shares.append(count), run(function, count)))
    kernels.set_num_threads(5)
    layer_results(layer)
    assert set(shares) == {5}


def test_every_task_is_done_once():
    for count in COUNTS:
        kernels.set_num_threads(count)
        for tasks in (0, 1, 2, 3, 100):
            done = np.zeros(tasks, int)

            def task(number, done=done):
                done[number] += 1

            run(task, tasks)
            assert (done == 1).all()


def test_several_threads_take_part():
    kernels.set_num_threads(3)
    together = threading.Barrier(3, timeout=60)
    names = []

    def task(number):
        together.wait()
        names.append(threading.current_thread().name)

    run(task, 3)
    assert len(names) == 3
    assert threading.current_thread().name in names


def test_no_more_threads_than_allowed():
    kernels.set_num_threads(2)
    inside, most, lock = set(), [0], threading.Lock()

    def task(number):
        with lock:
            inside.add(threading.get_ident())
            most[0] = max(most[0], len(inside))
        time.sleep(0.001)

    run(task, 40)
    assert most[0] <= 2


@pytest.mark.parametrize("count", [1, 3])
def test_a_call_from_inside_a_task_runs_alone(count):
    kernels.set_num_threads(count)
    found = np.zeros((4, 5), int)
    callers = {}

    def outer(row):
        def inner(column):
            found[row, column] += 1
            callers.setdefault(row, set()).add(threading.get_ident())

        run(inner, 5)

    run(outer, 4)
    assert (found == 1).all()
    if count > 1:
        assert all(len(idents) == 1 for idents in callers.values())


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
def test_an_error_arrives_once_and_the_pool_lives_on(count, kind):
    kernels.set_num_threads(count)
    for _ in range(20):
        error = kind("of task 3")

        def task(number, error=error):
            if number == 3:
                raise error

        with pytest.raises(kind) as caught:
            run(task, 50)
        assert caught.value is error
        total = np.zeros(50)
        run(lambda number, total=total: total.__setitem__(number, 1), 50)
        assert total.all()


def test_after_an_error_no_task_runs_any_more():
    """A caller may free or change its arrays as soon as `run` has returned, by an error too."""
    kernels.set_num_threads(4)
    running = []

    def task(number):
        running.append(number)
        time.sleep(0.002 * (number % 4))
        running.remove(number)
        if number % 4 == 0:
            raise ValueError

    for _ in range(20):
        with pytest.raises(ValueError, match=r"^$"):
            run(task, 1000)
        assert running == []


def test_nothing_is_kept_alive():
    """Neither a worker that comes late nor an error's traceback holds the arrays of a call."""

    class Array:
        pass

    kernels.set_num_threads(4)
    gc.collect()
    gc.disable()
    try:
        for fails in (False, True):
            for _ in range(50):
                array = Array()
                alive = weakref.ref(array)

                def task(number, array=array, fails=fails):
                    if fails and number == 1:
                        raise ValueError

                try:
                    run(task, 8)
                except ValueError as error:
                    error.__traceback__ = None  # this test's own hold on the tasks' frames
                del task, array
                assert alive() is None
    finally:
        gc.enable()


def test_many_callers_at_once(layer):
    """Each checks its own result; they share the workers."""
    kernels.set_num_threads(3)
    expected = {seed: layer_results(layer, seed=seed) for seed in range(4)}
    failures = []

    def call(seed):
        failures.extend(seed for _ in range(15) if layer_results(layer, seed=seed) != expected[seed])

    callers = [threading.Thread(target=call, args=(seed,)) for seed in expected]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert failures == []


def test_callers_do_not_wait_for_the_tasks_of_others():
    """A long job fills all workers; a second caller does its own tasks itself."""
    kernels.set_num_threads(2)
    release, started = threading.Event(), threading.Barrier(3, timeout=60)

    def long(number):
        started.wait()
        release.wait(60)

    first = threading.Thread(target=run, args=(long, 2))
    first.start()
    started.wait()
    done = []
    run(done.append, 10)
    assert sorted(done) == list(range(10))
    release.set()
    first.join()


# Fork and interrupts are tried in an interpreter of their own: Python warns of forks beside threads, and a child that
# went wrong must not run the rest of the suite.
PRELUDE = """
import os, signal, sys, threading, time
import numpy as np
import kernels
from kernels.packing import equal_lengths
from kernels.threads import run

rng = np.random.default_rng(0)
T, N, I, H = 6, 32, 24, 72
shapes = ((T * N, I), (N, H), (N, H), (4 * H, I), (4 * H, H), 4 * H)
arguments = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]

def result():
    y, h_n, c_n, cache = kernels.lstm_forward(*arguments, equal_lengths(T, N))
    return [array.tobytes() for array in (y, *kernels.lstm_backward(y, h_n, c_n, cache))]

kernels.set_num_threads(3)
"""

FORK = """
import warnings
warnings.simplefilter("ignore")
expected = result()
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if result() == expected == result() else 1)
    assert result() == expected
    assert os.waitpid(child, 0)[1] == 0

# While another thread computes, so that the pool's locks and queue are in any state.
stop = []
def compute():
    while not stop:
        assert result() == expected
beside = threading.Thread(target=compute)
beside.start()
for _ in range(10):
    child = os.fork()
    if child == 0:
        os._exit(0 if result() == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.append(1)
beside.join()
print("equal")
"""

INTERRUPT = """
expected = result()
running = set()
def task(number):
    running.add(number)
    time.sleep(0.0003)
    running.discard(number)

def interrupt():
    time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)

caught = 0
for _ in range(40):
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        while True:
            run(task, 16)
    except KeyboardInterrupt:
        # Ctrl-C in the middle of a task of this thread leaves its number; the others have ended.
        caught += len(running) <= 1
    running.clear()
    thread.join()
    assert result() == expected
print(caught)
"""


def python(code):
    """What a fresh interpreter at the root of the packages prints."""
    root = Path(kernels.__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_computes_and_its_parent_goes_on():
    assert python(PRELUDE + FORK) == "equal"
    assert python(PRELUDE.replace("6, 32, 24, 72", "9, 1, 24, 256") + FORK) == "equal"  # all threads at one sentence


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals are POSIX's")
def test_an_interrupt_ends_a_call_and_the_pool_lives_on():
    assert python(PRELUDE + INTERRUPT) == "40"


SPAWN = """
import multiprocessing
import sys
import numpy as np
import kernels


def product(count):
    kernels.set_num_threads(count)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((200, 300)), rng.standard_normal((300, 200))
    return kernels.matmul(a, b).tobytes()


if __name__ == "__main__":
    expected = product(2)
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        assert pool.map(product, [1, 2, 3, 4]) == [expected] * 4
    print("equal")
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_of_multiprocessing(method, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SPAWN)
    root = str(Path(kernels.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), method], env={**os.environ, "PYTHONPATH": root},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert result.stdout.strip() == "equal", result.stderr


def test_set_num_threads():
    assert kernels.set_num_threads is minigrad.set_num_threads
    kernels.set_num_threads(3)
    assert kernels.get_num_threads() == minigrad.get_num_threads() == 3
    minigrad.set_num_threads(np.int64(2))
    assert kernels.get_num_threads() == 2
    for count in (0, -1):
        with pytest.raises(ValueError, match=rf"^set_num_threads: count is {count}; expected 1 or more$"):
            kernels.set_num_threads(count)
    for count in (2.0, "2", None):
        with pytest.raises(TypeError, match=r"^set_num_threads: count is .*; expected an integer$"):
            kernels.set_num_threads(count)
    assert kernels.get_num_threads() == 2


def test_at_first_all_cores_are_used():
    code = "import kernels; from kernels import threads; print(kernels.get_num_threads() == threads.available_cores())"
    assert python(code) == "True"
    if hasattr(os, "sched_setaffinity"):
        one = min(os.sched_getaffinity(0))
        code = f"import os; os.sched_setaffinity(0, [{one}]); import kernels; print(kernels.get_num_threads())"
        assert python(code) == "1"


def test_without_more_threads_the_caller_does_the_work(monkeypatch):
    monkeypatch.setattr(threads, "_pool", threads._Pool())

    def fail(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    kernels.set_num_threads(4)
    done = []
    run(done.append, 10)
    assert sorted(done) == list(range(10))


def test_chunks():
    assert list(chunks(0, 4)) == []
    assert list(chunks(8, 4)) == [(0, 4), (4, 8)]
    assert list(chunks(9, 4)) == [(0, 4), (4, 8), (8, 9)]
