"""Shared by the kernel tests: the two recurrent layers as one table, sample inputs, and a gradient checker."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import kernels
from kernels import reference

Arrays = dict[str, Any]


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

    def forward(self, backend: ModuleType, inputs: Arrays, lengths: Any = None) -> tuple[Arrays, Any]:
        *outputs, cache = getattr(backend, f"{self.name}_forward")(**inputs, lengths=lengths)
        return dict(zip(self.outputs, outputs, strict=True)), cache

    def backward(self, backend: ModuleType, grad_outputs: Arrays, cache: Any) -> Arrays:
        grads = getattr(backend, f"{self.name}_backward")(*map(grad_outputs.get, self.outputs), cache)
        return dict(zip(self.inputs, grads, strict=True))


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
