"""No tensor is of float16 or bfloat16: whichever way one is asked for, one sentence says what there is instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, nn

HALVES = {"float16": minigrad.float16, "bfloat16": minigrad.bfloat16, "numpy": np.float16, "name": "float16"}
WAYS = {
    "tensor": lambda d: minigrad.tensor([1.0], dtype=d),
    "as_tensor": lambda d: minigrad.as_tensor(np.ones(2), dtype=d),
    "zeros": lambda d: minigrad.zeros(2, dtype=d),
    "ones": lambda d: minigrad.ones(2, dtype=d),
    "empty": lambda d: minigrad.empty(2, dtype=d),
    "full": lambda d: minigrad.full((2,), 1.0, dtype=d),
    "arange": lambda d: minigrad.arange(3, dtype=d),
    "linspace": lambda d: minigrad.linspace(0, 1, 3, dtype=d),
    "eye": lambda d: minigrad.eye(2, dtype=d),
    "randn": lambda d: minigrad.randn(2, dtype=d),
    "rand": lambda d: minigrad.rand(2, dtype=d),
    "randint": lambda d: minigrad.randint(3, (2,), dtype=d),
    "zeros_like": lambda d: minigrad.zeros_like(minigrad.ones(2), dtype=d),
    "full_like": lambda d: minigrad.full_like(minigrad.ones(2), 1, dtype=d),
    "new_zeros": lambda d: minigrad.ones(2).new_zeros(2, dtype=d),
    "to": lambda d: minigrad.ones(2).to(dtype=d),
    "cast": lambda d: minigrad.cast(minigrad.ones(2), d),
    "type": lambda d: minigrad.ones(2).type(d),
    "sum": lambda d: minigrad.ones(2).sum(dtype=d),
    "softmax": lambda d: minigrad.ones(2).softmax(0, dtype=d),
    "Linear": lambda d: nn.Linear(2, 2, dtype=d),
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("way", WAYS)
def test_a_dtype_of_16_bits_is_refused(way: str, dtype: str) -> None:
    with pytest.raises(
        TypeError, match=r"dtype b?float16 is not supported; expected .* float32 or float64; .* autocast"
    ):
        WAYS[way](HALVES[dtype])


@pytest.mark.parametrize("dtype", [minigrad.float16, minigrad.bfloat16])
def test_as_the_only_argument_of_to(dtype: Any) -> None:
    for move in (minigrad.ones(2).to, nn.Linear(2, 2).to):
        with pytest.raises(TypeError, match=r"dtype b?float16 is not supported"):
            move(dtype)


@pytest.mark.parametrize(
    "call",
    [
        lambda: minigrad.ones(2).half(),
        lambda: minigrad.ones(2).bfloat16(),
        lambda: minigrad.ones(2).type("torch.HalfTensor"),
        lambda: Tensor(np.ones(2, np.float16)),
        lambda: minigrad.tensor(np.ones(2, np.float16)),
        lambda: minigrad.tensor(np.float16(1)),
        lambda: minigrad.from_numpy(np.ones(2, np.float16)),
        lambda: minigrad.as_tensor(np.ones(2, np.float16)),
        lambda: minigrad.ones(2) + np.ones(2, np.float16),
    ],
)
def test_arrays_and_methods(call: Any) -> None:
    with pytest.raises(TypeError, match=r"dtype b?float16 is not supported"):
        call()


@pytest.mark.parametrize("array", [np.ones(2, complex), np.array(["a"]), np.array([None]), np.ones(2, ">f4")])
def test_other_dtypes_are_refused(array: np.ndarray) -> None:
    with pytest.raises(TypeError, match=r"is not supported; expected bool, an integer dtype, float32 or float64$"):
        minigrad.from_numpy(array)


def test_files(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    with pytest.raises(TypeError, match="save: w has dtype float16; expected bool, integers or floating numbers of 32"):
        minigrad.save({"w": np.ones(2, np.float16)}, tmp_path / "ours")
    save_file({"w": np.ones(2, np.float16), "b": np.ones(2, np.float32)}, tmp_path / "theirs")
    with pytest.raises(ValueError, match=r"theirs: w has dtype F16, which is not supported; convert it to F32"):
        minigrad.load(tmp_path / "theirs")
    header = json.dumps({"w": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "bf16").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(ValueError, match=r"bf16: w has dtype BF16, which is not supported"):
        minigrad.load(tmp_path / "bf16")


def test_a_network_takes_no_half_weights() -> None:
    weights = {"weight": np.ones((2, 2), np.float16), "bias": np.ones(2, np.float16)}
    with pytest.raises(TypeError, match="dtype float16 is not supported"):
        nn.Linear(2, 2).load_state_dict(weights)
