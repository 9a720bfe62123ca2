"""Models of Keras in files as its versions write them: the numbers of its equations, by PyTorch's own LSTM."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq import convert
from seq2seq.conversion import keras_files
from seq2seq.conversion.files import read_arrays
from seq2seq.conversion.layouts import recognised
from seq2seq.decoding.translator import Translator
from seq2seq.run.errors import UserError

h5py = pytest.importorskip("h5py")

SOURCE = [" ", "!", "a", "b", "c", "▁"]
TARGET = ["\t", "\n", " ", "x", "y", "z", "é"]
SIZE, WIDTH = 6, 5
Arrays = dict[str, np.ndarray]
SETTINGS = {
    "class_name": "Functional",
    "config": {"layers": [
        {"class_name": "LSTM", "config": {"name": "lstm", "activation": "tanh", "recurrent_activation": "sigmoid"}},
        {"class_name": "Dense", "config": {"name": "dense", "activation": "softmax"}},
    ]},
}  # fmt: skip


def weights(embeddings: bool = False) -> Arrays:
    """By layer and role, as Keras has them."""
    rng = np.random.default_rng(0)
    found: Arrays = {}
    for layer, words, table in (("lstm", SOURCE, "embedding"), ("lstm_1", TARGET, "embedding_1")):
        reads = WIDTH if embeddings else len(words)
        found |= {f"{layer}/kernel": rng.normal(size=(reads, 4 * SIZE))}
        found |= {f"{layer}/recurrent_kernel": rng.normal(size=(SIZE, 4 * SIZE))}
        found |= {f"{layer}/bias": rng.normal(size=4 * SIZE)}
        if embeddings:
            found[f"{table}/embeddings"] = rng.normal(size=(len(words), WIDTH))
    found |= {"dense/kernel": rng.normal(size=(SIZE, len(TARGET))), "dense/bias": rng.normal(size=len(TARGET))}
    return {name: array.astype(np.float32) for name, array in found.items()}


def write_whole(path: Path, arrays: Arrays, settings: Any = SETTINGS) -> None:
    """A model of Keras 2 with its optimizer."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(settings).encode()
        for name, array in arrays.items():
            layer, role = name.split("/")
            within = f"{layer}/lstm_cell" if layer.startswith("lstm") else layer
            file[f"model_weights/{layer}/{within}/{role}:0"] = array
        file["optimizer_weights/rmsprop/lstm/kernel:0"] = np.ones((3, 4), np.float32)
        file["optimizer_weights/iterations:0"] = np.int64(4)


def write_weights(path: Path, arrays: Arrays) -> None:
    """Weights alone, of Keras 2."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[f"{name.split('/')[0]}/{name}:0"] = array


def write_archive(path: Path, arrays: Arrays, settings: Any = SETTINGS) -> None:
    """A model of Keras 3: variables have numbers."""
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        for layer in dict.fromkeys(name.split("/")[0] for name in arrays):
            kind = layer.split("_")[0]
            for number, role in enumerate(keras_files.ROLES[kind]):
                within = f"{layer}/cell" if kind == "lstm" else layer
                file[f"layers/{within}/vars/{number}"] = arrays[f"{layer}/{role}"]
        file["optimizer/vars/1"] = np.ones(3, np.float32)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(keras_files.SETTINGS, json.dumps(settings))
        archive.writestr(keras_files.WEIGHTS, held.getvalue())


FORMS: dict[str, Callable[[Path, Arrays], None]] = {
    "whole": write_whole, "weights": write_weights, "archive": write_archive,
}  # fmt: skip


@pytest.fixture
def lists(tmp_path: Path) -> list[str]:
    """Options that name both lists of characters."""
    for name, tokens in (("src", SOURCE), ("trg", TARGET)):
        (tmp_path / f"{name}.json").write_text(json.dumps(tokens))
    return ["--src-vocab", str(tmp_path / "src.json"), "--trg-vocab", str(tmp_path / "trg.json"),
            "--src-tokenizer", "char", "--trg-tokenizer", "char"]  # fmt: skip


def torch_log_probs(arrays: Arrays, source: list[int], target: list[int]) -> np.ndarray:
    """(T, V) by PyTorch's LSTM, whose gates stand in Keras' order."""
    torch = pytest.importorskip("torch")
    of = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def run(layer: str, table: str, ids: list[int], state: Any) -> Any:
        rows = of.get(f"{table}/embeddings", torch.eye(len(of[f"{layer}/kernel"])))[ids]
        lstm = torch.nn.LSTM(rows.shape[1], SIZE)
        given = {"weight_ih_l0": of[f"{layer}/kernel"].T, "weight_hh_l0": of[f"{layer}/recurrent_kernel"].T}
        biases = {"bias_ih_l0": of[f"{layer}/bias"], "bias_hh_l0": torch.zeros(4 * SIZE)}
        lstm.load_state_dict(given | biases)
        return lstm(rows[:, None], state)

    with torch.no_grad():
        _, state = run("lstm", "embedding", source, None)
        y, _ = run("lstm_1", "embedding_1", target, state)
        return torch.log_softmax(y[:, 0] @ of["dense/kernel"] + of["dense/bias"], 1).numpy()


@pytest.mark.parametrize("embeddings", [False, True])
def test_the_equations_are_keras(embeddings: bool) -> None:
    layout, settings = recognised(weights(embeddings))
    assert layout.name == "keras-lstm"
    assert settings["hidden_size"] == SIZE
    expected = torch_log_probs(layout.arrays, [2, 3, 0, 4], [0, 3, 6, 2])
    np.testing.assert_allclose(layout.log_probs([2, 3, 0, 4], [0, 3, 6, 2]), expected, atol=1e-5)


@pytest.mark.parametrize("embeddings", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_it_translates_as_keras_does(form: str, embeddings: bool, tmp_path: Path, lists: list[str], capsys) -> None:
    arrays, path, to = weights(embeddings), tmp_path / "model", tmp_path / "model.seq2seq"
    FORMS[form](path, arrays)
    assert convert.main([str(path), "--to", str(to), *lists]) == 0
    assert "keras-lstm, encoder" in capsys.readouterr().out
    translator = Translator.load(to)
    (pair,) = translator.score(["ab c"], ["zé x"])
    own = torch_log_probs(arrays, [2, 3, 0, 4], [0, 5, 6, 2, 3])
    np.testing.assert_allclose(pair.log_probs, own[np.arange(5), [5, 6, 2, 3, 1]], atol=1e-5)
    ids = [0]
    while ids[-1] != 1 and len(ids) < 20:  # greedy, as the tutorial's decode_sequence
        ids.append(int(np.delete(torch_log_probs(arrays, [4, 0, 2], ids)[-1], 0).argmax()) + 1)
    assert translator.translate(["c a"])[0][:18] == "".join(TARGET[index] for index in ids[1:] if index != 1)[:18]


def test_layers_by_name_and_what_they_must_be(tmp_path: Path) -> None:
    arrays = {
        name.replace("lstm_1", "a_decoder").replace("lstm", "encoder"): array for name, array in weights().items()
    }
    assert recognised(arrays)[0].log_probs([2], [0]).tolist() == recognised(weights())[0].log_probs([2], [0]).tolist()
    with pytest.raises(UserError, match="states have 6 and 7 numbers"):
        recognised(weights() | {"dense/kernel": np.ones((7, 7), np.float32)})
    for more in (
        {"lstm_2/kernel": np.ones((2, 3))},
        {"lstm/bias": np.ones(8)},
        {"embedding/embeddings": np.ones((6, 6))},
    ):
        with pytest.raises(UserError, match="are not known"):
            recognised(weights() | more)
    gru = {"gru/kernel": np.ones((6, 18)), "gru/recurrent_kernel": np.ones((6, 18)), "gru/bias": np.ones(18)}
    with pytest.raises(UserError, match="are not known"):
        recognised({name: array for name, array in weights().items() if not name.startswith("lstm/")} | gru)


@pytest.mark.parametrize("write", [write_whole, write_archive])
def test_other_equations_are_refused(write: Callable[..., None], tmp_path: Path) -> None:
    for place, name, value in ((0, "recurrent_activation", "hard_sigmoid"), (0, "go_backwards", True),
                               (1, "activation", "linear")):  # fmt: skip
        settings = json.loads(json.dumps(SETTINGS))
        settings["config"]["layers"][place]["config"][name] = value
        write(tmp_path / "model", weights(), settings)
        with pytest.raises(UserError, match=f"has {name} {value!r}; its equations are known with"):
            read_arrays(tmp_path / "model")


def test_files_that_reach_for_others(tmp_path: Path) -> None:
    """Nothing of them is opened; numbers that the file does not hold ask for no memory."""
    (tmp_path / "secret").write_bytes(b"\0" * 64)
    kernel = "model_weights/lstm/lstm/kernel:0"

    def with_link(file: Any) -> None:
        file[kernel] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/a")

    def with_soft_link(file: Any) -> None:
        file[kernel] = h5py.SoftLink("/model_weights")

    def outside(file: Any) -> None:
        file.create_dataset(kernel, (4, 4), "f4", external=[(str(tmp_path / "secret"), 0, 64)])

    def virtual(file: Any) -> None:
        view = h5py.VirtualLayout((4, 4), "f4")
        view[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "a", (4, 4))
        file.create_virtual_dataset(kernel, view)

    def compressed(file: Any) -> None:
        file.create_dataset(kernel, data=np.ones((64, 64), np.float32), compression="gzip")

    def huge(file: Any) -> None:
        file.create_dataset(kernel, (1 << 20, 1 << 20), "f4", chunks=(64, 64))

    for number, (spoil, said) in enumerate((
        (with_link, "is a link to another place"), (with_soft_link, "is a link to another place"),
        (outside, "lies in another file, or is compressed"), (virtual, "lies in another file, or is compressed"),
        (compressed, "lies in another file, or is compressed"), (huge, "has 4,398,046,511,104 bytes"),
    )):  # fmt: skip
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            spoil(file)
        with pytest.raises(UserError, match=said):
            read_arrays(path)


def said_of(path: Path) -> str:
    """What is said of a file that is refused; nothing where it is read."""
    try:
        read_arrays(path)
    except UserError as error:
        return str(error)
    return ""


def test_broken_files_are_one_line(tmp_path: Path) -> None:
    for write in (write_whole, write_archive):
        write(tmp_path / "model", weights())
        whole = (tmp_path / "model").read_bytes()
        rng, read = np.random.default_rng(1), 0
        for _ in range(150):
            broken = bytearray(whole[: rng.integers(9, len(whole))] if rng.random() < 0.2 else whole)
            for place in rng.integers(8, len(broken), 20):
                broken[place] = rng.integers(256)
            (tmp_path / "broken").write_bytes(broken)
            said = said_of(tmp_path / "broken")
            assert "\n" not in said
            read += not said
        assert read < 150


def test_without_the_library(tmp_path: Path, monkeypatch) -> None:
    write_whole(tmp_path / "model", weights())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"read with h5py, which is not installed; pip install 'h5py>="):
        read_arrays(tmp_path / "model")
