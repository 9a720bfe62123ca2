"""Several threads at one recurrence: equal bits, every part done once, helpers late, absent or failing."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config

import kernels
from kernels.cpu import gemm, lstm, once, team
from kernels.cpu.board import GONE, MOST_MEMBERS, OPEN, PENDING, WORK, add, await_parts, claim, load, publish, store
from kernels.cpu.jit import jit
from kernels.cpu.panels import panel_columns
from kernels.threads import run
from tests.kernels.test_decoding import EXCLUDED, draw_arrays, draw_states, search_both

COUNTS = (2, 3, 5)
STEPS = 40 if config.DISABLE_JIT else 3000


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = kernels.get_num_threads()
    yield
    kernels.set_num_threads(before)


@pytest.fixture
def tasks(monkeypatch):
    """Teams for the smallest work; the number of tasks of every call that makes teams."""
    monkeypatch.setattr(team, "LEAST_WEIGHTS", 1)
    monkeypatch.setattr(lstm, "SERIAL_WORK", 0)
    counts = []
    monkeypatch.setattr(team, "run", lambda function, count: (counts.append(count), run(function, count)))
    return counts


def layer_results(layer, batch_size, bf16=False, num_steps=7, dtype=np.float32):
    """Outputs and gradients of a layer; the second of several rows has no token."""
    rng = np.random.default_rng(batch_size)
    inputs = layer.sample(rng, num_steps, batch_size, 24, 75, dtype)
    lengths = rng.integers(2, num_steps + 1, batch_size)  # a layer of one step has no team
    lengths[1:2] = 0
    outputs, cache = layer.forward(kernels, inputs, lengths, bf16)
    grads = layer.backward(kernels, outputs, cache)
    return [array.tobytes() for array in (*outputs.values(), *grads.values())]


@pytest.mark.parametrize(("dtype", "bf16"), [(np.float32, False), (np.float32, True), (np.float64, False)])
def test_a_layer_of_few_rows_has_the_same_bits_on_any_number_of_threads(layer, tasks, dtype, bf16):
    for batch_size in (1, 2, 3, 7):
        kernels.set_num_threads(1)
        expected = layer_results(layer, batch_size, bf16, dtype=dtype)
        for count in COUNTS:
            kernels.set_num_threads(count)
            tasks.clear()
            assert layer_results(layer, batch_size, bf16, dtype=dtype) == expected
            assert tasks == [count, count]


@pytest.mark.parametrize(("dtype", "bf16"), [(np.float32, False), (np.float32, True), (np.float64, False)])
@pytest.mark.parametrize("rows", [1, 5, 64])
def test_a_layer_of_one_step_has_the_bits_of_the_first_step_of_several(layer, monkeypatch, dtype, bf16, rows):
    """Without a team, its products shared among threads that stand by; the second of several rows has no token."""
    rng = np.random.default_rng(0)
    inputs = layer.sample(rng, 2, rows, 24, 75, dtype)
    grads = layer.sample_gradients(rng, inputs)
    kernels.set_num_threads(1)
    outputs, _ = layer.forward(kernels, inputs, bf16=bf16)
    one, lengths = inputs | {"x": inputs["x"][:1]}, np.array([number != 1 for number in range(rows)], np.int64)

    def by_one_step():
        found, cache = layer.forward(kernels, one, lengths, bf16)
        grads_of_one = {name: grad[:1] if name == "y" else grad for name, grad in grads.items()}
        return found["y"], layer.backward(kernels, grads_of_one, cache)

    y, expected = by_one_step()
    assert y[0][lengths > 0].tobytes() == outputs["y"][0][lengths > 0].tobytes()
    monkeypatch.setattr(once, "SHARED_WORK", 1)
    monkeypatch.setattr(once, "PART_WORK", 1)
    for count in COUNTS:
        kernels.set_num_threads(count)
        y_again, found = by_one_step()
        assert y_again.tobytes() == y.tobytes()
        assert {name: grad.tobytes() for name, grad in found.items()} == {
            name: grad.tobytes() for name, grad in expected.items()
        }


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="NumPy's products round a row as its neighbours let them")
@pytest.mark.parametrize(
    ("dtype", "form"), [(np.float32, "full"), (np.float32, "bf16"), (np.float32, "int8"), (np.float64, "full")]
)
def test_a_sentence_is_decoded_to_the_same_bits_on_any_number_of_threads(tasks, dtype, form):
    """A beam of 5 and greedy, alone and beside others; a sentence alone occupies all threads."""
    arrays = draw_arrays(5, V=290, E=10, H=33, dtype=dtype, scale=0.5)
    states = draw_states(5, 40, 33, dtype=dtype)
    kernels.set_num_threads(1)
    together = search_both(kernels, arrays, states, form=form)
    for count in COUNTS:
        kernels.set_num_threads(count)
        for n in (0, 17):
            tasks.clear()
            alone = search_both(kernels, arrays, [state[:, [n]] for state in states], form=form)
            assert tasks == [count, count]
            for got, expected in zip(alone, together, strict=True):
                assert got.tobytes() == expected[[n]].tobytes()


def test_small_matrices_and_short_work_are_left_to_one_thread(layer, monkeypatch):
    """Sizes at which waking and meeting would cost more than they save, and one at which they do not."""
    counts = []
    monkeypatch.setattr(team, "run", lambda function, count: (counts.append(count), run(function, count)))
    kernels.set_num_threads(3)
    for steps, size, expected in ((12, 64, 1), (1, 512, 1), (12, 512, 3)):
        inputs = layer.sample(np.random.default_rng(0), steps, 1, 8, size, np.float32)
        counts.clear()
        layer.forward(kernels, inputs)
        assert max(counts, default=1) == expected
    monkeypatch.setattr(team, "get_num_threads", lambda: 1000)
    assert team.team_size(1 << 30) == MOST_MEMBERS


class Job:
    """A product of whole numbers, exact in any order, done again and again into one sum."""

    def __init__(self, members, columns=None, rows=3, depth=11, dtype=np.float32):
        width = panel_columns(np.empty(0, dtype))
        self.columns = 9 * width - 1 if columns is None else columns
        rng = np.random.default_rng(members)
        a, b = rng.integers(-3, 4, (rows, depth)), rng.integers(-3, 4, (depth, self.columns))
        self.product, self.shape = a @ b, (rows, depth)
        packed, self.out = gemm.prepack(b.astype(dtype), False), np.zeros((rows, self.columns), dtype)
        self.team = team.make_team(a.astype(dtype), packed.panels, self.out, rows, depth, members)

    def step(self):
        rows, depth = self.shape
        columns = self.columns
        left, out = team.Rows(0, depth, rows), team.Rows(0, columns, rows)
        team.multiply(self.team, left, team.Matrix(0, len(self.team.panels), depth, columns), out, True)

    def steps(self, count=STEPS // 10):
        for _ in range(count):
            self.step()

    def check(self, count=STEPS // 10):
        np.testing.assert_array_equal(self.out, count * self.product)


@pytest.mark.parametrize("members", [1, 2, 3, 5, 9])
def test_every_part_is_done_once(members):
    """A part done twice, or never, or of a product that is not the one on the board, shows in the sum."""
    kernels.set_num_threads(members)
    job = Job(members)
    team.run_teams(lambda number, led: job.steps(), [job.team])
    job.check()


@pytest.mark.parametrize("columns", [1, 33, 70])
def test_more_members_than_panels(columns):
    kernels.set_num_threads(6)
    job = Job(6, columns)
    team.run_teams(lambda number, led: job.steps(), [job.team])
    job.check()


def test_a_long_recurrence_on_more_threads_than_cores(layer, tasks):
    """Thousands of products without a pause, among members that cannot all run."""
    kernels.set_num_threads(1)
    expected = layer_results(layer, 1, num_steps=STEPS)
    for count in (4, 24):
        kernels.set_num_threads(count)
        assert layer_results(layer, 1, num_steps=STEPS) == expected


def test_the_leader_needs_no_helper():
    job = Job(4)
    job.steps()
    job.check()


def test_helpers_that_come_late_help_or_leave():
    job = Job(3)
    job.steps(2)
    helpers = [threading.Thread(target=team.help_leader, args=(job.team, member)) for member in (1, 2)]
    for helper in helpers:
        helper.start()
    job.steps(STEPS // 10 - 2)
    job.team.board[OPEN] = GONE
    for helper in helpers:
        helper.join(60)
        assert not helper.is_alive()
    job.check()
    team.help_leader(job.team, 1)
    job.check()


def test_the_leader_waits_for_a_part_that_is_claimed():
    """Somebody takes a part and does it late: until then nothing goes on."""
    job, done, stop = Job(2), [], threading.Event()

    def lead():
        while not stop.is_set():
            job.step()
            done.append(1)

    leader = threading.Thread(target=lead)
    leader.start()
    board, part = job.team.board, -1
    while part < 0:
        part = claim(board, 1)
    time.sleep(0.05)
    steps = len(done)
    time.sleep(0.1)
    assert (len(done), board[OPEN], board[PENDING]) == (steps, 0, 1)
    stop.set()
    board[OPEN] = 1 << part  # as if nobody had taken it
    assert team.do_part(job.team, 1)
    leader.join(60)
    job.check(steps + 1)


@given(st.integers(1, MOST_MEMBERS), st.data())
def test_a_part_is_claimed_once_and_the_own_one_first(parts, data):
    board = np.zeros(WORK + team.FIELDS, np.int64)
    assert claim(board, 0) == -1
    publish(board, parts)
    assert board[PENDING] == parts
    members = data.draw(st.lists(st.integers(0, parts - 1), min_size=parts, max_size=parts))
    claimed = []
    for member in members:
        part = claim(board, member)
        assert part == member or member in claimed
        claimed.append(part)
    assert sorted(claimed) == list(range(parts))
    assert claim(board, members[0]) == -1
    board[OPEN] = GONE
    assert claim(board, 0) == -1
    assert board[OPEN] == GONE


@jit
def lead_rounds(board, rounds, parts, counts):
    """Publish parts that are nothing but a number to count, again and again."""
    for _ in range(rounds):
        publish(board, parts)
        part = claim(board, np.int64(0))
        while part >= 0:
            counts[part] += 1
            add(board, PENDING, -1)
            part = claim(board, np.int64(0))
        await_parts(board)
    store(board, OPEN, GONE)


@jit
def help_rounds(board, member, counts):
    while load(board, OPEN) >= 0:
        part = claim(board, member)
        if part >= 0:
            counts[part] += 1
            add(board, PENDING, -1)


def test_claims_of_several_threads_at_once():
    """Parts without work, so that claims meet, in compiled code on several cores."""
    parts, rounds, members = 6, 400 if config.DISABLE_JIT else 10**6, 3
    board, counts = np.zeros(WORK + team.FIELDS, np.int64), np.zeros((members, parts), np.int64)
    helpers = [threading.Thread(target=help_rounds, args=(board, m, counts[m]), daemon=True) for m in range(1, members)]
    for helper in helpers:
        helper.start()
    lead_rounds(board, rounds, parts, counts[0])
    for helper in helpers:
        helper.join(60)
        assert not helper.is_alive()
    assert counts.sum(axis=0).tolist() == [rounds] * parts


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_a_leader_that_fails_lets_its_helpers_go(kind):
    kernels.set_num_threads(3)
    for _ in range(20):
        job, error = Job(3), kind("of the leader")

        def lead(number, led, job=job, error=error):
            job.step()
            raise error

        with pytest.raises(kind) as caught:
            team.run_teams(lead, [job.team])
        assert caught.value is error
        job.check(1)


def test_a_helper_that_fails_is_not_waited_for(monkeypatch):
    """It takes a part with it; the leader must not wait for that forever."""
    kernels.set_num_threads(2)
    job, has_part = Job(2), threading.Event()
    helping = team.help_leader

    def fail(led, member):
        if member == 0:
            return helping(led, member)
        while claim(led.board, member) < 0:
            pass
        has_part.set()
        raise MemoryError("of the helper")

    def lead(number, led):
        publish(led.board, 2)
        assert has_part.wait(60)
        await_parts(led.board)

    monkeypatch.setattr(team, "help_leader", fail)
    with pytest.raises((MemoryError, RuntimeError), match=r"of the helper|a thread failed at its part of a product"):
        team.run_teams(lead, [job.team])


def test_many_callers_at_once(layer, tasks):
    """Each has its own team; helpers are there for some of them only."""
    kernels.set_num_threads(3)
    expected = {batch_size: layer_results(layer, batch_size) for batch_size in range(1, 5)}
    failures = []

    def call(batch_size):
        failures.extend(1 for _ in range(15) if layer_results(layer, batch_size) != expected[batch_size])

    callers = [threading.Thread(target=call, args=(batch_size,)) for batch_size in expected]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert failures == []


def test_a_call_from_inside_a_task_needs_no_helpers(layer, tasks):
    kernels.set_num_threads(3)
    expected, found = layer_results(layer, 2), {}
    run(lambda number: found.__setitem__(number, layer_results(layer, 2)), 3)
    assert found == dict.fromkeys(range(3), expected)


def test_decoding_ends_on_more_threads_than_words(tasks):
    arrays, states = draw_arrays(8), draw_states(8, 1)
    kernels.set_num_threads(1)
    expected = search_both(kernels, arrays, states, excluded=EXCLUDED)
    kernels.set_num_threads(40)
    for got, want in zip(search_both(kernels, arrays, states, excluded=EXCLUDED), expected, strict=True):
        assert got.tobytes() == want.tobytes()
