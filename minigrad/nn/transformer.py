"""One layer of a Transformer, of the encoder or of the decoder.

Contract: PyTorch's parameters (names, shapes, order, first values), argument positions and results; where PyTorch takes
a padded batch, a PackedSequence will do, whose padding costs nothing outside of attention.
T targets, S sources, N batch, E features, P rows.
Sources: Vaswani et al., "Attention is all you need" (2017); normalisation before the blocks: Wang et al., "Learning
deep Transformer models for machine translation" (2019).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from minigrad.naming import described
from minigrad.nn import functional as F
from minigrad.nn.attention import MultiheadAttention
from minigrad.nn.layers import Dropout, LayerNorm, Linear
from minigrad.nn.module import Module
from minigrad.nn.utils.rnn import PackedSequence
from minigrad.tensor import Tensor

Block = Callable[[Tensor], Tensor]
_ACTIVATIONS: dict[str, Block] = {"relu": F.relu, "gelu": F.gelu}


class _TransformerLayer(Module):
    """Attention to itself, then perhaps to something else, then two linear layers, each added to what it reads.

    Args:
        d_model: features of inputs and results, E.
        nhead: heads, a divisor of E.
        dim_feedforward: units between the two linear layers.
        dropout: probability that an element of a block's result, a weight of its attention or a unit is zeroed.
        activation: of the units; "relu", "gelu" or a function of a tensor.
        layer_norm_eps: of the normalisations.
        batch_first: inputs and outputs are (N, T, E) instead of (T, N, E).
        norm_first: whether a block's input is normalised, instead of the sum with its result.
        bias: whether linear layers, projections and normalisations have one.
    """

    num_attentions: ClassVar[int]

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Block = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        for name in ("self_attn", "multihead_attn")[: self.num_attentions]:
            self.add_module(name, MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **made))
        self.linear1 = Linear(d_model, dim_feedforward, bias, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **made)
        self.norm_first = norm_first
        self._block_names = [str(number) for number in range(1, self.num_attentions + 2)]
        for number in self._block_names:
            self.add_module(f"norm{number}", LayerNorm(d_model, layer_norm_eps, bias=bias, **made))
        for number in self._block_names:
            self.add_module(f"dropout{number}", Dropout(dropout))
        self.activation = _activation(type(self).__name__, activation)

    def run(self, x: Tensor, *attentions: Block) -> Tensor:
        """The layer around given attentions, each a function of (..., E) that ends in its ``out_proj``: x (..., E) ->
        (..., E)."""
        for number, block in zip(self._block_names, (*attentions, self._feed_forward), strict=True):
            norm, dropout = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
            x = x + dropout(block(norm(x))) if self.norm_first else norm(x + dropout(block(x)))
        return x

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


def _activation(layer: str, activation: Any) -> Block:
    if isinstance(activation, str) and activation in _ACTIVATIONS:
        return _ACTIVATIONS[activation]
    if not callable(activation):
        raise ValueError(f"{layer}: activation is {described(activation)}; expected 'relu', 'gelu' or a function")
    return activation


def _rows(x: Any) -> Tensor:
    """The tensor of a padded batch or of a packed one."""
    return x.data if isinstance(x, PackedSequence) else x


def _like(x: Any, rows: Tensor) -> Any:
    """``rows`` in the form of ``x``."""
    return x._replace(data=rows) if isinstance(x, PackedSequence) else rows


class TransformerEncoderLayer(_TransformerLayer):
    __doc__ = "One layer of a Transformer's encoder.\n\n" + (_TransformerLayer.__doc__ or "")
    num_attentions = 1

    def forward(
        self,
        src: Any,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Any:
        """Run the layer.

        Args:
            src: (S, N, E); (N, S, E) with ``batch_first``; (S, E) for one sequence; or a PackedSequence.
            src_mask, src_key_padding_mask, is_causal: ``attn_mask``, ``key_padding_mask`` and ``is_causal`` of
                ``MultiheadAttention``.

        Returns:
            What ``src`` is, of the same shape.
        """

        def attend(x: Tensor) -> Tensor:
            steps = _like(src, x)
            masks = src_key_padding_mask, False, src_mask
            return _rows(self.self_attn(steps, steps, steps, *masks, is_causal=is_causal)[0])

        return _like(src, self.run(_rows(src), attend))


class TransformerDecoderLayer(_TransformerLayer):
    __doc__ = "One layer of a Transformer's decoder.\n\n" + (_TransformerLayer.__doc__ or "")
    num_attentions = 2

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Any:
        """Run the layer.

        Args:
            tgt: (T, N, E); (N, T, E) with ``batch_first``; (T, E) for one sequence; or a PackedSequence.
            memory: (S, N, E) likewise.
            tgt_mask, tgt_key_padding_mask, tgt_is_causal: of the attention of ``tgt`` to itself, as of
                ``MultiheadAttention``.
            memory_mask, memory_key_padding_mask, memory_is_causal: of its attention to ``memory``.

        Returns:
            What ``tgt`` is, of the same shape.
        """

        def attend_to_itself(x: Tensor) -> Tensor:
            steps = _like(tgt, x)
            masks = tgt_key_padding_mask, False, tgt_mask
            return _rows(self.self_attn(steps, steps, steps, *masks, is_causal=tgt_is_causal)[0])

        def attend_to_memory(x: Tensor) -> Tensor:
            masks = memory_key_padding_mask, False, memory_mask
            return _rows(self.multihead_attn(_like(tgt, x), memory, memory, *masks, is_causal=memory_is_causal)[0])

        return _like(tgt, self.run(_rows(tgt), attend_to_itself, attend_to_memory))
