"""LSTM, GRU, RNN and their cells: stacks and directions built from one layer op.

Contract: PyTorch's parameters (names, shapes, order, default U(-1/sqrt(H), 1/sqrt(H))), argument positions and results.
No equation stands here: gates and their gradients are in ``kernels``. A direction is the same op walking
backwards, a cell the same op with T = 1. Gate blocks are i, f, g, o (LSTM) and r, z, n (GRU).
T time, N batch, I input, H hidden, L layers, D directions.
Sources: Hochreiter & Schmidhuber, "Long short-term memory" (1997); Cho et al. 2014 (GRU);
Schuster & Paliwal, "Bidirectional recurrent neural networks" (1997).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from minigrad import creation, ops
from minigrad.naming import described
from minigrad.nn import functional as F
from minigrad.nn import init
from minigrad.nn.checks import check_not_negative, check_positive, check_probability, check_tensor, reject
from minigrad.nn.module import Module
from minigrad.nn.parameter import Parameter
from minigrad.nn.rnn_layer import NONLINEARITIES, rnn_layer
from minigrad.nn.utils.rnn import (
    PackedSequence,
    as_lengths,
    is_stably_sorted,
    lengths_of,
    pad_packed_sequence,
    repack_like,
    reverse_sequence,
)
from minigrad.tensor import Tensor

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
States = tuple[Tensor, ...]  # (h,) of a GRU or RNN, (h, c) of an LSTM
Lengths = np.ndarray | None  # (N,) real steps of each sequence; None for all


class Gated(Module):
    """What layers and cells share: a layer op, the weights it takes, and states that are one tensor or a pair."""

    layer_op: ClassVar[Callable[..., tuple[Tensor, ...]]]
    takes_packed: ClassVar[bool] = True  # whether the op's x may be the data of a PackedSequence
    walks_back: ClassVar[bool] = False  # whether the op reads sequences from their ends by itself
    gates: ClassVar[int]
    state_names: ClassVar[tuple[str, ...]]

    def __init__(self, input_size: int, hidden_size: int, bias: bool) -> None:
        super().__init__()
        check_not_negative(self._name, input_size=input_size)
        check_positive(self._name, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _weights(self, input_size: int, device: Any, dtype: Any) -> Iterator[tuple[str, Parameter]]:
        """Uninitialised weights of one layer and direction, in PyTorch's order."""
        rows = self.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, input_size), "weight_hh": (rows, self.hidden_size)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        for name, shape in shapes.items():
            yield name, Parameter(creation.empty(*shape, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Draw new initial values from U(-1/sqrt(H), 1/sqrt(H))."""
        bound = 1 / math.sqrt(self.hidden_size)
        for param in self.parameters():
            init.uniform_(param, -bound, bound)

    def _step(self, x: Tensor, states: States, suffix: str, lengths: Lengths, *direction: bool) -> tuple[Tensor, ...]:
        """One layer in one direction: (y (T, N, H), final states (N, H)...)."""
        return self.layer_op(x, *states, *(self._weight(name + suffix) for name in WEIGHTS), lengths, *direction)

    def _weight(self, name: str) -> Tensor | None:
        """A parameter, or what a program has put in its place; None without biases."""
        found = self._parameters.get(name)  # the short way
        return getattr(self, name, None) if found is None else found

    def _as_states(self, hx: Any) -> States:
        """``hx`` as users give it, a tensor or a pair, as a tuple."""
        states = hx if isinstance(hx, tuple | list) else (hx,)
        if len(states) != len(self.state_names) or not all(isinstance(state, Tensor) for state in states):
            raise TypeError(f"{self._name}: hx is {described(hx)}; expected {', '.join(self.state_names)} as Tensors")
        return tuple(states)

    def _from_states(self, states: States) -> Any:
        return states if len(states) > 1 else states[0]

    def _check_states(self, states: States, expected: tuple[int, ...], meaning: str) -> None:
        for name, state in zip(self.state_names, states, strict=True):
            if state.shape != expected:
                raise ValueError(f"{self._name}: {name} has shape {state.shape}; expected {meaning} = {expected}")

    def _check_input(self, x: Tensor, dims: tuple[int, int]) -> None:
        """``x`` must be a Tensor, have as many dimensions as one of ``dims`` and end in input_size."""
        check_tensor(self._name, "input", x)
        if x.dim() not in dims:
            raise ValueError(
                f"{self._name}: input has {x.dim()} dimensions; expected {dims[0]} (unbatched) or {dims[1]}"
            )
        if x.shape[-1] != self.input_size:
            raise ValueError(
                f"{self._name}: input has shape {x.shape}; expected a last size of input_size = {self.input_size}"
            )


class Recurrent(Gated):
    """A stack of recurrent layers over whole sequences.

    Args:
        input_size: features of each input step, I.
        hidden_size: features of each state, H.
        num_layers: layers, each fed with the outputs of the one below.
        bias: whether ``bias_ih`` and ``bias_hh`` exist.
        batch_first: inputs and outputs are (N, T, .) instead of (T, N, .); states are not affected.
        dropout: probability of dropping an element of a layer's outputs, except the last layer's, during training.
        bidirectional: a second direction over the reversed sequence; outputs are concatenated (forward, reverse).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias)
        reject(self._name, proj_size=proj_size)
        check_positive(self._name, num_layers=num_layers)
        check_probability(self._name, "dropout", dropout)
        if dropout > 0 and num_layers == 1:
            warnings.warn(f"{self._name}: dropout={dropout} acts between layers, but num_layers=1", stacklevel=2)
        self.num_layers = num_layers
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                for name, param in self._weights(self._layer_input_size(layer), device, dtype):
                    self.register_parameter(name + suffix, param)
        self.reset_parameters()

    @property
    def num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        """Ends of the parameter names of a layer, one per direction."""
        return (f"_l{layer}", f"_l{layer}_reverse")[: self.num_directions]

    def _layer_input_size(self, layer: int) -> int:
        return self.input_size if layer == 0 else self.num_directions * self.hidden_size

    @property
    def _all_weights(self) -> list[list[str]]:
        """Names of the parameters, a list for each layer and direction."""
        names = WEIGHTS if self.bias else WEIGHTS[:2]
        suffixes = [suffix for layer in range(self.num_layers) for suffix in self._suffixes(layer)]
        return [[name + suffix for name in names] for suffix in suffixes]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters, a list for each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self) -> None:
        """Nothing to do: the weights are used where they lie. Here so that code written for cuDNN runs."""

    def forward(self, input: Any, hx: Any = None, *, lengths: Any = None) -> tuple[Any, Any]:
        """Run over sequences.

        Args:
            input: (T, N, I); (N, T, I) with ``batch_first``; (T, I) for one sequence; or a PackedSequence.
            hx: initial h0 (GRU) or pair h0, c0 (LSTM), each (L*D, N, H), or (L*D, H) for one sequence; default zeros.
            lengths: (N,) integers, real steps of each padded sequence; the rest costs nothing, its outputs are zero and
                the final states are those of the last real step. An extension of PyTorch's interface.

        Returns:
            output (T, N, D*H) in the layout of ``input``, and the final states shaped as ``hx``.

        Raises:
            ValueError: a shape that does not fit. RuntimeError: sequences of no steps.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        self._check_input(input, (2, 3))
        batched = input.dim() == 3
        if not batched and lengths is not None:
            raise ValueError(f"{self._name}: lengths is given for unbatched input; expected a batch of sequences")
        swap = self.batch_first and batched
        x = input.transpose(0, 1) if swap else input if batched else input.unsqueeze(1)
        if x.shape[0] == 0:
            raise RuntimeError(f"{self._name}: input has 0 steps; expected a sequence length larger than 0")
        states = self._initial_states(x, hx, batched, x.shape[1])
        y, finals = self._run(x, states, None if lengths is None else as_lengths(lengths))
        if not batched:
            return y.squeeze(1), self._from_states(tuple(state.squeeze(1) for state in finals))
        return (y.transpose(0, 1) if swap else y), self._from_states(finals)

    def _forward_packed(self, sequence: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        """As it is where the layer op can take it, else by way of a padded sequence."""
        lengths, x = lengths_of(sequence), sequence.data
        states = self._initial_states(x, hx, True, len(lengths))
        native = self.takes_packed and x.dim() == 2 and (self.walks_back or not self.bidirectional)
        native = native and is_stably_sorted(sequence, lengths)
        x = x if native else pad_packed_sequence(sequence)[0]
        self._check_input(x, (2, 3))
        y, finals = self._run(x, states, lengths)
        packed = sequence._replace(data=y) if native else repack_like(y, sequence, lengths)
        return packed, self._from_states(finals)

    def _initial_states(self, x: Tensor, hx: Any, batched: bool, N: int) -> list[States]:
        """For each layer and direction h0 (and c0), each (N, H), of the dtype of ``x``."""
        rows = self.num_layers * self.num_directions
        if hx is None:
            zeros = creation.zeros(N, self.hidden_size, dtype=x.dtype, device=creation.device_like(x))
            return [(zeros,) * len(self.state_names)] * rows
        states = self._as_states(hx)
        if batched:
            self._check_states(states, (rows, N, self.hidden_size), "(num_layers*num_directions, batch, hidden_size)")
        else:
            self._check_states(states, (rows, self.hidden_size), "(num_layers*num_directions, hidden_size)")
            states = tuple(state.unsqueeze(1) for state in states)
        return [tuple(state[row] for state in states) for row in range(rows)]

    def _run(self, x: Tensor, states: list[States], lengths: Lengths) -> tuple[Tensor, States]:
        """The stack on ``x`` (T, N, I), or packed (P, I): y, in the same form, and the final states (L*D, N, H)."""
        finals: list[States] = []
        for layer in range(self.num_layers):
            if layer > 0:
                x = F.dropout(x, self.dropout, self.training)
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                row = layer * self.num_directions + direction
                y, *final = self._direction(x, states[row], suffix, lengths, reverse=direction == 1)
                outputs.append(y)
                finals.append(tuple(final))
            x = ops.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
        if len(finals) == 1:  # a view will do
            return x, tuple(final.unsqueeze(0) for final in finals[0])
        return x, tuple(ops.stack(list(rows), 0) for rows in zip(*finals, strict=True))

    def _direction(self, x: Tensor, states: States, suffix: str, lengths: Lengths, reverse: bool) -> tuple[Tensor, ...]:
        """One layer forward in time, or backward; an op that cannot is given reversed sequences."""
        if self.walks_back or not reverse:
            return self._step(x, states, suffix, lengths, *[reverse] * self.walks_back)
        y, *finals = self._step(reverse_sequence(x, lengths), states, suffix, lengths)
        return reverse_sequence(y, lengths), *finals

    def extra_repr(self) -> str:
        shown = {
            "num_layers": (self.num_layers, 1),
            "bias": (self.bias, True),
            "batch_first": (self.batch_first, False),
            "dropout": (self.dropout, 0),
            "bidirectional": (self.bidirectional, False),
        }
        changed = [f"{name}={value}" for name, (value, default) in shown.items() if value != default]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *changed])


class _LSTMGates(Gated):
    layer_op = staticmethod(ops.lstm_layer)
    walks_back = True
    gates = 4
    state_names = ("h0", "c0")


class _GRUGates(Gated):
    layer_op: ClassVar[Callable[..., tuple[Tensor, ...]]] = staticmethod(ops.gru_layer)
    walks_back = True
    gates = 3
    state_names = ("h0",)


class _NoGates(Gated):
    """Elman's network: one block of weights, and the nonlinearity that follows it."""

    gates = 1
    takes_packed = False
    state_names = ("h0",)
    nonlinearity: str

    def layer_op(self, *arguments: Any) -> tuple[Tensor, ...]:
        return rnn_layer(self.nonlinearity, *arguments)

    def _set_nonlinearity(self, nonlinearity: str) -> None:
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(
                f"{self._name}: nonlinearity is {nonlinearity!r}; expected one of {', '.join(NONLINEARITIES)}"
            )
        self.nonlinearity = nonlinearity


class LSTM(_LSTMGates, Recurrent):
    __doc__ = "Long short-term memory.\n" + (Recurrent.__doc__ or "")


class GRU(_GRUGates, Recurrent):
    __doc__ = "Gated recurrent unit.\n" + (Recurrent.__doc__ or "")


class RNN(_NoGates, Recurrent):
    __doc__ = "Elman's recurrent network; ``nonlinearity`` is 'tanh' or 'relu'.\n" + (Recurrent.__doc__ or "")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *options: Any,
        **named_options: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, *options, **named_options)
        self._set_nonlinearity(nonlinearity)


class Cell(Gated):
    """One recurrent step.

    Args:
        input_size: features of the input, I.
        hidden_size: features of the state, H.
        bias: whether ``bias_ih`` and ``bias_hh`` exist.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias)
        for name, param in self._weights(input_size, device, dtype):
            self.register_parameter(name, param)
        self.reset_parameters()

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """``input`` (N, I) or (I,), ``hx`` the states, each (N, H) or (H,), default zeros; returns the next states."""
        self._check_input(input, (1, 2))
        batch = input.shape[:-1]
        if hx is None:
            zeros = creation.zeros(*batch, self.hidden_size, dtype=input.dtype, device=creation.device_like(input))
            states = (zeros,) * len(self.state_names)
        else:
            states = self._as_states(hx)
        self._check_states(states, (*batch, self.hidden_size), "(batch, hidden_size)" if batch else "(hidden_size,)")
        if batch:
            return self._from_states(self._step(input.unsqueeze(0), states, "", None)[1:])
        rows = tuple(state.unsqueeze(0) for state in states)
        finals = self._step(input.reshape(1, 1, self.input_size), rows, "", None)[1:]
        return self._from_states(tuple(state.squeeze(0) for state in finals))

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class LSTMCell(_LSTMGates, Cell):
    __doc__ = "One step of a long short-term memory.\n" + (Cell.__doc__ or "")


class GRUCell(_GRUGates, Cell):
    __doc__ = "One step of a gated recurrent unit.\n" + (Cell.__doc__ or "")


class RNNCell(_NoGates, Cell):
    __doc__ = "One step of Elman's network; ``nonlinearity`` is 'tanh' or 'relu'.\n" + (Cell.__doc__ or "")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self._set_nonlinearity(nonlinearity)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")
