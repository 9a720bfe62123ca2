"""What recurrent layouts with attention have in common: stacks of layers under any names, and the decoder of Luong et
al. ("Effective approaches to attention-based neural machine translation", 2015) in NumPy and float64.

    h_t = RNN([embedding; a_(t-1)], h_(t-1)),  a_t = combined(context of h_t, h_t),  a_0 = 0

E embedding size, H state size, D size of the encoder's outputs, L layers, S source and T target positions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from seq2seq.conversion.layouts.arithmetic import gru_step, log_softmax, lstm_step
from seq2seq.conversion.layouts.contract import Array, Arrays, Layout
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted

PARTS = "weight_ih", "weight_hh", "bias_ih", "bias_hh"
CELLS = {4: "lstm", 3: "gru"}  # by the number of gates
State = tuple[Array, ...]  # h, and of an LSTM c


def names_of(arrays: Arrays, pattern: str) -> list[list[str]]:
    """The names of each layer's arrays, PARTS, of which the first says how many layers there are; ``pattern`` has a
    place for ``part`` and one for the layer ``n``."""
    layers = itertools.takewhile(lambda n: pattern.format(part=PARTS[0], n=n) in arrays, itertools.count())
    return [[pattern.format(part=part, n=n) for part in PARTS] for n in layers]


def layers_of(arrays: Arrays, pattern: str) -> list[list[Array]]:
    """The weights of each layer under a pattern, in the order of PARTS."""
    return [[arrays[name] for name in names] for names in names_of(arrays, pattern)]


class Stacks(NamedTuple):
    """The layers of both halves, by the patterns of their names.

    Attributes:
        cell: lstm or gru.
        both: whether the encoder goes both ways.
        direction: units of each direction.
        size: H, of the decoder.
        fed: columns of what its first layer reads.
    """

    cell: str
    num_layers: int
    both: bool
    direction: int
    size: int
    fed: int

    @property
    def split(self) -> bool:
        """Whether both directions of the encoder are together as wide as the decoder."""
        return self.both and 2 * self.direction == self.size

    def settings(self) -> dict[str, Any]:
        """Those of our encoder and decoder; UserError where the sizes fit none."""
        if not self.split and self.direction != self.size:
            per = " a direction" if self.both else ""
            raise UserError(
                f"its encoder has {counted(self.direction, 'unit')}{per}, its decoder {self.size}; "
                "expected as many, or half as many in each of two directions"
            )
        encoder = f"bi{self.cell}" if self.both else self.cell
        sizes = {"hidden_size": self.size, "num_layers": self.num_layers}
        return {"encoder": encoder, "decoder": "luong", "cell": self.cell} | sizes | {"split_directions": self.split}


def stacks_of(arrays: Arrays, encoder: str, decoder: str) -> Stacks:
    """What the layers under two patterns are; UserError where they are no pair that can be had here."""
    forward, backward, above = (names_of(arrays, pattern) for pattern in (encoder, f"{encoder}_reverse", decoder))
    if len(forward) != len(above) or not forward or (backward and len(backward) != len(forward)):
        raise UserError(
            f"it has {counted(len(forward), 'layer')} in the encoder, {len(above)} in the decoder; "
            "expected as many, one or more"
        )
    missing = {name for names in forward + backward + above for name in names} - set(arrays)
    if missing:
        raise UserError(f"it lacks {min(missing)}; expected weights and biases of every layer")
    shapes = [arrays[names[1]].shape for names in (forward[0], above[0])]
    (rows, direction), (gates, size) = shapes
    if not size or gates % size or gates // size not in CELLS or rows * size != gates * direction:
        raise UserError(f"its layers have matrices of {shapes[0]} and {shapes[1]}; expected those of LSTMs, or of GRUs")
    fed = arrays[above[0][0]].shape[1]
    return Stacks(CELLS[gates // size], len(above), bool(backward), direction, size, fed)


def names_of_layers(arrays: Arrays, *patterns: str) -> list[str]:
    """The names of all arrays under some patterns."""
    return [name for pattern in patterns for names in names_of(arrays, pattern) for name in names]


def width_of(arrays: Arrays, *tables: str) -> int:
    """E, which both tables must have."""
    widths = {arrays[table].shape[-1] for table in tables}
    if len(widths) > 1:
        raise UserError(f"its embeddings have {' and '.join(map(str, sorted(widths)))} numbers; expected as many")
    return int(min(widths))


def renamed(arrays: Arrays, pattern: str, ours: str, suffix: str = "") -> Arrays:
    """The layers under a pattern by the names of our stacks, such as decoder.rnn.weight_ih_l0."""
    return {
        f"{ours}.{part}_l{n}{suffix}": arrays[name]
        for n, names in enumerate(names_of(arrays, pattern + suffix))
        for part, name in zip(PARTS, names, strict=True)
    }


def refuse_others(arrays: Arrays, known: Iterable[str], about: dict[str, str]) -> None:
    """UserError where there are arrays beyond the known ones; ``about`` says what those with a part of a name are."""
    for name in sorted(set(arrays) - set(known)):
        for part, told in about.items():
            if part in name:
                raise UserError(f"it has {told} ({name}), which nothing here has")
        raise UserError(f"it has an array {name}, which this layout does not know")


def require(arrays: Arrays, names: Iterable[str]) -> None:
    """UserError where one of them is missing."""
    for name in names:
        if name not in arrays:
            raise UserError(f"it lacks {name}")


class AttentiveLayout(Layout):
    """A model of these equations; a subclass says how it scores and combines, and from what its decoder starts.

    Attributes:
        encoder, decoder: patterns of the names of its layers.
        source_table, target_table: names of the embeddings in the file.
    """

    encoder: ClassVar[str]
    decoder: ClassVar[str]
    source_table: ClassVar[str]
    target_table: ClassVar[str]

    def __init__(self, arrays: Arrays) -> None:
        super().__init__(arrays)
        self.exact = {name: array.astype(np.float64) for name, array in arrays.items()}
        self.decoder_layers = self.decoder_of(arrays)
        self.stacks = stacks_of(arrays, self.encoder, self.decoder_layers)

    @classmethod
    def decoder_of(cls, arrays: Arrays) -> str:
        """The pattern of its decoder's layers, where there is more than one."""
        return cls.decoder

    def weights(self) -> Arrays:
        """Those of the stacks and the embeddings, to which a subclass adds its own."""
        a = self.arrays
        found = renamed(a, self.encoder, "encoder.rnn") | renamed(a, self.encoder, "encoder.rnn", "_reverse")
        found |= renamed(a, self.decoder_layers, "decoder.rnn")
        return found | {
            "encoder.embedding.weight": a[self.source_table], "decoder.embedding.weight": a[self.target_table],
        }  # fmt: skip

    def first_states(self, states: list[State]) -> list[State]:
        """What the decoder's layers start from, of the last states of each layer, both directions side by side."""
        return states

    def scores(self, h: Array, outputs: Array) -> Array:
        """(S,) of the last layer's h (H,) and the outputs (S, D)."""
        raise NotImplementedError

    def combined(self, context: Array, h: Array) -> Array:
        """The attentional vector (H,)."""
        raise NotImplementedError

    def logits(self, combined: Array) -> Array:
        """(V,)."""
        raise NotImplementedError

    def log_probs(self, source: list[int], target: list[int]) -> Array:
        feeds = self.stacks.fed > self.exact[self.target_table].shape[1]
        outputs, states = self._encoded(self.exact[self.source_table][source])
        states, layers = self.first_states(states), layers_of(self.exact, self.decoder_layers)
        combined, found = np.zeros(self.stacks.size), []
        for token in target:
            embedded = self.exact[self.target_table][token]
            x = np.concatenate([embedded, combined]) if feeds else embedded
            states = stepped(x, states, layers)
            h = states[-1][0]
            combined = self.combined(np.exp(log_softmax(self.scores(h, outputs))) @ outputs, h)
            found.append(log_softmax(self.logits(combined)))
        return np.array(found)

    def _encoded(self, xs: Array) -> tuple[Array, list[State]]:
        """(S, E) -> outputs (S, D) and the last states of each layer, both directions side by side."""
        finals = []
        forward, backward = (layers_of(self.exact, pattern) for pattern in (self.encoder, f"{self.encoder}_reverse"))
        for n, weights in enumerate(forward):
            ys, last = passed(xs, weights)
            if backward:
                turned, first = passed(xs[::-1], backward[n])
                ys = np.concatenate([ys, turned[::-1]], 1)
                last = tuple(np.concatenate(pair) for pair in zip(last, first, strict=True))
            xs = ys
            finals.append(last)
        return xs, finals


def advanced(x: Array, state: State, weights: Sequence[Array]) -> State:
    """The state after a step of an LSTM, whose state is h and c, or of a GRU."""
    return lstm_step(x, (state[0], state[1]), weights) if len(state) > 1 else (gru_step(x, state[0], weights),)


def stepped(x: Array, states: list[State], layers: list[list[Array]]) -> list[State]:
    """A step of a stack: the states of all layers after it."""
    after: list[State] = []
    for state, weights in zip(states, layers, strict=True):
        after.append(advanced(x, state, weights))
        x = after[-1][0]
    return after


def passed(xs: Array, weights: Sequence[Array]) -> tuple[Array, State]:
    """A layer from zeros over all positions: h of each (S, H), and the last state."""
    rows, size = weights[1].shape
    state, ys = (np.zeros(size),) * (2 if rows == 4 * size else 1), []
    for x in xs:
        state = advanced(x, state, weights)
        ys.append(state[0])
    return np.array(ys).reshape(-1, size), state
