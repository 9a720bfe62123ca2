"""Twins: the same program run with PyTorch and with minigrad from the same numbers, everything compared."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


class Framework(NamedTuple):
    """One of the two libraries under the names programs use."""

    torch: ModuleType
    nn: ModuleType
    F: ModuleType
    optim: ModuleType


def framework(name: str) -> Framework:
    modules = ("", ".nn", ".nn.functional", ".optim")
    return Framework(*(importlib.import_module(name + module) for module in modules))


def to_numpy(tensor: Any) -> np.ndarray:
    return np.array(tensor.detach().numpy())


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that depend on the name only."""
    return np.random.default_rng(zlib.crc32(name.encode())).normal(0, 0.5, shape)


def assert_close(name: str, ours: np.ndarray, theirs: np.ndarray, dtype: str) -> None:
    """Equal shape, dtype and values, to ``TOLERANCE`` of the largest value."""
    assert ours.shape == theirs.shape, name
    assert ours.dtype == theirs.dtype, name
    scale = np.abs(theirs[np.isfinite(theirs)]).max(initial=1e-30)
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale, err_msg=name)


class Twins:
    """Runs programs in both libraries."""

    def __init__(self) -> None:
        pytest.importorskip("torch")
        self.theirs, self.ours = framework("torch"), framework("minigrad")

    def check(
        self,
        run: Callable[..., Any],
        inputs: dict[str, np.ndarray],
        dtype: str,
        build: Callable[[Framework], Any] | None = None,
    ) -> None:
        """``run(framework, module, **inputs)`` returns tensors; they and all gradients must agree.

        Args:
            run: the program.
            inputs: floating arrays become leaves of ``dtype`` that require gradients, integer arrays tensors.
            dtype: "float32" or "float64".
            build: makes the module, whose parameters are then overwritten with the same numbers in both.
        """
        ours, theirs = (self._evaluate(lib, run, inputs, dtype, build) for lib in (self.ours, self.theirs))
        assert ours.keys() == theirs.keys()
        for name in theirs:
            assert_close(name, ours[name], theirs[name], dtype)

    def _evaluate(self, lib: Framework, run: Any, inputs: dict, dtype: str, build: Any) -> dict[str, np.ndarray]:
        module = None if build is None else self.filled(lib, build(lib).to(getattr(lib.torch, dtype)))
        leaves = {name: self.leaf(lib, array, dtype) for name, array in inputs.items()}
        outputs = run(lib, module, **leaves)
        outputs = outputs if isinstance(outputs, tuple | list) else [outputs]
        total = sum((out * lib.torch.tensor(draw("cotangent", out.shape)).to(out.dtype)).sum() for out in outputs)
        total.backward()
        found = {f"output {i}": to_numpy(out) for i, out in enumerate(outputs)}
        params = {} if module is None else dict(module.named_parameters())
        for name, tensor in {**leaves, **params}.items():
            if tensor.grad is not None:
                found[f"gradient of {name}"] = to_numpy(tensor.grad)
        return found

    @staticmethod
    def leaf(lib: Framework, array: np.ndarray, dtype: str) -> Any:
        if array.dtype.kind != "f":
            return lib.torch.tensor(array)
        return lib.torch.tensor(array.astype(dtype), requires_grad=True)

    @staticmethod
    def filled(lib: Framework, module: Any) -> Any:
        """The module with every parameter set to numbers that depend on its name."""
        with lib.torch.no_grad():
            for name, param in module.named_parameters():
                param.copy_(lib.torch.tensor(draw(name, tuple(param.shape))))
        return module


@pytest.fixture(scope="session")
def twins() -> Twins:
    return Twins()


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return request.param
