"""PyTorch's models with attention, with the parameter names of ours.

Without the context in the cell the decoder is one LSTM call, and all its states attend in two batched products. With it
there is a loop over steps; what does not wait for it (the products with inputs and keys) stands before it, the combined
features behind it. ``compiled`` puts a step through torch.compile.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from peers.attention import AttentionTask


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


class AttentionModel(nn.Module):
    """Encoder and decoder; ``forward`` gives the features of all steps."""

    def __init__(self, task: AttentionTask, compiled: bool) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(task), Decoder(task)
        self._drop = nn.Dropout(task.dropout)
        self._step = torch.compile(attentive_step, dynamic=True) if compiled else attentive_step

    def forward(self, src: Any, lengths: torch.Tensor, trg_input: Any, packed: bool) -> torch.Tensor:
        """src (S,N), lengths (N,), trg_input (T,N) -> (T,N,H); ``packed``: no state is of the padding."""
        rows = self._drop(self.encoder.embedding(src))
        if packed:
            rows = nn.utils.rnn.pack_padded_sequence(rows, lengths, enforce_sorted=False)
        outputs, state = self.encoder.rnn(rows)
        if packed:
            outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs)
        values = outputs.transpose(0, 1)
        past = torch.arange(values.shape[1], device=src.device) >= lengths.to(src.device)[:, None]
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
