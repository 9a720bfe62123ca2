"""Training and decoding in minigrad and in PyTorch, and a process for each so that their threads never meet.

Both train the tutorials' model: embeddings, stacked LSTM encoder and decoder, output layer; Adam, clipping to norm 1.
PyTorch gets its best settings for a CPU: whole sequences through one LSTM call where the forcing allows it, Adam fused.
Thread pools of two libraries in one process slow each other down, so each peer lives in a process of its own that waits
on a pipe while the other computes.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from importlib import metadata
from typing import Any, Protocol

import numpy as np
from threadpoolctl import threadpool_info

from seq2seq.config import Config
from seq2seq.data import Batch, pad_sources
from seq2seq.vocabulary import EOS_ID, PAD_ID, SOS_ID

IMPOSSIBLE = -1e9  # a logit that no word can follow from


def machine() -> dict[str, Any]:
    """What the figures depend on: cores, versions, and the BLAS kernels that NumPy chose."""
    blas = [pool["architecture"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    versions = {name: metadata.version(name) for name in ("numpy", "numba", "torch")}
    return {"cores": os.cpu_count(), "blas": blas, "versions": versions}


class Peer(Protocol):
    """One implementation of the training step."""

    def step(self, batch: Batch, forcing: float) -> float:
        """One update; the loss per target token before it."""

    def weights(self) -> dict[str, np.ndarray]:
        """All parameters by name."""

    def decode(self, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
        """The best hypothesis of each source after exactly ``steps`` words: <eos> is made impossible."""


class Minigrad:
    """seq2seq.model with minigrad's optimiser."""

    def __init__(self, config: Config, vocab_sizes: tuple[int, int]) -> None:
        from minigrad import optim
        from seq2seq.model import build_model

        self.model = build_model(*vocab_sizes, config)
        self.optimizer = optim.Adam(self.model.parameters(), lr=config.lr)
        self.clip_norm = config.clip_norm

    def step(self, batch: Batch, forcing: float) -> float:
        from minigrad import nn

        loss = self.model.loss(batch, forcing) / batch.num_trg_tokens
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        return float(loss.item())

    def weights(self) -> dict[str, np.ndarray]:
        return {name: tensor.array for name, tensor in self.model.state_dict().items()}

    def decode(self, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
        from seq2seq.search import beam_search, greedy_search

        self.model.decoder.fc_out.bias.array[EOS_ID] = IMPOSSIBLE
        if beam_size == 1:
            return [list(h.ids) for h in greedy_search(self.model, sources, steps)]
        return [list(h[0].ids) for h in beam_search(self.model, sources, steps, beam_size)]


class PyTorch:
    """The tutorials' model in PyTorch, starting from the same weights."""

    def __init__(self, config: Config, vocab_sizes: tuple[int, int]) -> None:
        import torch

        self.torch, self.clip_norm = torch, config.clip_norm
        self.model = _torch_model(config, vocab_sizes)
        initial = Minigrad(config, vocab_sizes).weights()
        self.model.load_state_dict({name: torch.tensor(array) for name, array in initial.items()})
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.lr, fused=True)

    def step(self, batch: Batch, forcing: float) -> float:
        torch = self.torch
        src, trg_input, trg_output = (torch.from_numpy(a) for a in (batch.src, batch.trg_input, batch.trg_output))
        lengths = torch.from_numpy(batch.src_lengths)
        logits = self.model(src, lengths, trg_input, forcing)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), trg_output.flatten(), ignore_index=1)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        return float(loss.item())

    def weights(self) -> dict[str, np.ndarray]:
        return {name: tensor.numpy() for name, tensor in self.model.state_dict().items()}

    def decode(self, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
        torch = self.torch
        self.model.eval()
        with torch.inference_mode():
            self.model.decoder.fc_out.bias[[PAD_ID, SOS_ID, EOS_ID]] = IMPOSSIBLE
            src, lengths = (torch.from_numpy(array) for array in pad_sources(sources))
            state = self.model.encode(src, lengths)
            count, width = len(sources), 1
            words = torch.full((1, count), SOS_ID)
            scores, history = torch.zeros(count, 1), torch.empty(count, 1, 0, dtype=torch.long)
            for _ in range(steps):
                logits, state = self.model.decode(words, state)
                totals = scores[:, :, None] + logits[0].log_softmax(1).view(count, width, -1)
                scores, best = totals.flatten(1).topk(beam_size)
                parents, new = best // totals.shape[2], best % totals.shape[2]
                rows = (parents + torch.arange(count)[:, None] * width).flatten()
                state = tuple(part[:, rows] for part in state)
                kept = history.gather(1, parents[:, :, None].expand(-1, -1, history.shape[2]))
                history, width, words = torch.cat([kept, new[:, :, None]], 2), beam_size, new.view(1, -1)
            return history[:, 0].tolist()


def _torch_model(config: Config, vocab_sizes: tuple[int, int]) -> Any:
    """The model with the parameter names of ``seq2seq.model``."""
    import torch
    from torch import nn

    def side(vocab_size: int) -> nn.Module:
        part = nn.Module()
        part.embedding = nn.Embedding(vocab_size, config.embedding_size)
        between = config.dropout if config.num_layers > 1 else 0.0
        part.rnn = nn.LSTM(config.embedding_size, config.hidden_size, config.num_layers, dropout=between)
        part.dropout = nn.Dropout(config.dropout)
        return part

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = side(vocab_sizes[0]), side(vocab_sizes[1])
            self.decoder.fc_out = nn.Linear(config.hidden_size, vocab_sizes[1])

        def decode(self, words: Any, state: Any) -> tuple[Any, Any]:
            outputs, state = self.decoder.rnn(self.decoder.dropout(self.decoder.embedding(words)), state)
            return self.decoder.fc_out(outputs), state

        def encode(self, src: Any, lengths: Any) -> Any:
            embedded = self.encoder.dropout(self.encoder.embedding(src))
            packed = nn.utils.rnn.pack_padded_sequence(embedded, lengths, enforce_sorted=False)
            return self.encoder.rnn(packed)[1]

        def forward(self, src: Any, lengths: Any, trg_input: Any, forcing: float) -> Any:
            state = self.encode(src, lengths)
            if forcing == 1:
                return self.decode(trg_input, state)[0]
            outputs, words = [], trg_input[:1]
            for step in range(len(trg_input)):
                logits, state = self.decode(words, state)
                outputs.append(logits)
                if step + 1 < len(trg_input):
                    forced = torch.rand(()).item() < forcing
                    words = trg_input[step + 1 : step + 2] if forced else logits.argmax(2)
            return torch.cat(outputs)

    return Model()


PEERS = {"minigrad": Minigrad, "pytorch": PyTorch}


class Worker:
    """A peer in a process of its own; every call is answered with (seconds, result)."""

    def __init__(self, name: str, config: Config, vocab_sizes: tuple[int, int]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, name, config, vocab_sizes), daemon=True)
        self._process.start()

    def call(self, method: str, *arguments: Any) -> tuple[float, Any]:
        self._pipe.send((method, arguments))
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join()


def serve(pipe: Any, name: str, config: Config, vocab_sizes: tuple[int, int]) -> None:
    """The loop of a worker process: build the peer, then answer calls until None comes."""
    peer = PEERS[name](config, vocab_sizes)
    while (message := pipe.recv()) is not None:
        method, arguments = message
        start = time.perf_counter()
        result = getattr(peer, method)(*arguments)
        pipe.send((time.perf_counter() - start, result))
