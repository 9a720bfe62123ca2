"""Ours: seq2seq.models.model, trained by minigrad's optimisers, decoded by seq2seq.decoding.search."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import kernels
import minigrad.nn.functional as F
from minigrad import Tensor, keep_freed_memory, no_grad, optim
from minigrad.nn.utils.rnn import pack_padded_sequence
from peers.problem import (
    EOS_ID,
    IMPOSSIBLE,
    PAD_ID,
    SOS_ID,
    Array,
    Task,
    Tokens,
    initial_weights,
    padded_sources,
)
from seq2seq.decoding.search import beam_search, greedy_search
from seq2seq.models.model import build_model
from seq2seq.run.config import Config
from seq2seq.sources import Batch


class Peer:
    """Training and decoding through the public surface; only the coins of the loop come from outside."""

    def __init__(self, task: Task, precision: str, threads: int, device: Any = "cpu") -> None:
        sizes = {name: getattr(task, name) for name in ("embedding_size", "hidden_size", "num_layers", "dropout")}
        settings: Any = {**sizes, "precision": precision, "threads": threads}
        config = Config(**settings)
        self._start_process()
        self.model = build_model(*task.vocab_sizes, config)
        parameters = dict(self.model.named_parameters())
        for name, array in initial_weights(task):
            parameters[name].array[...] = array
        self.model.to(device)
        rule = {"adam": optim.Adam, "sgd": optim.SGD}[task.optimizer]
        self.optimizer = rule(self.model.parameters(), lr=task.lr)
        self.clip_norm, self.bf16, self.excluded = task.clip_norm, precision == "bf16", False

    def step(self, tokens: Tokens, forced: Array | None) -> float:
        """See ``problem.Trainer``."""
        return float(self.begin(tokens, forced).item())

    def begin(self, tokens: Tokens, forced: Array | None) -> Any:
        """One update; the loss per target token before it, which nobody has waited for."""
        batch = Batch(*tokens, indices=np.arange(tokens.src.shape[1]))
        self.model.train()
        self.optimizer.zero_grad()
        loss = self.model.loss(batch, own=None if forced is None else ~forced) / batch.num_trg_tokens
        self._backward(loss)
        self.optimizer.step_clipped(self.clip_norm)
        return loss.detach()

    def _start_process(self) -> None:
        keep_freed_memory()  # as seq2seq.train does

    def _backward(self, loss: Tensor) -> None:
        loss.backward()

    def weights(self) -> dict[str, Array]:
        """See ``problem.Trainer``."""
        return {name: tensor.cpu().numpy() for name, tensor in self.model.state_dict().items()}

    def decode(self, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
        """See ``problem.Searcher``."""
        self._exclude_specials()
        if beam_size == 1:
            return [list(h.ids) for h in greedy_search(self.model, sources, steps, bf16=self.bf16)]
        return [list(h[0].ids) for h in beam_search(self.model, sources, steps, beam_size, bf16=self.bf16)]

    @no_grad()
    def _exclude_specials(self) -> None:
        """Make <pad>, <sos> and <eos> impossible, once: a change makes the decoder pack its weights anew."""
        if not self.excluded:
            bias: Any = self.model.decoder.fc_out.bias
            bias[[PAD_ID, SOS_ID, EOS_ID]] = IMPOSSIBLE
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
