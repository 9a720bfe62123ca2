"""Checkpoints: what is saved comes back to the bit, whatever goes wrong the old one stays, foreign ones are refused."""

from __future__ import annotations

import io
import pickle
import random as python_random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad import Tensor, optim
from minigrad.serialization import from_bytes, to_bytes
from seq2seq.models.model import Seq2Seq
from seq2seq.run import checkpoint
from seq2seq.run.checkpoint import Progress
from seq2seq.run.errors import UserError

PROGRESS = Progress(step=12, epoch=3, batch=2, best=1.25)
State = dict[str, Any]


@pytest.fixture
def path(trained, tmp_path: Path) -> Path:
    """A good checkpoint of ``trained``."""
    path = checkpoint.path_of(tmp_path, "last")
    checkpoint.save(path, *trained, PROGRESS, "fingerprint")
    return path


@pytest.fixture
def other(tiny_model) -> Seq2Seq:
    return tiny_model(seed=99)


def weights(model: Seq2Seq) -> State:
    return {name: tensor.array.copy() for name, tensor in model.state_dict().items()}


def moments(optimizer: optim.Adam) -> list[np.ndarray]:
    states = optimizer.state_dict()["state"]
    return [
        np.array(states[number][key].array) for number in sorted(states) for key in ("step", "exp_avg", "exp_avg_sq")
    ]


def assert_same(one: State, two: State) -> None:
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def assert_refused(path: Path, model: Seq2Seq, match: str, fingerprint: str = "fingerprint") -> None:
    """Loading fails with one line that names the path, and neither model nor optimiser changes."""
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    before = weights(model)
    with pytest.raises(UserError, match=match) as error:
        checkpoint.load(path, model, optimizer, fingerprint)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert_same(weights(model), before)
    assert not optimizer.state


def rewrite(path: Path, change: Callable[[State], None]) -> None:
    """Change the content of a checkpoint, leaving it a well-formed file."""
    content = from_bytes(path.read_bytes())
    change(content)
    path.write_bytes(to_bytes(content))


def test_round_trip_to_the_bit(trained, path, other) -> None:
    model, optimizer = trained
    restored = optim.Adam(other.parameters(), lr=0.5)
    assert checkpoint.load(path, other, restored, "fingerprint") == PROGRESS
    assert_same(weights(other), weights(model))
    for ours, theirs in zip(moments(restored), moments(optimizer), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert restored.param_groups[0]["lr"] == 0.01


def test_saving_again_gives_the_same_bytes(trained, path, other) -> None:
    first = path.read_bytes()
    restored = optim.Adam(other.parameters(), lr=0.5)
    progress = checkpoint.load(path, other, restored, "fingerprint")
    checkpoint.save(path, other, restored, progress, "fingerprint")
    assert path.read_bytes() == first


def test_without_optimizer_it_serves_translation_only(trained, tmp_path, other) -> None:
    path = checkpoint.path_of(tmp_path, "best")
    checkpoint.save(path, trained[0], None, Progress(), "fingerprint")
    assert_refused(path, other, "holds no optimiser state")
    assert checkpoint.load(path, other, None, "fingerprint") == Progress()
    assert_same(weights(other), weights(trained[0]))


def test_a_missing_checkpoint(tmp_path, other) -> None:
    assert_refused(tmp_path / "none.safetensors", other, "No such file or directory; expected a checkpoint")
    assert_refused(tmp_path, other, "Is a directory; expected a checkpoint")


def test_a_truncated_checkpoint(path, other) -> None:
    whole = path.read_bytes()
    for size in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert_refused(path, other, "broken or foreign checkpoint")


def foreign_files() -> Iterator[tuple[str, bytes]]:
    yield "garbage", np.random.default_rng(0).bytes(5000)
    yield "text", b"hello\n"
    yield "pickle", pickle.dumps({"model": [1, 2, 3]})
    buffer = io.BytesIO()
    np.savez(buffer, weight=np.zeros(3))
    yield "npz", buffer.getvalue()
    yield "a header of 2**60 bytes", (2**60).to_bytes(8, "little") + b"{}"


@pytest.mark.parametrize("content", [pytest.param(data, id=name) for name, data in foreign_files()])
def test_a_file_of_another_kind(path, other, content) -> None:
    path.write_bytes(content)
    assert_refused(path, other, "broken or foreign checkpoint")


@pytest.mark.parametrize("content", [{"weight": Tensor(np.zeros(3))}, [1, 2], "text", {"format": "other"}], ids=str)
def test_a_foreign_safetensors_file(path, other, content) -> None:
    path.write_bytes(to_bytes(content))
    assert_refused(path, other, "foreign checkpoint; expected one written by seq2seq.train")


def test_a_flipped_byte_is_refused_wherever_it_is(path, other) -> None:
    whole, rng = path.read_bytes(), python_random.Random(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in [*range(120), *rng.sample(range(header), 100), *rng.sample(range(len(whole)), 100)]:
        mutated = bytearray(whole)
        mutated[place] ^= 1 << rng.randrange(8)
        path.write_bytes(mutated)
        assert_refused(path, other, "broken or foreign checkpoint|foreign checkpoint; expected one written")


def test_a_checkpoint_of_version_0_1_has_no_digest(path, other) -> None:
    """Its file is the same but for the digest and the number of its format."""
    content = from_bytes(path.read_bytes())
    content["format"] = "minigrad-seq2seq checkpoint 1"
    whole = to_bytes(content)
    size = int.from_bytes(whole[:8], "little")
    header = re.sub(rb'"sha256":"[0-9a-f]{64}",', b"", whole[8 : 8 + size])
    path.write_bytes(len(header).to_bytes(8, "little") + header + whole[8 + size :])
    assert checkpoint.load(path, other, None, "fingerprint") == PROGRESS
    path.write_bytes(whole)
    assert_refused(path, other, "foreign checkpoint; expected one written by seq2seq.train")


WRONG: dict[str, tuple[Callable[[State], None], str]] = {
    "missing parameter": (lambda c: c["model"].pop("decoder.fc_out.bias"), "holds other parameters than the model"),
    "extra parameter": (
        lambda c: c["model"].update(extra=Tensor(np.zeros(1))),
        "holds other parameters than the model",
    ),
    "no tensor": (lambda c: c["model"].update({"decoder.fc_out.bias": 3}), "decoder.fc_out.bias has no tensor"),
    "dtype": (
        lambda c: c["model"].update({"decoder.fc_out.bias": Tensor(np.zeros(11))}),
        r"decoder.fc_out.bias has shape \(11,\) of float64; expected \(11,\) of float32",
    ),
    "shape": (
        lambda c: c["model"].update({"decoder.fc_out.bias": Tensor(np.zeros((11, 1), np.float32))}),
        r"decoder.fc_out.bias has shape \(11, 1\) of float32; expected \(11,\) of float32",
    ),
    "NaN": (
        lambda c: c["model"]["decoder.fc_out.bias"].array.fill(np.nan),
        "decoder.fc_out.bias holds NaN or infinity",
    ),
    "infinity": (lambda c: c["model"]["encoder.rnn.bias_hh_l1"].array.fill(np.inf), "bias_hh_l1 holds NaN or infinity"),
    "model": (lambda c: c.update(model=None), "holds other parameters than the model"),
    "format": (lambda c: c.update(format="seq2seq checkpoint 0"), "foreign checkpoint"),
    "progress": (lambda c: c.update(progress={"steps": 3}), "foreign checkpoint; expected its progress"),
    "no progress": (lambda c: c.update(progress=None), "foreign checkpoint; expected its progress"),
    "optimizer": (lambda c: c.update(optimizer={"state": {}}), "its optimiser state does not fit"),
    "optimizer groups": (lambda c: c["optimizer"].update(param_groups=[]), "its optimiser state does not fit"),
    "progress of another type": (lambda c: c["progress"].update(step="x"), "foreign checkpoint; expected its progress"),
    "negative progress": (lambda c: c["progress"].update(batch=-1), "foreign checkpoint; expected its progress"),
    "optimizer shape": (
        lambda c: c["optimizer"]["state"][0].update(exp_avg=Tensor(np.zeros(3, np.float32))),
        "its optimiser state does not fit",
    ),
    "optimizer NaN": (
        lambda c: c["optimizer"]["state"][0]["exp_avg"].array.fill(np.nan),
        "its optimiser state does not fit",
    ),
    "optimizer slot": (lambda c: c["optimizer"]["state"][0].update(exp_avg="x"), "its optimiser state does not fit"),
    "optimizer lr": (lambda c: c["optimizer"]["param_groups"][0].update(lr="x"), "its optimiser state does not fit"),
    "another key": (lambda c: c.update(more=1), "foreign checkpoint"),
}


@pytest.mark.parametrize("name", WRONG)
def test_content_that_does_not_fit(path, other, name) -> None:
    change, message = WRONG[name]
    rewrite(path, change)
    assert_refused(path, other, message)


def test_another_run(path, other) -> None:
    assert_refused(path, other, "belongs to another run than the other files of this folder", fingerprint="another")


def test_a_model_of_another_size(path, tiny_model) -> None:
    assert_refused(
        path, tiny_model(hidden_size=7), re.escape("has shape (24, 5) of float32; expected (28, 5) of float32")
    )
    assert_refused(path, tiny_model(num_layers=1), "holds other parameters than the model")
    assert_refused(path, tiny_model(precision="fp64"), "of float32; expected .* of float64")
