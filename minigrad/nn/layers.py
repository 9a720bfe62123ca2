"""Linear, Embedding, LayerNorm, Dropout, Identity, Flatten: layers of one op each.

Contract: parameter names, shapes and default distributions of PyTorch, so weights move both ways.
"""

from __future__ import annotations

import math
from typing import Any

from minigrad import creation
from minigrad.grad_mode import no_grad
from minigrad.nn import functional as F
from minigrad.nn import init
from minigrad.nn.checks import (
    check_int,
    check_not_negative,
    check_number,
    check_probability,
    check_tensor,
    reject,
    row_index,
)
from minigrad.nn.module import Module
from minigrad.nn.parameter import Parameter
from minigrad.tensor import Tensor


class Identity(Module):
    """Returns its input; accepts and ignores any arguments, to stand in for another layer."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Linear(Module):
    """y = x W^T + b.

    Args:
        in_features, out_features: sizes of the last dimension of x and y.
        bias: whether b exists.

    ``weight`` (out_features, in_features) and ``bias`` (out_features,) start from U(-k, k), k = 1 / sqrt(in_features).
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        check_not_negative("Linear", in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(creation.empty(out_features, in_features, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(creation.empty(out_features, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
        for param in self.parameters():
            init.uniform_(param, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """x (..., in_features) -> (..., out_features)."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """A table of vectors looked up by integer ids.

    Args:
        num_embeddings, embedding_dim: shape of ``weight``, drawn from N(0, 1).
        padding_idx: id whose row starts as zeros and receives no gradient; negative counts from the end.
        sparse: whether ``weight.grad`` is a RowGradient. An update is the same to the bit (clipped, in float64,
            but for the last bit of the norm), but costs only the rows that were used; see ``optim.Adam``.
    """

    weight: Parameter
    row_factors: Tensor | None = None  # (num_embeddings, 1), in ``nn.utils.embedding_drop``

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        reject("Embedding", max_norm=max_norm, scale_grad_by_freq=scale_grad_by_freq)
        super().__init__()
        check_not_negative("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = row_index("Embedding", padding_idx, num_embeddings)
        self.sparse = sparse
        self.weight = Parameter(creation.empty(num_embeddings, embedding_dim, device=device, dtype=dtype))
        self.reset_parameters()

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None, sparse: bool = False
    ) -> Embedding:
        """An Embedding on given vectors.

        Args:
            embeddings: (num_embeddings, embedding_dim), shared, not copied.
            freeze: whether the vectors stay as they are during training.
            padding_idx: as in the constructor, except that the row keeps its values.
            sparse: as in the constructor.
        """
        check_tensor("from_pretrained", "embeddings", embeddings)
        if embeddings.dim() != 2:
            raise ValueError(f"from_pretrained: embeddings has shape {tuple(embeddings.shape)}; expected 2 dimensions")
        layer = cls(0, embeddings.shape[1], sparse=sparse)
        layer.num_embeddings = embeddings.shape[0]
        layer.padding_idx = row_index("Embedding", padding_idx, layer.num_embeddings)
        layer.weight = Parameter(embeddings, requires_grad=not freeze)
        return layer

    def reset_parameters(self) -> None:
        """Draw new initial values; the padding row is zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0

    def forward(self, input: Tensor) -> Tensor:
        """ids, any shape, int -> (*shape, embedding_dim)."""
        rows = F.embedding(input, self.weight, self.padding_idx, sparse=self.sparse)
        return rows if self.row_factors is None else rows * F.embedding(input, self.row_factors)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}{', sparse=True' if self.sparse else ''}"


class LayerNorm(Module):
    """(x - mean) / sqrt(variance + eps) over the last dimensions, scaled and shifted.

    Args:
        normalized_shape: the sizes of the last dimensions; an integer for the last one.
        eps: added to the variance.
        elementwise_affine: whether ``weight`` and ``bias``, of shape ``normalized_shape``, exist.
        bias: whether ``bias`` does.

    ``weight`` starts as ones, ``bias`` as zeros.

    Source: Ba, Kiros and Hinton, "Layer normalization" (2016).
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...] | list[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        shape = normalized_shape if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
        for size in shape:
            check_not_negative("LayerNorm", normalized_shape=size)
        check_number("LayerNorm", "eps", eps)
        self.normalized_shape = tuple(shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        for name, exists in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            values = creation.empty(self.normalized_shape, device=device, dtype=dtype) if exists else None
            self.register_parameter(name, None if values is None else Parameter(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Ones and zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """(..., *normalized_shape) -> the same shape."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


class Dropout(Module):
    """During training, zero each element with probability ``p`` and scale the others by 1 / (1 - p).

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014).
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_probability("Dropout", "p", p)
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Flatten(Module):
    """Merge the dimensions ``start_dim`` to ``end_dim`` into one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        check_int("Flatten", "start_dim", start_dim)
        check_int("Flatten", "end_dim", end_dim)
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        check_tensor("Flatten", "input", input)
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
