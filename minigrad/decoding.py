"""Search with a recurrent decoder, without a step in Python, and the states it starts from: modules in, words out.

The searches themselves, and what their results are, stand in ``kernels.greedy_decode`` and ``kernels.beam_decode``.
Nothing here is on the tape. Words go in and come out as NumPy arrays, also where the modules are on a GPU.

Weights are packed at the first call and again when a parameter has changed, by an optimiser or any op, or may have,
since its ``data`` or ``numpy()`` was asked for; what is written straight into a parameter's ``array``, or later into
memory asked for before, goes unnoticed, as it does for the tape. No parameter's memory is held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import kernels
from kernels import AttentiveState, AttentiveWeights
from kernels import DecoderReading as DecoderReading
from kernels import SearchState as SearchState
from kernels import best_extensions as best_extensions
from kernels.forms import int8_rows as int8_rows
from kernels.packing import Packing, equal_lengths, pack_lengths
from minigrad.grad_mode import no_grad
from minigrad.lazy import numbers_of
from minigrad.nn.layers import Embedding, Linear
from minigrad.nn.module import Module
from minigrad.nn.recurrent import GRU, LSTM
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
    """Embedding and LSTM or GRU, its weights packed for runs without a backward.

    Args:
        embedding: of the words, (V, E).
        rnn: from E to H, in D directions; its dropout is left out.
        bf16: products in bfloat16; sums and states stay in float32.

    Raises:
        ValueError: modules that do not fit each other.
    """

    def __init__(self, embedding: Embedding, rnn: LSTM | GRU, bf16: bool = False) -> None:
        _check_sizes("PackedEncoder", embedding, rnn)
        super().__init__(rnn)
        self._embedding, self._rnn, self._bf16 = embedding, rnn, bf16

    def states(self, words: Array, lengths: Array | None = None) -> tuple[Tensor, ...]:
        """The states of ``run`` alone."""
        _, states, _ = self._run(words, lengths)
        return states

    def run(self, words: Array, lengths: Array | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """``words`` (T,N) int64, ``lengths`` (N,) -> outputs (T,N,D*H), 0 past the ends, and h, of an LSTM h and c,
        after each sentence's last word, (L*D,N,H) each.

        They are those of the modules in evaluation, to the bit.
        """
        rows, states, packing = self._run(words, lengths)
        if packing.rows is None:
            return Tensor(rows.reshape(*words.shape, -1)), states
        outputs = np.zeros((words.size, rows.shape[1]), rows.dtype, like=rows)
        outputs[packing.rows] = rows
        return Tensor(outputs.reshape(*words.shape, -1)), states

    @no_grad()
    def _run(self, words: Array, lengths: Array | None) -> tuple[Array, tuple[Tensor, ...], Packing]:
        """Packed outputs, the last states, and how the tokens are packed."""
        packings = _packings(words.shape, lengths, self._rnn.bidirectional)
        rows = words.reshape(-1)[slice(packings[0].num_tokens) if packings[0].rows is None else packings[0].rows]
        x = self._embedding(constant(rows, self._embedding.weight)).array
        zero = np.zeros((words.shape[1], self._rnn.hidden_size), x.dtype, like=x)
        finals = []
        for layer in self._weights():
            outputs = []
            for weights, packing in zip(layer, packings, strict=True):
                if isinstance(self._rnn, LSTM):
                    y, *final = kernels.lstm_states(x, zero, zero, weights, packing)
                else:
                    y, *final = kernels.gru_states(x, zero, weights, packing)
                outputs.append(y)
                finals.append(final)
            x = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=1)
        return x, tuple(Tensor(np.stack(part)) for part in zip(*finals, strict=True)), packings[0]

    def _pack(self) -> list[list[Any]]:
        """For each layer those of its directions."""
        ends = ["", "_reverse"] if self._rnn.bidirectional else [""]
        return [[self._packed(layer, end) for end in ends] for layer in range(self._rnn.num_layers)]

    def _packed(self, layer: int, end: str) -> Any:
        rnn, matrices = self._rnn, _matrices(self._rnn, layer, end)
        if isinstance(rnn, LSTM):
            return kernels.prepack_lstm(*matrices, _bias(rnn, layer, end), self._bf16)
        biases = [getattr(rnn, f"{bias}_l{layer}{end}").array if rnn.bias else None for bias in ("bias_ih", "bias_hh")]
        return kernels.prepack_gru(*matrices, biases[0], biases[1], self._bf16)


def _packings(shape: tuple[int, ...], lengths: Array | None, both: bool) -> list[Packing]:
    """Of words of this shape (T, N), forwards and where it is asked for backwards."""
    if lengths is None:
        lengths = np.full(shape[1], shape[0])
    return [pack_lengths(lengths, reverse) for reverse in ((False, True) if both else (False,))]


class PackedDecoder(_Packed):
    """Embedding, LSTM and output layer, their weights packed for searching.

    Args:
        embedding: of the words, (V, E).
        rnn: unidirectional, from E to H.
        output: from H to V.
        form: of the matrices: "full"; "bf16", half as large; "f16", as large as that, or "int8" with a scale for each
            row, a quarter as large. Sums and states stay in float32. Nothing changes in float64.

    Raises:
        ValueError: modules that do not fit each other.
    """

    def __init__(self, embedding: Embedding, rnn: LSTM, output: Linear, form: str = "full") -> None:
        _check_fit("PackedDecoder", embedding, rnn, output)
        super().__init__(embedding, rnn, output)
        self._embedding, self._rnn, self._output, self._form = embedding, rnn, output, form

    def greedy(
        self, state: tuple[Tensor, Tensor], start: int, end: int, excluded: Sequence[int], max_length: int
    ) -> tuple[Array, Array, Array]:
        """``state`` is (h, c), (L,N,H) each -> words (N,max_length), lengths and log_probs (N,)."""
        h, c = (part.array for part in state)
        return _on_host(kernels.greedy_decode(self._weights(), h, c, start, end, _ids(excluded), max_length))

    def beam(
        self, state: tuple[Tensor, Tensor], start: int, end: int, excluded: Sequence[int], max_length: int,
        beam_size: int, length_penalty: float = 1.0, n_best: int = 1,
    ) -> tuple[Array, Array, Array, Array, Array]:  # fmt: skip
        """``state`` as above -> words (N,n_best,max_length), lengths, log_probs, scores (N,n_best), counts (N,)."""
        h, c = (part.array for part in state)
        options = max_length, beam_size, length_penalty, n_best
        return _on_host(kernels.beam_decode(self._weights(), h, c, start, end, _ids(excluded), *options))

    def _pack(self) -> Any:
        embedding, output_weight = numbers_of(self._embedding.weight), numbers_of(self._output.weight)
        layers = range(self._rnn.num_layers)
        weights_ih, weights_hh = zip(*(_matrices(self._rnn, layer) for layer in layers), strict=True)
        biases = [_bias(self._rnn, layer) for layer in layers]
        bias = self._output.bias
        output_bias = np.zeros_like(output_weight[:, 0], order="C") if bias is None else bias.array
        return kernels.prepack_decoder(
            embedding, weights_ih, weights_hh, biases, output_weight, output_bias, self._form
        )  # fmt: skip


class AttentiveSearchState(NamedTuple):
    """What a search with attention starts from."""

    state: SearchState  # of Tensors
    lengths: Array  # (N,) int64, the positions of each memory


class PackedAttentiveDecoder(_Packed):
    """A recurrent decoder that attends, its weights packed for searching; see ``kernels.prepack_attentive_decoder``.

    Args:
        modules: that hold its parameters.
        embedding: of the words, (V, E).
        layers: gives weight_ih, weight_hh and both biases of each layer, of LSTMs or of GRUs in PyTorch's form.
        reading: gives how it attends, in Tensors.
        output: from H to V.
        form: as for ``PackedDecoder``.
    """

    def __init__(
        self, modules: Sequence[Module], embedding: Embedding, layers: Callable[[], Sequence[Sequence[Tensor]]],
        reading: Callable[[], DecoderReading], output: Linear, form: str = "full",
    ) -> None:  # fmt: skip
        super().__init__(*modules)
        self._embedding, self._layers, self._reading = embedding, layers, reading
        self._output, self._form = output, form

    def greedy(
        self, start_state: AttentiveSearchState, start: int, end: int, excluded: Sequence[int], max_length: int
    ) -> tuple[Array, Array, Array]:
        """Words (N,max_length), lengths and log_probs (N,)."""
        state = _arrays_of(start_state.state), start_state.lengths
        return _on_host(
            kernels.attentive_greedy_decode(self._weights(), *state, start, end, _ids(excluded), max_length)
        )

    def beam(
        self, start_state: AttentiveSearchState, start: int, end: int, excluded: Sequence[int], max_length: int,
        beam_size: int, length_penalty: float = 1.0, n_best: int = 1,
    ) -> tuple[Array, Array, Array, Array, Array]:  # fmt: skip
        """Words (N,n_best,max_length), lengths, log_probs, scores (N,n_best), counts (N,)."""
        state, asked = _arrays_of(start_state.state), (start_state.lengths, start, end, _ids(excluded))
        options = max_length, beam_size, length_penalty, n_best
        return _on_host(kernels.attentive_beam_decode(self._weights(), state, *asked, *options))

    def _pack(self) -> Any:
        layers = [[numbers_of(part) for part in layer] for layer in self._layers()]
        weights_ih, weights_hh = [layer[0] for layer in layers], [layer[1] for layer in layers]
        biases = [_searched_bias(*layer[1:]) for layer in layers]
        output_weight, bias = numbers_of(self._output.weight), self._output.bias
        output_bias = np.zeros_like(output_weight[:, 0], order="C") if bias is None else bias.array
        return kernels.prepack_attentive_decoder(
            numbers_of(self._embedding.weight), weights_ih, weights_hh, biases, output_weight, output_bias,
            _arrays_of(self._reading()), self._form,
        )  # fmt: skip


def _searched_bias(weight_hh: Array, of_x: Array, of_h: Array) -> Array:
    """Both biases of a layer as searches read them, (4H,): an LSTM's sum; of a GRU apart what its reset gate is for."""
    both, size = of_x + of_h, weight_hh.shape[1]
    return both if len(both) == 4 * size else np.concatenate([both[: 2 * size], of_x[2 * size :], of_h[2 * size :]])


def _arrays_of(record: Any) -> Any:
    """The same record with arrays in place of Tensors."""
    return record._make(numbers_of(part) if isinstance(part, Tensor) else part for part in record)


def _on_host(found: Sequence[Array]) -> Any:
    return tuple(map(kernels.to_host, found))


class PackedLinear(_Packed):
    """A linear layer for search. A row has the same bits whatever rows are beside it, few or many.

    Args:
        linear: whose weights are packed.
        bf16: products in bfloat16; sums and states stay in float32.
    """

    def __init__(self, linear: Linear, bf16: bool = False) -> None:
        super().__init__(linear)
        self._linear, self._bf16 = linear, bf16

    def __call__(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        y = kernels.linear_prepacked(x.array.reshape(-1, x.shape[-1]), self._weights())
        return Tensor(y.reshape(*x.shape[:-1], -1))

    def _pack(self) -> Any:
        bias = self._linear.bias
        return kernels.prepack_linear(self._linear.weight.array, None if bias is None else bias.array, self._bf16)


class PackedLSTM(_Packed):
    """The layers of an LSTM, a step at a time.

    Args:
        rnn: unidirectional; its dropout is left out.
        bf16: products in bfloat16; sums and states stay in float32.
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
        bf16: products in bfloat16; sums and states stay in float32.
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


def _check_fit(name: str, embedding: Embedding, rnn: LSTM, output: Linear) -> None:
    """ValueError unless the modules' sizes are those of one model with one direction."""
    if rnn.bidirectional:
        raise ValueError(f"{name}: rnn is bidirectional; expected one direction")
    _check_sizes(name, embedding, rnn, output)


def _check_sizes(name: str, embedding: Embedding, rnn: LSTM | GRU, output: Linear | None = None) -> None:
    sizes = {"rnn.input_size": (rnn.input_size, embedding.embedding_dim, "embedding_dim")}
    if output is not None:
        sizes["output.in_features"] = (output.in_features, rnn.hidden_size, "rnn.hidden_size")
        sizes["output.out_features"] = (output.out_features, embedding.num_embeddings, "num_embeddings")
    for size, (got, expected, source) in sizes.items():
        if got != expected:
            raise ValueError(f"{name}: {size} is {got}; expected {source} = {expected}")


def _matrices(rnn: LSTM | GRU, layer: int, end: str = "") -> tuple[Array, Array]:
    """weight_ih and weight_hh of a layer, in the direction whose names have this end."""
    weight_ih, weight_hh = (numbers_of(getattr(rnn, f"weight_{kind}_l{layer}{end}")) for kind in ("ih", "hh"))
    return weight_ih, weight_hh


def _bias(rnn: LSTM, layer: int, end: str = "") -> Array:
    """The sum of both biases."""
    if not rnn.bias:
        return np.zeros_like(_matrices(rnn, layer, end)[1][:, 0], order="C")
    return getattr(rnn, f"bias_ih_l{layer}{end}").array + getattr(rnn, f"bias_hh_l{layer}{end}").array


def _ids(words: Sequence[int]) -> Array:
    return np.array(words, np.int64)
