"""Both libraries on the device, in this process, with the face of `peers.worker.Worker`: one race serves both places.

The variants of a library share one model, since the paper's would not fit many times: weights stay what they are when a
race turns to another variant. What only a device has: steps in CUDA graphs ("minigrad-graph" as the trainer makes them,
"pytorch-graph" over padded batches), and ours with every launch made by itself ("minigrad-eager").
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from peers import minigrad as ours
from peers.problem import Array, Task, Tokens
from peers.worker import VARIANTS
from racing import Arena

import minigrad
from gpu import device
from gpu.timing import Timed
from kernels.cuda.runtime.switches import switched
from seq2seq.run.config import Config
from seq2seq.sources import Batch
from seq2seq.training.graphed import GraphedTraining

OPTIONS: dict[str, dict[str, bool]] = {
    "minigrad-graph": {"graphed": True}, "minigrad-eager": {"eager": True}, "pytorch-graph": {"graphed": True},
    "pytorch-packed": {"packed": True}, "pytorch-loop": {"packed": True, "step_by_step": True},
}  # fmt: skip


class Ours(ours.Peer):
    """Ours on the device, in float32 and without graphs until ``use`` says otherwise."""

    def __init__(self, task: Task, batches: Sequence[Tokens] = ()) -> None:
        super().__init__(task, "fp32", 1, "cuda")
        self._batches, self._in_graph, self._has_stepped, self._step_graphs = batches, False, False, True
        self._graphs: dict[str, GraphedTraining] = {}

    def use(self, precision: str, graphed: bool = False, eager: bool = False) -> None:
        """Choose a variant."""
        model: Any = self.model
        model.precision, self.bf16 = precision, precision == "bf16"
        minigrad.backends.cuda.matmul.allow_tf32 = precision == "tf32"  # in decoding too
        self._in_graph, self._step_graphs = graphed, not eager

    def drop_graphs(self) -> None:
        """Give back the memory of all graphs."""
        self._graphs.clear()

    def train(self, batches: Sequence[Tokens], forced: Sequence[Array | None]) -> None:
        """An update for each batch; nothing waits for the device."""
        self._batches = batches
        for tokens, given in zip(batches, forced, strict=True):
            self.begin(tokens, given)

    def begin(self, tokens: Tokens, forced: Array | None) -> Any:
        """One update; RuntimeError where it should have been in a graph, and went without."""
        if not self._in_graph:
            self._has_stepped = True
            return super().begin(tokens, forced)
        self.model.train()
        found = self._graphed().step(Batch(*tokens, indices=np.arange(tokens.src.shape[1])))
        if found is not None:
            return found[0]
        if self._has_stepped:  # the first step never is in one
            raise RuntimeError("this step goes without a graph")
        self._has_stepped = True
        return super().begin(tokens, forced)

    def decode(self, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
        """See ``problem.Searcher``."""
        with switched(step_graphs=self._step_graphs):
            return super().decode(sources, steps, beam_size)

    def _graphed(self) -> GraphedTraining:
        """The graphs of this precision, for the lengths of all batches that will come."""
        precision: Any = self.model.precision
        if precision not in self._graphs:
            src = np.concatenate([batch.src_lengths - 2 for batch in self._batches])
            trg = np.concatenate([batch.trg_lengths - 1 for batch in self._batches])
            train: Any = SimpleNamespace(src=SimpleNamespace(lengths=src), trg=SimpleNamespace(lengths=trg))
            config = Config(precision=precision, clip_norm=self.clip_norm, teacher_forcing_ratio=1.0)
            self._graphs[precision] = GraphedTraining(self.model, self.optimizer, config, train)
        return self._graphs[precision]


def theirs(task: Task, batches: Sequence[Tokens] = ()) -> Any:
    """PyTorch's on the device."""
    from gpu.peer_graphs import Peer

    return Peer(task, 1 if device.SIMULATED else os.cpu_count() or 1)


# --- with the face of a worker --------------------------------------------------------------------------------------
MAKE: dict[str, Callable[..., Any]] = {"minigrad": Ours, "pytorch": theirs}
_shared: dict[str, tuple[Task, Any]] = {}  # library -> its model


class Contestant(Timed):
    """A variant: its library's shared model, or after "build" one of its own, with the first weights of the task."""

    def __init__(self, name: str, task: Task | None) -> None:
        self._variant, self._task, self._own = VARIANTS[name], task, None
        super().__init__(self._variant.peer, self._found, 30.0)
        self._options = OPTIONS.get(name.removesuffix(f"-{self._variant.precision}"), {})

    def _found(self, method: str) -> Callable[..., Any]:
        if method == "build":
            return self._build
        peer = self._own or shared(self._variant.peer, self._task)
        peer.use(self._variant.precision, **self._options)
        return partial(getattr(peer, method))

    def _build(self, task: Task, batches: Sequence[Tokens]) -> None:
        self._own = None
        device.free_memory()
        self._own = MAKE[self._variant.peer](task, batches)


class OnTheCpu(Timed):
    """Our float32 model on the processor: what the others are held against where there is no PyTorch."""

    def __init__(self, task: Task | None) -> None:
        self._peer = ours.Peer(task, "fp32", 1) if task else None
        super().__init__("cpu", lambda method: self._build if method == "build" else getattr(self._peer, method))

    def _build(self, task: Task, batches: Sequence[Tokens]) -> None:
        self._peer = ours.Peer(task, "fp32", 1)


def shared(library: str, task: Task | None) -> Any:
    """The model of a task; that of another task goes."""
    if library not in _shared or _shared[library][0] != task:
        _shared.pop(library, None)
        device.free_memory()
        _shared[library] = (task, MAKE[library](task))
    return _shared[library][1]


@contextmanager
def open_here(names: Sequence[str], threads: int, task: Task | None) -> Iterator[dict[str, Any]]:
    """A contestant per variant; without graphs of a former race."""
    for _, peer in _shared.values():
        peer.drop_graphs()
    device.free_memory()
    yield {name: OnTheCpu(task) if name == "minigrad-cpu" else Contestant(name, task) for name in names}


def variants(ways: Sequence[str], precision: str) -> list[str]:
    """Names of those that can run here."""
    able = [way for way in ways if way.startswith("minigrad") or device.torch() is not None]
    return [way if precision == "fp32" else f"{way}-{precision}" for way in able]


def arena() -> Arena:
    """The device."""
    return Arena(open_here, "minigrad-cpu" if device.torch() is None else "pytorch-packed", strict=False)
