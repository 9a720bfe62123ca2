"""The race of the Transformers: one problem, the arithmetic that is counted, and that both compute the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from peers.problem import initial_weights, shapes
from peers.transformer import TransformerTask
from workloads import fixed, like_multi30k

from seq2seq.models.model import build_model
from seq2seq.run.config import Config

SMALL = TransformerTask((60, 50), hidden_size=8, num_layers=2, num_heads=2, ffn_size=12, dropout=0.0, init_range=0.1)


def test_the_problem_is_the_toolkits_model() -> None:
    ours = build_model(60, 50, Config(**SMALL.settings)).state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == shapes(SMALL)
    norms = [array for name, array in initial_weights(SMALL) if ".norm" in name and name.endswith("weight")]
    assert np.abs(np.concatenate(norms) - 1).max() <= SMALL.init_range


def test_flops() -> None:
    task = TransformerTask()
    layer = 4 * 512 * 512 + 2 * 512 * 2048
    assert task.flops(1, 0) == 6 * 3 * (layer + 2 * 512 * 512)
    assert task.flops(0, 1) == 6 * (3 * (layer + 2 * 512 * 512) + 512 * 5893)


@pytest.mark.parametrize("batches", [like_multi30k(2, 5, (60, 50)), fixed(2, 5, 6, (60, 50))], ids=["padded", "equal"])
def test_pytorch_computes_the_same(batches) -> None:
    pytest.importorskip("torch")
    from peers.minigrad import Transformer as Ours
    from peers.pytorch import Transformer as Theirs

    task = dataclasses.replace(SMALL, optimizer="sgd", lr=0.1)
    ours, theirs = (made(task, "fp32", 1) for made in (Ours, Theirs))
    for batch in batches:
        assert ours.step(batch, None) == pytest.approx(theirs.step(batch, None), rel=1e-5)
    found = theirs.weights()
    for name, value in ours.weights().items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-4 * np.abs(value).max(), err_msg=name)
