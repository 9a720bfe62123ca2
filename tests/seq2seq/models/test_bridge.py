"""The option ``bridge`` of encoders: states that any decoder can start from. The contract with it stands in
``test_options_of_parts``."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from minigrad import no_grad
from minigrad.shapes_only import shapes_only
from seq2seq.models.model import Seq2Seq
from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from tests.seq2seq.pairs import SMALL

BRIDGED = [name for name in registry.names("encoder") if "bridge" in registry.options_of({"encoder": name})]
WIDER = {"bilstm", "bigru", "bicho-gru"}  # than what a product with the decoder's state takes


def test_every_encoder_of_text_can_have_one() -> None:
    assert set(registry.names("encoder")) - set(BRIDGED) == {"vector"}, "which always has one"


@pytest.mark.parametrize(("encoder", "decoder"), [*product(BRIDGED, registry.names("decoder"))])
def test_with_it_every_pair_has_states_that_fit(encoder: str, decoder: str) -> None:
    known = registry.options_of({"encoder": encoder, "decoder": decoder})
    small = {name: value for name, value in SMALL.items() if name in known}
    config = Config(encoder=encoder, decoder=decoder, bridge=True, share_vocab=True, **small)
    if encoder in WIDER and decoder == "dot-attention":
        with pytest.raises(UserError, match="attention dot multiplies outputs of hidden_size"):
            Seq2Seq(9, 9, config)
        return
    with shapes_only():
        Seq2Seq(9, 9, config)


def test_without_it_the_line_names_it(tiny_model) -> None:
    with pytest.raises(UserError, match="expected a pair that fits, with the same sizes, or an encoder with --bridge"):
        tiny_model(encoder="gru", decoder="lstm")


@pytest.mark.parametrize("encoder", ["lstm", "gru", "cho-gru", "bigru"])
def test_loss_and_gradients_are_pytorchs(tiny_model, draw_batch, encoder: str) -> None:
    """Behind a GRU both states are made of its h, each by a matrix of its own."""
    torch = pytest.importorskip("torch")
    from tests.seq2seq.models.torch_twin import ChoGRU, TorchTwin

    twin = TorchTwin(tiny_model(encoder=encoder, bridge=True, precision="fp64"), draw_batch(1))
    kind = {"lstm": torch.nn.LSTM, "cho-gru": ChoGRU}.get(encoder, torch.nn.GRU)
    last = twin.encode(kind, bidirectional=encoder == "bigru")
    states = last if encoder == "lstm" else (last, last)
    if encoder == "bigru":
        states = tuple(torch.cat([state[0::2], state[1::2]], 2) for state in states)
    h, c = (torch.tanh(twin.linear(f"encoder.bridges.{number}", state)) for number, state in enumerate(states))
    y, _ = twin.recurrent(torch.nn.LSTM, "decoder.rnn")(twin.embed("decoder", twin.trg_input), (h, c))
    twin.compare(y)


@no_grad()
def test_states_behind_a_transformer_are_made_of_the_mean_of_its_outputs(tiny_model, draw_batch) -> None:
    model = tiny_model(encoder="transformer", decoder="lstm", bridge=True, precision="fp64", **SMALL).eval()
    batch = draw_batch(2)
    memory = model.remember(model.pack(batch))
    assert model.encoder.memory_shape.states == ((2, 6), (2, 6))
    for bridge, states in zip(model.encoder.bridges, memory.states, strict=True):
        assert states.shape == (2, 5, 6)
        for n, length in enumerate(batch.src_lengths):
            mean = memory.outputs.array[:length, n].mean(0)
            expected = np.tanh(bridge.weight.array @ mean + bridge.bias.array).reshape(2, 6)
            np.testing.assert_allclose(states.array[:, n], expected, atol=1e-14)
