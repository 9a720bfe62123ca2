"""The decoders with attention: against PyTorch step by step, the contract with all options, and what they learn."""

from __future__ import annotations

import math
import re
from itertools import chain
from typing import Any

import numpy as np
import pytest

from minigrad import Tensor, nn, no_grad, optim
from minigrad.nn.utils.rnn import pack_padded_sequence
from seq2seq.decoding.contract import Search
from seq2seq.decoding.scorers import ModelScorer, scorer_of
from seq2seq.decoding.search import greedy_search
from seq2seq.decoding.strategies.beam import Beam, BeamOptions
from seq2seq.decoding.strategies.greedy import Greedy
from seq2seq.models.contract import Decoder
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import Batch, EncodedSplit, Ragged, TextSource

torch = pytest.importorskip("torch")
from tests.seq2seq.models.torch_twin import TorchTwin  # noqa: E402  (which needs it)

Array = np.ndarray
FED = {"decoder": "attention", "input_feeding": True}
BETWEEN = {"decoder_residual": True, "decoder_layer_norm": True}
ADDITIVE = {"decoder": "attention", "attention": "additive"}
VARIANTS: list[dict[str, Any]] = [
    {"decoder": "dot-attention"},
    {"decoder": "attention", "attention": "scaled", "cell": "gru"},
    {"decoder": "attention", "encoder": "bilstm", "cell": "cho-gru", "num_layers": 2},
    ADDITIVE | {"coverage": True, "encoder": "bilstm"},
    FED | {"attention": "dot", "num_layers": 1},
    FED | {"encoder": "bilstm", "cell": "gru", "num_layers": 3},
    FED | ADDITIVE | {"coverage": True, "cell": "cho-gru", "encoder": "bilstm"},
    {"decoder": "bahdanau", "encoder": "bilstm", "cell": "gru", "num_layers": 1},
    {"decoder": "bahdanau", "coverage": True},
    {"decoder": "bahdanau", "encoder": "bilstm", "cell": "gru", "num_layers": 1, "plain_output": True},
    BETWEEN | {"decoder": "dot-attention", "num_layers": 3},
    BETWEEN | FED | {"encoder": "bilstm", "cell": "gru", "num_layers": 3},
    BETWEEN | {"decoder": "bahdanau", "encoder": "bilstm", "cell": "cho-gru", "num_layers": 3},
    {"decoder": "bahdanau", "num_layers": 1, "decoder_layer_norm": True},
]
each_variant = pytest.mark.parametrize(
    "options", VARIANTS, ids=lambda options: ",".join(f"{value}" for value in options.values())
)


# --- PyTorch, step by step --------------------------------------------------------------------------------------------
class Composed:
    """A decoder's features, made of PyTorch's small operations on the weights of a twin."""

    def __init__(self, twin: TorchTwin, batch: Batch, options: dict[str, Any]) -> None:
        self.twin, self.batch, self.options = twin, batch, options
        self.name = options["decoder"]
        self.score = {"dot-attention": "dot", "bahdanau": "additive"}.get(
            self.name, options.get("attention", "general")
        )
        self.feeds = self.name == "bahdanau" or options.get("input_feeding", False)
        self.layers = options.get("num_layers", 2)

    def features(self) -> Any:
        encoded = self.twin.encode(bidirectional=self.options.get("encoder") == "bilstm")
        states = [list(self._bridged(state, number)) for number, state in enumerate(encoded)]
        h, c = states if self.options.get("cell", "lstm") == "lstm" else (states[0], None)
        values, self.covered = self.twin.outputs, torch.zeros_like(self.twin.outputs[:, :, 0])
        self.keys = self.twin.linear("decoder.attention.key", values) if self.score == "additive" else values
        context = self.attend(h[0]) if self.name == "bahdanau" else torch.zeros_like(values[0])
        found = []
        for embedded in self.twin.embed("decoder", self.twin.trg_input):
            x = torch.cat([embedded, context], 1) if self.feeds else embedded
            for layer in range(self.layers):
                x = top = self.between(layer, x, self.cell(layer, x, h, c))
                if layer == 0 and self.feeds:
                    read, context = context, self.attend(h[0])
                    read = read if self.name == "bahdanau" else context
                    x = torch.cat([x, read], 1)
            read = read if self.feeds else self.attend(top)
            if self.options.get("plain_output"):
                found.append(torch.cat([read, top, embedded], 1))
            else:
                found.append(torch.tanh(self.twin.linear("decoder.combine", torch.cat([read, top], 1))))
        return torch.stack(found)

    def _bridged(self, state: Any, number: int) -> Any:
        if self.options.get("encoder") != "bilstm":
            return state
        both = torch.cat([state[0::2], state[1::2]], 2)
        return torch.tanh(self.twin.linear(f"encoder.bridges.{number}", both)) if self._has_bridge(number) else []

    def _has_bridge(self, number: int) -> bool:
        return number == 0 or self.options.get("cell", "lstm") == "lstm"

    def attend(self, state: Any) -> Any:
        """(N, H) -> context (N, D)."""
        query = state if self.score in ("dot", "scaled") else self.twin.linear("decoder.attention.query", state)
        if self.score == "additive":
            inside = query + self.keys
            if self.options.get("coverage"):
                inside = inside + self.covered[:, :, None] * self.twin.weight("decoder.attention.coverage")
            scores = torch.tanh(inside) @ self.twin.weight("decoder.attention.v")
        else:
            scores = (query * self.keys).sum(2) / (math.sqrt(state.shape[1]) if self.score == "scaled" else 1)
        past = torch.arange(len(scores))[:, None] >= torch.tensor(self.batch.src_lengths)
        alignment = torch.softmax(scores.masked_fill(past, -torch.inf), 0)
        self.covered = self.covered + alignment
        return (alignment[:, :, None] * self.twin.outputs).sum(0)

    def between(self, layer: int, x: Any, y: Any) -> Any:
        """What a layer that read x and gave y gives to the next one, and the last one to the output layer."""
        if self.options.get("decoder_layer_norm"):
            alone = self.feeds and layer == 0
            norm = "decoder.norm" if alone else f"decoder.rnn.norms.{layer - self.feeds}"
            affine = [self.twin.weight(f"{norm}.{name}") for name in ("weight", "bias")]
            y = torch.nn.functional.layer_norm(y, y.shape[1:], *affine)
        return y + x if self.options.get("decoder_residual") and x.shape == y.shape else y

    def cell(self, layer: int, x: Any, h: list[Any], c: Any) -> Any:
        """One layer of one step; h and c are replaced."""
        where = "attentive" if self.feeds and layer == 0 else "rnn"
        suffix = "" if where == "attentive" else f"_l{layer - self.feeds}"
        if where == "rnn" and "decoder_residual" in self.options:
            where, suffix = f"rnn.layers.{layer - self.feeds}", "_l0"
        names = (f"decoder.{where}.{name}{suffix}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        w_ih, w_hh, b_ih, b_hh = map(self.twin.weight, names)
        if c is not None:
            lstm = torch.nn.LSTMCell(x.shape[1], h[0].shape[1]).double()
            weights = {"weight_ih": w_ih, "weight_hh": w_hh, "bias_ih": b_ih, "bias_hh": b_hh}
            h[layer], c[layer] = torch.func.functional_call(lstm, weights, (x, (h[layer], c[layer])))
        elif self.options["cell"] == "gru":
            gru = torch.nn.GRUCell(x.shape[1], h[0].shape[1]).double()
            weights = {"weight_ih": w_ih, "weight_hh": w_hh, "bias_ih": b_ih, "bias_hh": b_hh}
            h[layer] = torch.func.functional_call(gru, weights, (x, h[layer]))
        else:
            (a_r, a_z, a_n), (u_r, u_z, u_n) = (x @ w_ih.T + b_ih + b_hh).chunk(3, 1), w_hh.chunk(3)
            r, z = torch.sigmoid(a_r + h[layer] @ u_r.T), torch.sigmoid(a_z + h[layer] @ u_z.T)
            h[layer] = (1 - z) * torch.tanh(a_n + (r * h[layer]) @ u_n.T) + z * h[layer]
        return h[layer]


@each_variant
def test_loss_and_gradients_are_pytorchs(tiny_model, draw_batch, options) -> None:
    model, batch = tiny_model(precision="fp64", **options), draw_batch(1)
    for parameter in model.parameters():  # gains and biases of layer norms too
        nn.init.uniform_(parameter, -0.8, 0.8)
    twin = TorchTwin(model, batch)
    twin.compare(Composed(twin, batch, options).features())


# --- the contract, with all options -----------------------------------------------------------------------------------
@each_variant
def test_a_sequence_is_the_loop_over_its_steps(tiny_model, draw_batch, monkeypatch, options) -> None:
    model, batch = tiny_model(precision="fp64", **options), draw_batch(3)

    def loss_and_gradients() -> tuple[float, dict[str, Array]]:
        model.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        return loss.item(), {name: p.grad.array.copy() for name, p in model.named_parameters()}

    whole = loss_and_gradients()
    monkeypatch.setattr(type(model.decoder), "sequence", Decoder.sequence)
    loop = loss_and_gradients()
    assert whole[0] == pytest.approx(loop[0], rel=1e-12)
    for name, gradient in loop[1].items():
        scale = np.abs(gradient).max()
        assert scale > 0, name
        np.testing.assert_allclose(whole[1][name], gradient, rtol=0, atol=1e-11 * scale, err_msg=name)


@each_variant
def test_gradients_are_those_of_finite_differences(options) -> None:
    from seq2seq.gradcheck import check_model

    report = check_model(Config(embedding_size=5, hidden_size=6, **options), num_directions=5)
    assert report, str(report)


@each_variant
def test_padding_and_the_batch_do_not_matter_to_the_bit(tiny_model, options) -> None:
    from tests.seq2seq.models.test_registered_models import LEAST_ROWS, features_of

    model = tiny_model(embedding_size=40, hidden_size=48, **options).eval()
    sources, targets = [[4, 5], [6, 7, 8, 9, 10], [5], [4] * 9, [8]], [[4, 5, 6], [7], [8, 9, 10, 4, 5], [], [6]]
    with no_grad():
        together = features_of(model, sources, targets)
        for source, target, features in zip(sources, targets, together, strict=True):
            alone = features_of(model, [source] * LEAST_ROWS, [target] * LEAST_ROWS)[0]
            np.testing.assert_array_equal(alone, features)


@each_variant
def test_the_compiled_search_finds_what_the_generic_one_finds(tiny_model, options) -> None:
    """Word for word, before and after an update, where there is one: the others say that they have none."""
    model = tiny_model(**options)
    compiled = options.get("cell") != "cho-gru" and not any(map(options.get, ("coverage", "plain_output", *BETWEEN)))
    assert (model.decoder.compiled_search("full") is not None) == compiled
    rng = np.random.default_rng(4)
    sources = [rng.integers(4, 9, rng.integers(0, 7)).tolist() for _ in range(20)]
    search = Search(9, n_best=2)
    for _ in range(2):
        found, expected = (
            [Greedy().find(scorer, sources, Search(9)), Beam(BeamOptions(beam_size=4)).find(scorer, sources, search)]
            for scorer in (scorer_of(model), ModelScorer(model, False))
        )
        for one, other in zip(chain(*found), chain(*expected), strict=True):
            assert [h.ids for h in one] == [h.ids for h in other]
            np.testing.assert_allclose([h.score for h in one], [h.score for h in other], rtol=1e-5, atol=1e-6)
        with no_grad():
            for parameter in model.parameters():
                parameter.mul_(-0.9)


@pytest.mark.parametrize(
    ("options", "name"),
    [*((ADDITIVE, name) for name in ("start", "step", "features", "log_probs")), ({}, "step"), ({}, "log_probs")],
)
def test_a_subclass_that_changes_a_step_is_not_searched_compiled(tiny_model, options, name) -> None:
    decoder = tiny_model(**options).decoder
    assert decoder.compiled_search("full") is not None
    decoder.__class__ = type("Changed", (type(decoder),), {name: lambda self, *arguments: None})
    assert decoder.compiled_search("full") is None


@each_variant
def test_alignments_are_weights_of_real_positions(tiny_model, draw_batch, options) -> None:
    model, batch = tiny_model(**options).eval(), draw_batch(2)
    for alignment in alignments(model, batch):
        past = np.arange(alignment.shape[1]) >= batch.src_lengths[:, None]
        assert not alignment[past].any()
        np.testing.assert_allclose(alignment.sum(1), 1, rtol=1e-5)


@no_grad()
def alignments(model: Seq2Seq, batch: Batch) -> list[Array]:
    """(N, S) of each step, where every token is given."""
    memory = model.encoder(pack_padded_sequence(Tensor(batch.src), batch.src_lengths, enforce_sorted=False))
    state, found = model.decoder.start(memory), []
    for tokens in batch.trg_input:
        _, state = model.decoder.step(Tensor(tokens), state, memory)
        alignment = model.decoder.alignment(state)
        assert alignment is not None
        found.append(alignment.array)
    return found


REFUSED = [
    ({"decoder": "dot-attention", "encoder": "bilstm"}, "outputs of hidden_size = 6; the encoder leaves outputs of 12"),
    ({"decoder": "attention", "attention": "scaled", "encoder": "bilstm"}, "expected a pair that fits, or attention g"),
    ({"decoder": "attention", "attention": "cosine"}, "attention is 'cosine'; expected dot, scaled, general, additive"),
    ({"decoder": "attention", "cell": "rnn"}, "cell is 'rnn'; expected lstm, gru, cho-gru"),
    ({"decoder": "attention", "coverage": True}, "coverage is true, attention general; expected attention additive"),
]


@pytest.mark.parametrize(("options", "text"), REFUSED, ids=[text for _, text in REFUSED])
def test_what_does_not_fit_is_refused(tiny_model, options, text) -> None:
    with pytest.raises(UserError, match=re.escape(text)):
        tiny_model(**options)


# --- tasks ------------------------------------------------------------------------------------------------------------
def draw_rows(rng: np.random.Generator, count: int) -> list[list[int]]:
    return [rng.integers(4, 14, rng.integers(3, 8)).tolist() for _ in range(count)]


def as_batch(rows: list[list[int]], backwards: bool) -> Batch:
    targets = Ragged(row[::-1] if backwards else row for row in rows)
    return TextSource().batch(EncodedSplit(Ragged(rows), targets), range(len(rows)))


@pytest.mark.parametrize(
    ("backwards", "options"),
    [
        (True, {"decoder": "bahdanau", "cell": "lstm"}),
        (True, FED | {"encoder": "bilstm"}),
        (False, {"decoder": "attention", "encoder": "bilstm"}),
    ],
    ids=["reverse-bahdanau", "reverse-input-feeding", "copy"],
)
def test_a_task_is_learnt_and_the_alignments_are_its_diagonal(backwards, options) -> None:
    """Of the reversal the anti-diagonal; sources begin with <sos>, so token i is position i + 1."""
    sizes = {"embedding_size": 16, "hidden_size": 32, "num_layers": 1, "dropout": 0.0, "init_range": 0.3, "seed": 1}
    model = build_model(14, 14, Config(**sizes, **options))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    rng = np.random.default_rng(0)
    for _ in range(350):
        batch = as_batch(draw_rows(rng, 32), backwards)
        optimizer.zero_grad()
        (model.loss(batch) / batch.num_trg_tokens).backward()
        optimizer.step_clipped(1.0)
    model.eval()
    rows = draw_rows(rng, 60)
    found = alignments(model, as_batch(rows, backwards))
    places = [(t, n, len(row) - t if backwards else t + 1) for n, row in enumerate(rows) for t in range(len(row))]
    assert np.mean([found[t][n].argmax() == position for t, n, position in places]) > 0.98
    said = [list(hypothesis.ids) for hypothesis in greedy_search(model, rows, 12)]
    assert np.mean([ids == (row[::-1] if backwards else row) for ids, row in zip(said, rows, strict=True)]) > 0.95
