"""PyTorch on the device: the training step and the searches of ``peers.pytorch``, with nothing that waits for the GPU.

- The whole target goes through one call of nn.LSTM, or, ``step_by_step``, one call per step, as the tutorials write it.
- ``packed`` gives the encoder packed sequences and computes the model's exact function; without it the encoder runs
  over the padding, as the tutorials' first model does, which spares cuDNN the lengths.
- Which positions are real is found on the host, where the words come from.
- ``graphed`` does the whole step in a CUDA graph, over padded batches (peer_graphs.py).
- tf32 and fp32 differ by PyTorch's two switches; bf16 is autocast in training, and in decoding a copy in bfloat16.
"""

from __future__ import annotations

import contextlib
import copy
import os
from typing import Any

import numpy as np
import torch
from peers import pytorch
from peers.problem import EOS_ID, IMPOSSIBLE, PAD_ID, SOS_ID, Array, Task, Tokens, best_words, padded_sources

from gpu import device
from gpu.peer_graphs import GraphedSteps


class Peer(pytorch.Peer):
    """Training and decoding on the device, in float32 until ``use`` says otherwise."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, "fp32", 1 if device.SIMULATED else os.cpu_count() or 1)
        self.model.to(device.TORCH_DEVICE)
        self._decoders: dict[bool, Any] = {}
        self._graphs: GraphedSteps | None = None
        self._kept: dict[str, GraphedSteps] = {}

    def use(self, precision: str, packed: bool = False, step_by_step: bool = False, graphed: bool = False) -> None:
        """Choose among the variants of the head of this file; weights stay what they are."""
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        self.bf16, self.packed, self.step_by_step = precision == "bf16", packed, step_by_step
        if graphed and precision not in self._kept:
            self._kept[precision] = GraphedSteps(self.model, self.task, self._autocast)
        self._graphs = self._kept[precision] if graphed else None
        for side in (self.model.encoder, self.model.decoder):
            side.embedding.sparse = self.task.optimizer == "sgd"

    def drop_graphs(self) -> None:
        """Give back the memory of all graphs."""
        self._graphs = None
        self._kept.clear()

    def begin(self, tokens: Tokens, forced: Array | None) -> Any:
        """One update; the loss per target token before it, still on the device."""
        self.model.train()
        if self._graphs is not None:
            return self._graphs.step(tokens)
        self.optimizer.zero_grad()
        with self._autocast():
            loss = self._loss(tokens, forced) / tokens.num_tokens[1]
        loss.backward()
        pytorch._clip(self.model.parameters(), self.task.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def step(self, tokens: Tokens, forced: Array | None) -> float:
        """See ``problem.Trainer``."""
        return float(self.begin(tokens, forced).item())

    def weights(self) -> dict[str, Array]:
        """See ``problem.Trainer``."""
        return {name: tensor.cpu().numpy() for name, tensor in self.model.state_dict().items()}

    def decode(self, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
        """See ``problem.Searcher``."""
        model = self._model_that_cannot_end()
        with torch.inference_mode():
            src, lengths = padded_sources(sources)
            equal = bool((lengths == lengths[0]).all())
            _, (h, c) = model.encoder(self._moved(src), None, None if equal else torch.from_numpy(lengths))
            count, width = len(sources), 1
            words = torch.full((count,), SOS_ID, device=device.TORCH_DEVICE)
            scores = torch.zeros(count, 1, device=device.TORCH_DEVICE)
            first_rows = torch.arange(count, device=device.TORCH_DEVICE)[:, None]
            parents, found = [], []
            for _ in range(steps):
                outputs, (h, c) = model.decoder(words[None], (h, c))
                log_probs = model.decoder.fc_out(outputs[0]).float().log_softmax(1)
                totals = scores[:, :, None] + log_probs.view(count, width, -1)
                scores, best = totals.flatten(1).topk(beam_size)
                parents.append(best // totals.shape[2])
                found.append(best % totals.shape[2])
                words = found[-1].flatten()
                if beam_size > 1:
                    rows = (parents[-1] + first_rows * width).flatten()
                    h, c, width = h[:, rows], c[:, rows], beam_size
            return best_words(torch.stack(parents).cpu().numpy(), torch.stack(found).cpu().numpy())

    def score(self, sources: list[list[int]], outputs: list[list[int]]) -> float:
        """The mean over sentences of log p(output) in float32, <eos> being impossible; outputs of one length."""
        self.use("fp32")
        model = self._model_that_cannot_end()
        with torch.inference_mode():
            src, lengths = padded_sources(sources)
            words = np.array(outputs, np.int64).T
            given = np.concatenate([np.full((1, len(sources)), SOS_ID), words[:-1]])
            _, state = model.encoder(self._moved(src), None, torch.from_numpy(lengths))
            rows, _ = model.decoder(self._moved(given), state)
            log_probs = model.decoder.fc_out(rows).log_softmax(-1)
            return float(log_probs.gather(2, self._moved(words)[:, :, None]).sum() / len(sources))

    def _autocast(self) -> Any:
        return torch.autocast(device.TORCH_DEVICE, torch.bfloat16) if self.bf16 else contextlib.nullcontext()

    def _moved(self, array: Array) -> Any:
        return torch.from_numpy(array).to(device.TORCH_DEVICE, non_blocking=True)

    def _model_that_cannot_end(self) -> Any:
        """A copy for decoding, in bfloat16 where that is the precision, to which <eos> is impossible."""
        if self.bf16 not in self._decoders:
            model = copy.deepcopy(self.model).eval()
            with torch.no_grad():
                model.decoder.fc_out.bias[[PAD_ID, SOS_ID, EOS_ID]] = IMPOSSIBLE
            self._decoders[self.bf16] = model.bfloat16() if self.bf16 else model
        return self._decoders[self.bf16]
