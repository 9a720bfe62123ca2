"""The plan of a GPU's memory is kept, as far as CuPy's pool tells."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from minigrad import cuda as gpu
from minigrad import ones, optim
from seq2seq.models.model import build_model
from seq2seq.run.config import Config
from seq2seq.sources import EncodedSplit, Ragged, TextSource
from seq2seq.training import memory

VOCAB = 600


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_takes_what_was_planned(cuda: ModuleType, precision: str) -> None:
    """Without graphs, of which the pool does not tell."""
    rng = np.random.default_rng(0)
    split = EncodedSplit(
        *(Ragged(rng.integers(4, VOCAB, length).tolist() for length in rng.integers(5, 12, 24)) for _ in range(2))
    )
    config = Config(device="cuda", precision=precision, embedding_size=48, hidden_size=128, batch_size=24)  # type: ignore[arg-type]
    matrix = ones(2, 2, device="cuda")
    matrix @ matrix  # cuBLAS has its work space
    gpu.empty_cache()
    before = gpu.memory_allocated()
    plan = memory.before_steps(config, (VOCAB, VOCAB))
    model = build_model(VOCAB, VOCAB, config)
    plan = memory.with_steps(plan, model, config, split)
    gpu.empty_cache()
    optimizer = optim.Adam(model.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        model.loss(TextSource().batch(split, range(24))).backward()
        optimizer.step_clipped(1.0)
    arrays = gpu.max_memory_reserved() - before
    planned = plan.peak - memory.WORKSPACES
    assert 0.75 * planned < arrays < 1.1 * planned
