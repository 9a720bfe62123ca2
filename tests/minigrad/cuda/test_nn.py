"""Layers and losses on a GPU: the numbers of the host, to what another order of sums may change."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, nn
from minigrad.nn import functional as F
from minigrad.nn.utils import rnn

pytestmark = pytest.mark.usefixtures("cuda")

T, N, IN, H, V = 5, 4, 3, 6, 7
LENGTHS = np.array([3, 5, 1, 4])
TOLERANCE = 2e-6  # float32: a sum of up to 40 products of order 1, in another order


def numbers(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def ids(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, V, shape)


def incremental(lstm: nn.LSTM, x: Tensor) -> Any:
    zero = x.new_zeros(2, N, H)
    stack, sequence = nn.IncrementalLSTM(lstm, (zero, zero), LENGTHS), pack(x)
    ends = np.cumsum([0, *sequence.batch_sizes.numpy()])[[0, 2, 3, T]]
    for start, stop in itertools.pairwise(ends):
        stack.step(sequence.data[start:stop])
    y, states = stack.finish(sequence.data)
    return rnn.pad_packed_sequence(sequence._replace(data=y)), states


def pack(x: Tensor) -> rnn.PackedSequence:
    return rnn.pack_padded_sequence(x, LENGTHS, enforce_sorted=False)


def packed(layer: nn.Module, x: Tensor) -> Any:
    y, states = layer(pack(x))
    return rnn.pad_packed_sequence(y, padding_value=0.5), states


# name -> (module, its inputs, how it is called)
LAYERS: dict[str, tuple[Callable[[], nn.Module], Any, Callable[..., Any]]] = {
    "Linear": (lambda: nn.Linear(IN, H), numbers(N, 2, IN), lambda m, x: m(x)),
    "Linear without bias": (lambda: nn.Linear(IN, H, bias=False), numbers(N, IN), lambda m, x: m(x)),
    "Embedding": (lambda: nn.Embedding(V, IN, padding_idx=2), ids(T, N), lambda m, x: m(x)),
    "Embedding, sparse": (lambda: nn.Embedding(V, IN, sparse=True), ids(T, N), lambda m, x: m(x)),
    "Dropout": (lambda: nn.Dropout(0.4), numbers(N, 9), lambda m, x: m(x)),
    "LSTM": (lambda: nn.LSTM(IN, H), numbers(T, N, IN), lambda m, x: m(x)),
    "LSTM, deep": (lambda: nn.LSTM(IN, H, 2, dropout=0.3), numbers(T, N, IN), lambda m, x: m(x, lengths=LENGTHS)),
    "LSTM, both": (lambda: nn.LSTM(IN, H, bidirectional=True), numbers(T, N, IN), lambda m, x: m(x, lengths=LENGTHS)),
    "LSTM, batch first": (lambda: nn.LSTM(IN, H, batch_first=True), numbers(N, T, IN), lambda m, x: m(x)),
    "LSTM, one": (lambda: nn.LSTM(IN, H, bias=False), numbers(T, IN), lambda m, x: m(x)),
    "LSTM, packed": (lambda: nn.LSTM(IN, H), numbers(T, N, IN), packed),
    "LSTM, both packed": (lambda: nn.LSTM(IN, H, bidirectional=True), numbers(T, N, IN), packed),
    "LSTM, incremental": (lambda: nn.LSTM(IN, H, 2, dropout=0.3), numbers(T, N, IN), incremental),
    "GRU": (lambda: nn.GRU(IN, H, 2), numbers(T, N, IN), lambda m, x: m(x, lengths=LENGTHS)),
    "GRU, packed": (lambda: nn.GRU(IN, H), numbers(T, N, IN), packed),
    "RNN": (lambda: nn.RNN(IN, H), numbers(T, N, IN), lambda m, x: m(x, lengths=LENGTHS)),
    "LSTMCell": (lambda: nn.LSTMCell(IN, H), numbers(N, IN), lambda m, x: m(x)),
    "GRUCell": (lambda: nn.GRUCell(IN, H), numbers(N, IN), lambda m, x: m(x)),
    "RNNCell": (lambda: nn.RNNCell(IN, H), numbers(IN), lambda m, x: m(x)),
    "Sequential": (lambda: nn.Sequential(nn.Linear(IN, H), nn.Softmax(1)), numbers(N, IN), lambda m, x: m(x)),
}  # fmt: skip


def flat(result: Any) -> list[Tensor]:
    return [part for item in result for part in flat(item)] if isinstance(result, tuple | list) else [result]


def run(name: str, device: str) -> list[np.ndarray]:
    """Outputs, and the gradients of the input and of all parameters."""
    make, given, call = LAYERS[name]
    mg.manual_seed(1)
    layer = make().to(device)
    x = mg.tensor(given, device=device, requires_grad=given.dtype.kind == "f")
    outputs = [y for y in flat(call(layer, x)) if y.is_floating_point()]
    loss = sum((y * mg.tensor(numbers(*y.shape, seed=k), device=device)).sum() for k, y in enumerate(outputs))
    assert isinstance(loss, Tensor)
    if loss.requires_grad:
        loss.backward()
    for tensor in (*outputs, *layer.parameters()):
        assert tensor.is_cuda == (device == "cuda")
    grads = [tensor.grad for tensor in (x, *layer.parameters()) if tensor.requires_grad]
    dense = [grad.to_dense() if grad.is_sparse else grad for grad in grads]
    return [tensor.detach().cpu().numpy() for tensor in (*outputs, *dense)]


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    here, there = run(name, "cpu"), run(name, "cuda")
    assert len(here) == len(there)
    for k, (a, b) in enumerate(zip(there, here, strict=True)):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, err_msg=f"{name}, number {k}")


def targets(ignored: bool = True) -> np.ndarray:
    found = ids(N, seed=4)
    found[1] = 2 if ignored else found[1]
    return found


WEIGHT = np.linspace(0.5, 2, V).astype(np.float32)
Loss = Callable[[Tensor, Callable[[np.ndarray], Tensor]], Tensor]
LOSSES: dict[str, Loss] = {
    "cross_entropy": lambda x, on: F.cross_entropy(x, on(targets()), ignore_index=2),
    "smoothed": lambda x, on: F.cross_entropy(x, on(targets()), ignore_index=2, label_smoothing=0.2),
    "weighted": lambda x, on: F.cross_entropy(x, on(targets()), on(WEIGHT), ignore_index=2, label_smoothing=0.1),
    "sum": lambda x, on: F.cross_entropy(x, on(targets()), on(WEIGHT), reduction="sum"),
    "none": lambda x, on: F.cross_entropy(x, on(targets()), reduction="none").sum(),
    "all ignored": lambda x, on: F.cross_entropy(x, on(np.full(N, 2)), ignore_index=2),
    "soft": lambda x, on: F.cross_entropy(x, on(np.abs(numbers(N, V, seed=2)))),
    "linear": lambda x, on: F.linear_cross_entropy(x, on(numbers(V, V)), on(WEIGHT), on(targets()), ignore_index=2),
    "nll": lambda x, on: F.nll_loss(F.log_softmax(x, 1), on(targets()), on(WEIGHT), ignore_index=2),
    "mse": lambda x, on: F.mse_loss(x, on(numbers(N, V, seed=3))),
    "l1": lambda x, on: F.l1_loss(x, on(numbers(N, V, seed=3)), reduction="sum"),
    "bce": lambda x, on: F.binary_cross_entropy(mg.sigmoid(x), on(np.abs(np.sin(numbers(N, V))))),
    "bce of logits": lambda x, on: F.binary_cross_entropy_with_logits(
        x, on(np.abs(np.sin(numbers(N, V)))), on(WEIGHT), pos_weight=on(WEIGHT)
    ),
    "others": lambda x, on: (F.normalize(x) + F.softplus(x) + F.elu(x) + F.pad(x, (1, 0))[:, 1:]).sum(),
    "similar": lambda x, on: F.cosine_similarity(x, on(numbers(N, V, seed=3))).sum(),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    found = []
    for device in ("cpu", "cuda"):
        x = mg.tensor(numbers(N, V, seed=9), device=device, requires_grad=True)
        loss = LOSSES[name](x, lambda array, device=device: mg.tensor(array, device=device))
        loss.backward()
        assert loss.is_cuda == x.grad.is_cuda == (device == "cuda")
        found.append((loss.item(), x.grad.cpu().numpy()))
    (here, dhere), (there, dthere) = found
    np.testing.assert_allclose(there, here, rtol=TOLERANCE)
    np.testing.assert_allclose(dthere, dhere, rtol=TOLERANCE, atol=TOLERANCE)


def test_functions_of_ids() -> None:
    there = mg.tensor(ids(N), device="cuda")
    for classes in (-1, V):
        assert F.one_hot(there, classes).tolist() == F.one_hot(mg.tensor(ids(N)), classes).tolist()
    x, weight = (mg.tensor(numbers(*shape, seed=k)) for k, shape in enumerate(((N, H), (V, H))))
    assert F.linear_argmax(x.cuda(), weight.cuda()).tolist() == F.linear_argmax(x, weight).tolist()


def test_sequences_keep_their_lengths_on_the_host() -> None:
    x = mg.tensor(numbers(T, N, IN), device="cuda", requires_grad=True)
    sequence = rnn.pack_padded_sequence(x, mg.tensor(LENGTHS, device="cuda"), enforce_sorted=False)
    assert sequence.data.is_cuda
    assert not any(part.is_cuda for part in sequence[1:])
    padded, lengths = rnn.pad_packed_sequence(sequence, total_length=T + 1)
    assert padded.is_cuda
    assert lengths.tolist() == LENGTHS.tolist()
    padded.sum().backward()
    assert np.array_equal(x.grad.cpu().numpy()[:, :, 0], (np.arange(T)[:, None] < LENGTHS).astype(np.float32))
    assert not sequence.to("cpu").data.is_cuda
    both = rnn.pad_sequence([mg.zeros(2, IN, device="cuda"), mg.ones(3, IN, device="cuda")], padding_value=7.0)
    assert both.cpu().numpy()[:, :, 0].tolist() == [[0, 1], [0, 1], [7, 1]]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(IN, H)
        self.register_buffer("count", mg.tensor([3, 4]))
        self.register_buffer("scale", mg.ones(H))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.scale


def test_a_module_moves_as_a_whole(cuda: ModuleType) -> None:
    model = Model()
    model(mg.tensor(numbers(N, IN))).sum().backward()
    weight, grad = model.linear.weight, model.linear.weight.grad.numpy().copy()
    optimiser = mg.optim.SGD(model.parameters(), lr=1.0)
    assert model.to("cuda") is model
    assert model.linear.weight is weight
    for tensor in (weight, weight.grad, model.count, model.scale):
        assert tensor.device == "cuda:0"
    assert model.count.dtype == mg.int64
    assert np.array_equal(weight.grad.cpu().numpy(), grad)
    before = weight.detach().cpu().numpy()
    optimiser.step()
    np.testing.assert_allclose(weight.detach().cpu().numpy(), before - grad, rtol=1e-6)
    model.double()
    assert weight.is_cuda
    assert weight.dtype == mg.float64
    assert model.count.dtype == mg.int64
    model.cpu()
    assert type(weight.array) is np.ndarray
    assert model.cuda().linear.bias.is_cuda


def test_state_dicts_cross_devices() -> None:
    mg.manual_seed(0)
    here, there = Model(), Model().to("cuda")
    there.load_state_dict(here.state_dict())
    assert there.linear.weight.is_cuda
    for a, b in zip(here.parameters(), there.parameters(), strict=True):
        assert np.array_equal(a.detach().numpy(), b.detach().cpu().numpy())
    there.linear.weight.data.fill_(2.0)
    here.load_state_dict(there.state_dict())
    assert not here.linear.weight.is_cuda
    assert (here.linear.weight == 2).all()


def test_initial_values_do_not_depend_on_the_device() -> None:
    found = []
    for device in (None, "cuda"):
        mg.manual_seed(2)
        layers = [nn.LSTM(IN, H, device=device), nn.Linear(IN, H, device=device), nn.Embedding(V, 4, 1, device=device)]
        for function in (nn.init.orthogonal_, nn.init.xavier_normal_, nn.init.kaiming_uniform_, nn.init.eye_):
            layers.append(nn.Linear(H, H, device=device))
            function(layers[-1].weight)
        found.append([param.detach().cpu().numpy() for layer in layers for param in layer.parameters()])
    for here, there in zip(*found, strict=True):
        assert np.array_equal(here, there)
