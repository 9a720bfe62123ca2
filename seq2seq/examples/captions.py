"""Captions of features, as of images: a decoder that is started by a vector, or attends to several.

    python -m seq2seq.examples.captions FOLDER
    python -m seq2seq.examples.captions FOLDER --regions --decoder attention

The generator: a scene is a colour, a thing, a relation and a place. Each value of each of these has a direction of
4,096 numbers, drawn once from N(0, 1). The features of a scene are max(0, the sum of its four directions + noise from
N(0, 1)), like those before the last layer of a classifier of images: not negative, half of them zero. With --regions a
scene has three rows, in random order: that of its colour and thing, that of its relation and place, and one of noise
alone. Every scene has three captions, which are its references. No scene is in two splits.

With a vector the decoder starts from what the encoder makes of it (Vinyals et al., "Show and tell", 2015); with regions
a decoder with attention looks at one after the other (Xu et al., "Show, attend and tell", 2015).
"""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("examples.captions"))

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np

from seq2seq.examples import running
from seq2seq.examples.running import Counts
from seq2seq.run.cli import run_command
from seq2seq.run.parser import OneLineParser

SIZE = 4096
PARTS = (
    ("red", "green", "blue", "white", "black", "brown", "small", "big"),
    ("dog", "cat", "horse", "bird", "child", "man", "woman", "robot", "ball", "bicycle"),
    ("on", "under", "behind", "near"),
    ("table", "tree", "bridge", "house", "car", "river", "bench", "wall"),
)
CAPTIONS = ("a {} {} {} a {}", "there is a {} {} {} the {}", "the picture shows a {} {} {} a {}")
COUNTS = Counts(1000, 100, 200)
SETTINGS = {
    "source": "vectors", "encoder": "vector", "decoder": "lstm", "embedding_size": 64, "hidden_size": 128,
    "num_layers": 1, "dropout": 0.2, "trg_tokenizer": "space", "min_freq": 1, "teacher_forcing_ratio": 1.0,
    "batch_size": 64, "lr": 0.002, "epochs": 10, "best_metric": "exact_match",
}  # fmt: skip
SCORING = {"metrics": "bleu,exact_match", "beam_size": 4}

Scene = tuple[int, int, int, int]


def scenes(rng: np.random.Generator, counts: Counts) -> list[list[Scene]]:
    """Scenes for each split, all different."""
    known: list[Scene] = list(product(*map(range, map(len, PARTS))))  # type: ignore[arg-type]
    return running.cut([known[number] for number in rng.permutation(len(known))], counts)


def features(
    rng: np.random.Generator, split: Sequence[Scene], directions: list[np.ndarray], regions: bool
) -> np.ndarray:
    """(scenes, SIZE) float32, or (scenes, 3, SIZE) of regions."""
    colour, thing, relation, place = (each[[scene[part] for scene in split]] for part, each in enumerate(directions))
    if regions:
        rows = np.stack([colour + thing, relation + place, np.zeros_like(colour)], axis=1)
        order = rng.permuted(np.tile(np.arange(3), (len(rows), 1)), axis=1)
        rows = np.take_along_axis(rows, order[:, :, None], axis=1)
    else:
        rows = colour + thing + relation + place
    return np.maximum(0, rows + rng.standard_normal(rows.shape, np.float32))


def captions_of(scene: Scene) -> str:
    """Its captions, with tabs between them."""
    words = [names[number] for names, number in zip(PARTS, scene, strict=True)]
    return "\t".join(caption.format(*words) for caption in CAPTIONS)


def write_data(folder: Path, counts: Counts, regions: bool) -> dict[str, str]:
    """Write features and captions of each split; the settings that name them."""
    rng = np.random.default_rng(0)
    directions = [rng.standard_normal((len(names), SIZE), np.float32) for names in PARTS]
    files = {}
    for name, split in zip(("data", "valid", "test"), scenes(rng, counts), strict=True):
        numbers, text = folder / f"{name}.npy", folder / f"{name}.en"
        np.save(numbers, features(rng, split, directions, regions))
        files[name] = f"{numbers},{running.write_lines(text, map(captions_of, split))}"
    return files


def build_parser() -> OneLineParser:
    parser = running.build_parser("captions", "Caption generated features.")
    parser.add_argument("--regions", action="store_true", help="three rows of features for each scene, not one")
    return parser


def captions(arguments: Sequence[str] | None = None, counts: Counts = COUNTS) -> int:
    """Make data, train and score as the command line says."""
    task = running.begin(build_parser(), SETTINGS, arguments)
    files = write_data(task.folder, counts, task.options.regions)
    running.scored(running.trained(task, files), SCORING)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(captions, arguments)
