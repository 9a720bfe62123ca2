"""What an encoder and a decoder promise, so that training, search, gradient checks and plans need know nothing more.

An encoder makes a ``Memory`` of N sources. A decoder starts from it, and makes features of tokens, step by step; its
``output`` layer makes logits of features. In every tensor of a state or a memory the last dimension but one counts the
N sources, in search the hypotheses: (N, H), (L, N, H), (S, N, D).

S source positions, T target positions, N sources, P real target positions, L layers, H state size, D output size,
F feature size, V target vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import reduce
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minigrad import Tensor, nn, ops
from minigrad.nn import functional as F
from minigrad.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from seq2seq.run.errors import UserError
from seq2seq.run.registry import NoOptions

Array = np.ndarray

State = tuple[Tensor, ...]


class Reads(NamedTuple):
    """What of a memory a decoder reads; an encoder need not leave more."""

    states: int = 2  # how many final states, from the first on: h and c, or h alone
    outputs: bool = False  # whether ``Memory.outputs``, with the lengths
    copies: bool = False  # whether ``Memory.copies``: it copies words, so that both sides share a vocabulary


class MemoryShape(NamedTuple):
    """The sizes of what an encoder leaves."""

    states: tuple[tuple[int, int], ...]  # (L, H) of each final state
    output_size: int  # D, of the outputs for each position


class Memory(NamedTuple):
    """What an encoder leaves of N sources."""

    states: State  # (L, N, H) each, after the last position of each source
    outputs: Tensor | None = None  # (S, N, D), zero past the lengths; None where the decoder does not read them
    lengths: Array | None = None  # (N,) int64, positions of each source, where there are outputs
    copies: Array | None = (
        None  # (S, N) int64, each position as a target (``seq2seq.models.copying``), where it is read
    )

    def select(self, rows: Array) -> Memory:
        """The memory of the sources ``rows`` (R,), in this order and as often as they stand there."""
        outputs = None if self.outputs is None else select(self.outputs, rows)
        lengths = None if self.lengths is None else self.lengths[rows]
        copies = None if self.copies is None else self.copies[:, rows]
        return Memory(tuple(select(state, rows) for state in self.states), outputs, lengths, copies)


def select(x: Tensor, rows: Array) -> Tensor:
    """The rows (R,) of a tensor of a state: (..., N, F) -> (..., R, F)."""
    return ops.index_select(x, x.ndim - 2, Tensor(rows).to(x.device))


class Part(nn.Module):
    """What an encoder and a decoder have in common.

    Attributes:
        max_positions: the most positions that it reads of a sequence, specials counted; 0 for any number.
    """

    name: ClassVar[str]
    Options: ClassVar[type] = NoOptions
    capturable: ClassVar[bool] = False
    max_positions: int = 0

    def require_positions(self, longest: int, what: str) -> None:
        """UserError where a sequence, called ``what``, has more positions, specials counted, than this part reads."""
        if 0 < self.max_positions < longest:
            raise UserError(
                f"{what} has {longest} positions with its specials; "
                f"expected at most {self.max_positions}, the positions of {self.name}"
            )

    def init_weights(self, init_range: float) -> None:
        """Draw the first weights: by default all of them from U(-init_range, init_range), but those of layer norms,
        which start with a gain of 1: with a small one what they normalise would all but vanish."""
        norms = {id(p) for module in self.modules() if isinstance(module, nn.LayerNorm) for p in module.parameters()}
        for parameter in self.parameters():
            if id(parameter) not in norms:
                nn.init.uniform_(parameter, -init_range, init_range)


class Encoder(Part):
    """Reads sources. A subclass registers with ``register("encoder", NAME)``.

    ``__init__`` gets an instance of its ``Options``, the ``Inputs`` that the source gives (ids or rows of numbers, and
    how many), and what the decoder ``Reads``.

    Attributes:
        Options: dataclass of its settings.
        memory_shape: what it leaves.
        capturable: whether a training step with it can be a CUDA graph: no decision depends on a number it computes.
    """

    @property
    def memory_shape(self) -> MemoryShape:
        raise NotImplementedError

    def forward(self, source: PackedSequence) -> Memory:
        """Packed ids (P,) int64, or rows of numbers (P, F) -> what the decoder may look at."""
        raise NotImplementedError

    @property
    def vector_size(self) -> int:
        """D of ``vectors``."""
        shape = self.memory_shape
        return shape.states[0][1] if shape.states else shape.output_size

    def vectors(self, memory: Memory) -> Array:
        """A vector for each source, (N, D): by default the last layer's final state h, and where there is none the mean
        of the outputs over the source's positions. It may not depend on the sources beside it."""
        if memory.states:
            last: Array = memory.states[0][-1].cpu().numpy()
            return last
        assert memory.outputs is not None
        assert memory.lengths is not None
        outputs = memory.outputs.detach().cpu().numpy()
        total = reduce(np.add, outputs, np.zeros_like(outputs[0]))  # in this order, however far it is padded
        mean: Array = total / memory.lengths[:, None].astype(total.dtype)
        return mean

    def prepacked(self, bf16: bool) -> Any:
        """Optional: an object whose ``memory(inputs, lengths)``, of a padded source as ``Source.collate`` gives it, is
        that of ``forward`` in evaluation, to the bit, but faster; products are in bfloat16 on request."""
        return None


class Decoder(Part):
    """Writes targets. A subclass registers with ``register("decoder", NAME)``; ``start``, ``step`` and ``output`` are
    all that it needs.

    ``__init__`` gets an instance of its ``Options``, the size of the vocabulary V, and the ``MemoryShape`` of the
    encoder; it raises a UserError where that does not fit (``require_states`` says it).

    Attributes:
        Options: dataclass of its settings.
        reads: what it needs of a memory.
        capturable: as of an encoder, for steps in which every token is given.
        embedding: optional, the ``nn.Embedding`` of the tokens; ``tie_weights`` lets it share the weights of
            ``output``, and that of an encoder likewise; ``embedding_dropout`` is of both.
    """

    reads: ClassVar[Reads] = Reads()

    @classmethod
    def reads_of(cls, options: Any) -> Reads:
        """What a decoder with these options needs of a memory, where that depends on them."""
        return cls.reads

    @property
    def output(self) -> nn.Linear:
        """The layer that makes logits (., V) of features (., F); by default it is called ``fc_out``."""
        layer: nn.Linear = self.fc_out
        return layer

    def start(self, memory: Memory) -> State:
        """The state before the first token."""
        raise NotImplementedError

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """One step: tokens (N,) int64 -> features (N, F), the next state."""
        raise NotImplementedError

    def sequence(self, tokens: PackedSequence, state: State, memory: Memory, own: Array) -> Tensor:
        """All steps of N targets: packed tokens (P,) int64 -> features (P, F), packed likewise.

        Args:
            tokens: what the decoder is given.
            own: (T,) bool, the steps at which it is given its own best guess instead; never the first.

        By default a loop over ``step``. A decoder that can do whole sequences at once overrides it. In
        ``nn.variational_dropout`` all steps have the same masks.
        """
        given, lengths = pad_packed_sequence(tokens)
        masks = nn.variational_dropout.active()
        one_step = nullcontext() if masks is None else masks.step()
        features: list[Tensor] = []
        for t in range(len(given)):
            token = self.guess(features[-1], memory.copies) if own[t] else given[t]
            with one_step:
                feature, state = self.step(token, state, memory)
            features.append(feature)
        return pack_padded_sequence(ops.stack(features), lengths, enforce_sorted=False).data

    def alignment(self, state: State) -> Tensor | None:
        """Optional: (N, S), how the step that led to ``state`` attended over the memory: weights from 0 to 1, zero past
        the lengths. A decoder with attention keeps them in its state."""
        return None

    def log_probs(
        self, features: Tensor, copies: Array | None, output: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """log p (R, V) of the next tokens of features (R, F), off the tape.

        Args:
            copies: (S, R) int64, ``Memory.copies`` of each row; with them log p may go on (R, V + S), for those ids.
            output: what takes the place of the layer ``output``.
        """
        return F.log_softmax((output or self.output)(features), -1)

    def loss(
        self, features: Tensor, targets: PackedSequence, memory: Memory, label_smoothing: float, dropout: nn.Module
    ) -> Tensor:
        """The sum of -log p over packed targets (P,) of features (P, F), a 0-d Tensor; ``dropout`` is for what the
        output layer reads."""
        layer = self.output
        return F.linear_cross_entropy(
            dropout(features), layer.weight, layer.bias, targets.data, reduction="sum", label_smoothing=label_smoothing
        )

    def guess(self, features: Tensor, copies: Array | None = None) -> Tensor:
        """The likeliest token (N,) int64 of features (N, F), off the tape; ``copies`` (S, N) as of ``log_probs``."""
        return F.linear_argmax(features.detach(), self.output.weight, self.output.bias)

    def prepacked(self, bf16: bool) -> Any:
        """Optional: an object whose ``step`` and ``output`` are the decoder's in evaluation, but faster; its products
        are in bfloat16 on request. It does not keep the decoder alive."""
        return None

    def compiled_search(self, form: str) -> Any:
        """Optional: whole searches in one call, ``greedy`` and ``beam`` from ``search_start``, as
        ``minigrad.decoding.PackedDecoder`` has them, which says what forms there are of its weights. It does not keep
        the decoder alive. None: the search goes step by step."""
        return None

    def search_start(self, state: State, memory: Memory) -> Any:
        """What ``compiled_search`` starts from; by default the state alone."""
        return state


def changes(part: Part, base: type, *methods: str) -> bool:
    """Whether a part's class has another one of these methods than its ``base``, for which something is compiled."""
    return any(getattr(type(part), name) is not getattr(base, name) for name in methods)


def require_states(decoder: str, found: MemoryShape, expected: tuple[tuple[int, int], ...]) -> None:
    """UserError unless an encoder leaves final states of the ``expected`` sizes (L, H)."""
    if found.states != expected:
        raise UserError(
            f"decoder {decoder} starts from {_listed(expected)}; the encoder leaves {_listed(found.states)}; "
            "expected a pair that fits, with the same sizes, or an encoder with --bridge"
        )


def _listed(states: tuple[tuple[int, int], ...]) -> str:
    sizes = ", ".join(f"{layers} x {size}" for layers, size in states)
    return f"{len(states)} states (layers x size: {sizes})" if states else "no states"
