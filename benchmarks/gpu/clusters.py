"""How many clusters of blocks a device can run at once: asked of the driver itself, since CuPy does not offer it.

Layouts as in cuda.h of CUDA 12 and 13 (CUlaunchConfig, CUlaunchAttribute).
"""

from __future__ import annotations

import ctypes
from typing import Any

from kernels.cuda.runtime.geometry import Launch

CLUSTER_DIMENSION = 4  # CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
NON_PORTABLE_ALLOWED = 14  # CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED: more than 8 blocks


class Attribute(ctypes.Structure):
    """CUlaunchAttribute: an id, padding, and a union of 64 bytes."""

    _fields_ = (("id", ctypes.c_uint), ("padding", ctypes.c_uint), ("value", ctypes.c_uint * 16))


class Config(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3), ("shared_bytes", ctypes.c_uint),
        ("stream", ctypes.c_void_p), ("attributes", ctypes.POINTER(Attribute)), ("num_attributes", ctypes.c_uint),
    )  # fmt: skip


def active_clusters(kernel: Any, launch: Launch, size: int) -> int:
    """Clusters of ``size`` blocks of a kernel of ours that fit on the device together; RuntimeError from the driver."""
    driver = ctypes.CDLL("libcuda.so.1")
    function = ctypes.c_void_p(kernel._prepared(launch).kernel.ptr)
    if size > 8:
        expect(driver.cuFuncSetAttribute(function, NON_PORTABLE_ALLOWED, 1))
    attribute = Attribute(CLUSTER_DIMENSION, 0, (ctypes.c_uint * 16)(size, 1, 1))
    config = Config(
        (ctypes.c_uint * 3)(size, 1, 1), (ctypes.c_uint * 3)(launch.block[0], 1, 1), launch.shared_bytes, None,
        ctypes.pointer(attribute), 1,
    )  # fmt: skip
    count = ctypes.c_int()
    expect(driver.cuOccupancyMaxActiveClusters(ctypes.byref(count), function, ctypes.byref(config)))
    return count.value


def expect(code: int) -> None:
    if code:
        raise RuntimeError(f"the driver answers with error {code}")
