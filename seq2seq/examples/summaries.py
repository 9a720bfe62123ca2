"""Summaries: the beginning of an article in, its headline out, with names that training has never seen.

    python -m seq2seq.examples.summaries FOLDER
    python -m seq2seq.examples.summaries FOLDER --decoder attention --epochs 8

The generator: an article is a sentence of news, who did what and where, told in one of several ways, one that adds to
it, and 3 to 8 sentences about something else. The headline says the news in a few words. People and places are made up
of syllables, 8,000 names in all, so that most of a test's names are in no vocabulary: the decoder pointer-generator
(See et al., 2017) copies them, any other says <unk> in their place. Articles are read up to --truncate-source tokens,
which hold the news.

Headlines are searched with a beam, no two tokens in a row occur twice in one (Paulus et al., 2018), and ROUGE (Lin,
2004) compares them with those of the generator. Of a decoder that attends without copying, `evaluate --replace-unk`
puts the source's word that was attended to most in place of each <unk> (Luong et al., 2015).
"""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("examples.summaries"))

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seq2seq.examples import running
from seq2seq.examples.running import Counts
from seq2seq.run.cli import run_command
from seq2seq.run.parser import OneLineParser

SYLLABLES = (
    "ba", "co", "du", "fe", "gi", "ha", "jo", "ku", "le", "mi",
    "na", "po", "ra", "so", "tu", "va", "wo", "xi", "ye", "zo",
)  # fmt: skip
DEEDS = ("wins", "leaves", "opens", "sells", "buys", "closes", "visits", "saves")
THINGS = ("race", "school", "bridge", "museum", "farm", "theatre", "station", "garden")
NEWS = (
    "{who} {deed} the {thing} in {place} .",
    "in {place} {who} {deed} the {thing} , it was said on monday .",
    "the {thing} in {place} is the one that {who} {deed} .",
)
MORE = (
    "people in {place} say that {who} did well .",
    "{who} has lived in {place} for years .",
    "it is not the first {thing} in {place} .",
)
HEADLINE = "{who} {deed} {thing} in {place}"
OTHER = (
    "the weather stays {a} and {b} for a week .",
    "prices of {a} and {b} things rose again .",
    "a {a} dog was found near the {b} river .",
    "the {a} team lost to the {b} team .",
)
WORDS = ("cold", "warm", "dry", "wet", "old", "new", "small", "large", "red", "green")
COUNTS = Counts(3000, 100, 200)
SETTINGS = {
    "encoder": "bilstm", "decoder": "pointer-generator", "embedding_size": 64, "hidden_size": 64, "num_layers": 1,
    "dropout": 0.1, "init_range": 0.3, "src_tokenizer": "space", "trg_tokenizer": "space", "share_vocab": True,
    "min_freq": 10, "truncate_source": 24, "teacher_forcing_ratio": 1.0, "batch_size": 32, "lr": 0.005, "epochs": 4,
}  # fmt: skip
SCORING = {"metrics": "rouge1,rouge2,rougeL,exact_match", "beam_size": 4, "no_repeat_ngram_size": 2}


def article(rng: np.random.Generator) -> tuple[str, str]:
    """An article and its headline."""
    who, place = ("".join(rng.choice(SYLLABLES, 3)) for _ in range(2))
    facts = {"who": who, "place": place, "deed": rng.choice(DEEDS), "thing": rng.choice(THINGS)}
    sentences = [str(rng.choice(ways)).format(**facts) for ways in (NEWS, MORE)]
    for _ in range(int(rng.integers(3, 9))):
        first, second = rng.choice(WORDS, 2)
        sentences.append(str(rng.choice(OTHER)).format(a=first, b=second))
    return " ".join(sentences), HEADLINE.format(**facts)


def write_data(folder: Path, counts: Counts) -> dict[str, str]:
    """Write articles and headlines of each split; the settings that name the files."""
    rng = np.random.default_rng(0)
    splits = running.cut([article(rng) for _ in range(sum(counts))], counts)
    named = zip(("data", "valid", "test"), splits, strict=True)
    return {name: running.write_pairs(folder / f"{name}.tsv", split) for name, split in named}


def build_parser() -> OneLineParser:
    return running.build_parser("summaries", "Summarise generated articles.")


def summaries(arguments: Sequence[str] | None = None, counts: Counts = COUNTS) -> int:
    """Make data, train and score as the command line says."""
    task = running.begin(build_parser(), SETTINGS, arguments)
    running.scored(running.trained(task, write_data(task.folder, counts)), SCORING)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(summaries, arguments)
