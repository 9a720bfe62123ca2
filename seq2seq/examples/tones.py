"""Names of tones: frames of sound, as of speech, through a pyramidal encoder to text, of lengths that differ.

    python -m seq2seq.examples.tones FOLDER

The generator: a melody is 2 to 6 tones of the octave from C5 to B5, each 80 to 250 ms long, with 20 to 120 ms of
silence around them. A tone is the sum of four harmonics with random phases, loudnesses and tuning (a tenth of a
semitone), with a soft start and end; noise is added to the whole, 20 dB below it. Sound of 8,000 samples a second
becomes frames as speech does: windows of 32 ms every 10 ms, the power in 40 bands that are evenly spaced on the mel
scale, and its logarithm (Davis and Mermelstein, 1980). The target is the names of the tones, "C5 F#5 A5". No melody is
in two splits.

The encoder reads the frames in both directions; its two upper layers halve the time, so that the decoder attends to a
quarter as many positions as there are frames (Chan et al., "Listen, attend and spell", 2016).
"""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("examples.tones"))

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seq2seq.examples import running
from seq2seq.examples.running import Counts
from seq2seq.run.cli import run_command
from seq2seq.run.parser import OneLineParser

RATE = 8000  # samples a second
WINDOW, HOP, BANDS = 256, 80, 40  # samples, samples, numbers of a frame
NAMES = ("C5", "C#5", "D5", "D#5", "E5", "F5", "F#5", "G5", "G#5", "A5", "A#5", "B5")
LOWEST = 523.25  # Hz, of C5
COUNTS = Counts(2000, 100, 200)
SETTINGS = {
    "source": "frames", "encoder": "bilstm", "pyramid": 2, "num_layers": 3, "decoder": "attention",
    "embedding_size": 32, "hidden_size": 64, "dropout": 0.1, "init_range": 0.2, "trg_tokenizer": "space",
    "min_freq": 1, "teacher_forcing_ratio": 1.0, "batch_size": 32, "lr": 0.004, "lr_schedule": "cosine", "epochs": 7,
    "best_metric": "per",
}  # fmt: skip
SCORING = {"metrics": "per,exact_match", "beam_size": 4}

Melody = tuple[int, ...]


def melodies(rng: np.random.Generator, counts: Counts) -> list[list[Melody]]:
    """Melodies for each split, all different."""
    known: dict[Melody, None] = {}
    while len(known) < sum(counts):
        known[tuple(rng.integers(len(NAMES), size=rng.integers(2, 7)).tolist())] = None
    return running.cut(list(known), counts)


def frames(rng: np.random.Generator, melody: Melody) -> np.ndarray:
    """(frames, BANDS) float32 of a melody as it is played once."""
    parts = [_silence(rng)]
    for tone in melody:
        parts += [_tone(rng, tone), _silence(rng)]
    sound = np.concatenate(parts)
    sound += 0.1 * np.sqrt(np.mean(sound**2)) * rng.standard_normal(len(sound))
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows)) ** 2
    return np.log(power @ _BANDS + 1e-6).astype(np.float32)


def _silence(rng: np.random.Generator) -> np.ndarray:
    return np.zeros(int(RATE * rng.uniform(0.02, 0.12)))


def _tone(rng: np.random.Generator, tone: int) -> np.ndarray:
    """One tone, as loud as 1 at most for each of its harmonics."""
    time = np.arange(int(RATE * rng.uniform(0.08, 0.25))) / RATE
    pitch = LOWEST * 2 ** ((tone + rng.uniform(-0.1, 0.1)) / 12)
    harmonics = np.arange(1, 5)[:, None]
    waves = np.sin(2 * np.pi * (harmonics * pitch * time + rng.random((4, 1))))
    ends = np.minimum(1, np.minimum(time, time[::-1]) / 0.01)  # 10 ms to rise and to fall
    return ends * (rng.uniform(0.2, 1, (4, 1)) / harmonics * waves).sum(axis=0)


def _mel_bands() -> np.ndarray:
    """(frequencies, BANDS): triangles whose corners are evenly spaced in mel = 2595 log10(1 + Hz / 700)."""
    corners = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(WINDOW, 1 / RATE)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    return np.maximum(0, np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)))


_BANDS = _mel_bands()


def write_data(folder: Path, counts: Counts) -> dict[str, str]:
    """Write frames and names of each split; the settings that name them."""
    rng, files = np.random.default_rng(0), {}
    for name, split in zip(("data", "valid", "test"), melodies(rng, counts), strict=True):
        played = [frames(rng, melody) for melody in split]
        path = folder / f"{name}.npz"
        np.savez(path, rows=np.concatenate(played), lengths=[len(each) for each in played])
        names = (" ".join(NAMES[tone] for tone in melody) for melody in split)
        files[name] = f"{path},{running.write_lines(folder / f'{name}.txt', names)}"
    return files


def build_parser() -> OneLineParser:
    return running.build_parser("tones", "Name the tones of generated sound.")


def tones(arguments: Sequence[str] | None = None, counts: Counts = COUNTS) -> int:
    """Make data, train and score as the command line says."""
    task = running.begin(build_parser(), SETTINGS, arguments)
    running.scored(running.trained(task, write_data(task.folder, counts)), SCORING)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(tones, arguments)
