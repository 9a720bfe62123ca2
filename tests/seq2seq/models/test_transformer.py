"""The Transformer against PyTorch's own layers, its positions, its alignments, and what it can learn."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from minigrad import Tensor, no_grad, optim
from minigrad.nn.utils.rnn import pack_padded_sequence
from seq2seq.decoding.search import greedy_search
from seq2seq.gradcheck import check_model
from seq2seq.models.contract import Decoder
from seq2seq.models.model import build_model
from seq2seq.models.transformer import Positions, sinusoids
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import EncodedSplit, Ragged, TextSource

SIZES = {"hidden_size": 6, "num_layers": 2, "num_heads": 2, "ffn_size": 7, "dropout": 0.0}
BOTH = {"encoder": "transformer", "decoder": "transformer", **SIZES}


@pytest.fixture
def build() -> Any:
    """build(**settings): a tiny Transformer."""

    def make(vocab_size: int = 13, **settings: Any) -> Any:
        return build_model(vocab_size, vocab_size, Config(**{**BOTH, **settings}))

    return make


# --- against PyTorch --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [{}, {"norm_first": False}, {"activation": "relu", "num_heads": 3}])
def test_loss_and_gradients_are_pytorchs(build, draw_batch, options: dict) -> None:
    torch = pytest.importorskip("torch")
    from tests.seq2seq.models.torch_twin import TorchTwin

    batch, model = draw_batch(1), build(precision="fp64", **options)
    twin, settings = TorchTwin(model, batch), {**SIZES, "norm_first": True, "activation": "gelu", **options}

    def stack(half: str, many: Any, layer: Any) -> Any:
        heads, activation, norm_first = (settings[name] for name in ("num_heads", "activation", "norm_first"))
        one = layer(6, heads, 7, 0.0, activation, norm_first=norm_first, dtype=torch.double)
        norm = torch.nn.LayerNorm(6, dtype=torch.double) if norm_first else None
        plain = {"enable_nested_tensor": False} if half == "encoder" else {}
        return twin.module(f"{half}.", many(one, 2, norm, **plain))

    def vectors(half: str, ids: Any) -> Any:
        embedded = twin.embed(half, ids) * 6**0.5
        return embedded + torch.tensor(by_hand(len(ids), 6))[:, None]

    src, causal = torch.tensor(batch.src), torch.nn.Transformer.generate_square_subsequent_mask(len(twin.trg_input))
    padding = torch.arange(len(src)) >= torch.tensor(batch.src_lengths)[:, None]
    encoder = stack("encoder", torch.nn.TransformerEncoder, torch.nn.TransformerEncoderLayer)
    decoder = stack("decoder", torch.nn.TransformerDecoder, torch.nn.TransformerDecoderLayer)
    memory = encoder(vectors("encoder", src), src_key_padding_mask=padding)
    targets = vectors("decoder", twin.trg_input)
    twin.compare(decoder(targets, memory, tgt_mask=causal.double(), memory_key_padding_mask=padding))


def by_hand(count: int, size: int) -> np.ndarray:
    """Sines and cosines, number by number."""
    table = np.empty((count, size))
    for t, column in np.ndindex(count, size):
        angle = t / 10_000 ** ((column - column % 2) / size)
        table[t, column] = np.cos(angle) if column % 2 else np.sin(angle)
    return table


# --- positions --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [1, 6, 7])
def test_positions_are_sines_and_cosines(size: int) -> None:
    np.testing.assert_allclose(sinusoids(9, size), by_hand(9, size), atol=1e-12)
    like = Tensor(np.zeros((1, size), np.float32))
    found = Positions(0, size)(np.array([0, 4, 4, 2]), like)
    np.testing.assert_array_equal(found.array, by_hand(9, size)[[0, 4, 4, 2]].astype(np.float32))


def test_learned_positions_are_trained_and_have_an_end(build, draw_batch) -> None:
    """The longest sides have eight positions: six words and their specials."""
    report = check_model(Config(**{**BOTH, "num_layers": 1, "hidden_size": 12}, learned_positions=8), num_directions=5)
    assert report, str(report)
    assert "encoder.positions.learned.weight" in str(report)
    build(learned_positions=8).loss(draw_batch(1))
    with pytest.raises(UserError, match="learned_positions is 7; expected 8 or more"):
        build(learned_positions=7).loss(draw_batch(1))


# --- the parts --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("encoder", ["lstm", "bilstm"])
def test_the_decoder_reads_any_encoder_that_has_outputs(build, draw_batch, monkeypatch, encoder: str) -> None:
    """Of any size; whole sequences are the loop over steps."""
    model, batch = build(encoder=encoder, precision="fp64"), draw_batch(2)
    never = np.zeros(len(batch.trg_input), bool)
    whole = model.loss(batch, own=never).item()
    monkeypatch.setattr(type(model.decoder), "sequence", Decoder.sequence)
    assert model.loss(batch, own=never).item() == pytest.approx(whole, rel=1e-12)


@no_grad()
def test_alignments_are_the_weights_of_the_last_layer(build, draw_batch) -> None:
    batch, model = draw_batch(3), build().eval()
    memory = model.encoder(pack_padded_sequence(Tensor(batch.src), batch.src_lengths, enforce_sorted=False))
    state, seen = model.start(memory), []
    attend = model.decoder.layers[-1].multihead_attn.attend
    model.decoder.layers[-1].multihead_attn.attend = lambda *arguments: seen.append(attend(*arguments)) or seen[-1]
    for tokens in batch.trg_input:
        _, state = model.decoder.step(Tensor(tokens), state, memory)
        alignment = model.decoder.alignment(state).array
        np.testing.assert_array_equal(alignment, seen[-1][1].array.mean(1)[:, 0])
        np.testing.assert_allclose(alignment.sum(1), 1, rtol=1e-6)
        assert not alignment[np.arange(len(batch.src)) >= batch.src_lengths[:, None]].any()


def test_the_cache_keeps_the_keys_of_all_steps(build) -> None:
    model = build().eval()
    memory = model.encoder(pack_padded_sequence(Tensor(np.full((3, 2), 4)), [3, 2]))
    state = model.start(memory)
    for step in range(3):
        shapes = [part.shape for part in state]
        assert shapes == [(2, 3), *[(step, 2, 6), (step, 2, 6), (3, 2, 6), (3, 2, 6)] * 2]
        _, state = model.decoder.step(Tensor(np.array([5, 6])), state, memory)


def test_first_weights(build) -> None:
    model = build(hidden_size=60, num_heads=2, init_range=0.001)
    assert model.decoder.embedding.weight.array.std() == pytest.approx(60**-0.5, rel=0.1)
    bound = np.sqrt(6 / (60 + 7))
    for layer in model.encoder.layers:
        assert 0.95 * bound < np.abs(layer.linear1.weight.array).max() <= bound
        assert not layer.linear1.bias.array.any()
        assert (layer.norm1.weight.array == 1).all()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"num_heads": 4}, "hidden_size is 6; expected a multiple of num_heads = 4"),
        ({"activation": "tanh"}, "activation is tanh; expected gelu or relu"),
        (
            {"decoder": "lstm"},
            "decoder lstm starts from 2 states (layers x size: 2 x 6, 2 x 6); the encoder leaves no st",
        ),
    ],
)
def test_mistakes(build, settings: dict, text: str) -> None:
    with pytest.raises(UserError, match=re.escape(text)):
        build(**settings)


# --- what it learns ---------------------------------------------------------------------------------------------------
def test_it_learns_to_reverse(build) -> None:
    """Words it never saw, of three to six letters; in seconds."""
    rng = np.random.default_rng(0)
    words = [rng.integers(4, 12, rng.integers(3, 7)).tolist() for _ in range(1200)]
    seen, unseen = words[:1000], [word for word in words[1000:] if word not in words[:1000]]
    split = EncodedSplit(Ragged(seen), Ragged([word[::-1] for word in seen]))
    model = build(hidden_size=32, num_heads=4, ffn_size=64, num_layers=1).train()
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 5e-3 * min(1, 2 - step / 100)
        batch = TextSource().batch(split, rng.integers(0, len(seen), 32))
        optimizer.zero_grad()
        (model.loss(batch) / batch.num_trg_tokens).backward()
        optimizer.step_clipped(1.0)
    found = greedy_search(model.eval(), unseen, 9)
    right = np.mean([list(one.ids) == word[::-1] for one, word in zip(found, unseen, strict=True)])
    assert right > 0.9
