"""The plan of a GPU's memory is kept, as far as CuPy's pool tells: without graphs, which have memory of their own."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from minigrad import cuda as gpu
from minigrad import ones, optim
from seq2seq.models.model import build_model
from seq2seq.run.config import Config
from seq2seq.sources import EncodedSplit, Ragged, TextSource
from seq2seq.training import memory
from tests.seq2seq.pairs import representative_pairs


def planned_and_taken(config: Config, words: int, least: int, most: int) -> tuple[int, int]:
    """Bytes of a batch's steps, and of all that is kept between them: by the plan, and by the pool after two steps."""
    rng, pairs = np.random.default_rng(0), config.batch_size
    split = EncodedSplit(
        *(Ragged(rng.integers(4, words, length).tolist() for length in rng.integers(least, most, pairs)) for _ in "st")
    )
    ones(1, device="cuda")  # from now on the device tells
    gpu.empty_cache()
    before = gpu.memory_allocated() - gpu.work_spaces_reserved()
    plan = memory.before_steps(config, (words, words))
    model = build_model(words, words, config)
    plan = memory.with_steps(plan, model, config, split)
    gpu.empty_cache()
    optimizer = optim.Adam(model.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        model.loss(TextSource().batch(split, range(pairs)), config.teacher_forcing_ratio).backward()
        optimizer.step_clipped(1.0)
    return plan.peak - memory.WORKSPACES, gpu.max_memory_reserved() - gpu.work_spaces_reserved() - before


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_takes_what_was_planned(cuda: ModuleType, precision: Any) -> None:
    config = Config(device="cuda", precision=precision, embedding_size=32, hidden_size=64, batch_size=24)
    planned, taken = planned_and_taken(config, 600, 5, 12)
    assert 0.75 * planned < taken < 1.1 * planned


@pytest.mark.parametrize("words", [100, 50_000])
@pytest.mark.parametrize(("encoder", "decoder"), representative_pairs())
def test_small_and_large_vocabularies(
    cuda: ModuleType, fitting_options: Callable[..., dict[str, Any]], encoder: str, decoder: str, words: int
) -> None:
    """Each part in a pair: with 50,000 words the tables and logits count, with 100 all else."""
    options = fitting_options(encoder, decoder, embedding_size=8, hidden_size=16)
    config = Config(device="cuda", encoder=encoder, decoder=decoder, batch_size=6, **options)
    planned, taken = planned_and_taken(config, words, 4, 8)
    assert planned == pytest.approx(taken, rel=0.1)
