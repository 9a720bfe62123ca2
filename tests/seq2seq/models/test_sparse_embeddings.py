"""The embeddings' row-wise gradients change no number of a training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minigrad import optim
from seq2seq.models.model import Seq2Seq


def trained(tiny_model: Any, draw_batch: Any, sparse: bool, forcing: float) -> tuple[Seq2Seq, optim.Adam, list[float]]:
    model = tiny_model(40, 30, seed=3).train()
    for part in (model.encoder, model.decoder):
        part.embedding.sparse = sparse
    optimizer, norms = optim.Adam(model.parameters(), lr=0.01), []
    for step in range(12):
        batch = draw_batch(step % 5)
        optimizer.zero_grad()
        (model.loss(batch, forcing) / batch.num_trg_tokens).backward()
        norms.append(optimizer.step_clipped(0.5).item())
    return model, optimizer, norms


@pytest.mark.parametrize("forcing", [1.0, 0.0])
def test_training_is_the_same_to_the_bit(tiny_model, draw_batch, forcing) -> None:
    """Also where each decoder step looks up its own words: many uses of one table in a step."""
    found, _, norms = trained(tiny_model, draw_batch, True, forcing)
    expected, _, dense_norms = trained(tiny_model, draw_batch, False, forcing)
    assert norms == dense_norms
    assert max(norms) > 0.5
    assert found.encoder.embedding.weight.grad.is_sparse
    assert not expected.encoder.embedding.weight.grad.is_sparse
    assert found.encoder.embedding.weight.pending is not None, "nothing is pending: the test says nothing"
    for (name, mine), other in zip(found.named_parameters(), expected.parameters(), strict=True):
        np.testing.assert_array_equal(mine.array, other.array, err_msg=name)


def test_the_models_embeddings_are_row_wise(tiny_model) -> None:
    model = tiny_model()
    assert model.encoder.embedding.sparse
    assert model.decoder.embedding.sparse
