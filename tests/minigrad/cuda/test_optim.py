"""Optimisers and clipping on a GPU, step by step beside the host, and a training step for which it never waits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import kernels
import minigrad as mg
from minigrad import Tensor, nn, optim
from minigrad.decoding import PackedDecoder, PackedEncoder
from minigrad.nn import functional as F
from minigrad.nn.utils import clip_grad_norm_, clip_grad_value_, rnn
from minigrad.rows import RowGradient

pytestmark = pytest.mark.usefixtures("cuda")

SHAPES = ((5, 3), (7,), ())
OPTIMISERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "SGD, momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "SGD, nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.1),
    "Adam, decay": lambda p: optim.Adam(p, lr=0.1, betas=(0.8, 0.95), weight_decay=0.1),
    "AdamW": lambda p: optim.AdamW(p, lr=0.1, eps=1e-6),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.1),
    "RMSprop, all": lambda p: optim.RMSprop(p, lr=0.1, momentum=0.5, centered=True, weight_decay=0.01),
}
STEPS = 4


def values(seed: int, dtype: Any) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in SHAPES]


def parameters(device: str, dtype: Any) -> list[nn.Parameter]:
    return [nn.Parameter(mg.tensor(value, device=device)) for value in values(0, dtype)]


def set_grads(params: list[nn.Parameter], step: int, factor: float = 1.0) -> None:
    for param, value in zip(params, values(step + 1, params[0].dtype), strict=True):
        param.grad = mg.tensor(value * param.dtype.type(factor), device=param.device)


def host(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def assert_alike(here: list[nn.Parameter], there: list[nn.Parameter], tolerance: float) -> None:
    for a, b in zip(here, there, strict=True):
        assert b.is_cuda
        np.testing.assert_allclose(host(b), host(a), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_step_by_step_as_on_the_host(name: str, dtype: Any) -> None:
    """Each operation is rounded by itself on both: the numbers are equal, to the bit where no norm is summed."""
    here, there = parameters("cpu", dtype), parameters("cuda", dtype)
    on_host, on_gpu = OPTIMISERS[name](here), OPTIMISERS[name](there)
    schedules = [optim.lr_scheduler.StepLR(optimiser, 2, 0.5) for optimiser in (on_host, on_gpu)]
    for step in range(STEPS):
        for params in (here, there):
            set_grads(params, step)
        on_host.step()
        on_gpu.step()
        for schedule in schedules:
            schedule.step()
        for a, b in zip(here, there, strict=True):
            np.testing.assert_array_equal(host(b), host(a))
    for param in there:
        for slot, value in on_gpu.state[param].items():
            assert value.is_cuda == (slot != "step")


@pytest.mark.parametrize("name", OPTIMISERS)
def test_clipped_steps(name: str) -> None:
    here, there = parameters("cpu", np.float32), parameters("cuda", np.float32)
    on_host, on_gpu = OPTIMISERS[name](here), OPTIMISERS[name](there)
    for step in range(STEPS):
        set_grads(here, step), set_grads(there, step)
        norm, found = on_host.step_clipped(1.5), on_gpu.step_clipped(1.5)
        assert found.is_cuda
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.item(), norm.item(), rtol=1e-6)
        assert_alike(here, there, 1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_norm_that_is_not_finite_changes_nothing(name: str, bad: float) -> None:
    params = parameters("cuda", np.float32)
    optimiser = OPTIMISERS[name](params)
    set_grads(params, 0)
    optimiser.step_clipped(1.0)
    before = [host(param) for param in params]
    slots = [host(value) for param in params for key, value in optimiser.state[param].items() if key != "step"]
    set_grads(params, 1)
    params[1].grad[3] = bad
    assert not np.isfinite(optimiser.step_clipped(1.0).item())
    for param, old in zip(params, before, strict=True):
        assert np.array_equal(host(param), old)
    after = [host(value) for param in params for key, value in optimiser.state[param].items() if key != "step"]
    for new, old in zip(after, slots, strict=True):
        assert np.array_equal(new, old)


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clipping_by_norm(norm_type: float, max_norm: float) -> None:
    here, there = parameters("cpu", np.float32), parameters("cuda", np.float32)
    for params in (here, there):
        set_grads(params, 0)
    want, got = (clip_grad_norm_(params, max_norm, norm_type) for params in (here, there))
    assert got.is_cuda
    np.testing.assert_allclose(got.item(), want.item(), rtol=1e-6)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(host(b.grad), host(a.grad), rtol=1e-6)


def test_clipping_refuses_what_is_not_finite() -> None:
    params = parameters("cuda", np.float32)
    set_grads(params, 0)
    params[0].grad[0, 0] = np.nan
    with pytest.raises(RuntimeError, match=r"the total norm of order 2\.0 is nan"):
        clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert clip_grad_norm_([], 1.0).item() == 0.0


def test_clipping_by_value() -> None:
    params = parameters("cuda", np.float32)
    set_grads(params, 0, 3.0)
    clip_grad_value_(params, 0.5)
    for param, value in zip(params, values(1, np.float32), strict=True):
        np.testing.assert_array_equal(host(param.grad), (value * np.float32(3)).clip(-0.5, 0.5))


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "SGD, momentum", "RMSprop"])
def test_gradients_by_rows(name: str) -> None:
    """Of a table that the user has moved with them; the engine itself makes none on a GPU."""
    tables = []
    for device in ("cpu", "cuda"):
        table = nn.Parameter(mg.tensor(values(0, np.float32)[0], device=device))
        optimiser = OPTIMISERS[name]([table])
        for step in range(STEPS):
            rows, grad = np.array([step % 2, 3]), values(step + 1, np.float32)[0][:2]
            table.grad = RowGradient(rows, grad.copy(), table.shape).to(device)
            assert table.grad.is_cuda == (device == "cuda")
            optimiser.step_clipped(1.0)
        tables.append(host(table))
    np.testing.assert_allclose(tables[1], tables[0], rtol=1e-6, atol=1e-6)


def test_operations_on_gradients_by_rows() -> None:
    there = RowGradient(np.array([0, 2]), np.ones((2, 3), np.float32), (4, 3)).to("cuda")
    there.append(there.clone(), owned=True)
    there.mul_(0.75).clamp_(-1, 1.25)
    assert there.rows.tolist() == [0, 2]
    assert host(there.to_dense()).tolist() == [[1.25] * 3, [0] * 3, [1.25] * 3, [0] * 3]
    dense = mg.ones(4, 3, device="cuda")
    there.add_to(dense.array)
    assert host(dense)[:, 0].tolist() == [2.25, 1, 2.25, 1]
    assert not there.to("cpu").is_cuda
    assert host(there.zero_().to_dense()).sum() == 0


@pytest.mark.parametrize("name", ["Adam", "SGD, momentum", "RMSprop, all"])
def test_state_crosses_devices(name: str) -> None:
    here, there = parameters("cpu", np.float32), parameters("cuda", np.float32)
    on_host, on_gpu = OPTIMISERS[name](here), OPTIMISERS[name](there)
    set_grads(here, 0), set_grads(there, 0)
    on_host.step()
    on_gpu.load_state_dict(on_host.state_dict())
    for a, b in zip(here, there, strict=True):
        b.data.copy_(a.detach())
    for step in (1, 2):
        set_grads(here, step), set_grads(there, step)
        on_host.step()
        on_gpu.step()
    for a, b in zip(here, there, strict=True):
        assert np.array_equal(host(a), host(b))
    on_host.load_state_dict(on_gpu.state_dict())
    assert not any(value.is_cuda for param in here for value in on_host.state[param].values())


# --- a model ----------------------------------------------------------------------------------------------------------
V, E, H = 19, 6, 8
LENGTHS = np.array([7, 3, 5, 1, 6])
WORDS, NEXT = (np.random.default_rng(seed).integers(0, V, (7, 5)) for seed in (0, 1))


class Model(nn.Module):
    """What sequence-to-sequence models are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, E, padding_idx=1, sparse=True)
        self.dropout = nn.Dropout(0.3)
        self.rnn = nn.LSTM(E, H, 2, dropout=0.2)
        self.output = nn.Linear(H, V)

    def forward(self, words: Tensor, targets: Tensor) -> Tensor:
        given, wanted = (rnn.pack_padded_sequence(x, LENGTHS, enforce_sorted=False) for x in (words, targets))
        y, _ = self.rnn(given._replace(data=self.dropout(self.embedding(given.data))))
        x = self.dropout(y.data)
        return F.linear_cross_entropy(x, self.output.weight, self.output.bias, wanted.data, ignore_index=1)


def train(device: str, steps: int = 4, before_step: Callable[[int], None] = lambda step: None) -> tuple[Model, Any]:
    mg.manual_seed(0)
    model = Model().to(device)
    optimiser = optim.Adam(model.parameters(), lr=0.01)
    words, targets = (mg.tensor(ids, device=device) for ids in (WORDS, NEXT))
    losses = []
    for step in range(steps):
        before_step(step)
        optimiser.zero_grad()
        loss = model(words, targets)
        loss.backward()
        losses += [loss, optimiser.step_clipped(0.5)]
    return model, losses


def test_training_as_on_the_host() -> None:
    (here, losses_here), (there, losses_there) = train("cpu"), train("cuda")
    np.testing.assert_allclose(*([x.item() for x in losses] for losses in (losses_there, losses_here)), rtol=1e-6)
    for a, b in zip(here.parameters(), there.parameters(), strict=True):
        np.testing.assert_allclose(host(b), host(a), rtol=1e-5, atol=1e-6)


def test_two_runs_are_equal_to_the_bit() -> None:
    (first, losses), (second, again) = train("cuda"), train("cuda")
    assert [x.item() for x in losses] == [x.item() for x in again]
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert np.array_equal(host(a), host(b))


def test_the_host_waits_for_no_training_step(cuda: ModuleType) -> None:
    if not cuda.__version__.endswith("standin"):
        pytest.skip("the stand-in notes what waits")
    from cupy import _memory

    train("cuda", 3, lambda step: _memory.synchronisations.clear())
    assert _memory.synchronisations == []


class Classifier(nn.Module):
    """Layers that the other model lacks, on padded sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, E)
        self.rnn = nn.GRU(E, H, 2, bidirectional=True, dropout=0.1)
        self.output = nn.Linear(2 * H, V)

    def forward(self, words: Tensor, targets: Tensor) -> Tensor:
        y, h_n = self.rnn(self.embedding(words), lengths=LENGTHS)
        y = y + h_n[-1].repeat(1, 2) * F.softmax(y, dim=-1)
        return F.cross_entropy(self.output(y).view(-1, V), targets.view(-1), ignore_index=1, label_smoothing=0.1)


def program(model: nn.Module, make: Callable[[Any], optim.Optimizer], clip: bool, bf16: bool, device: str) -> list[Any]:
    """Three steps of a training program; between the second and the third what waits begins to be noted."""
    mg.manual_seed(1)
    model.to(device)
    optimiser = make(model.parameters())
    schedule = optim.lr_scheduler.ExponentialLR(optimiser, 0.9)
    words, targets = (mg.tensor(ids, device=device) for ids in (WORDS, NEXT))
    losses = []
    for step in range(3):
        if step == 2 and device == "cuda":
            sys.modules["cupy"]._memory.synchronisations.clear()
        optimiser.zero_grad()
        with mg.autocast(device, enabled=bf16):
            loss = model(words, targets)
        loss.backward()
        if clip:
            clip_grad_norm_(model.parameters(), 0.5)
        optimiser.step()
        schedule.step()
        losses.append(loss)
    return losses


PROGRAMS = {
    "packed, bf16": (Model, OPTIMISERS["Adam"], True, True, 2e-2),
    "padded, SGD": (Classifier, OPTIMISERS["SGD, nesterov"], True, False, 1e-5),
    "padded, RMSprop": (Classifier, OPTIMISERS["RMSprop, all"], False, False, 1e-5),
    "padded, bf16": (Classifier, OPTIMISERS["AdamW"], True, True, 2e-2),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str, cuda: ModuleType) -> None:
    """The losses of the host, and no step for which the host waits. In bfloat16 a sum in another order can round to
    another neighbour, 2^-8 away, and training goes on from there."""
    make_model, *settings, tolerance = PROGRAMS[name]
    if not cuda.__version__.endswith("standin"):
        pytest.skip("the stand-in notes what waits")
    found = []
    for device in ("cpu", "cuda"):
        mg.manual_seed(0)
        losses = program(make_model(), *settings, device)  # type: ignore[arg-type]
        if device == "cuda":
            assert cuda._memory.synchronisations == []
        found.append([loss.item() for loss in losses])
    np.testing.assert_allclose(found[1], found[0], rtol=tolerance)


def test_decoding_as_on_the_host() -> None:
    mg.manual_seed(3)
    model = Model().eval()
    found = []
    for device in ("cpu", "cuda"):
        model.to(device)
        state = PackedEncoder(model.embedding, model.rnn).states(WORDS, LENGTHS)
        assert all(part.is_cuda == (device == "cuda") for part in state)
        decoder = PackedDecoder(model.embedding, model.rnn, model.output)
        found.append([*decoder.greedy(state, 2, 3, [0, 1], 6), *decoder.beam(state, 2, 3, [0, 1], 6, 3, 1.0, 2)])
    for here, there in zip(*found, strict=True):
        assert type(there) is np.ndarray
        np.testing.assert_allclose(there, here, rtol=1e-5)


# --- the kernels behind it --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_add_at(device: str) -> None:
    rng = np.random.default_rng(0)
    index, given = rng.integers(0, 4, (3, 50)), rng.standard_normal((3, 50, 2)).astype(np.float32)
    want = np.ones((4, 2), np.float32)
    np.add.at(want, index, given)
    target = mg.ones(4, 2, device=device).array
    kernels.add_at(target, kernels.like(index, target), kernels.like(given, target))
    assert np.array_equal(kernels.to_host(target), want)
    kernels.add_at(target, kernels.like(index[:0], target), kernels.like(given[:0], target))


@pytest.mark.parametrize("padding_idx", [None, 2])
def test_embedding_backward_dense(padding_idx: int | None) -> None:
    ids = np.random.default_rng(0).integers(0, 5, (4, 3))
    dy = np.random.default_rng(1).standard_normal((4, 3, 6)).astype(np.float32)
    rows, gradient = kernels.embedding_backward(dy, ids, padding_idx)
    for where in (np.zeros(0), mg.zeros(0, device="cuda").array):
        dense = kernels.embedding_backward_dense(kernels.like(dy, where), kernels.like(ids, where), 7, padding_idx)
        want = np.zeros((7, 6), np.float32)
        want[rows] = gradient
        assert np.array_equal(kernels.to_host(dense), want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clip_coefficient(dtype: Any) -> None:
    grads = values(0, dtype)
    norm, coefficient = kernels.clip_coefficient(grads, 1.5)
    assert norm == pytest.approx(np.sqrt(sum((grad.astype(np.float64) ** 2).sum() for grad in grads)), rel=1e-12)
    assert coefficient == 1.5 / (norm + 1e-6)
    assert kernels.clip_coefficient(grads, 1e3)[1] == 1.0
    there = mg.zeros(0, device="cuda").array
    found = kernels.clip_coefficient([kernels.like(grad, there) for grad in grads], 1.5)
    assert [x.dtype for x in found] == [dtype] * 2
    np.testing.assert_allclose(
        [float(x) for x in found], [norm, coefficient], rtol=1e-7 if dtype == np.float32 else 1e-12
    )
