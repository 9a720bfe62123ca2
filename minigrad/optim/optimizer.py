"""Optimizer: parameter groups, per-parameter state, and the loop every optimiser shares.

Contract: PyTorch's attributes and state-dict layout. A subclass gives its defaults, checks them in ``_check_group`` and
updates one parameter in ``_update``, in place on raw arrays, or many at once in ``_update_all`` if that is faster, and
from a row-wise gradient in ``_update_rows`` if it can do better than to make it dense. Parameters without a gradient
are left alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, ClassVar, NamedTuple

import numpy as np

import kernels
from minigrad.device import moved
from minigrad.grad_mode import enable_grad, no_grad
from minigrad.graphs import recording
from minigrad.lazy import LazyParameter
from minigrad.naming import described
from minigrad.nn.utils.clipping import as_result, norm_and_coefficient
from minigrad.optim.checks import check_at_least_zero, check_number
from minigrad.rows import RowGradient
from minigrad.tensor import Tensor


class Update(NamedTuple):
    """A parameter's memory, its dense gradient, and what the optimiser remembers about it."""

    param: np.ndarray
    grad: np.ndarray
    state: dict[str, Any]


class Optimizer:
    """Base class of optimisers.

    Args:
        params: Tensors, or dicts with "params" and options that override the defaults for them.
        defaults: option name -> value.

    Attributes:
        param_groups: list of dicts, "params" and the options of each group; ``group["lr"]`` may be changed at any time.
        state: Tensor -> dict of what the optimiser remembers about it.

    Raises:
        ValueError: no parameters, a non-leaf, a parameter in two groups, or an option out of range.
        TypeError: ``params`` is a Tensor or holds something else than Tensors.
    """

    capturable: ClassVar[bool] = False  # whether a step in a CUDA graph sees the hyperparameters of the day

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._restored = False
        self._rates_around: tuple[list[float], list[float]] | None = None  # before and after schedules were made
        if isinstance(params, Tensor | str) or not isinstance(params, Iterable):
            raise TypeError(
                f"{self._name}: params is {described(params)}; expected Tensors or dicts, as from model.parameters()"
            )
        groups = list(params)
        if not groups:
            raise ValueError(f"{self._name}: got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Optimise more parameters: ``{"params": tensors, option: value, ...}``."""
        if not isinstance(param_group, dict):
            raise TypeError(f"{self._name}: param_group is {described(param_group)}; expected a dict")
        given = param_group.get("params")
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(f"{self._name}: a group's 'params' is {described(given)}; expected Tensors")
        params = [given] if isinstance(given, Tensor) else list(given)
        for param in params:
            self._check_param(param)
        held = {id(param) for group in self.param_groups for param in group["params"]}
        if len({id(param) for param in params} | held) != len(params) + len(held):
            raise ValueError(f"{self._name}: a parameter appears more than once in the parameter groups")
        group = {**self.defaults, **param_group, "params": params}
        self._check_group(group)
        self.param_groups.append(group)

    def _check_param(self, param: Any) -> None:
        if not isinstance(param, Tensor):
            raise TypeError(f"{self._name}: one of the params is {described(param)}; expected Tensors")
        if not param.is_leaf:
            raise ValueError(f"{self._name}: can't optimize a non-leaf Tensor")

    def _check_group(self, group: dict[str, Any]) -> None:
        """Raise ValueError for an option out of range; subclasses add theirs."""
        check_at_least_zero(self._name, group, "lr", "weight_decay")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or fill them with zeros when ``set_to_none`` is False."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None and not set_to_none:
                    param.grad.zero_()
                else:
                    param.grad = None

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter from its gradient.

        Args:
            closure: computes the loss and its gradients anew, called first.

        Returns:
            what ``closure`` returned, else None.
        """
        loss = None
        if closure is not None and not callable(closure):
            raise TypeError(f"{self._name}: closure is {described(closure)}; expected a function that gives the loss")
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._step_all(None)
        return loss

    @no_grad()
    def step_clipped(self, max_norm: float) -> Tensor:
        """``clip_grad_norm_`` of all gradients and ``step`` in one: the weights are equal to the bit.

        The gradients are scaled where the update reads them, and stay as they are. If their norm is not finite,
        nothing is updated (on a GPU, where the host does not wait to know, the step still counts as one).

        Args:
            max_norm: largest norm that takes effect.

        Returns:
            0-d: the norm of all gradients as one vector, before clipping, in their dtype.
        """
        check_number(self._name, "max_norm", max_norm)
        params = [param for group in self.param_groups for param in group["params"]]
        grads = [param.grad for param in params if param.grad is not None]
        norm, coefficient = norm_and_coefficient(grads, max_norm)
        result = as_result(norm, grads)
        # On a GPU the host does not wait to know: a NaN as scale has the update do nothing. It has to know where it is
        # the host that remembers which rows made the step.
        if result.is_cuda and not any(grad.is_sparse for grad in grads):
            self._step_all(np.where(np.isfinite(norm), coefficient, np.nan))
        elif math.isfinite(result.item()):
            self._step_all(coefficient)
        return result

    def _step_all(self, grad_scale: Any) -> None:
        """Update every parameter that has a gradient; ``grad_scale`` multiplies it, rounded to its dtype first."""
        scale = 1.0 if grad_scale is None else grad_scale
        self._note_capture()
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            dense = [param for param in params if not param.grad.is_sparse]
            factor = -scale if group.get("maximize") else scale  # exact: a sign
            self._update_all([Update(p.array, p.grad.array, self.state[p]) for p in dense], group, factor)
            for param in params:
                if param.grad.is_sparse:
                    self._update_rows(param, param.grad, self.state[param], group, factor)
                param.changed_in_place()

    def _note_capture(self) -> None:
        """In a captured step: have every replay note that the parameters have changed."""
        graph = recording()
        if graph is None:
            return
        if not self.capturable:
            graph.refuse(f"a step of {self._name}")
        params = [param for group in self.param_groups for param in group["params"] if param.grad is not None]
        arrays = [param.array for param in params]

        def changed() -> None:
            for param, array in zip(params, arrays, strict=True):
                if param.array is not array:
                    raise RuntimeError("graph: a parameter has been given other memory since the capture")
                param.changed_in_place()

        graph.at_replay(changed)

    def _update_all(self, updates: list[Update], group: dict[str, Any], grad_scale: Any) -> None:
        for update in updates:
            self._update(*update, group, grad_scale)

    def _update(
        self, param: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any], grad_scale: Any
    ) -> None:
        raise NotImplementedError(f"{self._name} does not say how to update a parameter")

    def _update_rows(
        self, param: Tensor, grad: RowGradient, state: dict[str, Any], group: dict[str, Any], grad_scale: Any
    ) -> None:
        self._update_all([Update(param.array, grad.dense_array(), state)], group, grad_scale)

    def state_dict(self) -> dict[str, Any]:
        """``{"state": {index: state}, "param_groups": [options, indices of parameters]}``; tensors are shared."""
        params = [param for group in self.param_groups for param in group["params"]]
        numbers = {id(param): number for number, param in enumerate(params)}
        groups = [{**group, "params": [numbers[id(param)] for param in group["params"]]} for group in self.param_groups]
        states = {numbers[id(param)]: self.state[param] for param in params if self.state.get(param)}
        return {"state": states, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a copy of what ``state_dict`` returned for an optimiser of the same groups.

        Raises:
            TypeError: no dict. ValueError: not of an optimiser, or of other groups, parameters or options; then nothing
                is changed.
        """
        saved = deepcopy(self._checked_groups(state_dict))
        numbers = [number for group in saved for number in group["params"]]
        params = [param for group in self.param_groups for param in group["params"]]
        states = {int(number): state for number, state in state_dict["state"].items()}
        restored: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for number, param in zip(numbers, params, strict=True):
            if number in states:
                self._check_state(number, states[number], param)
                restored[param] = {key: _own_copy(key, value, param) for key, value in states[number].items()}
        self.state = restored
        for group, given in zip(self.param_groups, saved, strict=True):
            group.update({**given, "params": group["params"]})
        self._restored, self._rates_around = True, None

    def _checked_groups(self, state_dict: Any) -> list[dict[str, Any]]:
        """The groups of a state dict, if they are of this optimiser's sizes and have possible options."""
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"{self._name}: state_dict is {described(state_dict)}; expected what state_dict() returned")
        if not isinstance(state_dict.get("state"), Mapping) or not isinstance(state_dict.get("param_groups"), list):
            raise ValueError(
                f"{self._name}: state_dict has the keys {list(state_dict)[:5]}; expected 'state' and 'param_groups', "
                "as in what state_dict() of an optimiser returned"
            )
        saved = state_dict["param_groups"]
        sizes, own = [len(group["params"]) for group in saved], [len(group["params"]) for group in self.param_groups]
        if sizes != own:
            raise ValueError(f"{self._name}: state_dict has parameter groups of sizes {sizes}; expected {own}")
        for group, mine in zip(saved, self.param_groups, strict=True):
            self._check_group({**mine, **group})
        return saved

    def _check_state(self, number: int, state: Mapping[str, Any], param: Tensor) -> None:
        for key, value in state.items():
            shape = getattr(value, "shape", None)
            if key != "step" and shape is not None and tuple(shape) != param.shape:
                raise ValueError(
                    f"{self._name}: state_dict has {key!r} of shape {tuple(shape)} for parameter {number}; "
                    f"expected {param.shape}, that of the parameter"
                )

    @contextmanager
    def schedule_being_made(self) -> Iterator[None]:
        """While a schedule sets the rates of its first epoch: those of a restored run may be wanted back."""
        before = self._rates_around[0] if self._rates_around else self._rates()
        yield
        if self._restored:
            self._rates_around = before, self._rates()

    def undo_schedules_made(self) -> None:
        """Back to the restored rates, if nothing but the making of schedules has changed them since."""
        if self._rates_around is not None and self._rates_around[1] == self._rates():
            for group, lr in zip(self.param_groups, self._rates_around[0], strict=True):
                group["lr"] = lr

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.param_groups]

    def __repr__(self) -> str:
        lines = []
        for number, group in enumerate(self.param_groups):
            options = (f"    {name}: {group[name]}" for name in sorted(group) if name != "params")
            lines += [f"Parameter Group {number}", *options]
        return f"{self._name} (\n" + "\n".join(lines) + "\n)"


def add_slot(state: dict[str, Any], name: str, param: np.ndarray) -> np.ndarray:
    """The array ``state[name]``, zeros of the parameter's shape and dtype at first use."""
    if state.get(name) is None:
        if (graph := recording()) is not None:  # or every replay would begin with zeros
            graph.refuse("the first step of an optimiser")
        state[name] = LazyParameter(np.zeros(param.shape, param.dtype, like=param))
    return state[name].array


def count_step(state: dict[str, Any]) -> int:
    """Raise ``state["step"]`` (a 0-d float32 Tensor, as in PyTorch) by one; its value, from 1."""
    if "step" not in state:
        state["step"] = Tensor(np.zeros((), np.float32))  # on the host, wherever the parameter is
    state["step"].array += 1
    return int(state["step"].array.item())


def _own_copy(key: str, value: Any, param: Tensor) -> Any:
    """A copy of a state entry, in the parameter's dtype and on its device where it has one entry per element."""
    if isinstance(value, np.ndarray | np.generic):
        value = Tensor(np.asarray(value))
    if not isinstance(value, Tensor):
        return Tensor(np.asarray(value, np.float32)) if key == "step" else deepcopy(value)
    if key == "step":
        return Tensor(np.array(kernels.to_host(value.array), np.float32))
    return LazyParameter(moved(value.array.astype(param.dtype, order="C"), param.device))
