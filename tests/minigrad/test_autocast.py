"""autocast: which products it rounds, in which thread, and that a backward keeps the precision of its forward."""

import threading

import numpy as np
import pytest

import kernels
import minigrad as torch
from kernels.reference.precision import round_bf16
from minigrad import nn
from minigrad.autocast import autocast, bf16_enabled, bfloat16


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def linear_case():
    layer = nn.Linear(24, 40)
    return layer, layer, numbers(0, 6, 24)


def lstm_case():
    layer = nn.LSTM(12, 20)
    states = torch.tensor(numbers(1, 1, 3, 20)), torch.tensor(numbers(2, 1, 3, 20))
    return layer, lambda x: layer(x, states)[0], numbers(0, 5, 3, 12)


def gru_case():
    layer = nn.GRU(12, 20)
    state = torch.tensor(numbers(1, 1, 3, 20))
    return layer, lambda x: layer(x, state)[0], numbers(0, 5, 3, 12)


def cell_case():
    layer = nn.LSTMCell(12, 20)
    states = torch.tensor(numbers(1, 3, 20)), torch.tensor(numbers(2, 3, 20))
    return layer, lambda x: layer(x, states)[0], numbers(0, 3, 12)


class Product(nn.Module):
    """x @ weight."""

    def __init__(self, *shape):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(numbers(5, *shape)))

    def forward(self, x):
        return x @ self.weight


def matmul_case():
    layer = Product(24, 40)
    return layer, layer, numbers(0, 6, 24)


def batches_case():
    layer = Product(3, 24, 40)
    return layer, layer, numbers(0, 2, 3, 6, 24)


def one_for_all_case():
    layer = Product(24, 40)
    return layer, layer, numbers(0, 2, 3, 24)


PRODUCTS = [matmul_case, batches_case, one_for_all_case]
CASES = pytest.mark.parametrize("case", [linear_case, lstm_case, gru_case, cell_case, *PRODUCTS])


def gradients(case, forward_bf16, backward_bf16):
    """The output and all gradients (of x first) of a layer, forward and backward under their own setting."""
    torch.manual_seed(1)
    layer, call, values = case()
    x = torch.tensor(values, requires_grad=True)
    with autocast("cpu", enabled=forward_bf16):
        y = call(x)
    with autocast("cpu", enabled=backward_bf16):
        (y * torch.tensor(numbers(3, *y.shape))).sum().backward()
    return [y.detach().numpy(), x.grad.numpy(), *(parameter.grad.numpy() for parameter in layer.parameters())]


def distance(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@CASES
def test_products_are_rounded_and_all_else_stays_float32(case):
    rounded, exact = gradients(case, True, True), gradients(case, False, False)
    for found, expected in zip(rounded, exact, strict=True):
        assert found.dtype == np.float32
        assert distance(found, expected) <= 2.0**-6  # two operands rounded by 2^-9 each, over a few steps
    assert all(distance(found, expected) > 0 for found, expected in zip(rounded[:3], exact[:3], strict=True))


@CASES
def test_backward_has_the_precision_of_its_forward(case):
    for forward in (True, False):
        same, other = gradients(case, forward, forward), gradients(case, forward, not forward)
        for found, expected in zip(other, same, strict=True):
            assert found.tobytes() == expected.tobytes()


def test_linear_rounds_both_operands():
    torch.manual_seed(1)
    layer, values = nn.Linear(24, 40), numbers(0, 6, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(torch.tensor(values)).detach().numpy()
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    exact = round_bf16(values).astype(np.float64) @ round_bf16(weight).astype(np.float64).T + bias
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5)
    assert np.abs(values @ weight.T + bias - exact).max() > 1e-3


def test_float64_is_never_rounded():
    x, weight = (numbers(seed, *shape).astype(np.float64) for seed, shape in ((0, (5, 4)), (1, (3, 4))))
    with autocast("cpu"):
        y = nn.functional.linear(torch.tensor(x + 1e-9), torch.tensor(weight)).numpy()
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, (x + 1e-9) @ weight.T, rtol=1e-13)


def test_parameters_and_optimiser_stay_float32():
    torch.manual_seed(1)
    layer = nn.Linear(6, 5)
    optimiser = torch.optim.Adam(layer.parameters())
    before = layer.weight.detach().numpy().copy()
    for step in range(3):
        optimiser.zero_grad()
        with autocast("cpu"):
            loss = (layer(torch.tensor(numbers(step, 4, 6))) ** 2).sum()
        loss.backward()
        optimiser.step()
    after = layer.weight.detach().numpy()
    assert after.dtype == np.float32
    assert (after != before).all()
    assert (round_bf16(after) != after).any()


def test_nesting():
    assert not bf16_enabled()
    with autocast("cpu", dtype=bfloat16):
        assert bf16_enabled()
        with autocast("cpu", enabled=False):
            assert not bf16_enabled()
            with autocast():
                assert bf16_enabled()
            assert not bf16_enabled()
        with autocast("cpu", dtype=torch.float32):
            assert not bf16_enabled()
        assert bf16_enabled()
    assert not bf16_enabled()


def test_one_object_may_be_entered_again_and_inside_itself():
    setting = autocast("cpu")
    for _ in range(2):
        with setting:
            with setting:
                assert bf16_enabled()
            assert bf16_enabled()
        assert not bf16_enabled()


def test_as_a_decorator_in_several_threads_at_once():
    both, seen = threading.Barrier(2, timeout=60), []

    @autocast("cpu")
    def decorated():
        seen.append(bf16_enabled())
        both.wait()

    def call():
        decorated()
        seen.append(bf16_enabled())

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(seen) == [False, False, True, True]


def test_an_error_inside_restores_the_setting():
    with pytest.raises(KeyError), autocast("cpu"):
        raise KeyError
    assert not bf16_enabled()


def test_each_thread_has_its_own_setting():
    inside, outside = [], []
    ready, go = threading.Event(), threading.Event()

    def other():
        outside.append(bf16_enabled())
        with autocast("cpu"):
            inside.append(bf16_enabled())
            ready.set()
            go.wait(60)

    with autocast("cpu"):
        thread = threading.Thread(target=other)
        thread.start()
        ready.wait(60)
        assert bf16_enabled()
    assert not bf16_enabled()
    go.set()
    thread.join()
    assert (outside, inside) == ([False], [True])


def test_errors():
    for device in ("gpu", "mps", 3):
        with pytest.raises(ValueError, match=rf"^autocast: device_type is {device!r}; expected 'cpu' or 'cuda'$"):
            autocast(device)
    for dtype in (torch.float16, torch.float64, "bf16"):
        with pytest.raises(ValueError, match=r"^autocast: dtype is .*; expected bfloat16 or float32$"):
            autocast("cpu", dtype=dtype)
    assert repr(bfloat16) == "bfloat16"


def test_the_kernels_take_the_setting_at_the_call(monkeypatch):
    seen = []
    forward = kernels.lstm_forward
    monkeypatch.setattr(kernels, "lstm_forward", lambda *args: (seen.append(args[-1]), forward(*args))[1])
    _, call, values = lstm_case()
    with autocast("cpu"):
        call(torch.tensor(values))
    call(torch.tensor(values))
    assert seen == [True, False]
