"""Tables of many arrays, so that one launch serves all parameters of a model (tensors.cuh)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kernels.cuda.runtime.capture import kept, on_device
from kernels.cuda.runtime.geometry import CHUNK

TENSOR = np.dtype([(name, np.uint64) for name in ("param", "grad", "m", "v", "size")])
CHUNK_OF = np.dtype([("tensor", np.uint32), ("index", np.uint32)])


class Table(NamedTuple):
    """A table on the device, and how it is cut into chunks. The arrays have to outlive the launch."""

    tensors: Any  # [n] Tensor, as bytes
    chunks: Any  # [g] Chunk, as bytes
    num_chunks: int


def table(grads: Sequence[Any], params: Sequence[Any] = (), m: Sequence[Any] = (), v: Sequence[Any] = ()) -> Table:
    """The table of arrays of equal sizes, list by list; a list that is not given is not read. CuPy's pool gives a
    training loop the same memory again and again, so a table is kept under its addresses."""
    columns = {"grad": grads, "param": params, "m": m, "v": v}
    addresses = {name: tuple(array.data.ptr for array in arrays) for name, arrays in columns.items() if arrays}
    sizes = tuple(grad.size for grad in grads)
    return kept(("table", sizes, *addresses.items()), lambda: _made(addresses, sizes))


def _made(addresses: dict[str, tuple[int, ...]], sizes: tuple[int, ...]) -> Table:
    tensors = np.zeros(len(sizes), TENSOR)
    for name, column in addresses.items():
        tensors[name] = column
    tensors["size"] = sizes
    counts = [-(-size // CHUNK) for size in sizes]
    chunks = np.empty(sum(counts), CHUNK_OF)
    chunks["tensor"] = np.repeat(np.arange(len(counts)), counts)
    chunks["index"] = np.concatenate([np.arange(count) for count in counts]) if counts else 0
    return Table(on_device(tensors.view(np.uint8)), on_device(chunks.view(np.uint8)), len(chunks))
