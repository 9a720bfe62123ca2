"""Tensor: an array, its place on the tape, and PyTorch's methods (plain ops are attached in ``minigrad.methods``).

A tensor is a leaf (made by the user) or an output of a node, to which ``_edge`` leads. Tensors that share memory share
a Version, a counter that every in-place change raises: it is how backward notices that a saved array has changed, and
how a view taken before such a change is refused afterwards instead of giving a silently wrong gradient.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import kernels
from minigrad.deferred import PartGradient
from minigrad.device import CPU, device_of, two_devices, use
from minigrad.device import device as Device
from minigrad.dtypes import SUPPORTED, bool_, float32, int64, is_floating, unsupported
from minigrad.leaves import Gradient, GradientHooks, SparseGradient
from minigrad.tape import Edge, Node, Version, walk_back


class View(NamedTuple):
    """How a view was taken: ``function.apply(base, *constants)``."""

    base: Tensor
    function: Any
    constants: tuple


class Tensor:
    """An n-dimensional array that remembers how it was computed.

    Args:
        data: ndarray (or CuPy's, on a GPU), kept without a copy, of dtype bool, an integer, float32 or float64. As in
            PyTorch, nested lists become float32, and integers are the sizes of a new float32 tensor: ``Tensor(2, 3)``
            (of zeros here, so that nothing depends on what lay in memory).
        requires_grad: record what is computed from it; only for floating dtypes.

    Raises:
        TypeError: another dtype, such as float16. RuntimeError: a gradient is asked for integers.
    """

    __slots__ = (
        "__weakref__", "_edge", "_grad", "_seen", "_view", "array", "hooks", "requires_grad", "version",
    )  # fmt: skip
    __array_ufunc__ = None  # ndarray + Tensor is left to Tensor.__radd__
    is_sparse = False  # only gradients can be: SparseGradient

    def __init__(self, data: Any = (), *sizes: int, requires_grad: bool = False) -> None:
        if isinstance(data, np.ndarray):
            self.array = data
        elif isinstance(data, np.generic):
            self.array = np.asarray(data)
        elif kernels.on_device(data):
            self.array, use.started = data, True
        elif isinstance(data, int):
            self.array = np.zeros(_checked_sizes((data, *sizes)), float32)
        else:
            self.array = data.array.astype(float32) if isinstance(data, Tensor) else _floats(data)
        if self.array.dtype not in SUPPORTED:
            raise unsupported("Tensor", self.array.dtype)
        if requires_grad and not is_floating(self.array.dtype):
            raise RuntimeError(f"Tensor: only floating tensors can require gradients; got dtype {self.array.dtype}")
        self.requires_grad = requires_grad
        self._grad: Any = None  # Tensor, RowGradient, None
        self._edge: Edge | None = None  # of a result: to its node
        self.version = Version()
        self._seen = 0
        self._view: View | None = None
        self.hooks: GradientHooks | None = None  # of a leaf; a result's are at its node

    # --- the tape -------------------------------------------------------------------------------------------------
    def attach(self, node: Node, index: int) -> None:
        """Make this tensor output ``index`` of ``node``."""
        self._edge = Edge(node, index, None, self.array.shape, self.array.dtype)
        self.requires_grad = True

    def become_view(self, view: View) -> None:
        """Share the version of the tensor whose memory this one shows."""
        self.version, self._seen, self._view = view.base.version, view.base.version.value, view

    def take_place_of(self, fresh: Tensor) -> None:
        """Continue on the tape where ``fresh``, a tensor over the same memory, stands."""
        retained, former = self.retains_grad, self._edge
        self._edge, self.requires_grad, self._seen = fresh._edge, fresh.requires_grad, self.version.value
        if retained and former is not None:
            former.hooks().keeper = None
            if self._edge is not None:
                self._edge.hooks().keeper = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        """Whether it is no leaf and keeps its gradient all the same, as ``retain_grad()`` asks for."""
        keeper = None if self._edge is None else self._edge.keeper()
        return keeper is not None and keeper() is self

    def edge(self) -> Edge:
        """Where a gradient of this tensor goes."""
        if self._edge is not None:
            return self._edge
        return Edge(None, 0, self if self.requires_grad else None, self.array.shape, self.array.dtype)

    def check_not_stale(self, user: str) -> None:
        """Refuse a view whose memory was assigned to, on the tape, after the view was taken."""
        if self._view and self._seen != self.version.value and (self._edge is not None or self.version.recorded):
            raise RuntimeError(
                f"{user}: this view was taken before an in-place assignment to the tensor it views; take the view again"
            )

    def changed_in_place(self, recorded: bool = False) -> None:
        """Note that this tensor's memory was written; a view that was out of date before stays so."""
        current = self._view is None or self._seen == self.version.value
        self.version.value += 1
        self.version.recorded |= recorded
        if current:
            self._seen = self.version.value

    @property
    def is_leaf(self) -> bool:
        return self._edge is None

    @property
    def view_of(self) -> View | None:
        """What this tensor is a view of, None if its memory is its own."""
        return self._view

    @property
    def grad_fn(self) -> Node | None:
        return None if self._edge is None else self._edge.node

    def initial_grad(self, gradient: Tensor | None) -> np.ndarray:
        """The gradient that backward starts from: ones for a scalar, else the given one."""
        if not self.requires_grad:
            raise RuntimeError(
                "backward: this tensor does not require a gradient and was not computed from one that does"
            )
        if gradient is None:
            if self.array.size != 1:
                raise RuntimeError(
                    f"backward: needs a gradient for an output of shape {self.shape}; only scalars need none"
                )
            return np.ones_like(self.array)
        if not isinstance(gradient, Tensor):
            raise TypeError(f"backward: gradient is of type {type(gradient).__name__}; expected a tensor or None")
        if gradient.shape != self.shape:
            raise RuntimeError(f"backward: gradient has shape {gradient.shape}; expected {self.shape}")
        if gradient.is_cuda != self.is_cuda:
            raise two_devices("backward", self.device, gradient.device)
        return gradient.array.astype(self.array.dtype)

    def backward(self, gradient: Tensor | None = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Accumulate the gradient of this tensor into ``.grad`` of every leaf it was computed from."""
        if create_graph:
            raise NotImplementedError("backward: create_graph=True is not supported")
        walk_back([self.edge()], [self.initial_grad(gradient)], retain_graph)

    def accumulate_grad(self, grad: Gradient | PartGradient, owned: bool) -> None:
        """``self.grad += grad``; the first gradient is kept without a copy if nobody else holds it (``owned``)."""
        self._grad = accumulated(self._grad, grad, owned)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        if not self.is_leaf and not requires_grad:
            raise RuntimeError("requires_grad_: only leaves can stop requiring gradients; use detach()")
        if requires_grad and not is_floating(self.array.dtype):
            raise RuntimeError(f"requires_grad_: only floating tensors can require gradients; got dtype {self.dtype}")
        self.requires_grad = requires_grad
        return self

    def detach(self) -> Tensor:
        """The same memory, off the tape."""
        result = Tensor(self.array)
        result.version, result._seen = self.version, self.version.value
        return result

    def detach_(self) -> Tensor:
        """Leave the tape: this tensor becomes a leaf that requires no gradient."""
        self._edge, self.requires_grad = None, False
        return self

    @property
    def grad(self) -> Any:
        """What backward has added up for this tensor: a Tensor, a RowGradient, or None."""
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        """Refuse what no backward makes: the next sum would broadcast it, or the next update fail far from here."""
        if value is not None:
            if not isinstance(value, Tensor | SparseGradient):
                raise TypeError(f"grad: got a value of type {type(value).__name__}; expected a tensor or None")
            if value.shape != self.shape or value.dtype != self.dtype:
                raise RuntimeError(
                    f"grad: got shape {value.shape} and dtype {value.dtype}; expected {self.shape} and {self.dtype}, "
                    "those of the tensor"
                )
        self._grad = value

    @property
    def data(self) -> Tensor:
        """The same memory, off the tape, with a version of its own: changing it is not noticed by backward."""
        self.version.exposed += 1
        return Tensor(self.array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"data: got a value of type {type(value).__name__}; expected a tensor")
        self.array = value.array
        self.version, self._seen, self._view = Version(), 0, None

    # --- what it is -----------------------------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def device(self) -> Device:
        return device_of(self.array) if use.started else CPU

    @property
    def is_cuda(self) -> bool:
        return use.started and kernels.on_device(self.array)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one size; IndexError for a dimension that there is not."""
        if dim is None:
            return self.shape
        if not isinstance(dim, int | np.integer):
            raise TypeError(f"size: dim is of type {type(dim).__name__}; expected an integer")
        if not -self.ndim <= dim < self.ndim:
            raise IndexError(f"size: dim is out of range: got {dim}; expected {-self.ndim} to {self.ndim - 1}")
        return self.shape[dim]

    def dim(self) -> int:
        return self.array.ndim

    def numel(self) -> int:
        return self.array.size

    nelement = numel

    def element_size(self) -> int:
        return self.array.itemsize

    def is_floating_point(self) -> bool:
        return is_floating(self.array.dtype)

    def is_contiguous(self) -> bool:
        return self.array.flags.c_contiguous

    def item(self) -> Any:
        if self.array.size != 1:
            raise RuntimeError(f"item: a tensor of shape {self.shape} cannot be converted to a scalar")
        return kernels.to_host(self.array).item()

    def tolist(self) -> Any:
        return kernels.to_host(self.array).tolist()

    def numpy(self) -> np.ndarray:
        """The array itself, sharing memory.

        RuntimeError for a tensor that requires a gradient: use detach(). TypeError for one on a GPU: use cpu().
        """
        if self.is_cuda:
            raise TypeError(f"numpy: this tensor is on {self.device}; use cpu() to copy it to the host first")
        if self.requires_grad:
            raise RuntimeError("numpy: this tensor requires a gradient; use detach().numpy()")
        self.version.exposed += 1
        return self.array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        return array.astype(dtype) if dtype is not None else (array.copy() if copy else array)

    def __len__(self) -> int:
        if not self.array.ndim:
            raise TypeError("len() of a 0-d tensor")
        return len(self.array)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.array.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(len(self.array)))

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise RuntimeError(f"the truth of a tensor of shape {self.shape} is ambiguous; use any() or all()")
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self.item().__index__()

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, Tensor | int | float | np.generic):
            raise TypeError(f"in: got {type(value).__name__}; expected a tensor or a number to look for")
        return bool((self == value).any())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.array.ndim == 0 else format(str(self), spec)

    def __repr__(self) -> str:
        text = np.array2string(kernels.to_host(self.array), separator=", ", precision=4, prefix="tensor(")
        plain = self.dtype in (float32, int64, bool_)
        dtype = f", device='{self.device}'" if self.is_cuda else ""
        dtype += "" if plain else f", dtype={self.dtype}"
        if (node := self.grad_fn) is not None:
            return f"tensor({text}{dtype}, grad_fn=<{node.function.__name__}>)"
        return f"tensor({text}{dtype}{', requires_grad=True' if self.requires_grad else ''})"

    def _described(self) -> str:
        """How messages call it."""
        return f"a tensor of shape {self.shape} and dtype {self.dtype}"

    __hash__ = object.__hash__

    if TYPE_CHECKING:  # attached by minigrad.methods

        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __eq__(self, other: object) -> Any: ...
        def __ne__(self, other: object) -> Any: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...


def _floats(data: Any) -> np.ndarray:
    """Nested lists as float32."""
    try:
        return np.array(data, float32)
    except (TypeError, ValueError):
        kind = type(data).__name__
        raise TypeError(f"Tensor: data of type {kind} holds no numbers, or unequally many a level") from None


def _checked_sizes(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    if not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise TypeError(f"Tensor: sizes are {sizes}; expected integers of 0 or more")
    return sizes


def accumulated(held: Any, grad: Gradient | PartGradient, owned: bool) -> Any:
    """The sum of ``held`` (Tensor, SparseGradient or None), which may be changed in place, and ``grad``.

    Row-wise gradients stay so among themselves, and become dense where they meet a dense one. ``owned``: nobody else
    holds the arrays of ``grad``, so they may be kept.
    """
    if isinstance(grad, PartGradient):
        if held is not None and not held.is_sparse:
            grad.add_to(held.array)
            return held
        grad, owned = grad.computed(), True
    if isinstance(grad, SparseGradient):
        if held is None:
            return grad if owned else grad.clone()
        if isinstance(held, SparseGradient):
            held.append(grad, owned)
        else:
            grad.add_to(held.array)
        return held
    if held is None or held.is_sparse:
        array = grad if owned and grad.flags.c_contiguous else grad.copy()
        if held is not None:
            held.add_to(array)
        return Tensor(array)
    held.array += grad
    return held
