"""The commands by name: what each is for, and examples. Data alone, so that ``seq2seq --help`` loads nothing."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A module of seq2seq with ``main``; ``examples`` are command lines without the program's name."""

    about: str
    examples: tuple[str, ...]


GROUPS: dict[str, dict[str, Command]] = {
    "train": {
        "train": Command(
            "train a model, or go on with a training",
            ("--data train.de,train.en --valid valid.de,valid.en --run-dir runs/mine", "--run-dir runs/mine --resume",
             "--recipe multi30k-attention --data-dir corpora --budget 20m"),
        ),
        "seeds": Command(
            "train with several seeds: mean and spread of the scores",
            ("--seeds 1,2,3 --data multi30k --run-dir runs/three",),
        ),
        "average": Command("average the best epochs of a run", ("runs/mine",)),
        "reproduce": Command("run a recipe and hold its figures against those expected", ("--list", "scan")),
        "inspect": Command("what is in a corpus, and what is wrong with it", ("train.de,train.en --html report.html",)),
        "gradcheck": Command("hold the gradients of a model against finite differences", ("--config my.yaml",)),
    },
    "use": {
        "translate": Command(
            "translate sentences, one a line",
            ("runs/mine --input new.de --output new.en --beam-size 5", "runs/mine --n-best 3 < new.de"),
        ),
        "evaluate": Command(
            "score what runs translate",
            ("runs/mine --test test.de,test.en --html errors.html", "runs/a runs/b runs/c --beam-size 5"),
        ),
        "compare": Command("two systems: both scores, and whether they differ by luck", ("runs/mine runs/other",)),
        "score": Command("how likely given translations are", ("runs/mine --data pairs.tsv",)),
        "encode": Command("a vector for each sentence", ("runs/mine new.de --output new.npy",)),
        "plot": Command(
            "learning curves, attention, BLEU by length, vectors in a plane",
            ("runs/mine runs/other --output curves.png", "runs/mine --attention new.de --output maps.html"),
        ),
    },
    "ship": {
        "export": Command("a model in one file", ("runs/mine --to mine.seq2seq --weights int8",)),
        "convert": Command(
            "weights of another framework as a model file",
            ("tut1-model.pt --to tut1.seq2seq --src-vocab words.de --trg-vocab words.en --lower",),
        ),
        "serve": Command(
            "a page and a JSON API that translate", ("mine.seq2seq", "de-en=runs/multi30k say=runs/cmudict --port 8080")
        ),
        "doctor": Command("what a bug report needs to know of this machine", ("",)),
        "completion": Command("a script that lets a shell complete commands and options", ("bash",)),
    },
}  # fmt: skip
COMMANDS: dict[str, Command] = {name: command for group in GROUPS.values() for name, command in group.items()}


def overview() -> str:
    """What ``seq2seq --help`` prints."""
    lines = ["usage: seq2seq COMMAND ...", "", "Sequences to sequences: train, translate, ship.", ""]
    width = max(map(len, COMMANDS))
    for group, commands in GROUPS.items():
        lines += [f"{group}:", *(f"  {name:{width}}  {command.about}" for name, command in commands.items()), ""]
    return "\n".join([*lines, "seq2seq COMMAND --help says more; python -m seq2seq.COMMAND is the same."])
