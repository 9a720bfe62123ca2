"""Ours on the device: ``peers.minigrad`` with its model moved there, and no wait for the GPU at the end of a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
from peers import minigrad as cpu
from peers.problem import Array, Task, Tokens

import minigrad
from kernels.cuda.runtime import graphs
from seq2seq.run.config import Config
from seq2seq.sources import Batch
from seq2seq.training.graphed import GraphedTraining


class Ours(cpu.Peer):
    """Training and decoding through the public surface, in float32 until ``use`` says otherwise."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, "fp32", 1)
        self.model.to("cuda")
        self._graphs: GraphedTraining | None = None
        self._kept: dict[str, GraphedTraining] = {}
        self._has_stepped = False

    def use(self, precision: str, in_graphs: Sequence[Tokens] = ()) -> None:
        """Choose the precision of products; weights stay what they are.

        Args:
            precision: fp32, tf32 or bf16.
            in_graphs: batches that will be trained on, with the right word always given: each step in a graph, as the
                trainer takes it where it can. The same ones until ``drop_graphs``.
        """
        model: Any = self.model
        model.precision, self.bf16 = precision, precision == "bf16"
        minigrad.backends.cuda.matmul.allow_tf32 = precision == "tf32"  # in decoding too
        self._graphs = self._kept.get(precision) if in_graphs else None
        if in_graphs and self._graphs is None:
            lengths = [b.src_lengths - 2 for b in in_graphs], [b.trg_lengths - 1 for b in in_graphs]
            src, trg = (SimpleNamespace(lengths=np.concatenate(side)) for side in lengths)
            settings: Any = {"precision": precision, "clip_norm": self.clip_norm, "teacher_forcing_ratio": 1.0}
            train: Any = SimpleNamespace(src=src, trg=trg)
            self._graphs = GraphedTraining(self.model, self.optimizer, Config(**settings), train)
            self._kept[precision] = self._graphs

    def drop_graphs(self) -> None:
        """Give back the memory of all graphs."""
        self._graphs = None
        self._kept.clear()

    def begin(self, tokens: Tokens, forced: Array | None) -> Any:
        """One update; the loss per target token before it, still on the device.

        Raises:
            RuntimeError: the step should have been in a graph, and went without.
        """
        batch = Batch(*tokens, indices=np.arange(tokens.src.shape[1]))
        self.model.train()
        if self._graphs is not None:
            found = self._graphs.step(batch)
            if found is not None:
                return found[0]
            if self._has_stepped:  # the first step never is in one
                raise RuntimeError("this step goes without a graph")
        self._has_stepped = True
        self.optimizer.zero_grad()
        loss = self.model.loss(batch, own=None if forced is None else ~forced) / batch.num_trg_tokens
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
