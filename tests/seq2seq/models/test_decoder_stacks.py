"""Decoders with something between their layers against the same models in PyTorch; those that attend are compared in
``test_attention``, and the contract in ``test_options_of_parts``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minigrad import Tensor, nn, no_grad
from minigrad.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from seq2seq.models.stack import Stack

torch = pytest.importorskip("torch")
from tests.seq2seq.models.torch_twin import ChoGRU, TorchTwin  # noqa: E402  (which needs it)

BETWEEN: list[dict[str, Any]] = [
    {"decoder_residual": True},
    {"decoder_layer_norm": True},
    {"decoder_residual": True, "decoder_layer_norm": True},
]


@pytest.mark.parametrize("between", BETWEEN, ids=str)
@pytest.mark.parametrize(("decoder", "cell"), [("lstm", None), ("gru-context", "gru"), ("gru-context", "cho-gru")])
def test_loss_and_gradients_are_pytorchs(tiny_model, draw_batch, decoder: str, cell: str | None, between: Any) -> None:
    sizes = {"embedding_size": 6, "hidden_size": 6, "num_layers": 3} | ({"cell": cell} if cell else {})
    model = tiny_model(decoder=decoder, precision="fp64", **sizes, **between)
    for parameter in model.parameters():  # gains and biases of layer norms too
        nn.init.uniform_(parameter, -0.8, 0.8)
    twin = TorchTwin(model, draw_batch(1))
    states = twin.encode()
    embedded = twin.embed("decoder", twin.trg_input)
    contexts = states[0][-1].expand(len(embedded), *states[0][-1].shape)
    x = torch.cat([embedded, contexts], 2) if cell else embedded
    for layer in range(3):
        first = tuple(state[layer : layer + 1] for state in states)
        kind = {None: torch.nn.LSTM, "gru": torch.nn.GRU, "cho-gru": ChoGRU}[cell]
        y, _ = twin.recurrent(kind, f"decoder.rnn.layers.{layer}")(x, first[0] if cell else first)
        if between.get("decoder_layer_norm"):
            affine = [twin.weight(f"decoder.rnn.norms.{layer}.{name}") for name in ("weight", "bias")]
            y = torch.nn.functional.layer_norm(y, (6,), *affine)
        x = y + x if between.get("decoder_residual") and x.shape == y.shape else y
    twin.compare(torch.cat([embedded, x, contexts], 2) if cell else x)


def test_the_options_of_one_side_leave_the_other_alone(tiny_model) -> None:
    encoder, decoder = (tiny_model(**{name: True}) for name in ("layer_norm", "decoder_layer_norm"))
    assert [isinstance(part.rnn, Stack) for part in (encoder.encoder, encoder.decoder)] == [True, False]
    assert [isinstance(part.rnn, Stack) for part in (decoder.encoder, decoder.decoder)] == [False, True]


@no_grad()
def test_a_stack_takes_a_tensor_as_it_takes_packed_rows() -> None:
    """And states as the cells do."""
    rng = np.random.default_rng(0)
    for cell in (nn.LSTM, nn.GRU):
        for options in ({"residual": True}, {"layer_norm": True, "bidirectional": True}, {"pyramid": 1}):
            stack, width = Stack(cell, 5, 4, 2, **options), 2 if "bidirectional" in options else 1
            x = Tensor(rng.standard_normal((6, 3, 5)).astype(np.float32))
            first = [Tensor(rng.standard_normal((2 * width, 3, 4)).astype(np.float32)) for _ in cell(1, 1).state_names]
            hx = tuple(first) if len(first) > 1 else first[0]
            y, last = stack(x, hx)
            packed, expected = stack(pack_padded_sequence(x, [6, 6, 6]), hx)
            np.testing.assert_array_equal(y.array, pad_packed_sequence(packed)[0].array)
            for state, other in zip(*((part if len(first) > 1 else (part,)) for part in (last, expected)), strict=True):
                assert state.shape == (2 * width, 3, 4)
                np.testing.assert_array_equal(state.array, other.array)
