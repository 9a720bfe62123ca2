"""Captions: the source is no text but a vector, as the last layers of an image classifier give one.

    python docs/tutorials/captions.py

An encoder makes the decoder's first state of the vector (Vinyals et al., "Show and tell", 2015). Nothing else changes:
the same training, the same beam. With your own images: features as a file of NumPy, (examples, numbers), and a text
with a caption on each line; several captions of an image stand on its line, with tabs between.
`python -m seq2seq.examples.captions` is this at size.
"""

import random
import tempfile
from pathlib import Path

import numpy as np

import seq2seq

# %% Scenes: what is seen, and what people say of it. The features are a sum of directions and noise, never negative
COLOURS, THINGS, PLACES = "red green blue white".split(), "dog cat horse bird child".split(), "grass sand snow".split()
SIZE = 128
rng = np.random.default_rng(0)
directions = {word: rng.normal(size=SIZE) for word in (*COLOURS, *THINGS, *PLACES)}
scenes = [(colour, thing, place) for colour in COLOURS for thing in THINGS for place in PLACES]


def features_of(scene):
    return np.maximum(0, sum(directions[word] for word in scene) + rng.normal(scale=0.5, size=SIZE))


def captions_of(scene):
    return "a {} {} on the {}\tthere is a {} {} on {}".format(*scene, *scene)


# %% Ten scenes are kept for the test: of these the model has never seen the features nor the words in this order
random.seed(0)
random.shuffle(scenes)
folder, files = Path(tempfile.mkdtemp()), {}
for name, these in (("data", scenes[15:] * 30), ("valid", scenes[10:15] * 4), ("test", scenes[:10] * 4)):
    np.save(folder / f"{name}.npy", np.array([features_of(scene) for scene in these], np.float32))
    (folder / f"{name}.txt").write_text("".join(f"{captions_of(scene)}\n" for scene in these), encoding="utf-8")
    files[name] = f"{folder / name}.npy,{folder / name}.txt"

# %% The source is named; encoder "vector" is the one that fits it
run = seq2seq.train_run(
    **files, source="vectors", encoder="vector", decoder="lstm", run_dir=folder / "run", trg_tokenizer="space",
    embedding_size=32, hidden_size=64, num_layers=1, dropout=0.2, batch_size=32, lr=0.005, epochs=4, init_range=0.1,
    teacher_forcing_ratio=1.0, samples=0, quiet=True,
)  # fmt: skip

# %% What it says of new scenes
new = np.array([features_of(scene) for scene in scenes[:3]], np.float32)
for scene, caption in zip(scenes, run.translate(new, beam_size=4), strict=False):
    print(f"{' '.join(scene)}: {caption}")
scores = run.evaluate(split="test", metrics="bleu,exact_match", beam_size=4)
print(f"{scores['exact_match']:.0f} % of its captions are one of the two that people gave")
assert scores["exact_match"] > 80
