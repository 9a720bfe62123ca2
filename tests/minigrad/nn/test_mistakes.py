"""Layers, losses and helpers that are given something else than Tensors and sizes say so in one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F
from minigrad.nn.utils import rnn

X, IDS = mg.ones(2, 3), mg.tensor([0, 1])
WRONG = {
    "None": None, "a list with 1.0": [1.0, 2.0], "an array of shape (2, 3) and dtype float64": np.ones((2, 3)),
    "'abc'": "abc", "3.5": 3.5, "a tuple of 2": (1, 2), "a dict": {}, "the class Linear": nn.Linear,
}  # fmt: skip
NOT_FOR_USERS = re.compile(
    r"NoneType|\w\.__|__\w|tuple index|has no attribute|not iterable|subscriptable|operand|unpack|supported between|"
    r"has no len|could not convert|must be real|not callable|ufunc|'<"
)

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "Linear": lambda: nn.Linear(3, 4), "Embedding": lambda: nn.Embedding(5, 4), "Dropout": lambda: nn.Dropout(0.5),
    "Dropout off": lambda: nn.Dropout(0.5).eval(), "Flatten": nn.Flatten, "Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh,
    "ReLU": nn.ReLU, "LeakyReLU": nn.LeakyReLU, "Softmax": lambda: nn.Softmax(1), "LogSoftmax": nn.LogSoftmax,
    "LSTM": lambda: nn.LSTM(3, 4), "GRU": lambda: nn.GRU(3, 4), "RNN": lambda: nn.RNN(3, 4),
    "LSTMCell": lambda: nn.LSTMCell(3, 4), "GRUCell": lambda: nn.GRUCell(3, 4), "RNNCell": lambda: nn.RNNCell(3, 4),
    "Sequential": lambda: nn.Sequential(nn.Linear(3, 4)),
}  # fmt: skip
LOSSES = ("CrossEntropyLoss", "NLLLoss", "MSELoss", "L1Loss", "BCELoss", "BCEWithLogitsLoss")
TAKE_A_TENSOR: dict[str, Callable[[Any], Any]] = {
    **{f"F.{name}": getattr(F, name) for name in (
        "relu", "leaky_relu", "elu", "softplus", "normalize", "softmax", "log_softmax", "dropout", "sigmoid", "tanh",
        "one_hot",
    )},
    "F.linear": lambda wrong: F.linear(wrong, mg.ones(4, 3)),
    "F.linear weight": lambda wrong: F.linear(X, wrong),
    "F.embedding": lambda wrong: F.embedding(wrong, mg.ones(4, 3)),
    "F.embedding weight": lambda wrong: F.embedding(IDS, wrong),
    "F.cosine_similarity": lambda wrong: F.cosine_similarity(X, wrong),
    "F.linear_argmax": lambda wrong: F.linear_argmax(wrong, mg.ones(4, 3)),
    "F.pad": lambda wrong: F.pad(wrong, (1, 1)),
    "pack_padded_sequence": lambda wrong: rnn.pack_padded_sequence(wrong, [2, 1]),
    "from_pretrained": nn.Embedding.from_pretrained,
    "vector_to_parameters": lambda wrong: nn.utils.vector_to_parameters(wrong, [X]),
    **{f"init.{name}": getattr(nn.init, name) for name in (
        "uniform_", "normal_", "zeros_", "ones_", "eye_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_",
        "kaiming_normal_", "orthogonal_",
    )},
    "loss weight": lambda wrong: wrong is not None and nn.NLLLoss(weight=wrong),
    "pos_weight": lambda wrong: wrong is not None and nn.BCEWithLogitsLoss(pos_weight=wrong),
}  # fmt: skip


def message_of(call: Callable[[], Any], *kinds: type[Exception]) -> str:
    """What a call that is refused says, which must be for users."""
    with pytest.raises(kinds or TypeError) as caught:
        call()
    text = str(caught.value)
    assert "expected" in text
    assert not NOT_FOR_USERS.search(text), text
    return text


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, kind: str) -> None:
    text = message_of(lambda: LAYERS[name]()(WRONG[kind]))
    assert f": input is {kind}; expected a tensor" in text


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, kind: str) -> None:
    loss = getattr(nn, name)()
    assert message_of(lambda: loss(WRONG[kind], IDS)).startswith(f"{name}: input is {kind}; expected a tensor")
    assert message_of(lambda: loss(X, WRONG[kind])).startswith(f"{name}: target is {kind}; expected a tensor")


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", TAKE_A_TENSOR)
def test_functions(name: str, kind: str) -> None:
    if "weight" in name and kind == "None" and not name.startswith("F."):
        pytest.skip("None is the default")
    assert f" is {kind}; expected a tensor" in message_of(lambda: TAKE_A_TENSOR[name](WRONG[kind]))


@pytest.mark.parametrize("kind", WRONG)
def test_lists_of_tensors(kind: str) -> None:
    wrong = WRONG[kind]
    for call in (
        lambda: nn.utils.clip_grad_norm_(wrong, 1.0),
        lambda: nn.utils.clip_grad_value_(wrong, 1.0),
        lambda: nn.utils.parameters_to_vector(wrong),
        lambda: nn.utils.vector_to_parameters(mg.ones(6), wrong),
        lambda: rnn.pad_sequence(wrong),
        lambda: rnn.pack_sequence(wrong),
        lambda: nn.ParameterList(wrong),
    ):
        if kind != "a dict":  # an empty list
            message_of(call)


@pytest.mark.parametrize("kind", WRONG)
def test_containers_and_registration(kind: str) -> None:
    wrong = WRONG[kind]
    if kind != "a dict":  # an empty container
        message_of(lambda: nn.Sequential(wrong))
        message_of(lambda: nn.ModuleList(wrong))
        message_of(lambda: nn.ModuleDict(wrong))
        message_of(lambda: nn.ParameterDict(wrong))
    if wrong is not None:
        message_of(lambda: nn.ModuleList([wrong]))
        message_of(lambda: nn.Module().register_buffer("b", wrong))
        message_of(lambda: nn.Module().register_parameter("p", wrong))
        message_of(lambda: nn.Module().add_module("m", wrong))
    if kind != "'abc'":
        message_of(lambda: nn.Module().register_buffer(wrong, X))
        message_of(lambda: nn.Module().add_module(wrong, nn.Linear(1, 1)))
    if not callable(wrong):
        assert message_of(lambda: nn.Linear(1, 1).apply(wrong)).startswith(f"apply: fn is {kind}; expected a function")


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"])
@pytest.mark.parametrize("kind", [kind for kind in WRONG if kind != "None"])
def test_states(name: str, kind: str) -> None:
    x = X if "Cell" in name else mg.ones(4, 2, 3)
    assert message_of(lambda: getattr(nn, name)(3, 4)(x, WRONG[kind])).startswith(f"{name}: hx is {kind}; expected h0")


SIZES: list[tuple[str, tuple[str, ...], bool]] = [
    ("Linear", ("in_features", "out_features"), True),
    ("Embedding", ("num_embeddings", "embedding_dim"), True),
    *((name, ("input_size",), True) for name in ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")),
    *((name, ("hidden_size",), False) for name in ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")),
    *((name, ("num_layers",), False) for name in ("LSTM", "GRU", "RNN")),
]


@pytest.mark.parametrize(("layer", "arguments", "may_be_zero"), SIZES)
def test_sizes(layer: str, arguments: tuple[str, ...], may_be_zero: bool) -> None:
    names = {"Linear": ("in_features", "out_features"), "Embedding": ("num_embeddings", "embedding_dim")}
    good = dict.fromkeys(names.get(layer, ("input_size", "hidden_size")), 2)
    for name in arguments:
        for wrong in (2.0, True, "2", None, [2], np.float32(2)):
            text = message_of(lambda name=name, wrong=wrong: getattr(nn, layer)(**{**good, name: wrong}))
            assert re.match(rf"{layer}: {name} is .*; expected an int$", text)
        for wrong in (-1,) if may_be_zero else (-1, 0):
            text = message_of(lambda name=name, wrong=wrong: getattr(nn, layer)(**{**good, name: wrong}), ValueError)
            assert re.match(rf"{layer}: {name} is {wrong}; expected (zero or more|more than zero)$", text)
        getattr(nn, layer)(**{**good, name: np.int64(3)})
        if may_be_zero:
            getattr(nn, layer)(**{**good, name: 0})  # as in PyTorch


OTHERS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: nn.Embedding(3, 2, padding_idx="1"), TypeError, "Embedding: padding_idx is '1'; expected an int"),
    (lambda: nn.Embedding(3, 2, padding_idx=1.0), TypeError, "Embedding: padding_idx is 1.0; expected an int"),
    (lambda: nn.Embedding(3, 2, max_norm=1.0), NotImplementedError, "Embedding: max_norm=1.0 is not supported; leave"),
    (lambda: nn.Dropout("0.5"), ValueError, "Dropout: p is '0.5'; expected a probability between 0 and 1"),
    (lambda: nn.Dropout(None), ValueError, "Dropout: p is None; expected a probability between 0 and 1"),
    (lambda: nn.LSTM(2, 2, 1, dropout=2), ValueError, "LSTM: dropout is 2; expected a probability between 0 and 1"),
    (lambda: nn.LeakyReLU("0.1"), TypeError, "LeakyReLU: negative_slope is '0.1'; expected a number"),
    (lambda: nn.Softmax("1"), TypeError, "Softmax: dim is '1'; expected an int"),
    (lambda: F.softmax(X, 1.0), TypeError, "softmax: dim is 1.0; expected an int"),
    (lambda: nn.Flatten(None), TypeError, "Flatten: start_dim is None; expected an int"),
    (lambda: F.pad(X, 1), TypeError, "pad: pad is 1; expected a tuple of integers"),
    (lambda: F.pad(X, (1, 1), value="0"), TypeError, "pad: value is '0'; expected a number"),
    (lambda: nn.utils.clip_grad_norm_([X], None), TypeError, "clip_grad_norm_: max_norm is None; expected a number"),
    (lambda: nn.utils.clip_grad_norm_([X], "1"), TypeError, "clip_grad_norm_: max_norm is '1'; expected a number"),
    (lambda: nn.utils.clip_grad_value_([X], None), TypeError, "clip_grad_value_: clip_value is None; expected a numb"),
    (lambda: nn.init.uniform_(mg.ones(2), 2.0, 1.0), ValueError, "uniform_: a is 2.0 and b is 1.0; expected a <= b"),
    (lambda: nn.init.uniform_(mg.ones(2), None), TypeError, "uniform_: a is None; expected a number"),
    (lambda: nn.init.normal_(mg.ones(2), 0.0, -1.0), ValueError, "normal_: std is -1.0; expected 0 or more"),
    (lambda: nn.init.constant_(mg.ones(2), None), TypeError, "constant_: val is None; expected a number"),
    (lambda: nn.init.calculate_gain([]), ValueError, "calculate_gain: nonlinearity is []; expected one of"),
    (lambda: rnn.pack_padded_sequence(mg.ones(3), [1]), ValueError, "pack_padded_sequence: input has shape (3,); exp"),
    (lambda: rnn.pack_padded_sequence(mg.ones(3, 1), None), TypeError, "lengths is None; expected (batch,) integers"),
    (
        lambda: rnn.pad_packed_sequence(X),
        TypeError,
        "pad_packed_sequence: sequence is a tensor of shape (2, 3)",
    ),
    (lambda: rnn.pad_sequence([]), RuntimeError, "pad_sequence: sequences is empty; expected one or more"),
]


@pytest.mark.parametrize(("call", "error", "message"), OTHERS, ids=[message for *_, message in OTHERS])
def test_other_arguments(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("kind", [kind for kind in WRONG if kind != "a dict"])
def test_load_state_dict_of_no_dict(kind: str) -> None:
    text = message_of(lambda: nn.Linear(3, 4).load_state_dict(WRONG[kind]))
    assert text.startswith(f"Linear.load_state_dict: state_dict is {kind}; expected a dict from names to Tensors")
    assert text.endswith("load() reads a file") is (kind == "'abc'")


def test_all_that_is_wrong_with_a_state_dict_is_listed_and_nothing_changed() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    before = [param.detach().numpy().tobytes() for param in model.parameters()]
    state = {**model.state_dict(), "0.weight": None, "0.bias": mg.ones(5), "1.weight": [[1.0]], "2.weight": X}
    del state["1.bias"]
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict(state)
    assert str(caught.value).split("\n\t") == [
        "Error(s) in loading state_dict for Sequential:",
        'Missing key(s) in state_dict: "1.bias".',
        'Unexpected key(s) in state_dict: "2.weight".',
        'While copying the parameter named "0.weight", expected a Tensor or an array but got None.',
        "size mismatch for 0.bias: copying a param with shape (5,) from checkpoint, "
        "the shape in current model is (4,).",
        'While copying the parameter named "1.weight", expected a Tensor or an array but got '
        "a list with a list with 1.0.",
    ]
    assert [param.detach().numpy().tobytes() for param in model.parameters()] == before


def test_a_module_without_super_init() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            pass

    for use in (lambda net: list(net.parameters()), lambda net: net.training, lambda net: repr(net)):
        with pytest.raises(AttributeError, match=r"^Net: __init__ has to call super\(\)\.__init__\(\) first$"):
            use(Net())
    with pytest.raises(AttributeError, match=r"cannot assign module before Module\.__init__\(\) call"):
        Net().layer = nn.Linear(1, 1)
