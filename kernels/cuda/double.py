"""Caches of the oracle, which computes float64 on the device, with what `kernels.dispatch` asks of a cache."""

from typing import Any, NamedTuple

from kernels.packing import Packing


class ReferenceCache(NamedTuple):
    """Of a recurrent layer."""

    inner: Any
    packing: Packing
    hidden_size: int

    @property
    def x(self) -> Any:
        return self.inner.x

    @property
    def gates(self) -> Any:
        return self.inner.gates

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of y: (T, N, H), or (P, H) for a packed x."""
        return self.packing.shape(self.hidden_size)

    @property
    def batch_size(self) -> int:
        """N."""
        return self.packing.batch_size


class ReferenceRun(NamedTuple):
    """Of a layer on its way through the steps."""

    inner: Any
    cache: ReferenceCache
