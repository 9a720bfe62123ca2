"""Shared by the kernel tests: the two recurrent layers as one table, packed rows, inputs, and a gradient checker."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import kernels
from kernels import reference
from kernels.packing import Packing, equal_lengths, pack_lengths

Arrays = dict[str, Any]
Padded = tuple[Any, np.ndarray, int]  # a cache, the lengths, T


def places(lengths: Any) -> tuple[np.ndarray, np.ndarray]:
    """(P,) step and row of each token: step by step, the longest row first, equally long ones as they come."""
    order = sorted(range(len(lengths)), key=lambda n: -lengths[n])
    found = [(t, n) for t in range(max(lengths, default=0)) for n in order if t < lengths[n]]
    steps, rows = np.array(found, np.int64).reshape(-1, 2).T
    return steps, rows


def pack(sequence: np.ndarray, lengths: Any) -> np.ndarray:
    """(T, N, F) -> (P, F)."""
    return sequence[places(lengths)]


def unpack(tokens: np.ndarray, lengths: Any, T: int) -> np.ndarray:
    """(P, F) -> (T, N, F), zero where there is no token."""
    sequence = np.zeros((T, len(lengths), tokens.shape[1]), tokens.dtype)
    sequence[places(lengths)] = tokens
    return sequence


def counts_of(x: np.ndarray, lengths: Any) -> np.ndarray:
    """(N,) tokens of each row of x (T, N, I); T without lengths."""
    return np.full(x.shape[1], len(x)) if lengths is None else np.asarray(lengths, np.int64)


def packing_of(x: np.ndarray, lengths: Any) -> Packing:
    """Of x (T, N, I)."""
    return equal_lengths(len(x), x.shape[1]) if lengths is None else pack_lengths(lengths)


@dataclass(frozen=True)
class Layer:
    """A recurrent layer: its backward returns one gradient per input, in the order of inputs."""

    name: str
    num_gates: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def sample(self, rng: np.random.Generator, T: int, N: int, I: int, H: int, dtype: Any = np.float64) -> Arrays:  # noqa: E741
        rows = self.num_gates * H
        shapes = {"x": (T, N, I), "h0": (N, H), "c0": (N, H), "weight_ih": (rows, I), "weight_hh": (rows, H)}
        return {name: normal(rng, shapes.get(name, (rows,)), dtype) for name in self.inputs}

    def sample_gradients(self, rng: np.random.Generator, inputs: Arrays) -> Arrays:
        """A random incoming gradient for every output."""
        (T, N, _), (_, H) = inputs["x"].shape, inputs["h0"].shape
        shapes = {"y": (T, N, H)}
        return {name: normal(rng, shapes.get(name, (N, H)), inputs["x"].dtype) for name in self.outputs}

    def packed(self, backend: ModuleType, inputs: Arrays, packing: Packing, bf16: bool = False) -> tuple[Arrays, Any]:
        """Outputs by name, and the cache; x and y are packed."""
        *outputs, cache = getattr(backend, f"{self.name}_forward")(**inputs, packing=packing, bf16=bf16)
        return dict(zip(self.outputs, outputs, strict=True)), cache

    def packed_backward(self, backend: ModuleType, grad_outputs: Arrays, cache: Any) -> Arrays:
        grads = getattr(backend, f"{self.name}_backward")(*map(grad_outputs.get, self.outputs), cache)
        return dict(zip(self.inputs, grads, strict=True))

    def forward(
        self, backend: ModuleType, inputs: Arrays, lengths: Any = None, bf16: bool = False
    ) -> tuple[Arrays, Padded]:
        """The same with x (T, N, I) and y (T, N, H), so that tests can speak of steps and rows."""
        x, counts = inputs["x"], counts_of(inputs["x"], lengths)
        outputs, cache = self.packed(backend, inputs | {"x": pack(x, counts)}, packing_of(x, lengths), bf16)
        return outputs | {"y": unpack(outputs["y"], counts, len(x))}, (cache, counts, len(x))

    def backward(self, backend: ModuleType, grad_outputs: Arrays, padded: Padded) -> Arrays:
        cache, counts, T = padded
        if "y" in grad_outputs:
            grad_outputs = grad_outputs | {"y": pack(grad_outputs["y"], counts)}
        grads = self.packed_backward(backend, grad_outputs, cache)
        return grads | {"x": unpack(grads["x"], counts, T)}


LSTM = Layer("lstm", 4, ("x", "h0", "c0", "weight_ih", "weight_hh", "bias"), ("y", "h_n", "c_n"))
GRU = Layer("gru", 3, ("x", "h0", "weight_ih", "weight_hh", "bias_ih", "bias_hh"), ("y", "h_n"))


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return (0.7 * rng.standard_normal(shape)).astype(dtype)


@pytest.fixture(scope="session", params=[LSTM, GRU], ids=lambda layer: layer.name)
def layer(request: pytest.FixtureRequest) -> Layer:
    return request.param


@pytest.fixture(scope="session", params=[reference, kernels], ids=["reference", "cpu"])
def backend(request: pytest.FixtureRequest) -> ModuleType:
    """The oracle, and the public entries over the CPU kernels."""
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def check_gradients(count_case: Callable[[], None]) -> Callable[..., None]:
    """check(loss, inputs, grads): every gradient against a central difference along one random direction."""

    def check(loss: Callable[[Arrays], float], inputs: Arrays, grads: Arrays, eps: float = 1e-5) -> None:
        rng = np.random.default_rng(99)
        for name, grad in grads.items():
            # Entries bounded away from zero: every element of the gradient takes part.
            direction = rng.choice([-1.0, 1.0], grad.shape) * rng.uniform(0.5, 1.5, grad.shape)
            ahead, behind = (loss({**inputs, name: inputs[name] + sign * eps * direction}) for sign in (1, -1))
            numeric, analytic = (ahead - behind) / (2 * eps), float((grad * direction).sum())
            count_case()
            assert analytic == pytest.approx(numeric, rel=1e-6, abs=1e-8), f"gradient of {name}"

    return check
