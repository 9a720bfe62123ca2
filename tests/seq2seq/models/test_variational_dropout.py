"""``variational_dropout`` and ``recurrent_dropout``: of every part that has them, and of a whole model in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kernels.reference as reference
from minigrad import nn, random
from minigrad.nn.variational import Mask
from seq2seq.gradcheck import check_model
from seq2seq.models.contract import Decoder
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.sources import Batch
from tests.seq2seq.pairs import options_that_fit, representative_pairs

Array = np.ndarray
P = 0.3
DROPPED = {"dropout": P, "output_dropout": P, "variational_dropout": True, "recurrent_dropout": P}
PAIRS = [
    pair
    for pair in representative_pairs()
    if "variational_dropout" in registry.options_of(dict(zip(("encoder", "decoder"), pair, strict=True)))
]


def config_of(encoder: str, decoder: str, **settings: Any) -> Config:
    sizes = {"embedding_size": 5, "hidden_size": 6, "init_range": 0.8, **(options_that_fit(encoder, decoder) or {})}
    return Config(encoder=encoder, decoder=decoder, precision="fp64", **{**sizes, **DROPPED, **settings})


def results(model: Seq2Seq, batch: Batch, own: Array) -> list[Array]:
    """The loss and all gradients of step 1."""
    random.seed_step(3, 1)
    model.zero_grad()
    loss = model.loss(batch, own=own)
    loss.backward()
    return [loss.array, *(p.grad.array.copy() for p in model.parameters())]


def assert_equal(found: list[Array], expected: list[Array]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-11 * np.abs(other).max())


def test_every_recurrent_part_has_both() -> None:
    assert {encoder for encoder, _ in PAIRS} >= {"lstm", "gru", "bilstm", "bigru", "cho-gru", "bicho-gru"}
    decoders = {"lstm", "gru-context", "attention", "bahdanau", "conditional-gru", "dot-attention", "luong"}
    decoders |= {"pointer-generator"}
    assert {decoder for _, decoder in PAIRS} >= decoders


STACKED = {"num_layers": 3, "residual": True, "decoder_residual": True, "decoder_layer_norm": True}
STACKS = [("lstm", "lstm", STACKED), ("gru", "gru-context", STACKED), ("lstm", "attention", STACKED)]


@pytest.mark.parametrize(("encoder", "decoder", "options"), [*((*pair, {}) for pair in PAIRS), *STACKS])
def test_a_sequence_is_the_loop_over_its_steps(
    draw_batch, monkeypatch, encoder: str, decoder: str, options: dict[str, Any]
) -> None:
    """With all dropout on: also where the decoder reads its own guesses."""
    model, batch = build_model(13, 11, config_of(encoder, decoder, **options)).train(), draw_batch(3)
    steps = np.arange(len(batch.trg_input))
    choices = steps < 0, steps % 3 == 2
    whole = [results(model, batch, own) for own in choices]
    monkeypatch.setattr(type(model.decoder), "sequence", Decoder.sequence)
    for own, expected in zip(choices, whole, strict=True):
        assert_equal(results(model, batch, own), expected)


@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_gradients_are_those_of_finite_differences(encoder: str, decoder: str) -> None:
    report = check_model(config_of(encoder, decoder, init_range=0.08), num_directions=2)
    assert report, str(report)


class Twin:
    """``lstm`` to ``lstm`` in PyTorch, a pair at a time and a step at a time, under the masks that a step draws."""

    def __init__(self, model: Seq2Seq, batch: Batch, layers: int, sites: int) -> None:
        torch = pytest.importorskip("torch")
        from tests.seq2seq.models.torch_twin import TorchTwin

        self.torch, self.model, self.batch, self.layers = torch, model, batch, layers
        self.weights = TorchTwin(model, batch)
        random.seed_step(3, 1)
        self.site, self.seed, self.sites = 0, random.get_state().seed, sites

    def draw(self, *shape: int) -> Any:
        """The next mask of the stream."""
        mask = reference.dropout(np.ones(shape), P, self.seed, 1, self.site)
        self.site += 1
        return self.torch.tensor(mask)

    def draw_half(self) -> tuple[list[Any], list[Any]]:
        """The masks of an encoder or decoder: of its recurrent weights, and of what each layer reads (N, F)."""
        count = len(self.batch.src_lengths)
        weights = [self.draw(24, 6) for _ in range(self.layers)]
        return weights, [self.draw(count, size) for size in [5] + [6] * (self.layers - 1)]

    def step(self, half: str, x: Any, states: list[Any], masks: tuple[list[Any], list[Any]], n: int) -> Any:
        """The equations of an LSTM: x (E,) -> h of the last layer (H,)."""
        for layer in range(self.layers):
            names = (f"{half}.rnn.{name}_l{layer}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            w_ih, w_hh, b_ih, b_hh = map(self.weights.weight, names)
            h, c = states[layer]
            gates = w_ih @ (x * masks[1][layer][n]) + b_ih + (w_hh * masks[0][layer]) @ h + b_hh
            i, f, g, o = gates.chunk(4)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            x = o.sigmoid() * c.tanh()
            states[layer] = x, c
        return x

    def results(self, own: Array) -> list[Array]:
        source, target = self.draw_half(), self.draw_half()
        output, total = self.draw(len(self.batch.src_lengths), 6), self.torch.zeros(()).double()
        assert self.site == self.sites
        for n in range(len(self.batch.src_lengths)):
            zeros = self.torch.zeros(6).double()
            states, logits = [(zeros, zeros)] * self.layers, zeros
            for token in self.batch.src[: self.batch.src_lengths[n], n]:
                self.step("encoder", self.weights.embed("encoder", self.torch.tensor(token)), states, source, n)
            for t in range(self.batch.trg_lengths[n]):
                token = int(logits.argmax()) if own[t] else self.batch.trg_input[t, n]
                x = self.weights.embed("decoder", self.torch.tensor(token))
                h = self.step("decoder", x, states, target, n)
                logits = self.weights.linear("decoder.fc_out", h)  # guesses are made without dropout
                log_probs = self.weights.linear("decoder.fc_out", h * output[n]).log_softmax(0)
                total = total - log_probs[self.batch.trg_output[t, n]]
        total.backward()
        names = (name for name, _ in self.model.named_parameters())
        return [total.detach().numpy(), *(self.weights.weight(name).grad.numpy() for name in names)]


@pytest.mark.parametrize("own", ["never", "mixed"])
def test_loss_and_gradients_are_those_of_pytorch_under_the_same_masks(draw_batch, own: str) -> None:
    model, batch = build_model(13, 11, config_of("lstm", "lstm")).train(), draw_batch(1)
    steps = np.arange(len(batch.trg_input))
    choices = {"never": steps < 0, "mixed": steps % 2 == 1}[own]
    twin = Twin(model, batch, 2, sites=9)
    assert_equal(results(model, batch, choices), twin.results(choices))


@pytest.mark.parametrize("decoder", ["lstm", "gru-context"])
def test_a_mask_drawn_for_each_step_is_noticed(draw_batch, monkeypatch, decoder: str) -> None:
    """By the comparison with the loop over steps, incremental layers or none."""
    encoder = "gru" if decoder == "gru-context" else "lstm"
    model, batch = build_model(13, 11, config_of(encoder, decoder)).train(), draw_batch(3)
    mixed = np.arange(len(batch.trg_input)) % 3 == 2
    expected = results(model, batch, mixed)
    monkeypatch.setattr(type(model.decoder), "sequence", Decoder.sequence)
    monkeypatch.setattr(nn.variational_dropout, "__enter__", forgetful(nn.variational_dropout.__enter__))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_equal(results(model, batch, mixed), expected)


def forgetful(enter: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def entered(masks: Any) -> Any:
        masks._keys.clear()
        return enter(masks)

    return entered


def test_masks_of_a_pyramid_go_with_its_sequences(draw_batch, monkeypatch) -> None:
    """Above, where there are half as many steps, a sequence still has one mask."""
    found: list[tuple[Array, Array]] = []
    original = Mask.__call__

    def watched(self: Mask, x: Any, first: int | None = None) -> Any:
        found.append((self._rows, original(self, x * 0 + 1, first).detach().numpy()))
        return original(self, x, first)

    monkeypatch.setattr(Mask, "__call__", watched)
    build_model(13, 11, config_of("bilstm", "lstm", num_layers=3, pyramid=2)).train().loss(draw_batch(3))
    lengths = draw_batch(3).src_lengths
    assert [len(rows) for rows, _ in found[:3]] == [lengths.sum(), lengths.sum(), ((lengths + 1) // 2).sum()]
    for rows, mask in found[:3]:
        assert (mask == mask[[np.flatnonzero(rows == n)[0] for n in rows]]).all()
        assert len(np.unique(mask, axis=0)) == len(lengths)


def test_nothing_is_dropped_in_evaluation_and_nothing_is_drawn_without_the_options(draw_batch) -> None:
    batch, never = draw_batch(2), np.zeros(9, bool)
    dropped, plain = (
        build_model(13, 11, config_of("lstm", "lstm", **options)) for options in ({}, dict.fromkeys(DROPPED, 0))
    )
    assert dropped.eval().loss(batch, own=never).item() == plain.train().loss(batch, own=never).item()
    start = random.get_state()
    plain.loss(batch, own=never)
    assert random.get_state() == start
    assert all(type(p) is nn.Parameter for p in dropped.train().parameters())


def test_a_run_goes_on_exactly(train, run, history) -> None:
    arguments = ["--variational-dropout", "true", "--recurrent-dropout", 0.2, "--output-dropout", 0.2]
    whole = train("whole", "--max-steps", 5, *arguments)
    parts = train("parts", "--max-steps", 3, *arguments)
    assert run("train", "--run-dir", parts, "--resume", "--max-steps", 5).code == 0
    steps = [[record for record in history(folder) if "loss" in record] for folder in (whole, parts)]
    assert len(steps[0]) == 5
    assert steps[0] == steps[1]


@pytest.mark.usefixtures("cuda")
def test_a_device_draws_the_same_masks(draw_batch) -> None:
    batch, own = draw_batch(3), np.arange(9) % 3 == 2
    found = []
    for device in ("cpu", "cuda"):
        model = build_model(13, 11, config_of("gru", "attention", cell="gru", device=device)).train()
        random.seed_step(3, 1)
        loss = model.loss(batch, own=own)
        loss.backward()
        found.append([loss.to("cpu").array, *(p.grad.to("cpu").array for p in model.parameters())])
    assert_equal(*found)
