"""PyTorch's own layers of a Transformer as a model, for the class `Transformer` of `pytorch.py`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class TransformerHalf(nn.Module):
    """Embedding, positions, dropout, layers and a last normalisation."""

    fc_out: nn.Linear  # the decoder's

    def __init__(self, layer: Any, vocab_size: int, task: Any) -> None:
        super().__init__()
        E, self.scale = task.hidden_size, task.hidden_size**0.5
        self.embedding, self.dropout = nn.Embedding(vocab_size, E), nn.Dropout(task.dropout)
        options = {"activation": "gelu", "batch_first": True, "norm_first": True}
        stack = [layer(E, task.num_heads, task.ffn_size, task.dropout, **options) for _ in range(task.num_layers)]
        self.layers, self.norm = nn.ModuleList(stack), nn.LayerNorm(E)
        angles = torch.arange(1024)[:, None] / 10_000 ** (torch.arange(0, E, 2) / E)
        table = torch.stack([angles.sin(), angles.cos()], 2).reshape(1024, E)
        self.register_buffer("table", table, persistent=False)

    def forward(self, words: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        """words (N,T) -> (N,T,E); the rest goes to every layer."""
        x = self.dropout(self.embedding(words) * self.scale + self.table[: words.shape[1]])
        for layer in self.layers:
            x = layer(x, *arguments, **named)
        return self.norm(x)


class TransformerModel(nn.Module):
    """The parameter names of ``TransformerTask``."""

    def __init__(self, task: Any) -> None:
        super().__init__()
        self.encoder = TransformerHalf(nn.TransformerEncoderLayer, task.vocab_sizes[0], task)
        self.decoder = TransformerHalf(nn.TransformerDecoderLayer, task.vocab_sizes[1], task)
        self.decoder.fc_out = nn.Linear(task.hidden_size, task.vocab_sizes[1])

    def forward(self, src: torch.Tensor, trg_input: torch.Tensor, padding: Any, causal: torch.Tensor) -> torch.Tensor:
        memory = self.encoder(src, src_key_padding_mask=padding)
        masks = {"tgt_mask": causal, "tgt_is_causal": True, "memory_key_padding_mask": padding}
        return self.decoder(trg_input, memory, **masks)
