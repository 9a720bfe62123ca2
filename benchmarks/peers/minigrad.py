"""Ours: seq2seq.models.model, trained by minigrad's optimisers, decoded by seq2seq.decoding.search.

On a GPU ``graphed=True`` trains with whole steps as CUDA graphs, as seq2seq.train does where it can, ``eager=True``
decodes with every step launched anew, and variants share the model and optimizer of the one that they are ``like``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

import kernels
import minigrad
import minigrad.nn.functional as F
from kernels.cuda.runtime.switches import switched
from minigrad import Tensor, keep_freed_memory, no_grad, optim
from minigrad.nn.utils.rnn import pack_padded_sequence
from peers import layers, loops, scripts
from peers.problem import IMPOSSIBLE, SOS_ID, SPECIALS, Array, Task, Tokens, initial_weights, padded_sources
from seq2seq.decoding.search import beam_search, greedy_search
from seq2seq.models.model import build_model
from seq2seq.run.config import Config
from seq2seq.shipping.model_file import narrow
from seq2seq.shipping.quantise import NARROW
from seq2seq.sources import Batch


class Peer:
    """Training and decoding through the public surface; only the coins of the loop come from outside."""

    def __init__(
        self, task: Task, precision: str, threads: int, device: str = "cpu", graphed: bool = False,
        eager: bool = False, like: Peer | None = None,
    ) -> None:  # fmt: skip
        self._start_process()
        self.model = _model(task, threads, device) if like is None else like.model
        if precision in NARROW:
            narrow(self.model, precision)
        rule = {"adam": optim.Adam, "sgd": optim.SGD}[task.optimizer]
        self.optimizer = rule(self.model.parameters(), lr=task.lr) if like is None else like.optimizer
        self.clip_norm, self.precision, self.excluded = task.clip_norm, precision, False
        self._graphed, self._eager, self._graphs, self._has_stepped = graphed, eager, None, False

    def step(self, tokens: Tokens, forced: Array | None) -> float:
        """See ``problem.Peer``."""
        return float(self.begin(tokens, forced).item())

    def train(self, batches: Sequence[Tokens], forced: Sequence[Array | None]) -> None:
        """An update for each batch; nothing waits for the device."""
        if self._graphs is None and self._graphed:
            self._graphs = self._graphs_for(batches)
        for tokens, given in zip(batches, forced, strict=True):
            self.begin(tokens, given)

    def begin(self, tokens: Tokens, forced: Array | None) -> Any:
        """One update; the loss per target token before it, which nobody has waited for.

        RuntimeError where it should have been in a graph, and went without; the first of all never is in one.
        """
        self._choose_precision()
        batch = Batch(*tokens, indices=np.arange(tokens.src.shape[1]))
        self.model.train()
        if self._graphed:
            self._graphs = self._graphs or self._graphs_for([tokens])
            if found := self._graphs.step(batch):
                return found[0]
            if self._has_stepped:
                raise RuntimeError("this step goes without a graph")
        self._has_stepped = True
        self.optimizer.zero_grad()
        loss = self.model.loss(batch, own=None if forced is None else ~forced) / batch.num_trg_tokens
        self._backward(loss)
        self.optimizer.step_clipped(self.clip_norm)
        return loss.detach()

    def _choose_precision(self) -> None:
        model: Any = self.model
        model.precision = self.precision
        minigrad.backends.cuda.matmul.allow_tf32 = self.precision == "tf32"

    def _graphs_for(self, batches: Sequence[Tokens]) -> Any:
        """The graphs of steps whose batches are these, or no longer."""
        from seq2seq.training.graphed import GraphedTraining

        src = np.concatenate([batch.src_lengths - 2 for batch in batches])
        trg = np.concatenate([batch.trg_lengths - 1 for batch in batches])
        train: Any = SimpleNamespace(src=SimpleNamespace(lengths=src), trg=SimpleNamespace(lengths=trg))
        settings: Any = {"precision": self.precision, "clip_norm": self.clip_norm, "teacher_forcing_ratio": 1.0}
        return GraphedTraining(self.model, self.optimizer, Config(**settings), train)

    def _start_process(self) -> None:
        keep_freed_memory()  # as seq2seq.train does

    def _backward(self, loss: Tensor) -> None:
        loss.backward()

    def weights(self) -> dict[str, Array]:
        """See ``problem.Peer``."""
        return {name: tensor.cpu().numpy() for name, tensor in self.model.state_dict().items()}

    def decode(self, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
        """See ``problem.Peer``."""
        self._choose_precision()
        self._exclude_specials()
        if self.model.training:
            self.model.eval()  # as a Translator's is, which decoding would else turn for each call
        form = "bf16" if self.precision == "bf16" else self.model.form
        with switched(step_graphs=False) if self._eager else nullcontext():
            if beam_size == 1:
                return [list(h.ids) for h in greedy_search(self.model, sources, steps, form=form)]
            return [list(h[0].ids) for h in beam_search(self.model, sources, steps, beam_size, form=form)]

    @no_grad()
    def _exclude_specials(self) -> None:
        """Make <pad>, <sos> and <eos> impossible, once: a change makes the decoder pack its weights anew."""
        if not self.excluded:
            bias: Any = self.model.decoder.fc_out.bias
            bias[SPECIALS] = IMPOSSIBLE
            self.excluded = True

    @no_grad()
    def score(self, sources: list[list[int]], outputs: list[list[int]]) -> float:
        """The mean over sentences of log p(output), <pad>, <sos> and <eos> being impossible; outputs of one length."""
        self.model.eval()
        self._exclude_specials()
        src, lengths = padded_sources(sources)
        words = np.array(outputs, np.int64).T
        trg_input = np.concatenate([np.full((1, len(sources)), SOS_ID), words[:-1]])
        packed = pack_padded_sequence(Tensor(src), lengths, enforce_sorted=False)
        given = pack_padded_sequence(Tensor(trg_input), [len(trg_input)] * len(sources))
        memory, decoder = self.model.encoder(packed), self.model.decoder
        own = np.zeros(len(trg_input), bool)
        features = decoder.sequence(given, decoder.start(memory), memory, own)
        log_probs = F.log_softmax(decoder.output(features), dim=-1).array.reshape(*words.shape, -1)
        return float(np.take_along_axis(log_probs, words[:, :, None], 2).sum() / len(sources))


AttentionPeer = Transformer = Peer  # which parts a model has, its task says
Loop, Slices = loops.Loop, loops.Slices


class Script(scripts.Script):
    """See there."""

    library = "minigrad"


class Layer(layers.Layer):
    """Ours keeps float32 weights, inputs and gradients in every precision (but "fp64"): its conversions count."""

    library = minigrad

    def __init__(self, task: layers.LayerTask, precision: str, *others: Any, **options: Any) -> None:
        self.dtype = np.dtype(np.float64 if precision == "fp64" else np.float32)
        super().__init__(task, precision, *others, **options)

    def _within(self) -> Any:
        minigrad.backends.cuda.matmul.allow_tf32 = self.precision == "tf32"
        return minigrad.autocast("cpu", enabled=self.precision == "bf16")

    def _captured(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """CaptureError for what the host takes through time step by step."""
        lengths = [self.task.lengths()] if self.task.ragged else []
        graph = minigrad.cuda.CUDAGraph(lengths)
        with graph.warm_up():
            function()
        with graph.capture():
            function()
        return partial(graph.replay, lengths)


def _model(task: Task, threads: int, device: str) -> Any:
    """With the task's first weights, in float32."""
    model = build_model(*task.vocab_sizes, Config(threads=threads, **task.settings))
    parameters = dict(model.named_parameters())
    for name, array in initial_weights(task):
        parameters[name].array[...] = array
    return model.to(device)


def matmul_rate(bf16: bool, repeats: int) -> float:
    """The best of several products 1024x512 by 512x2048, in GFLOP/s, converting to bfloat16 included."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape, np.float32) for shape in ((1024, 512), (512, 2048)))
    weight = np.ascontiguousarray(b.T)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        if bf16:
            kernels.linear_forward(a, weight, None, True)
        else:
            kernels.matmul(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * 1024 * 512 * 2048 / best / 1e9
