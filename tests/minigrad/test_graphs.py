"""CUDA graphs of training steps: a replay is the step, with the data, lengths, dropout and step count of its day."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from minigrad import Tensor, autocast, backends, cuda, nn, no_grad, optim, random
from minigrad.nn import functional as F
from minigrad.nn.utils.rnn import PackedSequence, pack_padded_sequence

pytestmark = pytest.mark.usefixtures("cuda")

I, H = 5, 7  # noqa: E741
CAPACITY = np.array([6, 3, 3, 2])


class Net(nn.Module):
    """Embedded words through an LSTM with dropout; the loss is a sum of squares of what it emits, and of a product."""

    bf16, H = True, H

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, I)
        self.rnn = nn.LSTM(I, self.H, 2, dropout=0.4)
        self.out = nn.Linear(self.H, 3)
        self.dropout = nn.Dropout(0.3)

    def forward(self, words: PackedSequence, weights: Tensor) -> Tensor:
        with autocast("cuda", enabled=self.bf16):
            y, (h, c) = self.rnn(words._replace(data=self.dropout(self.embedding(words.data))))
            out = self.out(y.data)
        return (y.data * y.data * weights).sum() + (out * out * weights).sum() + (h * c).sum()


class Step:
    """A model, its optimiser, and the tensors of a batch with room for as many words as the capacity has."""

    def __init__(self, make: Callable[..., optim.Optimizer] = optim.Adam, **options: Any) -> None:
        random.manual_seed(3)
        self.net = Net().to("cuda")
        self.optimizer = make(self.net.parameters(), **options)
        total = int(CAPACITY.sum())
        self.ids = Tensor(np.zeros(total, np.int64)).to("cuda")
        self.weights = Tensor(np.zeros((total, 1), np.float32)).to("cuda")  # 0 behind the last word

    def run(self, words: PackedSequence, weights: Tensor) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad()
        loss = self.net(words, weights)
        loss.backward()
        return loss.detach(), self.optimizer.step_clipped(0.5)

    def eager(self, number: int, lengths: np.ndarray) -> tuple[float, float]:
        random.seed_step(9, number)
        ids, weights = draw(number, lengths)
        results = self.run(packed(lengths, ids.to("cuda")), weights.to("cuda"))
        return float(results[0].item()), float(results[1].item())

    def capture(self, lengths: np.ndarray = CAPACITY) -> cuda.CUDAGraph:
        random.seed_step(9, 1)  # draws are numbered from here
        graph = cuda.CUDAGraph([lengths])
        words = packed(lengths, self.ids)
        with graph.warm_up():
            self.net(words, self.weights).backward()
        with cuda.graph(graph):
            self.results = self.run(words, self.weights)
        return graph

    def replay(self, graph: cuda.CUDAGraph, number: int, lengths: np.ndarray) -> tuple[float, float]:
        random.seed_step(9, number)
        ids, weights = draw(number, lengths)
        with no_grad():
            self.ids[: len(ids)] = ids.to("cuda")
            self.weights.zero_()
            self.weights[: len(ids)] = weights.to("cuda")
        graph.replay([lengths])
        return float(self.results[0].item()), float(self.results[1].item())


def draw(number: int, lengths: np.ndarray) -> tuple[Tensor, Tensor]:
    rng, total = np.random.default_rng(number), int(lengths.sum())
    return Tensor(rng.integers(0, 11, total)), Tensor(rng.standard_normal((total, 1)).astype(np.float32))


def packed(lengths: np.ndarray, ids: Tensor) -> PackedSequence:
    nothing = Tensor(np.zeros((lengths.max(), len(lengths)), np.int64))
    return pack_padded_sequence(nothing, lengths, enforce_sorted=False)._replace(data=ids)


BATCHES = [np.array(lengths) for lengths in ([3, 1, 5, 2], [6, 3, 3, 2], [1, 1, 1, 1], [2, 2, 2, 2], [1, 6, 2, 3])]


def parameters(net: nn.Module) -> list[np.ndarray]:
    return [parameter.detach().cpu().numpy() for parameter in net.parameters()]


@pytest.fixture(params=["bf16", "bf16 marked", "tf32", "tf32 marked"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, poisoned: None) -> Iterator[str]:
    """How a layer is computed whose graph begins with NaN in all its memory."""
    from kernels.cuda.runtime.switches import switched

    precision, _, marked = request.param.partition(" ")
    monkeypatch.setattr(backends.cuda.matmul, "allow_tf32", precision == "tf32")
    monkeypatch.setattr(Net, "bf16", precision == "bf16")
    with switched(marked=bool(marked)):
        yield request.param


@pytest.mark.parametrize("H", [7, 64])
def test_nothing_comes_from_behind_the_last_word(way: str, H: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products read rows behind it, which no token of the day has written: the gradients of all layers are right."""
    monkeypatch.setattr(Net, "H", H)
    plain, graphed = Step(lr=0.01), Step(lr=0.01)
    for step in (plain, graphed):
        step.eager(0, BATCHES[0])
    graph = graphed.capture()
    for number, lengths in enumerate(BATCHES, start=1):
        expected, found = plain.eager(number, lengths), graphed.replay(graph, number, lengths)
        assert found == pytest.approx(expected, rel=1e-5), number
        for (name, a), b in zip(plain.net.named_parameters(), parameters(graphed.net), strict=True):
            np.testing.assert_allclose(b, a.detach().cpu().numpy(), rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("make", [optim.Adam, optim.AdamW])
def test_replays_are_the_steps(make: Callable[..., optim.Optimizer]) -> None:
    """cuBLAS may add up the rows of a capacity in another order: hence no equal bits on a GPU."""
    options = {"lr": 0.01, "weight_decay": 0.1}
    plain, graphed = Step(make, **options), Step(make, **options)
    for step in (plain, graphed):
        step.eager(0, BATCHES[0])
    graph = graphed.capture()
    for number, lengths in enumerate(BATCHES * 2, start=1):
        if number == 4:
            for step in (plain, graphed):
                step.optimizer.param_groups[0]["lr"] = 0.003  # as a schedule does
        expected, found = plain.eager(number, lengths), graphed.replay(graph, number, lengths)
        assert found == pytest.approx(expected, rel=1e-5), number
    for a, b in zip(parameters(plain.net), parameters(graphed.net), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)
    steps = {float(state["step"].item()) for state in graphed.optimizer.state.values()}
    assert steps == {1.0 + 2 * len(BATCHES)}


def test_other_random_numbers_at_every_replay() -> None:
    step = Step()
    step.eager(0, BATCHES[0])
    graph = step.capture()
    losses = set()
    before = parameters(step.net)
    for number in (1, 2, 1):
        for parameter, values in zip(step.net.parameters(), before, strict=True):
            with no_grad():
                parameter.copy_(Tensor(values).to("cuda"))
        random.seed_step(9, number)
        ids, weights = draw(5, CAPACITY)
        with no_grad():
            step.ids.copy_(ids)
            step.weights.copy_(weights)
        graph.replay([CAPACITY])
        losses.add(float(step.results[0].item()))
    assert len(losses) == 2


def test_two_graphs_share_memory() -> None:
    step = Step()
    step.eager(0, BATCHES[0])
    first = step.capture()
    results = step.results
    words = packed(CAPACITY, step.ids)
    random.seed_step(9, 1)
    second = cuda.CUDAGraph([CAPACITY], beside=first)
    with second.warm_up():
        step.net(words, step.weights).backward()
    with cuda.graph(second):
        step.results = step.run(words, step.weights)
    plain = Step()
    plain.eager(0, BATCHES[0])
    others = step.results
    for number, lengths in enumerate(BATCHES, start=1):
        graph, step.results = (first, results) if number % 2 else (second, others)
        assert step.replay(graph, number, lengths) == pytest.approx(plain.eager(number, lengths), rel=1e-5)


def test_what_cannot_be_captured_says_so() -> None:
    step = Step()
    with pytest.raises(cuda.CaptureError, match=r"^graph: the first step of an optimiser cannot be captured$"):
        step.capture()
    other = Step(optim.SGD, lr=0.1)
    other.eager(0, BATCHES[0])
    with pytest.raises(cuda.CaptureError, match=r"^graph: a step of SGD cannot be captured$"):
        other.capture()
    graph = cuda.CUDAGraph([CAPACITY])
    with pytest.raises(cuda.CaptureError, match="a layer that takes a step at a time"), cuda.graph(graph):
        step.net.rnn(packed(CAPACITY, step.ids)._replace(data=step.net.embedding(step.ids)))  # float32
    unknown = cuda.CUDAGraph([])
    words = packed(CAPACITY, step.ids)
    with pytest.raises(RuntimeError, match="lengths that the graph was not told of"), cuda.graph(unknown):
        step.net(words, step.weights)
    with pytest.raises(cuda.CaptureError, match="lengths that no layer has asked for"), cuda.graph(graph):
        step.weights + 1
    with pytest.raises(cuda.CaptureError, match="a value that the host asks for"), cuda.graph(graph):
        step.weights.sum().item()
    refused = r"^graph: masked_softmax, whose lengths lie on the host, cannot be captured$"
    with pytest.raises(cuda.CaptureError, match=refused), cuda.graph(graph):
        F.masked_softmax(step.weights.reshape(2, -1), [3, 1])
    step.eager(0, BATCHES[0])  # all is as before
    assert np.isfinite(step.replay(step.capture(), 1, BATCHES[0])[0])


def test_lengths_without_room() -> None:
    step = Step()
    step.eager(0, BATCHES[0])
    graph = step.capture()
    for lengths in ([6, 6, 6, 6], [1, 1, 1], [7, 1, 1, 1]):
        with pytest.raises(ValueError, match=r"^graph: "):
            graph.replay([np.array(lengths)])
    with pytest.raises(ValueError, match="equally long"):
        cuda.CUDAGraph([np.array([2, 2])])
    with pytest.raises(ValueError, match="two batches have equal lengths"):
        cuda.CUDAGraph([CAPACITY, CAPACITY])
    with pytest.raises(RuntimeError, match="nothing has been captured"):
        cuda.CUDAGraph([CAPACITY]).replay([CAPACITY])


def test_a_parameter_that_has_moved() -> None:
    step = Step()
    step.eager(0, BATCHES[0])
    graph = step.capture()
    step.replay(graph, 1, BATCHES[0])
    step.net.embedding.weight.data = step.net.embedding.weight.data.clone()
    with pytest.raises(RuntimeError, match="other memory since the capture"):
        graph.replay([BATCHES[0]])


def test_rows_of_one_length_need_no_lengths() -> None:
    random.manual_seed(3)
    rnn = nn.LSTM(I, H, 2).to("cuda")
    x = random_rows(0).to("cuda").requires_grad_()

    def run() -> list[Tensor]:
        for tensor in (x, *rnn.parameters()):
            tensor.grad = None
        with autocast("cuda"):
            y, (h, c) = rnn(x)
        ((y * y).sum() + (h * c).sum()).backward()
        return [y.detach(), h.detach(), c.detach(), *(tensor.grad for tensor in (x, *rnn.parameters()))]

    graph = cuda.CUDAGraph()
    with graph.warm_up():
        run()
    with cuda.graph(graph):
        results = run()
    for number in (1, 2):
        with no_grad():
            x.copy_(random_rows(number))
        graph.replay()
        found = [result.cpu().numpy().copy() for result in results]
        for got, right in zip(found, run(), strict=True):
            np.testing.assert_array_equal(got, right.cpu().numpy())


def random_rows(seed: int) -> Tensor:
    """(4,3,I)."""
    return Tensor(np.random.default_rng(seed).standard_normal((4, 3, I)).astype(np.float32))
