"""Conversions, rows by index, scaling, random words: every element written, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Rig, device, poisoned

from kernels import reference
from kernels.cuda.recurrent.pack import bf16_bits, bf16_values
from kernels.cuda.runtime import geometry

SIZES = [0, 1, 255, 1024, 1025, 5000]
TYPES = {"f32": np.float32, "bf16": np.uint16}


def numbers(*shape: int) -> np.ndarray:
    """float32, with what is special among the first."""
    x = np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)
    special = np.float32([np.nan, np.inf, -np.inf, -0.0, 1e-40, 3.4e38, 1 + 2**-8])
    x.reshape(-1)[: special.size] = special[: x.size]
    return x


@pytest.mark.parametrize("size", SIZES)
def test_conversion_there_and_back(rig: Rig, size: int) -> None:
    x, short, back = numbers(size), poisoned(size, np.uint16), poisoned(size, np.float32)
    module, launch = rig.module("runtime/convert.cu"), geometry.convert(size)
    module.f32_to_bf16(launch, (device(x), short, np.uint64(size)))
    np.testing.assert_array_equal(short, bf16_bits(x))
    module.bf16_to_f32(launch, (short, back, np.uint64(size)))
    np.testing.assert_array_equal(back.view(np.uint32), bf16_values(bf16_bits(x)).view(np.uint32))


@pytest.mark.parametrize(("R", "C"), [(1, 1), (4, 300), (7, 33), (0, 5), (100, 3), (2, 1500)])
@pytest.mark.parametrize("suffix", TYPES)
def test_gather_rows(rig: Rig, R: int, C: int, suffix: str) -> None:
    check_gather(rig, R, C, suffix)


def check_gather(rig: Rig, R: int, C: int, suffix: str) -> None:
    x, index = numbers(9, C), np.random.default_rng(R).integers(-1, 9, R)
    index[:1] = -1
    out = poisoned((R, C), TYPES[suffix])
    given = device(bf16_bits(x)) if suffix == "bf16" else device(x)
    arguments = given, device(index), out, np.int32(R), np.int32(C)
    getattr(rig.module("runtime/convert.cu"), f"gather_rows_{suffix}")(geometry.row_blocks(R, C), arguments)
    want = np.where((index < 0)[:, None], np.float32(0), x[index])
    np.testing.assert_array_equal(out, bf16_bits(want) if suffix == "bf16" else want)


@pytest.mark.parametrize(("R", "C"), [(1, 1), (4, 300), (2, 1500)])
def test_fill_rows(rig: Rig, R: int, C: int) -> None:
    row, out = numbers(C), poisoned((R, C), np.float32)
    rig.module("runtime/convert.cu").fill_rows(geometry.row_blocks(R, C), (device(row), out, np.int32(R), np.int32(C)))
    np.testing.assert_array_equal(out, np.broadcast_to(row, (R, C)))


@pytest.mark.parametrize("size", SIZES)
def test_scale_by(rig: Rig, size: int) -> None:
    x = numbers(size)
    on_device, factor = device(x), np.float32(0.3)
    rig.module("runtime/convert.cu").scale_by(geometry.convert(size), (on_device, device([factor]), np.uint64(size)))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(on_device, x * factor)


@pytest.mark.parametrize("count", SIZES)
def test_random_bits(rig: Rig, count: int) -> None:
    check_random_bits(rig, count)


def check_random_bits(rig: Rig, count: int) -> None:
    seed, step, site, out = 2**40 + 17, 2**33 + 5, 3, poisoned(count, np.uint32)
    arguments = out, device([seed, step], np.uint64), np.uint32(site), np.uint64(count)
    rig.module("layers/random_bits.cu").random_bits(geometry.random_bits(count), arguments)
    np.testing.assert_array_equal(out, reference.random_bits(count, seed, step, site))
