"""Bridges: layers that make a decoder's first states of what an encoder leaves, tanh(W x + b), one for each state.
Those of other toolkits have another activation, or none.

So a decoder with h and c can start from an encoder that has h alone, or no states.

Sources: Bahdanau et al., "Neural machine translation by jointly learning to align and translate" (2015), appendix
A.2.2, of a state; Vinyals et al., "Show and tell" (2015), of a vector; Chen et al., "The best of both worlds" (2018),
have recurrent decoders behind a Transformer.
N sources, L layers, H state size, D size of what a bridge reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from minigrad import Tensor, nn, relu, tanh
from seq2seq.models.contract import Array, State
from seq2seq.run.registry import option

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": tanh, "relu": relu, "linear": lambda x: x}


@dataclass(frozen=True)
class BridgeOptions:
    """That of an encoder which may have one."""

    bridge: bool = option(False, "make each of the decoder's first states of what the encoder leaves, by a layer")


def make_bridges(count: int, input_size: int, output_size: int) -> nn.ModuleList:
    """The layers for so many states."""
    return nn.ModuleList([nn.Linear(input_size, output_size) for _ in range(count)])


def bridged_states(bridges: Iterable[Any], states: State, activation: str) -> State:
    """(L, N, D) each -> (L, N, H) for each bridge, which all layers share; of h alone both h and c are made."""
    activate = ACTIVATIONS[activation]
    return tuple(activate(bridge(state)) for bridge, state in zip(bridges, states + states[-1:], strict=False))


def bridged_mean(bridges: nn.ModuleList, mean: Tensor, num_layers: int) -> State:
    """(N, D) -> the states of all layers, (L, N, H) for each bridge, which goes from D to L*H."""
    return tuple(tanh(bridge(mean)).reshape(len(mean), num_layers, -1).transpose(0, 1) for bridge in bridges)


def mean_of(outputs: Tensor, lengths: Array) -> Tensor:
    """Outputs (S, N, D), zero past the lengths (N,) -> their mean (N, D)."""
    return outputs.sum(0) / Tensor(lengths[:, None].astype(outputs.dtype)).to(outputs.device)
