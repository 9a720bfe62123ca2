"""Recurrent encoders against the same models in PyTorch: both cells, both directions, and what is between layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minigrad import Tensor, nn, no_grad
from minigrad.nn.utils.rnn import lengths_of, pack_padded_sequence, pad_packed_sequence
from seq2seq.gradcheck import check_model
from seq2seq.models.stack import pairs_of
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError

torch = pytest.importorskip("torch")
from tests.seq2seq.models.test_registered_models import LEAST_ROWS, features_of  # noqa: E402
from tests.seq2seq.models.torch_twin import ChoGRU, TorchTwin  # noqa: E402  (which needs it)

SIZES = {"embedding_size": 6, "hidden_size": 6}
BETWEEN: list[dict[str, Any]] = [
    {"residual": True},
    {"layer_norm": True},
    {"pyramid": 1},
    {"pyramid": 2, "layer_norm": True, "residual": True},
]


# --- plain layers -----------------------------------------------------------------------------------------------------
def bridged(twin, states, name: str):
    """(L*2, N, H) -> (L, N, H), layer by layer."""
    layers = [torch.cat([states[2 * layer], states[2 * layer + 1]], 1) for layer in range(len(states) // 2)]
    return torch.stack([torch.tanh(twin.linear(f"encoder.{name}", layer)) for layer in layers])


def test_lstm_in_both_directions(tiny_model, draw_batch) -> None:
    twin = TorchTwin(tiny_model(encoder="bilstm", precision="fp64"), draw_batch(1))
    h, c = twin.encode(bidirectional=True)
    lstm = twin.recurrent(torch.nn.LSTM, "decoder.rnn")
    y, _ = lstm(twin.embed("decoder", twin.trg_input), (bridged(twin, h, "bridges.0"), bridged(twin, c, "bridges.1")))
    twin.compare(y)


def of_both(states):
    """(L*2, N, H) -> (L, N, 2H)."""
    return torch.cat([states[0::2], states[1::2]], 2)


@pytest.mark.parametrize("decoder", ["lstm", "luong"])
def test_directions_of_half_the_size_need_no_bridge(tiny_model, draw_batch, decoder: str) -> None:
    """Their states side by side are the decoder's; the outputs are as wide."""
    model = tiny_model(encoder="bilstm", decoder=decoder, split_directions=True, precision="fp64")
    assert model.encoder.memory_shape == (((2, 6), (2, 6)), 6)
    assert not len(model.encoder.bridges)
    batch = draw_batch(1)
    twin = TorchTwin(model, batch)
    states = tuple(map(of_both, twin.encode(bidirectional=True)))
    memory = model.remember(model.pack(batch))
    for ours, expected in zip(memory.states, states, strict=True):
        np.testing.assert_allclose(ours.array, expected.detach().numpy(), atol=1e-14)
    if decoder == "lstm":
        y, _ = twin.recurrent(torch.nn.LSTM, "decoder.rnn")(twin.embed("decoder", twin.trg_input), states)
        twin.compare(y)


ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "linear": lambda x: x}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
def test_bridges_of_other_toolkits(tiny_model, draw_batch, activation: str, split: bool) -> None:
    options = {"encoder": "bilstm", "bridge": True, "split_directions": split, "bridge_activation": activation}
    twin = TorchTwin(tiny_model(precision="fp64", **options), draw_batch(1))
    states = zip(range(2), twin.encode(bidirectional=True), strict=True)
    first = tuple(ACTIVATIONS[activation](twin.linear(f"encoder.bridges.{k}", of_both(state))) for k, state in states)
    y, _ = twin.recurrent(torch.nn.LSTM, "decoder.rnn")(twin.embed("decoder", twin.trg_input), first)
    twin.compare(y)


def test_a_bridge_may_read_the_last_layer_alone(tiny_model, draw_batch) -> None:
    """h and c of both layers are made of its h."""
    twin = TorchTwin(tiny_model(encoder="bilstm", bridge_top=True, precision="fp64"), draw_batch(1))
    h, _ = twin.encode(bidirectional=True)
    top = of_both(h)[-1:].expand(2, -1, -1)
    first = tuple(torch.tanh(twin.linear(f"encoder.bridges.{k}", top)) for k in range(2))
    y, _ = twin.recurrent(torch.nn.LSTM, "decoder.rnn")(twin.embed("decoder", twin.trg_input), first)
    twin.compare(y)


REFUSED = {
    "split_directions is true; expected an encoder of two directions": {"encoder": "lstm", "split_directions": True},
    "hidden_size is 7; expected an even one": {"encoder": "bilstm", "split_directions": True, "hidden_size": 7},
    "bridge_activation is 'gelu'; expected tanh, relu, linear": {"encoder": "lstm", "bridge_activation": "gelu"},
    "bridge_top is true, but there is no bridge": {"encoder": "lstm", "bridge_top": True},
}


@pytest.mark.parametrize("line", REFUSED)
def test_options_that_do_not_go_together_are_refused(tiny_model, line: str) -> None:
    with pytest.raises(UserError, match=line):
        tiny_model(**REFUSED[line])


@pytest.mark.parametrize("encoder", ["gru", "bigru", "cho-gru", "bicho-gru"])
def test_gru(tiny_model, draw_batch, encoder: str) -> None:
    twin = TorchTwin(tiny_model(encoder=encoder, decoder="gru-context", precision="fp64"), draw_batch(1))
    both = encoder.startswith("bi")
    h = twin.encode(ChoGRU if "cho" in encoder else torch.nn.GRU, bidirectional=both)
    h = bridged(twin, h, "bridges.0") if both else h
    embedded = twin.embed("decoder", twin.trg_input)
    contexts = h[-1].expand(len(embedded), *h[-1].shape)
    y, _ = twin.recurrent(torch.nn.GRU, "decoder.rnn")(torch.cat([embedded, contexts], 2), h)
    twin.compare(torch.cat([embedded, y, contexts], 2))


@pytest.mark.parametrize(
    ("encoder", "decoder"), [("bilstm", "lstm"), ("bigru", "gru-context"), ("bicho-gru", "gru-context")]
)
def test_the_bridge_reads_both_ends(tiny_model, draw_batch, encoder: str, decoder: str) -> None:
    """A change of the first token and one of the last both reach the state; padding does not."""
    model = tiny_model(encoder=encoder, decoder=decoder).eval()
    batch = draw_batch(3, ((5, 3), (2, 3)))

    def states(src: np.ndarray) -> np.ndarray:
        packed = pack_padded_sequence(Tensor(src), batch.src_lengths, enforce_sorted=False)
        return model.encoder(packed).states[0].array.copy()

    before = states(batch.src)
    for position, changes in ((0, True), (batch.src_lengths[1] - 1, True), (batch.src_lengths[1], False)):
        src = batch.src.copy()
        src[position, 1] = 9 if src[position, 1] != 9 else 8
        assert (states(src)[:, 1] != before[:, 1]).any() == changes
        np.testing.assert_array_equal(states(src)[:, 0], before[:, 0])


# --- between layers ---------------------------------------------------------------------------------------------------
def test_pairs_are_neighbours(draw_batch) -> None:
    """Of sequences in any order, of even and odd lengths, 1 among them."""
    rng = np.random.default_rng(0)
    for lengths in ([4, 3, 5, 1, 3], [2, 2], [1], [1, 7]):
        x = rng.standard_normal((max(lengths), len(lengths), 3))
        found = pairs_of(pack_padded_sequence(Tensor(x), lengths, enforce_sorted=False))
        assert lengths_of(found).tolist() == [(length + 1) // 2 for length in lengths]
        padded = pad_packed_sequence(found)[0].array
        for n, length in enumerate(lengths):
            even = np.zeros((2 * ((length + 1) // 2), 3))
            even[:length] = x[:length, n]
            np.testing.assert_array_equal(padded[: (length + 1) // 2, n], even.reshape(-1, 6))


def by_hand(twin: TorchTwin, src: Any, lengths: Any, options: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Sentence by sentence: outputs (S, N, 6), zero past their lengths, these lengths, and h and c (3, N, 6)."""
    outputs, finals = [], []
    for n, length in enumerate(lengths):
        x, states = twin.embed("encoder", src[:length, n : n + 1]), []
        for layer in range(3):
            if layer >= 3 - options.get("pyramid", 0):
                x = torch.cat([x, torch.zeros(len(x) % 2, 1, x.shape[2]).double()]).reshape(-1, 1, 2 * x.shape[2])
            y, state = twin.recurrent(torch.nn.LSTM, f"encoder.rnn.layers.{layer}")(x)
            if options.get("layer_norm"):
                affine = [twin.weight(f"encoder.rnn.norms.{layer}.{name}") for name in ("weight", "bias")]
                y = torch.nn.functional.layer_norm(y, (6,), *affine)
            x = y + x if options.get("residual") and x.shape == y.shape else y
            states.append(torch.stack(state))
        outputs.append(x[:, 0])
        finals.append(torch.cat(states, 1))
    h, c = torch.cat(finals, 2)
    return torch.nn.utils.rnn.pad_sequence(outputs), torch.tensor([len(x) for x in outputs]), (h, c)


@pytest.mark.parametrize("options", BETWEEN, ids=str)
def test_what_is_between_layers(tiny_model, draw_batch, options: dict[str, Any]) -> None:
    batch, sizes = draw_batch(1), {**SIZES, "num_layers": 3}
    model = tiny_model(decoder="dot-attention", precision="fp64", **options, **sizes)
    for parameter in model.parameters():  # gains and biases too
        nn.init.uniform_(parameter, -0.8, 0.8)
    twin = TorchTwin(model, batch)
    outputs, lengths, states = by_hand(twin, torch.tensor(batch.src), batch.src_lengths, options)
    y, _ = twin.recurrent(torch.nn.LSTM, "decoder.rnn")(twin.embed("decoder", twin.trg_input), states)
    scores = torch.einsum("tnh,snh->tns", y, outputs)
    past = torch.arange(len(outputs))[None, :] >= lengths[:, None]
    alignment = torch.softmax(scores.masked_fill(past[None], -torch.inf), 2)
    context = torch.einsum("tns,snh->tnh", alignment, outputs)
    twin.compare(torch.tanh(twin.linear("decoder.combine", torch.cat([context, y], 2))))


@pytest.mark.parametrize(
    ("encoder", "decoder"), [("lstm", "lstm"), ("bigru", "gru-context"), ("bicho-gru", "gru-context")]
)
def test_gradients_of_a_stack_are_those_of_finite_differences(encoder: str, decoder: str) -> None:
    report = check_model(
        Config(encoder=encoder, decoder=decoder, **SIZES, **BETWEEN[-1], num_layers=3), num_directions=5
    )
    assert report, str(report)


@pytest.mark.parametrize("encoder", ["lstm", "bigru"])
def test_bits_of_a_sentence_in_a_stack(tiny_model, encoder: str) -> None:
    """Beside others and alone."""
    attending = {"decoder": "transformer", "num_heads": 2, "ffn_size": 7}
    model = tiny_model(encoder=encoder, **attending, **{**SIZES, **BETWEEN[-1], "num_layers": 3}).eval()
    sources, targets = [[4, 5], [6, 7, 8, 9, 10, 11], [5], [12, 4, 9], [4] * 9], [[4, 5, 6], [7], [8, 9], [], [5, 6]]
    with no_grad():
        for n, together in enumerate(features_of(model, sources, targets)):
            alone = features_of(model, [sources[n]] * LEAST_ROWS, [targets[n]] * LEAST_ROWS)[0]
            np.testing.assert_array_equal(alone, together)


def test_a_layer_norm_starts_with_gain_one(tiny_model) -> None:
    """And with bias 0; all else is drawn as without it."""
    plain, normed = (dict(tiny_model(layer_norm=on).encoder.named_parameters()) for on in (False, True))
    norms = {name: p.array for name, p in normed.items() if "norms" in name}
    assert norms.keys() == {f"rnn.norms.{layer}.{name}" for layer in range(2) for name in ("weight", "bias")}
    assert all((array == name.endswith("weight")).all() for name, array in norms.items())
    others = [p.array for name, p in normed.items() if name not in norms]
    for array, expected in zip(others, (p.array for p in plain.values()), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_a_pyramid_has_a_base(tiny_model) -> None:
    with pytest.raises(UserError, match="pyramid is 2; expected less than num_layers = 2"):
        tiny_model(pyramid=2)


@pytest.mark.parametrize("encoder", ["lstm", "bilstm", "gru", "bigru"])
def test_a_subclass_with_a_forward_of_its_own_is_not_replaced(tiny_model, encoder: str) -> None:
    """By the packed weights of searches, which know the layers alone."""
    cell = "gru" if "gru" in encoder else "lstm"
    part = tiny_model(encoder=encoder, decoder="attention", cell=cell).encoder
    assert part.prepacked(False) is not None
    part.__class__ = type("Changed", (type(part),), {"forward": lambda self, source: None})
    assert part.prepacked(False) is None
