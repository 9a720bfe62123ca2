"""``embedding_dropout``: a word's vector is zeroed wherever it stands in a batch, in every model alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minigrad import nn, ops, random, tensor
from seq2seq.gradcheck import check_model
from seq2seq.models.contract import Decoder
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run.config import Config
from seq2seq.sources import Batch
from tests.seq2seq.checkpoints import assert_same_checkpoint
from tests.seq2seq.pairs import ONE_EACH, options_that_fit, representative_pairs

Array = np.ndarray
P, V = 0.4, 13
PAIRS = representative_pairs()
SOME_OWN = np.arange(9) % 3 == 2


def model_of(encoder: str, decoder: str, **settings: Any) -> Seq2Seq:
    sizes = {"hidden_size": 6, "dropout": 0.0, "init_range": 0.8, **(options_that_fit(encoder, decoder) or {})}
    return build_model(V, V, Config(encoder=encoder, decoder=decoder, precision="fp64", **{**sizes, **settings}))


def results(model: Seq2Seq, batch: Batch, own: Array = SOME_OWN) -> dict[str, Array]:
    """The loss and all gradients of step 1."""
    random.seed_step(3, 1)
    model.train().zero_grad()
    loss = model.loss(batch, own=own)
    loss.backward()
    return {"loss": loss.array, **{name: p.grad.array.copy() for name, p in model.named_parameters()}}


def factors_of_step() -> list[Array]:
    """Of the words of the source and of the target, as step 1 draws them."""
    random.seed_step(3, 1)
    return [ops.dropout(tensor(np.ones((V, 1))), P).array for _ in range(2)]


@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_the_model_is_one_whose_embeddings_have_rows_of_zeros(draw_batch, encoder: str, decoder: str) -> None:
    """Where a decoder reads its own guesses too: loss, and by the chain rule the gradients."""
    batch, factors = draw_batch(3), dict(zip(("encoder", "decoder"), factors_of_step(), strict=True))
    assert {*np.concatenate([*factors.values()]).ravel().tolist()} == {0.0, 1 / (1 - P)}
    dropped = model_of(encoder, decoder, embedding_dropout=P)
    found, scaled = results(dropped, batch), model_of(encoder, decoder)
    for part, factor in factors.items():
        getattr(scaled, part).embedding.weight.array[...] *= factor
    expected = results(scaled, batch)
    for name, value in expected.items():
        part = name.removesuffix(".embedding.weight")
        value = value * factors[part] if part in factors else value
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-11, err_msg=name)
    assert found["loss"] != results(model_of(encoder, decoder), batch)["loss"]


@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_gradients_are_those_of_finite_differences(encoder: str, decoder: str) -> None:
    sizes = {"hidden_size": 6, **(options_that_fit(encoder, decoder) or {})}
    report = check_model(Config(encoder=encoder, decoder=decoder, **sizes, embedding_dropout=P), 2, ONE_EACH)
    assert report, str(report)


def test_a_sequence_is_the_loop_over_its_steps(draw_batch, monkeypatch) -> None:
    model, batch = model_of("lstm", "lstm", embedding_dropout=P), draw_batch(3)
    whole = results(model, batch)
    monkeypatch.setattr(type(model.decoder), "sequence", Decoder.sequence)
    for name, value in results(model, batch).items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-9, atol=1e-11, err_msg=name)


def test_an_output_layer_that_shares_the_weights_has_all_of_its_words(draw_batch) -> None:
    model = model_of("lstm", "lstm", embedding_size=6, tie_weights="decoder", embedding_dropout=P)
    zeroed = factors_of_step()[1].ravel() == 0
    gradient = results(model, draw_batch(3))["decoder.embedding.weight"]
    assert zeroed.any()
    assert np.abs(gradient[zeroed]).max(1).min() > 0


def test_nothing_is_dropped_in_evaluation_and_nothing_is_drawn_without_it(draw_batch) -> None:
    batch, never = draw_batch(2), np.zeros(9, bool)
    dropped, plain = model_of("lstm", "lstm", embedding_dropout=P), model_of("lstm", "lstm")
    assert dropped.eval().loss(batch, own=never).item() == plain.train().loss(batch, own=never).item()
    start = random.get_state()
    plain.loss(batch, own=never)
    assert random.get_state() == start


def test_a_source_of_numbers_has_no_words_to_drop() -> None:
    sizes = {"hidden_size": 6, "num_layers": 1}
    assert check_model(Config(source="vectors", encoder="vector", **sizes, embedding_dropout=P), num_directions=2)


def test_rows_and_their_gradients_by_hand() -> None:
    """Sparse or not; afterwards the layer is as before, after an error too."""
    for sparse in (False, True):
        table, ids = nn.Embedding(5, 3, sparse=sparse), tensor([[0, 4, 4], [2, 0, 1]])
        random.manual_seed(7)
        with nn.utils.embedding_drop(table, P):
            rows = table(ids)
            rows.sum().backward()
        random.manual_seed(7)
        factors = ops.dropout(tensor(np.ones((5, 1), np.float32)), P).array
        assert len(np.unique(factors)) == 2
        np.testing.assert_array_equal(rows.array, (table.weight.array * factors)[ids.array])
        counts = np.bincount(ids.array.ravel(), minlength=5)[:, None]
        assert table.weight.grad.is_sparse == sparse
        np.testing.assert_allclose(table.weight.grad.array, np.tile(counts * factors, 3), rtol=1e-6)
        np.testing.assert_array_equal(table(ids).array, table.weight.array[ids.array])
    with pytest.raises(ZeroDivisionError), nn.utils.embedding_drop(table, P):
        raise ZeroDivisionError
    assert table.row_factors is None
    with pytest.raises(ValueError, match="p is 2; expected a probability"), nn.utils.embedding_drop(table, 2):
        pass


def test_a_run_goes_on_exactly(train, run) -> None:
    whole = train("whole", "--max-steps", 5, "--embedding-dropout", 0.3)
    parts = train("parts", "--max-steps", 3, "--embedding-dropout", 0.3)
    assert run("train", "--run-dir", parts, "--resume", "--max-steps", 5).code == 0
    assert_same_checkpoint(whole, parts, "last", "model", "optimizer")


@pytest.mark.usefixtures("cuda")
def test_a_device_draws_the_same_words(draw_batch) -> None:
    found = []
    for device in ("cpu", "cuda"):
        model = model_of("lstm", "lstm", embedding_dropout=P, device=device).train()
        random.seed_step(3, 1)
        found.append(model.loss(draw_batch(3), own=SOME_OWN).item())
    assert found[0] == pytest.approx(found[1], rel=1e-9)
