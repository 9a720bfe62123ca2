"""Attention of several heads, as a module.

Contract: PyTorch's parameters (names, shapes, order, first values), argument positions and results. Projections work on
rows, so a PackedSequence costs nothing for its padding; heads are views of padded sequences, (T, N, E) seen as
(N * heads, T, E / heads), and no mask is built where lengths say what may be read.
T queries, S keys, N batch, E embedding size, D heads, P rows.
Source: Vaswani et al., "Attention is all you need" (2017), section 3.2.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import creation, ops
from minigrad.nn import functional as F
from minigrad.nn import init
from minigrad.nn.attention_functions import attend
from minigrad.nn.checks import check_positive, check_probability, check_tensor, reject
from minigrad.nn.layers import Linear
from minigrad.nn.layout import Layout
from minigrad.nn.module import Module
from minigrad.nn.parameter import Parameter
from minigrad.nn.utils.rnn import PackedSequence
from minigrad.ops.common import constant
from minigrad.tensor import Tensor

Array = np.ndarray


class MultiheadAttention(Module):
    """Several attentions side by side, each over a share of the features; their results are mixed by ``out_proj``.

    Args:
        embed_dim: features of queries and results, E.
        num_heads: heads, D, which divides E.
        dropout: probability that a weight is zeroed during training.
        bias: whether the projections have one.
        kdim, vdim: features of keys and of values; E by default.
        batch_first: inputs and outputs are (N, T, .) instead of (T, N, .).

    ``in_proj_weight`` (3E, E), or ``q_proj_weight`` (E, E), ``k_proj_weight`` (E, kdim) and ``v_proj_weight`` (E, vdim)
    where these differ, are drawn as by ``init.xavier_uniform_``; ``in_proj_bias`` (3E,) and that of ``out_proj`` are 0.
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        reject("MultiheadAttention", add_bias_kv=add_bias_kv, add_zero_attn=add_zero_attn)
        check_positive("MultiheadAttention", embed_dim=embed_dim, num_heads=num_heads)
        check_probability("MultiheadAttention", "dropout", dropout)
        if embed_dim % num_heads:
            raise ValueError(f"MultiheadAttention: embed_dim is {embed_dim}; expected a multiple of {num_heads} heads")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self.dropout, self.batch_first = float(dropout), batch_first
        together = self.kdim == self.vdim == embed_dim
        shapes: dict[str, tuple[int, ...] | None] = {
            "in_proj_weight": (3 * embed_dim, embed_dim) if together else None,
            "q_proj_weight": None if together else (embed_dim, embed_dim),
            "k_proj_weight": None if together else (embed_dim, self.kdim),
            "v_proj_weight": None if together else (embed_dim, self.vdim),
            "in_proj_bias": (3 * embed_dim,) if bias else None,
        }
        for name, shape in shapes.items():
            values = None if shape is None else Parameter(creation.empty(*shape, device=device, dtype=dtype))
            self.register_parameter(name, values)
        self.out_proj = Linear(embed_dim, embed_dim, bias, device=device, dtype=dtype)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draw new initial values."""
        for name, parameter in self._parameters.items():
            if parameter is not None and name.endswith("weight"):
                init.xavier_uniform_(parameter)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Tensor | None]:
        """Attend.

        Args:
            query: (T, N, E); (N, T, E) with ``batch_first``; (T, E) for one sequence; or a PackedSequence.
            key, value: (S, N, kdim) and (S, N, vdim) likewise; packed ones need no padding mask, and queries of
                another order or other lengths may be beside them.
            key_padding_mask: (N, S), or (S,) for one sequence: bool, True where a key is left out, or numbers to be
                added to the scores.
            need_weights: whether the weights are returned, too.
            attn_mask: (T, S) or (N * heads, T, S): bool, True where a query may not read a key, or numbers to be added.
                A query that may read nothing gets zeros.
            average_attn_weights: whether the weights are their mean over the heads.
            is_causal: whether query t reads the keys 0 to t only; with ``attn_mask`` a hint that is not needed.

        Returns:
            The output, in the form of ``query``, and the weights (N, T, S), or (N, heads, T, S), or None.
        """
        queries, query_layout = self._rows("query", query)
        keys, key_layout = (queries, query_layout) if key is query else self._rows("key", key)
        values = keys if value is key else self._rows("value", value)[0]
        q, k, v = self._projected(queries, keys, values, query_layout, key_layout)
        mask = self._mask(attn_mask, key_padding_mask, k)
        is_causal = is_causal and attn_mask is None
        context, weights = self.attend(q, k, v, key_layout.lengths, is_causal, mask)
        output = self._like(query, self.out_proj(query_layout.pack(context)))
        if not need_weights:
            return output, None
        weights = weights.mean(1) if average_attn_weights else weights
        return output, weights if isinstance(query, PackedSequence) or query.dim() == 3 else weights.squeeze(0)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        lengths: Array | None = None,
        is_causal: bool = False,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What lies between the projections, on padded sequences.

        Args:
            query: (T, N, E), projected.
            key, value: (S, N, E), projected.
            lengths: (N,) integers on the host, the keys of each sequence; None for S.
            is_causal: as in ``forward``.
            mask: broadcasts to (N * heads, T, S), as of ``F.scaled_dot_product_attention``.

        Returns:
            (T, N, E), and the weights (N, heads, T, S) after their dropout.
        """
        (T, N, E), S = query.shape, key.shape[0]
        q, k, v = (self._split(x) for x in (query, key, value))
        counts = None if lengths is None else np.repeat(lengths, self.num_heads)
        context, weights = attend(q, k, v, mask, counts, is_causal, self.dropout if self.training else 0.0)
        return context.transpose(0, 1).reshape(T, N, E), weights.reshape(N, self.num_heads, T, S)

    def project(self, x: Tensor) -> Tensor:
        """Rows (P, E), which are queries, keys and values at once -> these, projected, side by side (P, 3E)."""
        assert self.in_proj_weight is not None, "of kdim and vdim that are not embed_dim"
        return F.linear(x, self.in_proj_weight, self.in_proj_bias)

    def project_query(self, x: Tensor) -> Tensor:
        """(P, E) -> (P, E)."""
        return self._project(x, 0, 1)

    def project_memory(self, x: Tensor) -> Tensor:
        """Rows (P, E), which are keys and values at once -> these, projected, side by side (P, 2E)."""
        return self._project(x, 1, 3)

    def _project(self, x: Tensor, start: int, stop: int) -> Tensor:
        """By the blocks ``start`` .. ``stop`` - 1 of queries, keys and values."""
        part = slice(start * self.embed_dim, stop * self.embed_dim)
        bias = None if self.in_proj_bias is None else self.in_proj_bias[part]
        if self.in_proj_weight is not None:
            return F.linear(x, self.in_proj_weight[part], bias)
        assert stop == start + 1, "queries, keys and values of unlike sizes have weights of their own"
        return F.linear(x, getattr(self, f"{'qkv'[start]}_proj_weight"), bias)

    def _projected(
        self, queries: Tensor, keys: Tensor, values: Tensor, query_layout: Layout, key_layout: Layout
    ) -> tuple[Tensor, ...]:
        """Rows as they are given -> query (T, N, E), key and value (S, N, E), in as few products as there can be."""
        together = self.in_proj_weight is not None and values is keys
        if together and keys is queries:
            return query_layout.pad(self.project(queries), 3)
        (query,) = query_layout.pad(self.project_query(queries))
        if together:
            return query, *key_layout.pad(self.project_memory(keys), 2)
        return query, *key_layout.pad(self._project(keys, 1, 2)), *key_layout.pad(self._project(values, 2, 3))

    def _split(self, x: Tensor) -> Tensor:
        """(T, N, E) -> (N * heads, T, E / heads), a view."""
        T, N, _ = x.shape
        return x.reshape(T, N * self.num_heads, self.head_dim).transpose(0, 1)

    def _rows(self, name: str, x: Any) -> tuple[Tensor, Layout]:
        """An input as rows, and where they lie."""
        if isinstance(x, PackedSequence):
            return x.data, Layout.of(x)
        check_tensor("MultiheadAttention", name, x)
        if x.dim() not in (2, 3):
            raise ValueError(f"MultiheadAttention: {name} has shape {x.shape}; expected 2 (unbatched) or 3 dimensions")
        steps = x.unsqueeze(1) if x.dim() == 2 else x.transpose(0, 1) if self.batch_first else x
        T, N, size = steps.shape
        return steps.reshape(T * N, size), Layout(T, N)

    def _like(self, query: Any, rows: Tensor) -> Any:
        """Rows in the form of ``query``."""
        if isinstance(query, PackedSequence):
            return query._replace(data=rows)
        if query.dim() == 2:
            return rows
        T, N = query.shape[1::-1] if self.batch_first else query.shape[:2]
        output = rows.reshape(T, N, self.embed_dim)
        return output.transpose(0, 1) if self.batch_first else output

    def _mask(self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, keys: Tensor) -> Tensor | None:
        """Both masks as numbers that are added to scores of the dtype of ``keys`` (S, N, E)."""
        masks = [] if attn_mask is None else [_added("attn_mask", attn_mask, keys)]
        if key_padding_mask is not None:
            rows = _added("key_padding_mask", key_padding_mask, keys).reshape(keys.shape[1], 1, keys.shape[0])
            masks.append(ops.repeat_interleave(rows, self.num_heads, 0))
        return sum(masks[1:], masks[0]) if masks else None


def _added(name: str, mask: Tensor, keys: Tensor) -> Tensor:
    """A mask as numbers: -inf where it is True."""
    check_tensor("MultiheadAttention", name, mask)
    if mask.dtype != np.bool_:
        return mask
    return ops.where(mask, constant(np.array(-np.inf, keys.dtype), keys), constant(np.array(0, keys.dtype), keys))
