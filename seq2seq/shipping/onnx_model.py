"""A model as ONNX graphs, in a folder NAME.onnx: encoder.onnx, step.onnx, and model.json with settings and text.

    encoder  tokens (batch, source) or rows (batch, source, F), lengths (batch,) -> the first state, and the memory
    step     token (batch,), state, memory -> log_probs (batch, V), the next state, of decoders that attend alignment

What the encoder gives and the step reads has one name in both; a part NAME of the state is next_NAME when it leaves a
step. Every array has a row for each source, or for each hypothesis, first. Sources shorter than the longest are padded
with whatever there is. A pointer-generator's step reads ``copies`` (batch, source) too: of each position the token that
a copy of it is, V or above for a word that is not in the vocabulary; its log_probs are (batch, V + source).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.models.model import Seq2Seq
from seq2seq.run import checkpoint, config_file
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.writing import require_new_folder, write_new_folder
from seq2seq.shipping import known_parts
from seq2seq.shipping.onnx_encoder import EncoderGraph
from seq2seq.shipping.onnx_graph import require_onnx
from seq2seq.shipping.onnx_step import StepGraph
from seq2seq.text.codec import TextCodec


def check(path: Path) -> None:
    """UserError where there is something at ``path`` already, nowhere to put it, or no library to write it with."""
    require_new_folder(path)
    require_onnx()


def write(path: Path, model: Seq2Seq, codec: TextCodec, config: Config, form: str = "full") -> None:
    """Make the folder ``path`` in one step.

    Raises:
        UserError: the folder is there, a part of the model is not known, or another form than full is asked for.
        OSError: it cannot be written; then nothing is there.
    """
    check(path)
    known_parts.check(config, str(path))
    if form != "full":
        raise UserError(f"weights is {form}; expected full: the graphs compute in float32")
    write_new_folder(path, graphs(model, codec, config))


def graphs(model: Seq2Seq, codec: TextCodec, config: Config) -> dict[str, bytes]:
    """The files of the folder, by name."""
    settings, text = config_file.shipped(config), codec.to_dict()
    weights = {
        name: np.asarray(tensor.cpu().numpy(), np.float32) for name, tensor in checkpoint.weights_of(model).items()
    }
    weights = _shared(weights)
    encoder, step = EncoderGraph(settings, weights, _scales(text)), StepGraph(settings, weights)
    told = json.dumps({"config": settings, "text": text}, ensure_ascii=False)
    return {
        "encoder.onnx": encoder.to_bytes("encoder"),
        "step.onnx": step.to_bytes("step"),
        "model.json": told.encode(),
    }


def _shared(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights, of which a table that is shared is there once, under all of its names."""
    words = weights.get("decoder.embedding.weight", weights.get("encoder.embedding.weight"))
    assert words is not None  # one of the two has them
    return {"decoder.embedding.weight": words, "decoder.fc_out.weight": words} | dict(weights)


def _scales(text: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """What rows are less, and then times, before the model reads them; None of text."""
    if "src_mean" not in text:
        return None
    return np.array(text["src_mean"], np.float32), np.array(text["src_scale"], np.float32)
