"""A decoder of recurrent layers, packed for searches, and its step for all hypotheses that go on.

A step is: the embeddings, the layers (one product with [x; h], the gates behind it), and with attention what a layer
asks of the memory of its sentence. A row is a hypothesis; it finds the state that it continues by index: h is copied
next to the new x, c is read where it lies. Contexts that are fed lie between x and h, and what the output layer reads
is made in the place of one more layer: [context; h], and over h the features.

See `kernels.reference.decoding` for the equations, `kernels.cpu.decoding` for the searches.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kernels.attentive import DecoderReading
from kernels.cpu.activations import sigmoid, tanh
from kernels.cpu.attention import Memory, attend
from kernels.cpu.jit import jit
from kernels.cpu.lstm import lstm_cell
from kernels.cpu.panels import panel_columns, per_element
from kernels.cpu.product import dtype_of, slot_of
from kernels.cpu.rows import copy_numbers
from kernels.cpu.team import Matrix, Rows, Team, make_team, multiply, team_size
from kernels.cpu.weights import prepack_as

BLOCK = 64  # rows whose gates or logits are computed together, and used while they are in cache


class Reading(NamedTuple):
    """How a decoder attends."""

    layer: int  # whose h asks
    fed: int  # D where the first two layers read contexts, else 0
    before: bool  # a step reads what the one before it attended to
    has_cells: bool  # c of an LSTM
    bias: np.ndarray  # (H,) of the features
    v: np.ndarray  # (A,) of the additive score, or (0,) for products
    scale: float
    bf16: bool
    key_size: int  # A
    context_size: int  # D


class DecoderWeights(NamedTuple):
    """A decoder whose matrices lie in panels, behind each other: [weight_ih, weight_hh] of each layer, the output, and
    with attention that of the features and that of the query, which may be empty.

    Of a GRU that of a layer has a fourth block: n reads x in the third and h in the fourth one.
    """

    embedding: np.ndarray  # (V, E)
    panels: np.ndarray  # flat, called what the numbers are: see `Team`
    starts: np.ndarray  # where each matrix begins in panels, and the end
    bias: np.ndarray  # (L, 4H)
    output_bias: np.ndarray  # (V,)
    slot: int  # what the panels hold
    reading: Reading | None  # None of LSTMs without attention, for which nothing else is compiled

    @property
    def key_size(self) -> int:
        return self.reading.key_size if self.reading else 0

    @property
    def context_size(self) -> int:
        return self.reading.context_size if self.reading else 0

    @property
    def fed(self) -> int:
        return self.reading.fed if self.reading else 0

    @property
    def feeds(self) -> bool:
        return self.fed > 0

    @property
    def has_cells(self) -> bool:
        return self.reading is None or self.reading.has_cells


class States(NamedTuple):
    """Work space of one share for R rows. Of inputs and c there are two: before and after a step."""

    inputs: np.ndarray  # (2, L, R, . + H): [x; h] of each layer, x ending where h begins; L + 1 with attention
    c: np.ndarray  # (2, L, R, H) of an LSTM, else (2, L, R, 0)
    contexts: np.ndarray  # (2, R, D) what was attended to, or (2, R, 0)
    products: np.ndarray  # flat, for BLOCK rows of gates or of logits, filled up to whole panels
    exps: np.ndarray  # (V,)
    query: np.ndarray  # (A,)
    scratch: np.ndarray  # (A,)
    alignment: np.ndarray  # (S,)


class Hypotheses(NamedTuple):
    """The hypotheses going on, up to R of them. Row numbers change from step to step."""

    words: np.ndarray  # (R,) int64, the last word
    parents: np.ndarray  # (R,) int64, the row of the step before that is continued
    log_probs: np.ndarray  # (2, R) float64, before and after a step
    owner: np.ndarray  # (R,) int64, position of the sentence among those live
    sentences: np.ndarray  # (R,) int64, its number among all
    said: np.ndarray  # (T, R) int64, the words of each step
    back: np.ndarray  # (T, R) int64, the parents of each step


class Inputs(NamedTuple):
    """Rows first .. stop - 1 of the inputs of a layer, from a column on."""

    now: int
    layer: int
    first: int
    stop: int
    column: int


class Start(NamedTuple):
    """What sentences start from."""

    h: np.ndarray  # (L, N, H)
    c: np.ndarray  # (L, N, H), or (L, N, 0)
    context: np.ndarray  # (N, D), or (N, 0)
    memory: Memory | None  # None where nothing is attended to


def prepack_decoder(
    embedding: np.ndarray,
    weights_ih: Sequence[np.ndarray],
    weights_hh: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    output_weight: np.ndarray,
    output_bias: np.ndarray,
    form: str = "full",
) -> DecoderWeights:
    """See `kernels.prepack_decoder`."""
    stacked = [_stacked(*pair) for pair in zip(weights_ih, weights_hh, strict=True)]
    return _decoder(embedding, [*stacked, output_weight], np.stack(biases), output_bias, None, form)


def prepack_attentive_decoder(
    embedding: np.ndarray,
    weights_ih: Sequence[np.ndarray],
    weights_hh: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    output_weight: np.ndarray,
    output_bias: np.ndarray,
    reading: DecoderReading,
    form: str = "full",
) -> DecoderWeights:
    """See `kernels.prepack_attentive_decoder`."""
    combine, bias, query, v, scale, feeds, before = reading
    size, columns = combine.shape
    layer, depth = 0 if feeds else len(weights_ih) - 1, columns - size
    score = np.empty(0, embedding.dtype) if v is None else v.copy()
    key_size = size if query is None else len(query)
    has_cells, fed = len(weights_hh[0]) == 4 * size, feeds * depth
    how = Reading(layer, fed, before, has_cells, bias.copy(), score, float(scale), form == "bf16", key_size, depth)
    stacked = [_stacked(*pair) for pair in zip(weights_ih, weights_hh, strict=True)]
    asking = np.empty((0, size), embedding.dtype) if query is None else query
    matrices = [*stacked, output_weight, combine, asking]
    return _decoder(embedding, matrices, np.stack(biases), output_bias, how, form)


def _stacked(weight_ih: np.ndarray, weight_hh: np.ndarray) -> np.ndarray:
    """The matrix (4H, I + H) of a layer's product with [x; h]."""
    size = weight_hh.shape[1]
    both = np.concatenate([weight_ih, weight_hh], axis=1)
    if len(weight_hh) == 4 * size:
        return both
    of_x, of_h = both[2 * size :].copy(), both[2 * size :].copy()
    of_x[:, -size:], of_h[:, :-size] = 0, 0
    return np.concatenate([both[: 2 * size], of_x, of_h])


def _decoder(
    embedding: np.ndarray, matrices: Sequence[np.ndarray], bias: np.ndarray, output_bias: np.ndarray,
    reading: Reading | None, form: str,
) -> DecoderWeights:  # fmt: skip
    layers, size = len(bias), bias.shape[1] // 4
    begins = [matrix.shape[1] - size for matrix in matrices[:layers]] + [0] * (len(matrices) - layers)  # of h
    packed = [prepack_as(form, matrix, cut).panels for matrix, cut in zip(matrices, begins, strict=True)]
    panels, slot = [one.view(embedding.dtype) for one in packed], slot_of(packed[0])
    starts = np.cumsum([0, *map(len, panels)])
    return DecoderWeights(embedding.copy(), np.concatenate(panels), starts, bias, output_bias.copy(), slot, reading)


def make_shares(weights: DecoderWeights, start: Start, shares: int, rows: int) -> tuple[list[States], list[Team]]:
    """For each share work space for `rows` rows to a sentence, with the states of the sentences share, share + shares,
    ... in the first ones, and the team for its products. A single share has few rows: its matrices are shared out."""
    (layers, sentences, size), (_, _, cell_size) = start.h.shape, start.c.shape
    positions = 0 if start.memory is None else len(start.memory.keys)
    dtype, width = weights.embedding.dtype, panel_columns(weights.panels)
    (vocab_size, embedding_size), depth, key_size = weights.embedding.shape, weights.context_size, weights.key_size
    x_end = max(max(embedding_size, size) + weights.fed, depth)
    columns = max(4 * size, vocab_size, key_size)
    panels = weights.panels.view(dtype_of(weights.slot))
    large = int(np.diff(weights.starts[: layers + 2]).min()) * len(panels) // len(weights.panels)  # of the large ones
    members = team_size(large * per_element(panels)) if shares == 1 else 1
    states, teams = [], []
    for share in range(shares):
        count = len(range(share, sentences, shares))
        inputs = np.zeros((2, layers + (depth > 0), count * rows, x_end + size), dtype)
        c, contexts = (
            np.zeros((2, *shape), dtype) for shape in ((layers, count * rows, cell_size), (count * rows, depth))
        )
        inputs[0, :layers, :count, x_end:], c[0, :, :count] = start.h[:, share::shares], start.c[:, share::shares]
        contexts[0, :count] = start.context[share::shares]
        products = np.empty(min(BLOCK, count * rows) * (-(-columns // width) * width), dtype)
        work = [np.empty(length, dtype) for length in (vocab_size, key_size, key_size, positions)]
        states.append(States(inputs, c, contexts, products, *work))
        teams.append(make_team(inputs, panels, products, BLOCK, x_end + size, members))
    return states, teams


@jit
def advance(
    weights: Any, reading: Any, states: Any, team: Any, memory: Any, before: int, rows: Any, count: int
) -> None:
    """One step of all layers: row r gets words[r] after the state of row parents[r] in the buffers `before`.

    `reading` is that of the weights; where it and the memory are None, nothing that attends is compiled.
    """
    inputs, after, fed = states.inputs, 1 - before, 0
    layers, size, embedding_size = weights.bias.shape[0], weights.bias.shape[1] // 4, weights.embedding.shape[1]
    if reading is not None:
        fed = reading.fed
    x_end = inputs.shape[3] - size
    read_at = x_end - fed
    for row in range(count):
        parent = rows.parents[row]
        copy_numbers(weights.embedding[rows.words[row]], inputs[after, 0, row, read_at - embedding_size : read_at])
        copy_numbers(states.contexts[before, parent, :fed], inputs[after, 0, row, read_at:x_end])
        for layer in range(layers):
            copy_numbers(inputs[before, layer, parent, x_end:], inputs[after, layer, row, x_end:])
    for layer in range(layers):
        for first in range(0, count, BLOCK):
            stop = min(first + BLOCK, count)
            input_size = (size if layer else embedding_size) + (fed if layer < 2 else 0)
            given = Inputs(after, layer, first, stop, x_end - input_size)
            gates = multiply_inputs(weights, layer, states, team, given, 4 * size)
            _cells(weights, reading, states, before, given, gates, rows)
            for row in range(first, stop if layer + 1 < layers else first):
                end = x_end if layer else read_at
                copy_numbers(inputs[after, layer, row, x_end:], inputs[after, layer + 1, row, end - size : end])
        if reading is not None:
            _read(weights, layer, states, team, memory, before, rows, count)
    if reading is not None:
        _combine(weights, states, team, after, count)


@jit
def _cells(weights: Any, reading: Any, states: Any, before: int, given: Inputs, gates: np.ndarray, rows: Any) -> None:
    """h, and of an LSTM c, of the rows of a layer whose products are gates (., 4H)."""
    now, layer, first, stop, _ = given
    size, bias, c = weights.bias.shape[1] // 4, weights.bias[layer], states.c
    x_end = states.inputs.shape[3] - size
    for row in range(first, stop):
        products, h = gates[row - first, : 4 * size], states.inputs[now, layer, row, x_end:]
        if reading is None or reading.has_cells:
            lstm_cell(products, bias, c[before, layer, rows.parents[row]], c[now, layer, row], h)
        else:
            _gru_cell(products, bias, h)


@jit
def _gru_cell(gates: np.ndarray, bias: np.ndarray, h: np.ndarray) -> None:
    """One cell of one row: gates (4H,) holds r, z and both parts of n, and is overwritten; h (H,) is updated."""
    size = h.shape[0]
    for k in range(4 * size):
        gates[k] += bias[k]
    r, z, n, of_h = gates[:size], gates[size : 2 * size], gates[2 * size : 3 * size], gates[3 * size :]
    for k in range(2 * size):
        gates[k] = sigmoid(gates[k])
    for k in range(size):
        n[k] = tanh(n[k] + r[k] * of_h[k])
    for k in range(size):
        h[k] = n[k] + z[k] * (h[k] - n[k])


@jit
def _read(weights: Any, layer: int, states: Any, team: Any, memory: Any, before: int, rows: Any, count: int) -> None:
    """If this layer asks: what it finds goes to where contexts are kept, to the second layer and to the features."""
    if layer != weights.reading.layer:
        return
    inputs, contexts, after, reading = states.inputs, states.contexts, 1 - before, weights.reading
    layers, size = weights.bias.shape[0], weights.bias.shape[1] // 4
    x_end, matrix, none = inputs.shape[3] - size, layers + 2, states.exps[:0]
    projected = weights.starts[matrix + 1] > weights.starts[matrix]
    for first in range(0, count, BLOCK):
        stop = min(first + BLOCK, count)
        queries = states.products[:0].reshape(0, 1)  # of the type that a product has
        if projected:
            given = Inputs(after, reading.layer, first, stop, x_end)
            queries = multiply_inputs(weights, matrix, states, team, given, reading.key_size)
        for row in range(first, stop):
            if projected:
                copy_numbers(queries[row - first, : reading.key_size], states.query)
            else:
                copy_numbers(inputs[after, reading.layer, row, x_end:], states.query)
            context = contexts[after, row]
            attend(memory, rows.sentences[row], states.query, none, states.scratch, states.alignment, context)
            read = contexts[before, rows.parents[row]] if reading.before else context
            copy_numbers(read, inputs[after, layers, row, x_end - reading.context_size : x_end])
            if layers > 1:
                copy_numbers(read[: reading.fed], inputs[after, 1, row, x_end - reading.fed : x_end])


@jit
def _combine(weights: Any, states: Any, team: Any, now: int, count: int) -> None:
    """What the output layer reads, from [context; h] of the last layer."""
    inputs, reading, layers = states.inputs, weights.reading, weights.bias.shape[0]
    size = weights.bias.shape[1] // 4
    x_end = inputs.shape[3] - size
    for first in range(0, count, BLOCK):
        stop = min(first + BLOCK, count)
        for row in range(first, stop):
            copy_numbers(inputs[now, layers - 1, row, x_end:], inputs[now, layers, row, x_end:])
        given = Inputs(now, layers, first, stop, x_end - reading.context_size)
        products = multiply_inputs(weights, layers + 1, states, team, given, size)
        for row in range(first, stop):
            sums, features = products[row - first], inputs[now, layers, row, x_end:]
            for k in range(size):
                features[k] = tanh(sums[k] + reading.bias[k])


@jit
def multiply_inputs(weights: Any, matrix: int, states: Any, team: Any, given: Inputs, columns: int) -> np.ndarray:
    """The given inputs times a prepacked matrix of so many columns, which the result has filled up to whole panels."""
    inputs, width = states.inputs, panel_columns(weights.panels)
    now, layer, first, stop, column = given
    stride, padded = inputs.shape[3], (columns + width - 1) // width * width
    at = ((now * inputs.shape[1] + layer) * inputs.shape[2] + first) * stride + column
    rows, out = Rows(at, stride, stop - first), Rows(np.int64(0), padded, stop - first)
    panels = Matrix(weights.starts[matrix], weights.starts[matrix + 1], stride - column, padded)
    multiply(team, rows, panels, out, False)
    return states.products[: (stop - first) * padded].reshape(stop - first, padded)
