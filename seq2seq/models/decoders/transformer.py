"""The decoder of a Transformer (Vaswani et al., "Attention is all you need", 2017): every position reads those before
it, and the encoder's outputs.

Where all tokens are given, all steps are computed at once. A step alone keeps the keys and values of those before it
(the cache), and of the encoder's outputs, which are projected once for each source.
T steps so far, N rows, S source positions, E features, D heads, R and P rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigrad import Tensor, cat, nn, zeros
from minigrad.nn.layout import Layout
from minigrad.nn.utils.rnn import PackedSequence, pack_padded_sequence
from seq2seq.models.contract import Decoder, Memory, MemoryShape, Reads, State
from seq2seq.models.inputs import Inputs
from seq2seq.models.options import TransformerOptions
from seq2seq.models.transformer import TransformerHalf, steps_of
from seq2seq.run.registry import register

Array = np.ndarray


class Cache(NamedTuple):
    """What one layer attends to."""

    keys: Tensor  # (T, N, E), of the steps so far
    values: Tensor  # (T, N, E)
    memory_keys: Tensor  # (S, N, E), of the source
    memory_values: Tensor  # (S, N, E)


@register("decoder", "transformer")
class TransformerDecoder(TransformerHalf, Decoder):
    """Embedding, positions, layers and output layer.

    Its state is the alignment of the last step (N, S), and the four tensors of a ``Cache`` for each layer.
    """

    reads = Reads(states=0, outputs=True)

    def __init__(self, options: TransformerOptions, vocab_size: int, memory: MemoryShape) -> None:
        super().__init__(nn.TransformerDecoderLayer, options, Inputs(vocab_size))
        fits = memory.output_size == self.size
        self.bridge: nn.Module = nn.Identity() if fits else nn.Linear(memory.output_size, self.size)
        self.fc_out = nn.Linear(self.size, vocab_size)

    def start(self, memory: Memory) -> State:
        assert memory.outputs is not None  # they are read, and so they are there
        packed = pack_padded_sequence(memory.outputs, memory.lengths, enforce_sorted=False)
        rows, layout = self.bridge(packed.data), Layout.of(packed)
        made: dict[str, Any] = {"dtype": rows.dtype, "device": rows.device}
        nothing = zeros(0, layout.batch_size, self.size, **made)
        state = [zeros(layout.batch_size, layout.num_steps, **made)]
        for layer in self.layers:
            state += [nothing, nothing, *layout.pad(layer.multihead_attn.project_memory(rows), 2)]
        return tuple(state)

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """tokens (N,) int64 -> features (N, E), the next state."""
        caches = _caches(state)
        x = self.embed(tokens, np.array([len(caches[0].keys)]))
        next_state: list[Tensor] = []
        for layer, cache in zip(self.layers, caches, strict=True):
            step = _Step(layer, cache, memory.lengths)
            x = layer.run(x, step.attend_to_steps, step.attend_to_memory)
            next_state += step.cache
        return self.norm(x), (step.alignment, *next_state)

    def sequence(self, tokens: PackedSequence, state: State, memory: Memory, own: Array) -> Tensor:
        """All steps at once where every token is given."""
        if own.any():
            return super().sequence(tokens, state, memory, own)
        layout = Layout.of(tokens)
        x = self.embed(tokens.data, steps_of(tokens))
        for layer, cache in zip(self.layers, _caches(state), strict=True):
            steps = _Steps(layer, cache, memory.lengths, layout)
            x = layer.run(x, steps.attend_to_steps, steps.attend_to_memory)
        return self.norm(x)

    def alignment(self, state: State) -> Tensor:
        """Of the last layer, the mean over its heads."""
        return state[0]


def _caches(state: State) -> list[Cache]:
    return [Cache(*state[first : first + 4]) for first in range(1, len(state), 4)]


class _Step:
    """What a layer attends to in one step: rows are (N, E)."""

    def __init__(self, layer: Any, cache: Cache, lengths: Array | None) -> None:
        self._layer, self._lengths, self.cache = layer, lengths, cache

    def attend_to_steps(self, x: Tensor) -> Tensor:
        """Those before and this one, which joins the cache."""
        attention, cache = self._layer.self_attn, self.cache
        query, key, value = (part.unsqueeze(0) for part in attention.project(x).chunk(3, -1))
        self.cache = cache._replace(keys=cat([cache.keys, key]), values=cat([cache.values, value]))
        context, _ = attention.attend(query, self.cache.keys, self.cache.values)
        return attention.out_proj(context[0])

    def attend_to_memory(self, x: Tensor) -> Tensor:
        """The source; ``alignment`` (N, S) is how much to which position."""
        attention, cache = self._layer.multihead_attn, self.cache
        query = attention.project_query(x).unsqueeze(0)
        context, weights = attention.attend(query, cache.memory_keys, cache.memory_values, self._lengths)
        self.alignment = weights.mean(1)[:, 0]
        return attention.out_proj(context[0])


class _Steps:
    """What a layer attends to in all steps at once: rows are packed, (P, E)."""

    def __init__(self, layer: Any, cache: Cache, lengths: Array | None, layout: Layout) -> None:
        self._layer, self._cache, self._lengths, self._layout = layer, cache, lengths, layout

    def attend_to_steps(self, x: Tensor) -> Tensor:
        """Each step those before and itself."""
        attention = self._layer.self_attn
        context, _ = attention.attend(*self._layout.pad(attention.project(x), 3), is_causal=True)
        return attention.out_proj(self._layout.pack(context))

    def attend_to_memory(self, x: Tensor) -> Tensor:
        """The source."""
        attention, cache = self._layer.multihead_attn, self._cache
        (query,) = self._layout.pad(attention.project_query(x))
        context, _ = attention.attend(query, cache.memory_keys, cache.memory_values, self._lengths)
        return attention.out_proj(self._layout.pack(context))
