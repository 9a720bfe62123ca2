"""One LSTM in every precision, ours and PyTorch's, with the same weights and inputs; and both in float64."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import minigrad
from gpu import device
from minigrad.nn.utils.rnn import PackedSequence

Array = np.ndarray


class Inputs:
    """Random inputs and output gradients: (T,N,H), or packed (P,H) with lengths from T down to T / 4.

    Attributes:
        lengths: (N,) of sequences that are not all equally long, or None.
        batch_sizes: (T,) sequences still running at each step, or None.
    """

    def __init__(self, T: int, N: int, H: int, ragged: bool) -> None:
        rng = np.random.default_rng([T, N, H])
        self.lengths: Array | None = None
        self.batch_sizes: Array | None = None
        shape: tuple[int, ...] = (T, N, H)
        if ragged:
            self.lengths = np.linspace(T, max(T // 4, 1), N).astype(np.int64)
            self.batch_sizes = (self.lengths > np.arange(T)[:, None]).sum(1)
            shape = (int(self.lengths.sum()), H)
        self.x, self.dy = (rng.standard_normal(shape, np.float32) for _ in range(2))


class Layer:
    """A module of one of the libraries with its inputs on the device.

    Args:
        module: an LSTM.
        x, dy: tensors of its library.
        packed: (data) -> the packed sequence that the module takes; None if it takes the data.
        within: makes the context of its precision.
        no_grad: of its library.
        convert: its tensors -> float64 arrays that can be compared.
    """

    def __init__(
        self, module: Any, x: Any, dy: Any, packed: Callable[[Any], Any] | None, within: Callable[[], Any],
        no_grad: Any, convert: Callable[[Any], Any],
    ) -> None:  # fmt: skip
        self._module, self._x, self._dy, self._packed = module, x, dy, packed
        self._within, self._no_grad, self._convert = within, no_grad, convert

    def _forward(self) -> tuple[Any, Any, Any]:
        """Outputs without their packing, and the last states."""
        with self._within():
            y, (h, c) = self._module(self._packed(self._x) if self._packed else self._x)
        return y.data if self._packed else y, h, c

    def step(self, backward: bool) -> Callable[[], Any]:
        """Forward without a tape, or forward and backward with new gradients.

        The module is in the mode for it: in training cuDNN writes what a backward needs, even where none follows.
        """
        self._module.train(backward)
        if not backward:
            return self._without_gradients
        return self._with_gradients

    def _without_gradients(self) -> None:
        with self._no_grad():
            self._forward()

    def _with_gradients(self) -> tuple[Any, Any, Any]:
        for parameter in (self._x, *self._module.parameters()):
            parameter.grad = None
        y, h, c = self._forward()
        y.backward(self._dy)
        return y, h, c

    def results(self) -> dict[str, Any]:
        """Outputs, last states, and the gradients, whose names start with "d"."""
        self._module.train()
        y, h, c = self._with_gradients()
        found = {"y": y, "h": h, "c": c, "dx": self._x.grad}
        found |= {f"d{name}": parameter.grad for name, parameter in self._module.named_parameters()}
        return {name: self._convert(tensor) for name, tensor in found.items()}


class Networks:
    """The weights of an LSTM from H to H, U(-H**-0.5, H**-0.5), and the modules made of them."""

    def __init__(self, layers: int, H: int) -> None:
        self.layers, self.H = layers, H
        rng = np.random.default_rng([layers, H])
        self._weights: dict[str, Array] = {}
        for layer in range(layers):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                shape = (4 * H, H) if name.startswith("weight") else (4 * H,)
                self._weights[f"{name}_l{layer}"] = (rng.random(shape, np.float32) * 2 - 1) * np.float32(H**-0.5)
        self._modules: dict[str, Any] = {}

    def ours(self, precision: str, inputs: Inputs) -> Layer:
        """Ours: float32, or float64 for "fp64"."""
        dtype = np.float64 if precision == "fp64" else np.float32
        module = self._made(f"ours {np.dtype(dtype)}", lambda: self._our_module(dtype))
        x, dy = (minigrad.from_numpy(array.astype(dtype)).to("cuda") for array in (inputs.x, inputs.dy))
        packed = None
        if inputs.batch_sizes is not None:
            packed = partial(PackedSequence, batch_sizes=minigrad.from_numpy(inputs.batch_sizes))
        within = partial(our_precision, precision)
        return Layer(module, x.requires_grad_(), dy, packed, within, minigrad.no_grad, our_values)

    def peer(self, precision: str, inputs: Inputs) -> Layer | None:
        """PyTorch's, or None without it."""
        torch = device.torch()
        if torch is None:
            return None
        kinds = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}
        dtype = kinds.get(precision, torch.float32)
        module = self._made(f"peer {dtype}", lambda: self._peer_module(torch, dtype))
        x, dy = (torch.from_numpy(array).to(device.TORCH_DEVICE, dtype) for array in (inputs.x, inputs.dy))
        packed = None
        if inputs.batch_sizes is not None:
            sequence = torch.nn.utils.rnn.PackedSequence
            packed = partial(sequence, batch_sizes=torch.from_numpy(inputs.batch_sizes))
        within = partial(peer_precision, torch, precision)
        return Layer(module, x.requires_grad_(), dy, packed, within, torch.no_grad, peer_values)

    def reference(self, inputs: Inputs) -> Layer:
        """In float64: PyTorch's where it is installed, else ours."""
        return self.peer("fp64", inputs) or self.ours("fp64", inputs)

    def _made(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self._modules:
            self._modules[key] = make()
        return self._modules[key]

    def _our_module(self, dtype: Any) -> Any:
        module = minigrad.nn.LSTM(self.H, self.H, self.layers)
        module.load_state_dict({name: minigrad.from_numpy(array) for name, array in self._weights.items()})
        return (module.double() if dtype == np.float64 else module).to("cuda")

    def _peer_module(self, torch: Any, dtype: Any) -> Any:
        module = torch.nn.LSTM(self.H, self.H, self.layers)
        module.load_state_dict({name: torch.from_numpy(array) for name, array in self._weights.items()})
        return module.to(device.TORCH_DEVICE, dtype)


def our_precision(precision: str) -> Any:
    """The context in which ours computes so."""
    minigrad.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    if precision in ("bf16", "fp16"):
        return minigrad.autocast("cuda", dtype=half_type(precision))
    return contextlib.nullcontext()


def half_type(precision: str) -> Any:
    """bfloat16, or float16 where that is asked for and autocast takes it."""
    if precision == "fp16":
        with contextlib.suppress(ValueError):
            minigrad.autocast("cuda", dtype=minigrad.float16)
            return minigrad.float16
    return minigrad.bfloat16


def peer_precision(torch: Any, precision: str) -> Any:
    """The same of PyTorch; its types are those of weights and inputs."""
    allowed = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    return contextlib.nullcontext()


def our_values(tensor: Any) -> Any:
    """float64, as a tensor of PyTorch on the device where there is PyTorch, else as an array of the host."""
    torch = device.torch()
    if torch is None or device.SIMULATED:
        values = tensor.detach().cpu().numpy().astype(np.float64)
        return values if torch is None else torch.from_numpy(values)
    return torch.from_dlpack(tensor.detach().array).double()


def peer_values(tensor: Any) -> Any:
    """float64, detached."""
    return tensor.detach().double()
