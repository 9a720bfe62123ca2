"""Search with a recurrent decoder, without a step in Python, and the states it starts from: modules in, words out.

The searches themselves, and what their results are, stand in ``kernels.greedy_decode`` and ``kernels.beam_decode``.
Nothing here is on the tape. Words go in and come out as NumPy arrays, also where the modules are on a GPU.

Weights are packed at the first call and again when a parameter has changed, by an optimiser or any op, or may have,
since its ``data`` or ``numpy()`` was asked for; what is written straight into a parameter's ``array``, or later into
memory asked for before, goes unnoticed, as it does for the tape. No parameter's memory is held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import kernels
from kernels import AttentiveState, AttentiveWeights
from kernels import best_extensions as best_extensions
from kernels.packing import equal_lengths, pack_lengths
from minigrad.grad_mode import no_grad
from minigrad.nn.layers import Embedding, Linear
from minigrad.nn.module import Module
from minigrad.nn.recurrent import LSTM
from minigrad.ops.common import constant
from minigrad.tensor import Tensor

Array = np.ndarray


class _Packed:
    """Weights of some modules, packed for as long as their parameters stay the same."""

    def __init__(self, *modules: Module) -> None:
        self._modules = modules
        self._kept: tuple[Any, Any] = (None, None)  # the parameters' versions, and what was packed then

    def _pack(self) -> Any:
        raise NotImplementedError

    def _weights(self) -> Any:
        versions = [parameter.version for module in self._modules for parameter in module.parameters()]
        key = [(version, version.value, version.exposed) for version in versions]
        kept_key, packed = self._kept
        if key != kept_key:
            del packed
            self._kept = (None, None)  # never two copies at once
            packed = self._pack()
            self._kept = (key, packed)
        return packed


class PackedEncoder(_Packed):
    """Embedding and LSTM, its weights packed for states without a backward.

    Args:
        embedding: of the words, (V, E).
        rnn: unidirectional, from E to H; its dropout is left out.
        bf16: as for ``PackedDecoder``.

    Raises:
        ValueError: modules that do not fit each other.
    """

    def __init__(self, embedding: Embedding, rnn: LSTM, bf16: bool = False) -> None:
        _check_fit("PackedEncoder", embedding, rnn)
        super().__init__(rnn)
        self._embedding, self._rnn, self._bf16 = embedding, rnn, bf16

    @no_grad()
    def states(self, words: Array, lengths: Array | None = None) -> tuple[Tensor, Tensor]:
        """``words`` (T,N) int64, ``lengths`` (N,) -> (h, c) after each sentence's last word, (L,N,H) each.

        They are those of the modules in evaluation, to the bit.
        """
        packing = equal_lengths(*words.shape) if lengths is None else pack_lengths(lengths)
        rows = words.reshape(-1)[slice(packing.num_tokens) if packing.rows is None else packing.rows]
        x = self._embedding(constant(rows, self._embedding.weight)).array
        zero = np.zeros((packing.batch_size, self._rnn.hidden_size), x.dtype, like=x)
        finals = []
        for weights in self._weights():
            x, *final = kernels.lstm_states(x, zero, zero, weights, packing)
            finals.append(final)
        h, c = (Tensor(np.stack(part)) for part in zip(*finals, strict=True))
        return h, c

    def _pack(self) -> list[Any]:
        return [
            kernels.prepack_lstm(*_matrices(self._rnn, layer), _bias(self._rnn, layer), self._bf16)
            for layer in range(self._rnn.num_layers)
        ]


class PackedDecoder(_Packed):
    """Embedding, LSTM and output layer, their weights packed for searching.

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
        _check_fit("PackedDecoder", embedding, rnn, output)
        super().__init__(embedding, rnn, output)
        self._embedding, self._rnn, self._output, self._bf16 = embedding, rnn, output, bf16

    def greedy(
        self, state: tuple[Tensor, Tensor], start: int, end: int, excluded: Sequence[int], max_length: int
    ) -> tuple[Array, Array, Array]:
        """``state`` is (h, c), (L,N,H) each -> words (N,max_length), lengths and log_probs (N,)."""
        h, c = (part.array for part in state)
        found = kernels.greedy_decode(self._weights(), h, c, start, end, _ids(excluded), max_length)
        words, lengths, log_probs = map(kernels.to_host, found)
        return words, lengths, log_probs

    def beam(
        self, state: tuple[Tensor, Tensor], start: int, end: int, excluded: Sequence[int], max_length: int,
        beam_size: int, length_penalty: float = 1.0, n_best: int = 1,
    ) -> tuple[Array, Array, Array, Array, Array]:  # fmt: skip
        """``state`` as above -> words (N,n_best,max_length), lengths, log_probs, scores (N,n_best), counts (N,)."""
        h, c = (part.array for part in state)
        found = kernels.beam_decode(
            self._weights(), h, c, start, end, _ids(excluded), max_length, beam_size, length_penalty, n_best
        )
        words, lengths, log_probs, scores, counts = map(kernels.to_host, found)
        return words, lengths, log_probs, scores, counts

    def _pack(self) -> Any:
        embedding, output_weight = self._embedding.weight.array, self._output.weight.array
        layers = range(self._rnn.num_layers)
        weights_ih, weights_hh = zip(*(_matrices(self._rnn, layer) for layer in layers), strict=True)
        biases = [_bias(self._rnn, layer) for layer in layers]
        bias = self._output.bias
        output_bias = np.zeros_like(output_weight[:, 0], order="C") if bias is None else bias.array
        return kernels.prepack_decoder(
            embedding, weights_ih, weights_hh, biases, output_weight, output_bias, self._bf16
        )  # fmt: skip


class PackedLinear(_Packed):
    """A linear layer for search. A row has the same bits whatever rows are beside it, few or many.

    Args:
        linear: whose weights are packed.
        bf16: as for ``PackedDecoder``.
    """

    def __init__(self, linear: Linear, bf16: bool = False) -> None:
        super().__init__(linear)
        self._linear, self._bf16 = linear, bf16

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        return Tensor(kernels.linear_prepacked(x.array, self._weights()))

    def _pack(self) -> Any:
        bias = self._linear.bias
        return kernels.prepack_linear(self._linear.weight.array, None if bias is None else bias.array, self._bf16)


class PackedLSTM(_Packed):
    """The layers of an LSTM, a step at a time.

    Args:
        rnn: unidirectional; its dropout is left out.
        bf16: as for ``PackedDecoder``.
    """

    def __init__(self, rnn: LSTM, bf16: bool = False) -> None:
        super().__init__(rnn)
        self._rnn, self._bf16 = rnn, bf16

    def __call__(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x (N, I), h and c (L, N, H) -> h of the last layer (N, H), the next h and c."""
        y, finals, packing = x.array, [], equal_lengths(1, len(x))
        for layer, weights in enumerate(self._weights()):
            y, *final = kernels.lstm_states(y, state[0].array[layer], state[1].array[layer], weights, packing)
            finals.append(final)
        h, c = (Tensor(np.stack(part)) for part in zip(*finals, strict=True))
        return Tensor(y), (h, c)

    def _pack(self) -> list[Any]:
        return [
            kernels.prepack_lstm(*_matrices(self._rnn, layer), _bias(self._rnn, layer), self._bf16)
            for layer in range(self._rnn.num_layers)
        ]


class PackedAttentive(_Packed):
    """The layer of ``minigrad.attentive_layer``, a step at a time.

    Args:
        modules: that hold its parameters.
        weights: gives them: weight_ih (G, I+D), weight_hh, both biases, and those of the score or None:
            weight_query, v, coverage_weight.
        cell, scale: as of the layer.
        input_size: I.
        bf16: as for ``PackedDecoder``.
    """

    def __init__(
        self, modules: Sequence[Module], weights: Callable[[], Sequence[Tensor | None]], cell: str, scale: float,
        input_size: int, bf16: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(*modules)
        self._arrays, self._cell, self._scale, self._size, self._bf16 = weights, cell, scale, input_size, bf16

    def __call__(
        self, x: Tensor, state: AttentiveState, keys: Tensor, values: Tensor, lengths: Array
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """x (N, I), the state's Tensors -> y (N, H), context (N, D), alignment (N, S), and the parts of the next state
        that there are."""
        given = AttentiveState(*(None if part is None else part.array for part in state))
        y, context, alignment, last = kernels.attentive_states(
            x.array, given, self._weights(), keys.array, values.array, lengths, equal_lengths(1, len(x)), self._scale
        )
        return Tensor(y), Tensor(context), Tensor(alignment), [Tensor(part) for part in last if part is not None]

    def _pack(self) -> Any:
        weight_ih, *others = (None if part is None else part.array for part in self._arrays())
        assert weight_ih is not None
        parts: Any = weight_ih[:, : self._size], weight_ih[:, self._size :], *others
        return kernels.prepack_attentive(AttentiveWeights(*parts), self._cell, self._bf16)


def _check_fit(name: str, embedding: Embedding, rnn: LSTM, output: Linear | None = None) -> None:
    """ValueError unless the modules' sizes are those of one model."""
    if rnn.bidirectional:
        raise ValueError(f"{name}: rnn is bidirectional; expected one direction")
    sizes = {"rnn.input_size": (rnn.input_size, embedding.embedding_dim, "embedding_dim")}
    if output is not None:
        sizes["output.in_features"] = (output.in_features, rnn.hidden_size, "rnn.hidden_size")
        sizes["output.out_features"] = (output.out_features, embedding.num_embeddings, "num_embeddings")
    for size, (got, expected, source) in sizes.items():
        if got != expected:
            raise ValueError(f"{name}: {size} is {got}; expected {source} = {expected}")


def _matrices(rnn: LSTM, layer: int) -> tuple[Array, Array]:
    """weight_ih and weight_hh of a layer."""
    return getattr(rnn, f"weight_ih_l{layer}").array, getattr(rnn, f"weight_hh_l{layer}").array


def _bias(rnn: LSTM, layer: int) -> Array:
    """The sum of a layer's biases."""
    if not rnn.bias:
        return np.zeros_like(getattr(rnn, f"weight_hh_l{layer}").array[:, 0], order="C")
    return getattr(rnn, f"bias_ih_l{layer}").array + getattr(rnn, f"bias_hh_l{layer}").array


def _ids(words: Sequence[int]) -> Array:
    return np.array(words, np.int64)
