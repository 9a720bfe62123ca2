"""PyTorch at its best: on a CPU as measured on two cores of an AVX-512 processor; on a GPU no step waits for it.

- Padded batches: oneDNN's LSTM takes only those, and is a quarter faster in float32 than packed sequences. It runs over
  the padding, as the tutorials' first model does; ``packed=True`` gives the exact function.
- Consecutive steps that are given the right word go through one LSTM call; ``step_by_step=True`` is the tutorials'.
- Where the whole target is given, the output layer sees real positions only. Adam is the fused one.
- ``compiled=True`` puts the output layer with its loss through torch.compile, and in decoding the whole step. (The
  module as a whole breaks at nn.LSTM and was slower than eager; embedding and dropout gained nothing.)
- bf16: autocast in training; in decoding a copy of the model in bfloat16, so that nothing is cast in each step.
- On a GPU ``graphed=True`` is the whole step as CUDA graphs, and variants share the model that they are ``like``.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from peers import layers, scripts
from peers.problem import (
    IMPOSSIBLE,
    PAD_ID,
    SOS_ID,
    SPECIALS,
    Array,
    Task,
    Tokens,
    best_words,
    initial_weights,
    padded_sources,
    runs_of,
)

State = tuple[torch.Tensor, torch.Tensor]


class Side(nn.Module):
    """Embedding, dropout and LSTM."""

    fc_out: nn.Linear  # the decoder's

    def __init__(self, vocab_size: int, task: Task) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, task.embedding_size)
        between = task.dropout if task.num_layers > 1 else 0.0
        self.rnn = nn.LSTM(task.embedding_size, task.hidden_size, task.num_layers, dropout=between)
        self.dropout = nn.Dropout(task.dropout)

    def forward(self, words: torch.Tensor, state: State | None = None, lengths: Any = None) -> tuple[Any, State]:
        rows: Any = self.dropout(self.embedding(words))
        if lengths is not None:
            rows = nn.utils.rnn.pack_padded_sequence(rows, lengths, enforce_sorted=False)
        return self.rnn(rows, state)


class Model(nn.Module):
    """The parameter names of ``problem.shapes``."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.encoder, self.decoder = Side(task.vocab_sizes[0], task), Side(task.vocab_sizes[1], task)
        self.decoder.fc_out = nn.Linear(task.hidden_size, task.vocab_sizes[1])


class Peer:
    """Training and decoding; the options are explained at the head of the file."""

    def __init__(
        self, task: Task, precision: str, threads: int, packed: bool = False, compiled: bool = False,
        step_by_step: bool = False, graphed: bool = False, device: str = "cpu", like: Peer | None = None,
    ) -> None:  # fmt: skip
        torch.set_num_threads(threads)
        self.task, self.packed, self.compiled, self.step_by_step = task, packed, compiled, step_by_step
        self.bf16, self.tf32, self.device = precision == "bf16", precision == "tf32", device
        if like is None:
            self.model: Any = self._model(task)
            parameters = dict(self.model.named_parameters())
            with torch.no_grad():
                for name, array in initial_weights(task):
                    parameters[name].copy_(torch.from_numpy(array))
            self.model.to(device)
            self.optimizer = _optimizer(task, self.model)
        else:
            self.model, self.optimizer = like.model, like.optimizer
        self.graphs: Any = None
        if graphed:
            from peers.pytorch_graphs import GraphedSteps

            self.graphs = GraphedSteps(self.model, task, self._autocast, device)
        self.head = torch.compile(head_loss, dynamic=True) if compiled else head_loss
        self.searchers: dict[bool, Any] = {}

    def _model(self, task: Task) -> nn.Module:
        return Model(task)

    def step(self, tokens: Tokens, forced: Array | None) -> float:
        """See ``problem.Peer``."""
        return float(self.begin(tokens, forced).item())

    def train(self, batches: Sequence[Tokens], forced: Sequence[Array | None]) -> None:
        """An update for each batch; nothing waits for the device."""
        for tokens, given in zip(batches, forced, strict=True):
            self.begin(tokens, given)

    def begin(self, tokens: Tokens, forced: Array | None) -> torch.Tensor:
        """One update; the loss per target token before it, which nobody has waited for."""
        allow_tf32(self.tf32)
        if self.graphs is not None:
            return self.graphs.step(tokens)
        for side in (self.model.encoder, self.model.decoder):
            side.embedding.sparse = self.task.optimizer == "sgd"
        self.optimizer.zero_grad()
        with self._autocast():
            loss = self._loss(tokens, forced) / tokens.num_tokens[1]
        loss.backward()
        _clip(self.model.parameters(), self.task.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def _autocast(self) -> Any:
        return torch.autocast(self.device, dtype=torch.bfloat16) if self.bf16 else contextlib.nullcontext()

    def _moved(self, array: Array) -> torch.Tensor:
        """A tensor of it where the model is."""
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def _loss(self, tokens: Tokens, forced: Array | None) -> torch.Tensor:
        """The sum over real target positions."""
        src, trg_input, trg_output = (self._moved(a) for a in (tokens.src, tokens.trg_input, tokens.trg_output))
        _, state = self.model.encoder(src, None, torch.from_numpy(tokens.src_lengths) if self.packed else None)
        if forced is None and not self.step_by_step:
            outputs, _ = self.model.decoder(trg_input, state)
            real = self._moved(np.flatnonzero(tokens.trg_output != PAD_ID))
            return self._head(outputs.flatten(0, 1)[real], trg_output.flatten()[real], 0)[0]
        own = {start for start, _ in runs_of(forced, len(trg_input))[1:]}
        losses: list[torch.Tensor] = []
        guesses = trg_input[0]
        for start, end in self._runs(forced, len(trg_input)):
            words = trg_input[start:end]
            if start in own:
                words = torch.cat([guesses[None], words[1:]])
            outputs, state = self.model.decoder(words, state)
            loss, guesses = self._head(outputs.flatten(0, 1), trg_output[start:end].flatten(), words.shape[1])
            losses.append(loss)
        return torch.stack(losses).sum()

    def _runs(self, forced: Array | None, num_steps: int) -> Sequence[tuple[int, int]]:
        return [(t, t + 1) for t in range(num_steps)] if self.step_by_step else runs_of(forced, num_steps)

    def _head(self, rows: torch.Tensor, targets: torch.Tensor, last: int) -> Any:
        output = self.model.decoder.fc_out
        return self.head(rows, output.weight, output.bias, targets, last)

    def weights(self) -> dict[str, Array]:
        """See ``problem.Peer``."""
        return {name: tensor.cpu().numpy() for name, tensor in self.model.state_dict().items()}

    def decode(self, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
        """See ``problem.Peer``."""
        allow_tf32(self.tf32)
        return self._searcher(self.bf16).decode(sources, steps, beam_size)

    def score(self, sources: list[list[int]], outputs: list[list[int]]) -> float:
        """The mean over sentences of log p(output) in float32, <eos> being impossible; outputs of one length."""
        allow_tf32(False)
        model = self._searcher(False).model
        with torch.inference_mode():
            src, lengths = padded_sources(sources)
            words = np.array(outputs, np.int64).T
            given = np.concatenate([np.full((1, len(sources)), SOS_ID), words[:-1]])
            _, state = model.encoder(self._moved(src), None, torch.from_numpy(lengths))
            rows, _ = model.decoder(self._moved(given), state)
            log_probs = model.decoder.fc_out(rows).log_softmax(-1)
            return float(log_probs.gather(2, self._moved(words)[:, :, None]).sum() / len(sources))

    def _searcher(self, bf16: bool) -> _Searcher:
        if bf16 not in self.searchers:
            self.searchers[bf16] = _Searcher(self.model, bf16, self.compiled, self.device)
        return self.searchers[bf16]


def allow_tf32(allowed: bool) -> None:
    """Whether products in float32 may round their operands, on a GPU."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def head_loss(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, targets: torch.Tensor, last: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output layer and summed loss of rows (P,H), and the likeliest words of the last so many rows."""
    logits = nn.functional.linear(rows, weight, bias)
    loss = nn.functional.cross_entropy(logits, targets, ignore_index=PAD_ID, reduction="sum")
    return loss, logits[len(logits) - last :].argmax(1)


def _optimizer(task: Task, model: nn.Module) -> torch.optim.Optimizer:
    if task.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=task.lr)
    return torch.optim.Adam(model.parameters(), lr=task.lr, fused=True)


def _clip(parameters: Any, max_norm: float) -> None:
    """torch.nn.utils.clip_grad_norm_, and the same by hand where a gradient is sparse, which that refuses."""
    params = list(parameters)
    if not any(param.grad.is_sparse for param in params):
        nn.utils.clip_grad_norm_(params, max_norm)
        return
    for param in params:
        param.grad = param.grad.coalesce() if param.grad.is_sparse else param.grad
    values = [param.grad.values() if param.grad.is_sparse else param.grad for param in params]
    scale = (max_norm / (torch.nn.utils.get_total_norm(values) + 1e-6)).clamp(max=1.0)
    for value in values:
        value.mul_(scale)


class AttentionPeer(Peer):
    """A model with attention; it is trained where every token is given."""

    def _model(self, task: Any) -> nn.Module:
        from peers.pytorch_attention import AttentionModel

        return AttentionModel(task, self.compiled)

    def _loss(self, tokens: Tokens, forced: Array | None) -> torch.Tensor:
        """The sum over real target positions."""
        src, trg_input, trg_output = (self._moved(a) for a in (tokens.src, tokens.trg_input, tokens.trg_output))
        outputs = self.model(src, torch.from_numpy(tokens.src_lengths), trg_input, self.packed)
        real = self._moved(np.flatnonzero(tokens.trg_output != PAD_ID))
        return self._head(outputs.flatten(0, 1)[real], trg_output.flatten()[real], 0)[0]

    def decode(self, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
        """See ``problem.Peer``."""
        from peers.pytorch_attention import decode

        return decode(self._search_model(self.bf16), sources, steps, beam_size)

    def score(self, sources: list[list[int]], outputs: list[list[int]]) -> float:
        """As of ``Peer``."""
        from peers.pytorch_attention import score

        return score(self._search_model(False), sources, outputs)

    def _search_model(self, bf16: bool) -> Any:
        """A copy for search, in which what no word can be is impossible."""
        if bf16 not in self.searchers:
            model = copy.deepcopy(self.model).eval()
            with torch.no_grad():
                model.decoder.fc_out.bias[SPECIALS] = IMPOSSIBLE
            self.searchers[bf16] = model.bfloat16() if bf16 else model
        return self.searchers[bf16]


class Transformer(Peer):
    """PyTorch's own layers, batch first; sentences of one length get no mask. ``compiled=True`` compiles all of it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.run = torch.compile(self.model, dynamic=True) if self.compiled else self.model

    def _model(self, task: Any) -> nn.Module:
        from peers.pytorch_transformer import TransformerModel

        return TransformerModel(task)

    def _loss(self, tokens: Tokens, forced: Array | None) -> torch.Tensor:
        """The sum over real target positions."""
        src, trg_input, trg_output = (
            self._moved(np.ascontiguousarray(a.T)) for a in (tokens.src, tokens.trg_input, tokens.trg_output)
        )
        past = np.arange(src.shape[1]) >= tokens.src_lengths[:, None]
        causal = nn.Transformer.generate_square_subsequent_mask(trg_input.shape[1], device=src.device)
        outputs = self.run(src, trg_input, self._moved(past) if past.any() else None, causal)
        real = self._moved(np.flatnonzero(tokens.trg_output.T != PAD_ID))
        return self._head(outputs.flatten(0, 1)[real], trg_output.flatten()[real], 0)[0]


class Script(scripts.Script):
    """As it stands, eager: the scripts are not changed for any library."""

    library = "torch"


class Layer(layers.Layer):
    """Weights, inputs and gradients are of the precision's type."""

    library = torch

    def __init__(self, task: layers.LayerTask, precision: str, threads: int, **options: Any) -> None:
        torch.set_num_threads(threads)
        kinds = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}
        self.dtype = kinds.get(precision, torch.float32)
        super().__init__(task, precision, threads, **options)

    def _within(self) -> Any:
        allow_tf32(self.precision == "tf32")
        return contextlib.nullcontext()

    def _captured(self, function: Callable[[], Any]) -> Callable[[], Any]:
        from peers.pytorch_graphs import captured

        return captured(function, self.device)


class _Searcher:
    """Greedy and beam search, all sentences and beams in one step, in inference mode."""

    def __init__(self, model: Model, bf16: bool, compiled: bool, device: str) -> None:
        self.device = device
        model = copy.deepcopy(model).eval()
        with torch.no_grad():
            model.decoder.fc_out.bias[SPECIALS] = IMPOSSIBLE
        self.model = model.bfloat16() if bf16 else model
        self.step = torch.compile(self._cells, dynamic=False) if compiled else self._layers

    def decode(self, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
        """See ``problem.Peer``; sources of one length need no packing."""
        with torch.inference_mode():
            src, lengths = padded_sources(sources)
            equal = bool((lengths == lengths[0]).all())
            rows = torch.from_numpy(src).to(self.device, non_blocking=True)
            _, (h, c) = self.model.encoder(rows, None, None if equal else torch.from_numpy(lengths))
            count, width = len(sources), 1
            words = torch.full((count,), SOS_ID, device=self.device)
            scores, first = torch.zeros(count, 1, device=self.device), torch.arange(count, device=self.device)[:, None]
            parents, found = [], []
            for _ in range(steps):
                log_probs, h, c = self.step(words, h, c)
                totals = scores[:, :, None] + log_probs.view(count, width, -1)
                scores, best = totals.flatten(1).topk(beam_size)
                parents.append(best // totals.shape[2])
                found.append(best % totals.shape[2])
                words = found[-1].flatten()
                if beam_size > 1:
                    rows = (parents[-1] + first * width).flatten()
                    h, c, width = h[:, rows], c[:, rows], beam_size
            return best_words(torch.stack(parents).cpu().numpy(), torch.stack(found).cpu().numpy())

    def _layers(self, words: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[Any, Any, Any]:
        """log p (rows,V) and the next state, through nn.LSTM."""
        outputs, (h, c) = self.model.decoder(words[None], (h, c))
        return self.model.decoder.fc_out(outputs[0]).float().log_softmax(1), h, c

    def _cells(self, words: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[Any, Any, Any]:
        """The same from plain products, which torch.compile takes whole."""
        x, (h, c) = lstm_cells(self.model.decoder.rnn, self.model.decoder.embedding(words), (h, c))
        return self.model.decoder.fc_out(x).float().log_softmax(1), h, c


def lstm_cells(rnn: nn.LSTM, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
    """A step of nn.LSTM from plain products: x (rows,E), h and c (L,rows,H) -> the last layer's h, the next h and c."""
    next_h, next_c = [], []
    for (w_ih, w_hh, b_ih, b_hh), h, c in zip(rnn.all_weights, *state, strict=True):
        gates = nn.functional.linear(x, w_ih, b_ih) + nn.functional.linear(h, w_hh, b_hh)
        i, f, g, o = gates.chunk(4, 1)
        next_c.append(f.sigmoid() * c + i.sigmoid() * g.tanh())
        x = o.sigmoid() * next_c[-1].tanh()
        next_h.append(x)
    return x, (torch.stack(next_h), torch.stack(next_c))
