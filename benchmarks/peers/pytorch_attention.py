"""PyTorch's models with attention, with the parameter names of ours.

Without the context in the cell the decoder is one LSTM call, and all its states attend in two batched products. With it
there is a loop over steps; what does not wait for it (the products with inputs and keys) stands before it, the combined
features behind it. ``compiled`` puts a step through torch.compile, in a search the whole of it, from plain products. In
a search keys are made once, and the rows of a source share its memory until beams part them.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import nn

from peers.attention import AttentionTask
from peers.problem import SOS_ID, best_words, padded_sources
from peers.pytorch import lstm_cells


class Attention(nn.Module):
    """The parameters of a score."""

    def __init__(self, size: int, additive: bool) -> None:
        super().__init__()
        self.query = nn.Linear(size, size, bias=False)
        if additive:
            self.key = nn.Linear(size, size)
            self.v = nn.Parameter(torch.empty(size))


class Decoder(nn.Module):
    """The parameters of a decoder."""

    def __init__(self, task: AttentionTask) -> None:
        super().__init__()
        size, layers, width = task.hidden_size, task.num_layers, task.embedding_size
        self.embedding = nn.Embedding(task.vocab_sizes[1], width)
        self.attention = Attention(size, task.decoder == "bahdanau")
        if task.decoder == "bahdanau":
            self.attentive = nn.LSTMCell(width + size, size)
            layers, width = layers - 1, 2 * size
        between = task.dropout if layers > 1 else 0.0
        self.rnn = nn.LSTM(width, size, layers, dropout=between) if layers else None
        self.combine = nn.Linear(2 * size, size)
        self.fc_out = nn.Linear(size, task.vocab_sizes[1])


class Encoder(nn.Module):
    """Embedding and LSTM."""

    def __init__(self, task: AttentionTask) -> None:
        super().__init__()
        self.embedding = nn.Embedding(task.vocab_sizes[0], task.embedding_size)
        between = task.dropout if task.num_layers > 1 else 0.0
        self.rnn = nn.LSTM(task.embedding_size, task.hidden_size, task.num_layers, dropout=between)


def attentive_step(
    given: torch.Tensor, state: Any, context: torch.Tensor, weights: Any, keys: torch.Tensor, values: torch.Tensor,
    past: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """One step: the input's part of the gates (N,4H), (h, c), the context read now -> h, c, the next context."""
    (h, c), (of_context, of_state, query, v) = state, weights
    gates = given + nn.functional.linear(context, of_context) + nn.functional.linear(h, of_state)
    i, f, g, o = gates.chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return h, c, additive(nn.functional.linear(h, query), v, keys, values, past)


def additive(
    query: torch.Tensor, v: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, past: torch.Tensor
) -> torch.Tensor:
    """Context (N,D) of queries (N,H) over keys (N,S,H) and values (N,S,D); past (N,S) masks the padding."""
    scores = torch.tanh(query[:, None] + keys) @ v
    alignment = scores.masked_fill(past, -torch.inf).softmax(1)
    return (alignment[:, None] @ values)[:, 0]


def lstm_layers(rnn: nn.LSTM, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
    """What ``lstm_cells`` gives, by nn.LSTM itself."""
    outputs, state = rnn(x[None], state)
    return outputs[0], state


class AttentionModel(nn.Module):
    """Encoder and decoder; ``forward`` gives the features of all steps."""

    def __init__(self, task: AttentionTask, compiled: bool) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(task), Decoder(task)
        self._drop = nn.Dropout(task.dropout)
        self._step = torch.compile(attentive_step, dynamic=True) if compiled else attentive_step
        self._layers = lstm_cells if compiled else lstm_layers
        self._compiled = compiled

    def encode(self, src: Any, lengths: torch.Tensor, packed: bool) -> tuple[Any, Any, Any]:
        """src (S,N), lengths (N,) -> values (N,S,H), the mask of their padding (N,S), and the last h and c."""
        rows = self._drop(self.encoder.embedding(src))
        if packed:
            rows = nn.utils.rnn.pack_padded_sequence(rows, lengths, enforce_sorted=False)
        outputs, state = self.encoder.rnn(rows)
        if packed:
            outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs)
        values = outputs.transpose(0, 1).contiguous()
        return values, torch.arange(values.shape[1], device=src.device) >= lengths.to(src.device)[:, None], state

    def forward(self, src: Any, lengths: torch.Tensor, trg_input: Any, packed: bool) -> torch.Tensor:
        """src (S,N), lengths (N,), trg_input (T,N) -> (T,N,H); ``packed``: no state is of the padding."""
        values, past, state = self.encode(src, lengths, packed)
        embedded = self._drop(self.decoder.embedding(trg_input))
        attend = self._loop if hasattr(self.decoder, "attentive") else self._whole
        top, context = attend(embedded, state, values, past)
        return torch.tanh(self.decoder.combine(torch.cat([context, top], 2)))

    def _whole(self, embedded: Any, state: Any, values: Any, past: Any) -> tuple[torch.Tensor, torch.Tensor]:
        top, _ = self.decoder.rnn(embedded, state)
        queries = self.decoder.attention.query(top).transpose(0, 1)
        scores = torch.bmm(queries, values.transpose(1, 2)).masked_fill(past[:, None], -torch.inf)
        return top, torch.bmm(scores.softmax(2).to(values.dtype), values).transpose(0, 1)

    def _loop(self, embedded: Any, state: Any, values: Any, past: Any) -> tuple[torch.Tensor, torch.Tensor]:
        cell, attention, width = self.decoder.attentive, self.decoder.attention, embedded.shape[2]
        keys, given = attention.key(values), nn.functional.linear(embedded, cell.weight_ih[:, :width], cell.bias_ih)
        given, (h, c) = given + cell.bias_hh, (part[0] for part in state)
        context = additive(attention.query(h), attention.v, keys, values, past)
        weights = cell.weight_ih[:, width:], cell.weight_hh, attention.query.weight, attention.v
        hidden, read = [], []
        for part in given:
            read.append(context)
            h, c, context = self._step(part, (h, c), context, weights, keys, values, past)
            hidden.append(h)
        top, contexts = torch.stack(hidden), torch.stack(read)
        if self.decoder.rnn is not None:
            others = tuple(part[1:].contiguous() for part in state)
            top, _ = self.decoder.rnn(self._drop(torch.cat([top, contexts], 2)), others)
        return top, contexts

    def start(self, values: Any, past: Any, state: Any) -> list[torch.Tensor]:
        """What a step needs, rows first: h and c (N,L,H), values, mask; where it is fed, the context and the keys."""
        h, c = (part.transpose(0, 1) for part in state)
        if not hasattr(self.decoder, "attentive"):
            return [h, c, values, past]
        attention = self.decoder.attention
        keys = attention.key(values)
        return [h, c, values, past, additive(attention.query(h[:, 0]), attention.v, keys, values, past), keys]

    @functools.cached_property  # of the copy that searches
    def search_step(self) -> Any:
        return torch.compile(self.step, dynamic=False) if self._compiled else self.step

    def step(self, words: torch.Tensor, parts: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The next words (N,) -> log p (N,V), the next parts."""
        decoder, x = self.decoder, self.decoder.embedding(words)
        h, c, values, past, *fed = parts
        states, others = (h.transpose(0, 1).contiguous(), c.transpose(0, 1).contiguous()), []
        if fed:
            context, keys = fed
            top, first = decoder.attentive(torch.cat([x, context], 1), (states[0][0], states[1][0]))
            others, x = [additive(decoder.attention.query(top), decoder.attention.v, keys, values, past), keys], top
            bottom, states = (top[None], first[None]), tuple(part[1:].contiguous() for part in states)
            if decoder.rnn is not None:
                x, states = self._layers(decoder.rnn, torch.cat([top, context], 1), states)
            states = tuple(torch.cat(pair) for pair in zip(bottom, states, strict=True))
        else:
            x, states = self._layers(decoder.rnn, x, states)
            scores = (values @ decoder.attention.query(x)[:, :, None])[:, :, 0].masked_fill(past, -torch.inf)
            context = (scores.softmax(1)[:, None] @ values)[:, 0]
        logits = decoder.fc_out(torch.tanh(decoder.combine(torch.cat([context, x], 1))))
        return logits.float().log_softmax(1), [*(part.transpose(0, 1) for part in states), values, past, *others]


def decode(model: AttentionModel, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
    """See ``problem.Peer``; all sentences and beams in one step."""
    with torch.inference_mode():
        src, lengths = padded_sources(sources)
        equal = bool((lengths == lengths[0]).all())
        parts = model.start(*model.encode(torch.from_numpy(src), torch.from_numpy(lengths), not equal))
        count, width = len(sources), 1
        words, scores = torch.full((count,), SOS_ID), torch.zeros(count, 1)
        parents, found, first = [], [], torch.arange(count)[:, None]
        for _ in range(steps):
            log_probs, parts = model.search_step(words, parts)
            totals = scores[:, :, None] + log_probs.view(count, width, -1)
            scores, best = totals.flatten(1).topk(beam_size)
            parents.append(best // totals.shape[2])
            found.append(best % totals.shape[2])
            words = found[-1].flatten()
            if beam_size > 1:
                rows = (parents[-1] + first * width).flatten()
                if width == 1:
                    parts = [part[rows] for part in parts]
                else:  # a memory is that of the rows beside it
                    h, c, values, past, *fed = parts
                    parts = [h[rows], c[rows], values, past, *(part[rows] for part in fed[:1]), *fed[1:]]
                width = beam_size
        return best_words(torch.stack(parents).numpy(), torch.stack(found).numpy())


def score(model: AttentionModel, sources: list[list[int]], outputs: list[list[int]]) -> float:
    """The mean over sentences of log p(output); outputs of one length."""
    with torch.inference_mode():
        src, lengths = padded_sources(sources)
        words = np.array(outputs, np.int64).T
        given = torch.from_numpy(np.concatenate([np.full((1, len(sources)), SOS_ID), words[:-1]]))
        features = model(torch.from_numpy(src), torch.from_numpy(lengths), given, True)
        log_probs = model.decoder.fc_out(features).log_softmax(-1)
        return float(log_probs.gather(2, torch.from_numpy(words)[:, :, None]).sum() / len(sources))
