"""A model in one file, MODEL.seq2seq: settings, text and weights, all that translating takes.

A safetensors file with the weights under the names of the state_dict, so that other programs can read them; settings
and text are JSON in its header, and so is the digest of the whole, which is checked. Nothing in it can run code, and no
path of the machine that trained goes along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import Tensor
from minigrad.serialization import arrays_from_bytes, has_digest, to_chunks
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run import checkpoint, config_file
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.writing import read_run_file, replace_file
from seq2seq.shipping import quantise
from seq2seq.text.codec import TextCodec

FORMAT = "minigrad-seq2seq model 1"
_EXPECTED = "expected a model written by seq2seq.export"


@dataclass(frozen=True)
class ModelFile:
    """What a file holds.

    Attributes:
        config: the settings of the run, without its places.
        codec: the text on both sides.
        weights: by name, in the precision of training, whatever the file has them in.
        form: of the matrices in the file: full, f16 or int8.
        stored: what makes the weights of the matrices in fewer bits, by name.
    """

    config: Config
    codec: TextCodec
    weights: dict[str, np.ndarray]
    form: str
    stored: dict[str, Callable[[], np.ndarray]]


def is_model_file(path: Path) -> bool:
    """Whether a path that should lead to a run leads to a file instead."""
    return path.is_file()


def begins_as_one(path: Path) -> bool:
    """Whether the first bytes of a file are those of a model file, where text may stand in its place."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return has_digest(file.read(64))


def write(path: Path, model: Seq2Seq, codec: TextCodec, config: Config, form: str = "full") -> None:
    """Put a model at ``path`` in one step.

    Args:
        form: of the matrices, one of ``quantise.FORMS``.

    Raises:
        UserError: the weights do not fit the form. OSError: the file cannot be written; what was there stays.
    """
    replace_file(path, chunks(model, codec, config, form))


def chunks(model: Seq2Seq, codec: TextCodec, config: Config, form: str = "full") -> Iterator[Any]:
    """The bytes of a model file, in pieces; UserError where the weights do not fit the form."""
    about = {"format": FORMAT, "form": form, "config": config_file.shipped(config), "text": codec.to_dict()}
    return to_chunks(about | _arrays(model, form), halves=True)


def _arrays(model: Seq2Seq, form: str) -> dict[str, np.ndarray]:
    """A model's weights in a form, by name."""
    weights = {name: tensor.cpu().numpy() for name, tensor in checkpoint.weights_of(model).items()}
    try:
        return quantise.quantised(weights, form)
    except ValueError as error:
        raise UserError(f"weights: {error}") from None


def read(path: Path) -> ModelFile:
    """What the file at ``path`` holds; it is not trusted (UserError)."""
    try:
        content = arrays_from_bytes(read_run_file(path, "a model file"))
    except ValueError as error:
        raise UserError(f"{path}: broken or foreign model file: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: foreign file; {_EXPECTED}")
    arrays = {name: content.pop(name) for name in list(content) if "." in name}
    if set(content) != {"format", "form", "config", "text"} or content["form"] not in quantise.FORMS:
        raise UserError(f"{path}: holds other parts than settings, text and weights; {_EXPECTED}")
    config = config_file.restored(content["config"], path)
    codec = TextCodec.restored(content["text"], config, path)
    dtype = np.float64 if config.precision == "fp64" else np.float32
    try:
        weights = quantise.restored(arrays, dtype)
    except ValueError as error:
        raise UserError(f"{path}: {error}; {_EXPECTED}") from None
    return ModelFile(config, codec, weights, content["form"], quantise.restoring(arrays, dtype))


def build(path: Path, file: ModelFile, config: Config) -> Seq2Seq:
    """The model of a file, with its weights; UserError where they are not those of its settings.

    Args:
        config: its own, with another device perhaps.
    """
    model = build_model(file.codec.source.num_inputs, len(file.codec.trg_vocabulary), config)
    weights: dict[str, Any] = {name: Tensor(array) for name, array in file.weights.items()}
    checkpoint.check_weights(path, weights, model, "settings")
    model.load_state_dict(weights, strict=False)  # a shared tensor is there once
    model.form = file.form
    for name, parameter in model.named_parameters():
        if name in file.stored and not parameter.is_cuda:
            parameter.store(file.stored[name])
    return model


def narrow(model: Seq2Seq, form: str) -> None:
    """Round a model's weights to what a file in this form would hold; UserError where they do not fit it."""
    arrays = _arrays(model, form)
    model.load_state_dict(quantise.restored(arrays, next(model.parameters()).dtype), strict=False)
    model.form = form
