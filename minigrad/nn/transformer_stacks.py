"""Layers of a Transformer above each other, and the whole of it.

Contract: PyTorch's parameters (names, shapes, order), argument positions and results; padded batches or packed ones,
as of the layers (`minigrad.nn.transformer`).
T targets, S sources, N batch, E features.
Source: Vaswani et al., "Attention is all you need" (2017).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from minigrad import creation
from minigrad.naming import described
from minigrad.nn import functional as F
from minigrad.nn import init
from minigrad.nn.checks import check_positive
from minigrad.nn.containers import ModuleList
from minigrad.nn.layers import LayerNorm
from minigrad.nn.module import Module
from minigrad.nn.transformer import Block, TransformerDecoderLayer, TransformerEncoderLayer
from minigrad.nn.utils.rnn import PackedSequence
from minigrad.ops import triu
from minigrad.tensor import Tensor


class _Stack(Module):
    """Copies of a layer, of the same first values, one above the other.

    Args:
        layer: copied; itself no part of the stack.
        num_layers: how many copies.
        norm: what the last one's result goes through, or None.
    """

    def __init__(self, layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        check_positive(type(self).__name__, num_layers=num_layers)
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def run(self, x: Any, *inputs: Any, **masks: Any) -> Any:
        """``x`` through every layer, each given the same inputs and masks beside it."""
        for layer in self.layers:
            x = layer(x, *inputs, **masks)
        if self.norm is None:
            return x
        return x._replace(data=self.norm(x.data)) if isinstance(x, PackedSequence) else self.norm(x)


class TransformerEncoder(_Stack):
    """Layers of an encoder one above the other, copies of one of them with the same first values.

    Args:
        encoder_layer: a ``TransformerEncoderLayer``, or a module with its arguments; itself no part of the stack.
        num_layers: how many copies.
        norm: what the last one's result goes through, or None.
        enable_nested_tensor, mask_check: for PyTorch's programs; here they change nothing.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__(encoder_layer, num_layers, norm)

    def forward(
        self,
        src: Any,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Any:
        """Run all layers; arguments and result as of ``TransformerEncoderLayer``, which calls ``mask`` src_mask.

        What stands at padding means nothing. Here it is what the layers give; PyTorch has 0 there with ``batch_first``
        while nothing is recorded.
        """
        return self.run(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal))


class TransformerDecoder(_Stack):
    """Layers of a decoder one above the other, copies of one of them with the same first values.

    Args:
        decoder_layer: a ``TransformerDecoderLayer``, or a module with its arguments; itself no part of the stack.
        num_layers: how many copies.
        norm: what the last one's result goes through, or None.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        """Run all layers, each with the same ``memory``; arguments and result as of ``TransformerDecoderLayer``."""
        return self.run(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=bool(tgt_is_causal),
            memory_is_causal=memory_is_causal,
        )  # fmt: skip


class Transformer(Module):
    """An encoder, and a decoder that attends to what it gives. Embeddings, positions and output layer are the user's.

    Args:
        d_model: features of sources, targets and results, E.
        nhead: heads, a divisor of E.
        num_encoder_layers, num_decoder_layers: of each stack, which ends in a ``LayerNorm``.
        dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias: of the layers.
        custom_encoder, custom_decoder: modules instead of the stacks, called as those are.

    Parameters of more than one dimension are drawn as by ``init.xavier_uniform_``.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Block = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        sizes = d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, **made)

        if custom_encoder is None:
            layer = TransformerEncoderLayer(*sizes, **made)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, norm())
        if custom_decoder is None:
            custom_decoder = TransformerDecoder(TransformerDecoderLayer(*sizes, **made), num_decoder_layers, norm())
        self.encoder, self.decoder = custom_encoder, custom_decoder
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draw new initial values."""
        for parameter in self.parameters():
            if parameter.dim() > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        """Encode, then decode.

        Args:
            src: (S, N, E); (N, S, E) with ``batch_first``; (S, E) for one sequence; or a PackedSequence.
            tgt: (T, N, E) likewise.
            src_mask, src_key_padding_mask, src_is_causal: of the attention of ``src`` to itself, as of
                ``MultiheadAttention``.
            tgt_mask, tgt_key_padding_mask, tgt_is_causal: of that of ``tgt`` to itself.
            memory_mask, memory_key_padding_mask, memory_is_causal: of that of ``tgt`` to what the encoder gives.

        Returns:
            What ``tgt`` is, of the same shape.
        """
        self._check(src, tgt)
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )  # fmt: skip

    def _check(self, src: Any, tgt: Any) -> None:
        """That both are of ``d_model`` features and of as many sequences."""
        for name, x in (("src", src), ("tgt", tgt)):
            rows = x.data if isinstance(x, PackedSequence) else x
            if not isinstance(rows, Tensor):
                raise TypeError(f"Transformer: {name} is {described(x)}; expected a tensor or a PackedSequence")
            if rows.dim() < 2 or rows.shape[-1] != self.d_model:
                raise RuntimeError(
                    f"Transformer: {name} has shape {rows.shape}; expected (..., d_model = {self.d_model})"
                )
        if not (isinstance(src, Tensor) and isinstance(tgt, Tensor)):
            return
        if src.dim() != tgt.dim():
            raise RuntimeError(f"Transformer: src has shape {src.shape}, tgt {tgt.shape}; expected as many dimensions")
        batch = 0 if self.batch_first else 1
        if src.dim() == 3 and src.shape[batch] != tgt.shape[batch]:
            counts = f"src holds {src.shape[batch]} sequences, tgt {tgt.shape[batch]}"
            raise RuntimeError(f"Transformer: {counts}; expected as many")

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """(sz, sz), to be added to scores: -inf where a key comes after the query, 0 elsewhere."""
        return triu(creation.full((sz, sz), -np.inf, dtype=dtype, device=device), 1)
