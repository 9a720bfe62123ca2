"""Checkpoints: everything a run needs to go on, in one safetensors file that is replaced in one step.

A crash, a full disk or a power cut during a save leaves the former checkpoint. Loading runs no code, and accepts only
the bytes that were saved, the exact set of tensors, shapes and dtypes that the model has, and the run it belongs to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import Tensor, nn
from minigrad.optim import Optimizer
from minigrad.serialization import from_bytes, has_digest, to_chunks
from seq2seq.run.errors import UserError
from seq2seq.run.writing import naming, read_run_file, replace_run_file

NAMES = ("best", "last", "average")  # those that may be translated with
FORMAT = "minigrad-seq2seq checkpoint 2"
_BESIDE = "config.json"
_WITHOUT_DIGEST = "minigrad-seq2seq checkpoint 1"  # of version 0.1


@dataclass(frozen=True)
class Progress:
    """Where a run stands: all of it, since order, dropout and sampling are functions of seed, epoch and step.

    Attributes:
        step: finished optimisation steps.
        epoch: the epoch under way, from 0.
        batch: batches of it that are done.
        best: the best validation so far, by the figure that counts (``best_metric``); None before the first.
        figures: that figure of the validation after each epoch, since there are these validation data.
        falls: of the learning rate at plateaus before that.
        validated: the step of the last validation.
        changes: the manifest's changes up to the last one of data or of the order of batches that it takes into
            account; None of a former version.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: float | None = None
    figures: tuple[float, ...] = ()
    falls: int = 0
    validated: int = 0
    changes: int | None = 0


def path_of(run_dir: Path, name: str) -> Path:
    """The file of checkpoint ``name``: one of NAMES, or "epoch-3"."""
    return run_dir / "checkpoints" / f"{name}.safetensors"


def epochs_kept(run_dir: Path) -> list[int]:
    """The epochs, from 1, of which a run keeps the weights."""
    names = (path.stem.removeprefix("epoch-") for path in (run_dir / "checkpoints").glob("epoch-*.safetensors"))
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def keep_epochs(run_dir: Path, epochs: Collection[int]) -> None:
    """Remove the weights of all other epochs."""
    for epoch in set(epochs_kept(run_dir)) - {*epochs}:
        path_of(run_dir, f"epoch-{epoch}").unlink(missing_ok=True)


def save(
    path: Path, model: nn.Module, optimizer: Optimizer | None, progress: Progress, fingerprint: str,
    average: Mapping[str, Tensor] | None = None,
) -> None:  # fmt: skip
    """Replace the checkpoint at ``path``; without an optimiser it serves translation only. OSError keeps the old.

    Args:
        fingerprint: the name of the run for itself; loading asks for the same.
        average: the mean of the weights, of a run that keeps one.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "progress": asdict(progress),
        "model": weights_of(model),
        "optimizer": optimizer.state_dict() if optimizer else None,
        **({} if average is None else {"average": dict(average)}),
    }
    replace_run_file(path, to_chunks(content))


def load(
    path: Path, model: nn.Module, optimizer: Optimizer | None, fingerprint: str,
    average: dict[str, Tensor] | None = None,
) -> Progress:  # fmt: skip
    """Put the checkpoint's weights (and optimiser state) in place; UserError where it does not fit, nothing changed.

    ``average`` gets the stored mean of the weights, of a run that keeps one.
    """
    content = _read(path)
    if content["fingerprint"] != fingerprint:
        raise UserError(f"{path}: belongs to another run than the other files of this folder")
    check_weights(path, content["model"], model, _BESIDE)
    mean = None if average is None else _average(path, content, model)
    progress = _progress(path, content["progress"])
    if optimizer is not None:
        _load_optimizer(path, optimizer, content["optimizer"])
    model.load_state_dict(content["model"], strict=False)  # a shared tensor is there once
    if average is not None and mean is not None:
        average.clear()
        average.update({name: tensor.to(next(model.parameters()).device) for name, tensor in mean.items()})
    return progress


def fingerprint_of(path: Path) -> str:
    """The name for itself of the run that the checkpoint belongs to; UserError where the file is no checkpoint."""
    return str(_read(path)["fingerprint"])


def _read(path: Path) -> dict[str, Any]:
    data = read_run_file(path, "a checkpoint")
    try:
        content = from_bytes(data)
    except ValueError as error:
        raise UserError(f"{path}: broken or foreign checkpoint: {error}") from None
    keys = {"format", "fingerprint", "progress", "model", "optimizer"}
    if not isinstance(content, dict) or set(content) - {"average"} != keys or content["format"] != _format_of(data):
        raise UserError(f"{path}: foreign checkpoint; expected one written by seq2seq.train")
    return content


def _format_of(data: bytes) -> str:
    return FORMAT if has_digest(data) else _WITHOUT_DIGEST


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of a model, with a tensor that layers share under its first name alone."""
    named: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        named.setdefault(id(tensor), (name, tensor.detach()))
    return dict(named.values())


def check_weights(path: Path, stored: Any, model: nn.Module, of: str) -> None:
    """UserError unless these are finite weights of the model; ``of`` is what it was made of."""
    expected = weights_of(model)
    if not isinstance(stored, dict) or set(stored) != set(expected):
        raise UserError(f"{path}: holds other parameters than the model of its {of}")
    for name, parameter in expected.items():
        tensor = stored[name]
        if not isinstance(tensor, Tensor) or (tensor.shape, tensor.dtype) != (parameter.shape, parameter.dtype):
            found = f"shape {tensor.shape} of {tensor.dtype}" if isinstance(tensor, Tensor) else "no tensor"
            raise UserError(f"{path}: {name} has {found}; expected {parameter.shape} of {parameter.dtype}")
        if not np.isfinite(tensor.array).all():
            raise UserError(f"{path}: {name} holds NaN or infinity")


def _average(path: Path, content: dict[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """The stored mean of the weights; none before the first update."""
    mean: dict[str, Tensor] | None = content.get("average")
    if mean is None:
        raise UserError(f"{path}: holds no mean of the weights; expected the run's last checkpoint")
    if mean:
        check_weights(path, mean, model, _BESIDE)
    return mean


def _progress(path: Path, stored: Any) -> Progress:
    counts: tuple[str, ...] = ("step", "epoch", "batch", "falls", "validated")
    if isinstance(stored, dict):  # of a former version, which did not keep all
        stored = {"figures": [], "falls": 0, "validated": stored.get("step"), "changes": None, **stored}
    whole = isinstance(stored, dict) and set(stored) == {field.name for field in fields(Progress)}
    if whole and stored["changes"] is not None:
        counts = *counts, "changes"
    if not whole or not all(type(stored[name]) is int and stored[name] >= 0 for name in counts):
        raise UserError(f"{path}: foreign checkpoint; expected its progress as {', '.join(counts)} and best")
    if stored["best"] is not None and type(stored["best"]) is not float:
        raise UserError(f"{path}: foreign checkpoint; its best validation is no number")
    figures = stored["figures"]
    if not isinstance(figures, list) or not all(type(figure) is float for figure in figures):
        raise UserError(f"{path}: foreign checkpoint; the figures of its validations are no numbers")
    return Progress(**{**stored, "figures": tuple(figures)})


def _load_optimizer(path: Path, optimizer: Optimizer, stored: Any) -> None:
    if stored is None:
        raise UserError(f"{path}: holds no optimiser state, as best.safetensors; expected the run's last checkpoint")
    try:
        _check_optimizer(optimizer, stored)
        optimizer.load_state_dict(stored)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: its optimiser state does not fit: {error}") from None


def _check_optimizer(optimizer: Optimizer, stored: Any) -> None:
    """ValueError unless the stored moments are finite, one set of the right shapes per parameter."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    expected = [group["params"] for group in optimizer.state_dict()["param_groups"]]
    if [group["params"] for group in stored["param_groups"]] != expected:
        raise ValueError("other parameters")
    if not set(stored["state"]) <= set(range(len(parameters))):  # fewer, where a parameter never had a gradient
        raise ValueError("other parameters")
    for index, slots in stored["state"].items():
        for name, value in slots.items():
            shape = () if name == "step" else parameters[index].shape
            if not isinstance(value, Tensor) or value.shape != shape or not np.isfinite(value.array).all():
                raise ValueError(f"{name} of parameter {index} is no finite tensor of shape {shape}")
