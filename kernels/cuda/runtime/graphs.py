"""CUDA graphs of launches that come again: a loop over time steps costs the host one launch instead of two per step.

A graph is bound to the addresses of its arrays. Instead of copying into arrays of its own, it is kept under a key that
holds every address: CuPy's pool gives a training loop the same memory again and again, so the key of a batch shape
comes back after a step or two. The first time a key is seen the launches are made one by one, the second time they are
captured. A graph keeps nothing alive, and none is ever launched on other memory than that of the call.
"""

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from kernels.cuda.runtime import cublas
from kernels.cuda.runtime.launcher import current_device
from kernels.cuda.runtime.switches import switches
from kernels.switches import tf32_allowed

LEAST_STEPS = 4  # a shorter loop is not worth a graph
KEPT = 64

_graphs: OrderedDict[tuple[Any, ...], Any] = OrderedDict()  # None: seen once
_streams: dict[Any, Any] = {}


def run(work: Callable[[], None], steps: int, *key: Any) -> None:
    """Enqueue what `work` launches, a loop of so many steps.

    Args:
        work: makes launches and products and nothing else: no allocation, no copy, no wait.
        steps: its length.
        key: all that the launches depend on: addresses of arrays, sizes, and what else tells them from others.
    """
    device = current_device()
    stream = device.cupy.cuda.get_current_stream()
    if not switches.step_graphs or steps < LEAST_STEPS or stream.is_capturing():
        work()
        return
    key = id(device), tf32_allowed(), *key
    known = key in _graphs
    graph = _graphs.setdefault(key, None)
    _graphs.move_to_end(key)
    if len(_graphs) > KEPT:
        _graphs.popitem(last=False)
    if known and graph is None:
        graph = _graphs[key] = _captured(device, work)
    if graph is None:
        work()
    else:
        graph.launch()


def _captured(device: Any, work: Callable[[], None]) -> Any:
    """The graph of the launches, of which none is made; None where the device refuses, and then never again."""
    if device not in _streams:
        _streams[device] = device.cupy.cuda.Stream(non_blocking=True)
    stream = _streams[device]
    try:
        with stream:
            cublas.handle()  # allocates, which a capture does not allow
            stream.begin_capture()
            try:
                work()
            finally:
                graph = stream.end_capture()
    except RuntimeError as error:
        switches.step_graphs = False
        warnings.warn(f"no CUDA graph could be made ({error}); layers go on without", stacklevel=2)
        return None
    return graph


def address(array: Any) -> int:
    """Of an array, for a key; 0 for None."""
    return 0 if array is None else array.data.ptr
