"""Search with a recurrent decoder, without a step in Python: modules in, words out.

The searches themselves, and what their results are, stand in ``kernels.greedy_decode`` and ``kernels.beam_decode``.
Nothing here is on the tape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import kernels
from minigrad.nn.layers import Embedding, Linear
from minigrad.nn.recurrent import LSTM
from minigrad.tensor import Tensor

Array = np.ndarray


class PackedDecoder:
    """Embedding, LSTM and output layer, their weights packed for searching.

    They are packed at the first search and again when a parameter has changed, by an optimiser or any op, or may have,
    since its ``data`` or ``numpy()`` was asked for; what is written straight into a parameter's ``array``, or later
    into memory asked for before, goes unnoticed, as it does for the tape. No parameter's memory is held.

    Args:
        embedding: of the words, (V, E).
        rnn: unidirectional, from E to H.
        output: from H to V.
        bf16: keep the matrices in bfloat16, half as large and faster; sums and states stay in float32. Nothing changes
            in float64.

    Raises:
        ValueError: modules that do not fit each other.
    """

    def __init__(self, embedding: Embedding, rnn: LSTM, output: Linear, bf16: bool = False) -> None:
        if rnn.bidirectional:
            raise ValueError("PackedDecoder: rnn is bidirectional; expected one direction")
        sizes = {
            "rnn.input_size": (rnn.input_size, embedding.embedding_dim, "embedding_dim"),
            "output.in_features": (output.in_features, rnn.hidden_size, "rnn.hidden_size"),
            "output.out_features": (output.out_features, embedding.num_embeddings, "num_embeddings"),
        }
        for name, (got, expected, source) in sizes.items():
            if got != expected:
                raise ValueError(f"PackedDecoder: {name} is {got}; expected {source} = {expected}")
        self._embedding, self._rnn, self._output, self._bf16 = embedding, rnn, output, bf16
        self._kept: tuple[Any, Any] = (None, None)  # the parameters' versions, and what was packed then

    def greedy(
        self, state: tuple[Tensor, Tensor], start: int, end: int, excluded: Sequence[int], max_length: int
    ) -> tuple[Array, Array, Array]:
        """``state`` is (h, c), (L,N,H) each -> words (N,max_length), lengths and log_probs (N,)."""
        h, c = (part.array for part in state)
        return kernels.greedy_decode(self._weights(), h, c, start, end, _ids(excluded), max_length)

    def beam(
        self, state: tuple[Tensor, Tensor], start: int, end: int, excluded: Sequence[int], max_length: int,
        beam_size: int, length_penalty: float = 1.0, n_best: int = 1,
    ) -> tuple[Array, Array, Array, Array, Array]:  # fmt: skip
        """``state`` as above -> words (N,n_best,max_length), lengths, log_probs, scores (N,n_best), counts (N,)."""
        h, c = (part.array for part in state)
        return kernels.beam_decode(
            self._weights(), h, c, start, end, _ids(excluded), max_length, beam_size, length_penalty, n_best
        )

    def _weights(self) -> Any:
        versions = [parameter.version for parameter in self._parameters()]
        key = [(version, version.value, version.handed_out) for version in versions]
        kept_key, packed = self._kept
        if key != kept_key:
            del packed
            self._kept = (None, None)  # never two copies at once
            packed = self._pack()
            self._kept = (key, packed)
        return packed

    def _parameters(self) -> Iterator[Tensor]:
        for module in (self._embedding, self._rnn, self._output):
            yield from module.parameters()

    def _pack(self) -> Any:
        embedding, output_weight = self._embedding.weight.array, self._output.weight.array
        layers = range(self._rnn.num_layers)
        weights_ih, weights_hh = (
            [getattr(self._rnn, f"{name}_l{layer}").array for layer in layers] for name in ("weight_ih", "weight_hh")
        )
        biases = [self._layer_bias(layer) for layer in layers]
        bias = self._output.bias
        output_bias = np.zeros(len(output_weight), output_weight.dtype) if bias is None else bias.array
        return kernels.pack_decoder(
            embedding, weights_ih, weights_hh, biases, output_weight, output_bias, self._bf16
        )  # fmt: skip

    def _layer_bias(self, layer: int) -> Array:
        if not self._rnn.bias:
            weight = getattr(self._rnn, f"weight_hh_l{layer}")
            return np.zeros(weight.shape[0], weight.dtype)
        return getattr(self._rnn, f"bias_ih_l{layer}").array + getattr(self._rnn, f"bias_hh_l{layer}").array


def _ids(words: Sequence[int]) -> Array:
    return np.array(words, np.int64)
