"""LSTM, GRU, RNN and their cells: against PyTorch with all gradients, and against their own definition without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

T, N, INPUT, H = 4, 3, 2, 3
LENGTHS = [2, 4, 1]
KINDS = {"LSTM": 2, "GRU": 1, "RNN": 1}
STACKS = [
    {},
    {"bias": False},
    {"num_layers": 2, "dropout": 0.5},
    {"num_layers": 2, "bidirectional": True, "dropout": 0.3},
    {"bidirectional": True, "batch_first": True},
]


def states_of(kind: str, rows: int, *batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {name: rng.normal(0, 0.5, (rows, *batch, H)) for name in ("h0", "c0")[: KINDS[kind]]}


def bundle(states: dict[str, Any]) -> Any:
    """States as users pass them: one tensor, or a pair."""
    return tuple(states.values()) if len(states) > 1 else states["h0"]


def flat(final: Any) -> list[Any]:
    return list(final) if isinstance(final, tuple) else [final]


def rows_of(options: dict[str, Any]) -> int:
    return options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)


def sequences(options: dict[str, Any]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N, T, INPUT) if options.get("batch_first") else (T, N, INPUT))


@pytest.mark.parametrize("options", STACKS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", [True, False], ids=["states", "zeros"])
def test_padded_input_equals_torch(twins: Any, dtype: str, kind: str, options: dict, given: bool) -> None:
    def run(lib: Any, module: Any, x: Any, **states: Any) -> list[Any]:
        y, final = module.eval()(x, bundle(states)) if given else module.eval()(x)
        return [y, *flat(final)]

    inputs = {"x": sequences(options), **(states_of(kind, rows_of(options), N) if given else {})}
    twins.check(run, inputs, dtype, lambda lib: getattr(lib.nn, kind)(INPUT, H, **options))


@pytest.mark.parametrize("output", ["y", "h_n", "c_n"])
def test_each_output_alone_equals_torch(twins: Any, output: str) -> None:
    def run(lib: Any, module: Any, x: Any, **states: Any) -> Any:
        y, (h_n, c_n) = module(x, bundle(states))
        return {"y": y, "h_n": h_n, "c_n": c_n}[output]

    options = {"num_layers": 2, "bidirectional": True}
    inputs = {"x": sequences(options), **states_of("LSTM", 4, N)}
    twins.check(run, inputs, "float64", lambda lib: lib.nn.LSTM(INPUT, H, **options))


@pytest.mark.parametrize("kind", KINDS)
def test_unbatched_input_equals_torch(twins: Any, dtype: str, kind: str) -> None:
    def run(lib: Any, module: Any, x: Any, **states: Any) -> list[Any]:
        y, final = module(x, bundle(states))
        return [y, *flat(final)]

    inputs = {"x": sequences({})[:, 0], **states_of(kind, 2)}
    twins.check(run, inputs, dtype, lambda lib: getattr(lib.nn, kind)(INPUT, H, 2, batch_first=True))


@pytest.mark.parametrize("options", STACKS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [[4, 2, 1], LENGTHS])
def test_packed_input_equals_torch(twins: Any, kind: str, options: dict, lengths: list[int]) -> None:
    ordered, batch_first = lengths == sorted(lengths, reverse=True), options.get("batch_first", False)

    def run(lib: Any, module: Any, x: Any, **states: Any) -> list[Any]:
        rnn = lib.nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=batch_first, enforce_sorted=ordered)
        out, final = module.eval()(packed, bundle(states))
        y, counts = rnn.pad_packed_sequence(out, batch_first=batch_first, padding_value=0.5)
        assert counts.tolist() == lengths
        return [out.data, y, *flat(final)]

    inputs = {"x": sequences(options), **states_of(kind, rows_of(options), N)}
    twins.check(run, inputs, "float64", lambda lib: getattr(lib.nn, kind)(INPUT, H, **options))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [(), (N,)], ids=["unbatched", "batched"])
@pytest.mark.parametrize("given", [True, False], ids=["state", "zeros"])
def test_cells_equal_torch(twins: Any, dtype: str, kind: str, batch: tuple, given: bool) -> None:
    def run(lib: Any, cell: Any, x: Any, **states: Any) -> list[Any]:
        return flat(cell(x, bundle(states)) if given else cell(x))

    states = {name: state[0] for name, state in states_of(kind, 1, *batch).items()} if given else {}
    x = np.random.default_rng(2).normal(size=(*batch, INPUT))
    twins.check(run, {"x": x, **states}, dtype, lambda lib: getattr(lib.nn, kind + "Cell")(INPUT, H))


@pytest.mark.parametrize("bias", [True, False])
def test_relu_networks_equal_torch(twins: Any, dtype: str, bias: bool) -> None:
    def build(lib: Any) -> Any:
        layers = lib.nn.RNN(INPUT, H, 2, "relu", bias, True), lib.nn.RNNCell(H, H, bias, "relu")
        return lib.nn.ModuleList(layers)

    def run(lib: Any, modules: Any, x: Any) -> list[Any]:
        y, h_n = modules[0](x)
        return [y, h_n, modules[1](y[:, -1], h_n[0])]

    twins.check(run, {"x": sequences({"batch_first": True})}, dtype, build)
    assert repr(build(twins.ours)) == repr(build(twins.theirs))


def test_unknown_nonlinearity() -> None:
    with pytest.raises(ValueError, match="RNN: nonlinearity is 'sigmoid'; expected one of tanh, relu"):
        nn.RNN(INPUT, H, nonlinearity="sigmoid")


@pytest.mark.parametrize("options", STACKS, ids=str)
def test_weights_by_layer_are_torchs(twins: Any, options: dict) -> None:
    ours, theirs = (lib.nn.GRU(INPUT, H, **options) for lib in (twins.ours, twins.theirs))
    assert ours._all_weights == theirs._all_weights
    assert ours._flat_weights_names == theirs._flat_weights_names
    named = dict(ours.named_parameters())
    for weights, names in zip(ours.all_weights, ours._all_weights, strict=True):
        assert all(weight is named[name] for weight, name in zip(weights, names, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", STACKS, ids=str)
def test_parameters_are_torchs(twins: Any, kind: str, options: dict) -> None:
    ours, theirs = (getattr(lib.nn, kind)(INPUT, H, **options) for lib in (twins.ours, twins.theirs))
    assert [(n, tuple(p.shape)) for n, p in ours.named_parameters()] == [
        (n, tuple(p.shape)) for n, p in theirs.named_parameters()
    ]
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_lengths_equal_each_sequence_alone(kind: str, bidirectional: bool) -> None:
    rnn = getattr(nn, kind)(INPUT, H, num_layers=2, bidirectional=bidirectional).double()
    x = mg.tensor(sequences({}), requires_grad=True)
    y, final = rnn(x, lengths=LENGTHS)
    (y.sum() + sum((state * state).sum() for state in flat(final))).backward()
    gradients = [p.grad.array.copy() for p in rnn.parameters()]
    rnn.zero_grad()
    for n, length in enumerate(LENGTHS):
        alone = mg.tensor(x.array[:length, n : n + 1], requires_grad=True)
        y_alone, final_alone = rnn(alone)
        (y_alone.sum() + sum((state * state).sum() for state in flat(final_alone))).backward()
        np.testing.assert_allclose(y.array[:length, n], y_alone.array[:, 0], atol=1e-12)
        assert not y.array[length:, n].any()
        for state, state_alone in zip(flat(final), flat(final_alone), strict=True):
            np.testing.assert_allclose(state.array[:, n], state_alone.array[:, 0], atol=1e-12)
        np.testing.assert_allclose(x.grad.array[:length, n], alone.grad.array[:, 0], atol=1e-12)
        assert not x.grad.array[length:, n].any()
    for param, gradient in zip(rnn.parameters(), gradients, strict=True):
        np.testing.assert_allclose(param.grad.array, gradient, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_never_read(kind: str) -> None:
    rnn = getattr(nn, kind)(INPUT, H, bidirectional=True)
    clean = sequences({}).astype(np.float32)
    dirty = clean.copy()
    for n, length in enumerate(LENGTHS):
        dirty[length:, n] = np.nan
    results = [rnn(mg.tensor(x), lengths=mg.tensor(LENGTHS)) for x in (clean, dirty)]
    np.testing.assert_array_equal(results[0][0].detach().numpy(), results[1][0].detach().numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_cell_is_one_step_of_the_layer(kind: str) -> None:
    rnn, cell = getattr(nn, kind)(INPUT, H), getattr(nn, kind + "Cell")(INPUT, H)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in rnn.state_dict().items()})
    x, state = mg.tensor(sequences({}).astype(np.float32)), None
    y, final = rnn(x)
    for t in range(T):
        state = cell(x[t], state)
        np.testing.assert_allclose(flat(state)[0].detach().numpy(), y[t].detach().numpy(), atol=1e-6)
    for ours, layers in zip(flat(state), flat(final), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), layers[0].detach().numpy(), atol=1e-6)


def test_reverse_direction_is_the_layer_on_reversed_input() -> None:
    both, one = nn.LSTM(INPUT, H, bidirectional=True), nn.LSTM(INPUT, H)
    reverse = {k: v for k, v in both.state_dict().items() if k.endswith("_reverse")}
    one.load_state_dict({name.removesuffix("_reverse"): value for name, value in reverse.items()})
    x = mg.tensor(sequences({}).astype(np.float32))
    y, (h_n, _) = both(x)
    y_one, (h_one, _) = one(x.flip(0))
    np.testing.assert_array_equal(y[:, :, H:].detach().numpy(), y_one.flip(0).detach().numpy())
    np.testing.assert_array_equal(h_n[1].detach().numpy(), h_one[0].detach().numpy())


def test_dropout_acts_between_layers_in_training_only() -> None:
    rnn = nn.LSTM(INPUT, H, num_layers=2, dropout=1.0)
    x, y = mg.tensor(sequences({}).astype(np.float32)), {}
    for mode in (True, False):
        y[mode] = rnn.train(mode)(x)[0].detach().numpy()
    silent = nn.LSTM(H, H)
    silent.load_state_dict({k.replace("_l1", "_l0"): v for k, v in rnn.state_dict().items() if "_l1" in k})
    np.testing.assert_allclose(y[True], silent(mg.zeros(T, N, H))[0].detach().numpy(), atol=1e-7)
    assert np.abs(y[True] - y[False]).max() > 1e-3


def test_initial_values() -> None:
    values = np.concatenate([p.array.ravel() for p in nn.GRU(20, 25).parameters()])
    assert np.abs(values).max() <= 0.2
    assert np.abs(values).max() > 0.19
    assert abs(values.mean()) < 0.01


def test_state_dict_round_trip_through_packed_and_padded() -> None:
    rnn = nn.GRU(INPUT, H, bidirectional=True)
    x = mg.tensor(sequences({}).astype(np.float32))
    packed, h_packed = rnn(pack_padded_sequence(x, LENGTHS, enforce_sorted=False))
    y, h_n = rnn(x, lengths=LENGTHS)
    np.testing.assert_array_equal(pad_packed_sequence(packed)[0].detach().numpy(), y.detach().numpy())
    np.testing.assert_array_equal(h_packed.detach().numpy(), h_n.detach().numpy())


BAD_CALLS = [
    (lambda: nn.LSTM(3, 4)(mg.zeros(2, 3, 5)), r"input has shape \(2, 3, 5\); expected a last size of input_size = 3"),
    (lambda: nn.LSTM(3, 4)(mg.zeros(2, 3, 3, 3)), r"input has 4 dimensions; expected 2 \(unbatched\) or 3"),
    (
        lambda: nn.GRU(3, 4)(mg.zeros(2, 5, 3), mg.zeros(1, 2, 4)),
        r"h0 has shape \(1, 2, 4\); expected .* = \(1, 5, 4\)",
    ),
    (
        lambda: nn.LSTM(3, 4, 2)(mg.zeros(2, 5, 3), (mg.zeros(2, 5, 4), mg.zeros(1, 5, 4))),
        r"LSTM: c0 has shape \(1, 5, 4\); expected .* = \(2, 5, 4\)",
    ),
    (lambda: nn.LSTM(3, 4)(mg.zeros(2, 3), lengths=[2]), "lengths is given for unbatched input"),
    (lambda: nn.LSTM(3, 4)(mg.zeros(2, 3, 3), lengths=[1.5, 1, 1]), "lengths has shape"),
    (lambda: nn.GRUCell(3, 4)(mg.zeros(2, 3), mg.zeros(3, 4)), r"h0 has shape \(3, 4\); expected .* = \(2, 4\)"),
    (lambda: nn.LSTM(3, 0), "hidden_size is 0; expected more than zero"),
    (lambda: nn.LSTM(3, 4, 0), "num_layers is 0"),
    (lambda: nn.LSTM(3, 4, dropout=1.5), "dropout is 1.5; expected a probability"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS)
def test_bad_shapes_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_other_refusals() -> None:
    with pytest.raises(TypeError, match=r"hx is a tensor of shape .*; expected h0, c0"):
        nn.LSTM(3, 4)(mg.zeros(2, 3, 3), mg.zeros(1, 3, 4))
    with pytest.raises(NotImplementedError, match="LSTM: proj_size=2 is not supported"):
        nn.LSTM(3, 4, proj_size=2)
    with pytest.warns(UserWarning, match="dropout=0.5 acts between layers"):
        nn.LSTM(3, 4, dropout=0.5)


def test_biases_have_gradients_of_their_own() -> None:
    """They are equal, but scaling one must not scale the other."""
    layer = nn.LSTM(INPUT, H)
    layer(mg.ones(T, N, INPUT))[0].sum().backward()
    first, second = layer.bias_ih_l0.grad.numpy(), layer.bias_hh_l0.grad.numpy()
    np.testing.assert_array_equal(first, second)
    assert not np.may_share_memory(first, second)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_packed_input_is_used_as_it_is(kind: str) -> None:
    """The first layer keeps the very memory of the data, unless its order is not the one that packing gives."""
    layer = getattr(nn, kind)(INPUT, H, dtype=mg.float64)
    x = mg.tensor(np.random.default_rng(0).normal(size=(T, N, INPUT)))
    packed = pack_padded_sequence(x, [2, 4, 2], enforce_sorted=False)
    y, final = layer(packed)
    assert np.shares_memory(y.data.grad_fn.ctx.cache.x, packed.data.array)
    # Of two equally long sequences the later one first: the same sequences, in another layout.
    data, order = packed.data[[0, 2, 1, 3, 5, 4, 6, 7]], [1, 2, 0]
    places = {"sorted_indices": mg.tensor(order), "unsorted_indices": mg.tensor(np.argsort(order))}
    other, other_final = layer(packed._replace(data=data, **places))
    assert other.data.grad_fn.function.__name__ == "PlaceRows"
    np.testing.assert_allclose(pad_packed_sequence(other)[0].detach(), pad_packed_sequence(y)[0].detach())
    for a, b in zip(flat(other_final), flat(final), strict=True):
        np.testing.assert_allclose(a.detach(), b.detach())


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bidirectional": True}, {"num_layers": 2}])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_sequence_of_no_steps_is_refused_as_torch_does(name: str, options: dict) -> None:
    layer = getattr(nn, name)(3, 4, **options)
    batch = mg.zeros(2, 0, 3) if "batch_first" in options else mg.zeros(0, 2, 3)
    for x in (batch, mg.zeros(0, 3)):
        with pytest.raises(RuntimeError, match=f"{name}: input has 0 steps; expected a sequence length larger than 0"):
            layer(x)
