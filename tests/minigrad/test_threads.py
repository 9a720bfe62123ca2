"""Several threads at once: what each has for itself, and that what they share loses nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import nn, random
from minigrad.autocast import bf16_enabled

THREADS = 8
ROUNDS = 320 // THREADS


@pytest.fixture(autouse=True)
def _threads_take_turns_often():
    """What can go wrong between two steps of Python does so within a test."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def in_threads(work: Callable[[int], Any], count: int = THREADS) -> list[Any]:
    """What ``work(0)`` .. ``work(count - 1)`` give, all begun at one moment; raises what one of them raises."""
    start = threading.Barrier(count, timeout=60)

    def begun_together(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begun_together, range(count)))


def modes() -> tuple[bool, bool]:
    return minigrad.is_grad_enabled(), bf16_enabled()


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("block", [minigrad.no_grad, minigrad.inference_mode, lambda: minigrad.set_grad_enabled(False)])
def test_a_block_of_one_thread_is_not_seen_by_another(block):
    inside, done = threading.Event(), threading.Event()

    def without() -> tuple[bool, bool]:
        with block():
            inside.set()
            assert done.wait(60)
            off = minigrad.is_grad_enabled()
        return off, minigrad.is_grad_enabled()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(without)
        assert inside.wait(60)
        x = minigrad.ones(3, requires_grad=True)
        (x * 2).sum().backward()
        with block():
            done.set()
            assert other.result() == (False, True)
    np.testing.assert_array_equal(x.grad.numpy(), [2, 2, 2])
    assert minigrad.is_grad_enabled()


def test_a_new_thread_starts_with_the_defaults():
    with minigrad.no_grad(), minigrad.autocast(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(modes).result() == (True, False)
        assert modes() == (False, True)
    minigrad.set_grad_enabled(False)
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(modes).result() == (True, False)
    finally:
        minigrad.set_grad_enabled(True)


def one_round(number: int, step: int) -> list[np.ndarray]:
    """Gradients of a small model of the thread's own, under a mode that changes from round to round."""
    lstm, linear = nn.LSTM(5, 7), nn.Linear(7, 3)
    params = [*lstm.parameters(), *linear.parameters()]
    for place, param in enumerate(params):
        param.data = minigrad.tensor(numbers(100 * number + place, *param.shape))
    x = minigrad.tensor(numbers(step, 4, 2, 5))
    with minigrad.autocast(enabled=(number + step) % 3 == 0):
        with minigrad.no_grad():
            target = linear(lstm(x)[0])
            assert not target.requires_grad
            with minigrad.set_grad_enabled((number + step) % 2 == 0):
                assert linear(x[..., :1] * minigrad.ones(7)).requires_grad is ((number + step) % 2 == 0)
        loss = ((linear(lstm(x)[0]) - target * 0.5) ** 2).sum()
    loss.backward()
    return [loss.detach().numpy(), *(param.grad.numpy() for param in params)]


def test_hundreds_of_rounds_in_eight_threads_give_the_bits_of_one():
    def all_rounds(number: int) -> list[bytes]:
        return [array.tobytes() for step in range(ROUNDS) for array in one_round(number, step)]

    together = in_threads(all_rounds)
    alone = [all_rounds(number) for number in range(THREADS)]
    assert together == alone
    assert modes() == (True, False)


def test_kernels_on_several_threads_called_by_several_threads():
    before = minigrad.get_num_threads()
    try:
        minigrad.set_num_threads(3)
        together = in_threads(lambda number: [array.tobytes() for array in one_round(number, 1)])
    finally:
        minigrad.set_num_threads(before)
    assert together == [[array.tobytes() for array in one_round(number, 1)] for number in range(THREADS)]


def test_no_gradient_of_a_shared_parameter_is_lost():
    weight, rounds = nn.Parameter(np.zeros((300, 400), np.float32)), 40

    def work(number: int) -> None:
        factor = minigrad.full((300, 400), float(number + 1))
        for _ in range(rounds):
            (weight * factor).sum().backward()

    in_threads(work)
    total = rounds * sum(range(1, THREADS + 1))  # integers: exact in any order
    assert np.unique(weight.grad.numpy()).tolist() == [total]


def test_no_gradient_of_a_shared_row_wise_parameter_is_lost():
    table, rounds = nn.Embedding(50, 8, sparse=True), 40

    def work(number: int) -> None:
        for step in range(rounds):
            table(minigrad.tensor([number, 20, step])).sum().backward()

    in_threads(work)
    expected = np.zeros(50)
    for number in range(THREADS):
        for step in range(rounds):
            np.add.at(expected, [number, 20, step], 1)
    np.testing.assert_array_equal(table.weight.grad.to_dense().numpy(), np.repeat(expected[:, None], 8, 1))


def test_a_graph_is_used_up_by_one_thread_or_kept_by_all():
    for _ in range(20):
        x = minigrad.ones(3, requires_grad=True)
        loss = (x.exp() * x).sum()

        def walk(number: int, loss: Any = loss) -> bool:
            try:
                loss.backward()
            except RuntimeError:
                return False
            return True

        assert sum(in_threads(walk)) <= 1
        x = minigrad.ones(3, requires_grad=True)
        kept = (x * x).sum()
        in_threads(lambda number, kept=kept: kept.backward(retain_graph=True))
        np.testing.assert_array_equal(x.grad.numpy(), [2 * THREADS] * 3)


def test_no_two_draws_have_one_key():
    random.manual_seed(5)
    keys = [key for part in in_threads(lambda number: [random.next_key() for _ in range(2000)]) for key in part]
    assert sorted(key.site for key in keys) == list(range(2000 * THREADS))
    assert random.next_key().site == 2000 * THREADS


def test_a_seed_is_not_lost_to_a_draw_of_another_thread():
    stop = threading.Event()

    def draw() -> None:
        while not stop.is_set():
            random.next_key()

    with ThreadPoolExecutor(2) as pool:
        drawing = [pool.submit(draw) for _ in range(2)]
        try:
            for seed in range(1, 3000):
                random.manual_seed(seed)
                assert random.get_state().seed == seed
        finally:
            stop.set()
        for each in drawing:
            each.result()


def test_threads_that_read_a_table_with_late_rows():
    """Adam puts off rows without a gradient; whoever reads has them caught up, once."""

    def trained(sparse: bool) -> nn.Embedding:
        random.manual_seed(3)
        table = nn.Embedding(2000, 8, sparse=sparse)
        optimizer = minigrad.optim.Adam(table.parameters(), lr=0.1)
        for step in range(30):
            optimizer.zero_grad()
            (table(minigrad.arange(50) * (step + 1)) ** 2).sum().backward()
            optimizer.step()
        return table

    expected = trained(sparse=False).weight.detach().numpy()
    for _ in range(5):
        table = trained(sparse=True)

        def read(number: int, table: nn.Embedding = table) -> bytes:
            with minigrad.no_grad():
                ids = minigrad.arange(2000) if number % 2 else minigrad.arange(number * 100, number * 100 + 900)
                return table(ids).numpy().tobytes() if number else table.weight.detach().numpy().tobytes()

        for number, found in enumerate(in_threads(read)):
            rows = slice(None) if number % 2 or not number else slice(number * 100, number * 100 + 900)
            assert found == expected[rows].tobytes()
