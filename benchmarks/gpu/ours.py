"""Ours on the device: ``peers.minigrad`` with its model moved there, and no wait for the GPU at the end of a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from peers import minigrad as cpu
from peers.problem import Array, Task, Tokens, runs_of

import minigrad
from kernels.cuda import graphs
from seq2seq.data import Batch


class Ours(cpu.Peer):
    """Training and decoding through the public surface, in float32 until ``use`` says otherwise."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, "fp32", 1)
        self.model.to("cuda")

    def use(self, precision: str) -> None:
        """Choose the precision of products; weights stay what they are."""
        model: Any = self.model
        model.precision, self.bf16 = precision, precision == "bf16"
        minigrad.backends.cuda.matmul.allow_tf32 = precision == "tf32"  # in decoding too

    def begin(self, tokens: Tokens, forced: Array | None) -> Any:
        """One update; the loss per target token before it, still on the device."""
        batch = Batch(*tokens, indices=np.arange(tokens.src.shape[1]))
        drawn = runs_of(forced, len(tokens.trg_input))
        self.module.forced_runs = lambda num_steps, teacher_forcing_ratio: iter(drawn)
        self.model.train()
        self.optimizer.zero_grad()
        loss = self.model.loss(batch, 1.0 if forced is None else 0.5) / batch.num_trg_tokens
        loss.backward()
        self.optimizer.step_clipped(self.clip_norm)
        return loss.detach()

    def step(self, tokens: Tokens, forced: Array | None) -> float:
        """See ``problem.Trainer``."""
        return float(self.begin(tokens, forced).item())

    def weights(self) -> dict[str, Array]:
        """See ``problem.Trainer``."""
        return {name: tensor.cpu().numpy() for name, tensor in self.model.state_dict().items()}


@contextmanager
def without_graphs() -> Iterator[None]:
    """Loops over time steps launch every kernel by itself."""
    former, graphs.enabled = graphs.enabled, False
    try:
        yield
    finally:
        graphs.enabled = former
