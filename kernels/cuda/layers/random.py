"""Philox4x32-10 on the device. See `kernels.reference.random` for the definition and its source."""

from typing import Any

import numpy as np

from kernels.cuda.runtime import capture, geometry
from kernels.cuda.runtime.capture import on_device
from kernels.cuda.runtime.launcher import current_device, module


def key(seed: int, step: int) -> Any:
    """What the words of a training step are keyed by, where kernels read it: (2,) uint64."""
    recording = capture.current()
    return on_device(np.array([seed, step], np.uint64)) if recording is None else recording.key(seed, step)


def random_bits(count: int, seed: int, step: int, site: int) -> Any:
    """See `kernels.random_bits`."""
    words = current_device().cupy.empty(count, np.uint32)
    arguments = words, key(seed, step), np.uint32(site), np.uint64(count)
    module("layers/random_bits").random_bits(geometry.random_bits(count), arguments)
    return words
