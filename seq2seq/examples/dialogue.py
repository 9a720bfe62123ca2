"""A dialogue: the last turns in, a reply out, drawn from the model so that it need not always say the same.

    python -m seq2seq.examples.dialogue FOLDER
    python -m seq2seq.examples.dialogue FOLDER --turns 1

The generator: a guest speaks with a waiter. In any order the guest says a name, orders a dish, orders a drink, says
for how many, and asks about any of these, told or not; each is said in one of two or three ways, and so is each reply.
A pair of the data is the last turns of both, with "|" between them, and the reply that follows. What was told in turns
that --turns has cut off cannot be known, and a question about it is answered in vain. What was said before a reply of
the training is said before none of the other splits.

Replies are drawn from the fewest tokens that have 90 % of the probability (top-p, Holtzman et al., 2020), at a
temperature of 0.7, and no three tokens in a row occur twice in one (Paulus et al., 2018). A reply is right where it is
one of the ways to say what is true; which of them is left to chance, so there is no one reference to compare with.
"""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("examples.dialogue"))

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seq2seq import Translator
from seq2seq.examples import running
from seq2seq.examples.running import Counts
from seq2seq.metrics import exact_match
from seq2seq.run.cli import run_command
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import print_results

# What a guest may tell, and how guest and waiter put it: statement, reply to it, question, answer.
TOPICS = {
    "name": ("anna", "ben", "clara", "david", "emma", "felix", "grace", "henry", "ida", "jonas"),
    "dish": ("pasta", "soup", "salad", "fish", "rice", "pizza", "curry", "steak", "noodles", "dumplings"),
    "drink": ("water", "tea", "coffee", "juice", "wine", "beer", "milk", "lemonade"),
    "number": ("one", "two", "three", "four", "five", "six", "seven", "eight"),
}
STATEMENTS = {
    "name": ("i am {}", "my name is {}", "hello , this is {}"),
    "dish": ("i would like the {}", "the {} , please", "can i have {} ?"),
    "drink": ("a glass of {} , please", "i would like to drink {}", "and some {}"),
    "number": ("we are {}", "a table for {}", "there will be {} of us"),
}
REPLIES = {
    "name": ("welcome , {}", "nice to meet you , {}", "good evening , {}"),
    "dish": ("the {} is very good today", "a {} , of course", "i will bring you the {}"),
    "drink": ("a {} , with pleasure", "{} it is", "your {} will be here soon"),
    "number": ("a table for {} is free", "so {} chairs", "{} , follow me please"),
}
QUESTIONS = {
    "name": ("who am i ?", "do you know my name ?"),
    "dish": ("what did i order ?", "what will i eat ?"),
    "drink": ("what will i drink ?", "which drink did i ask for ?"),
    "number": ("how many are we ?", "for how many is the table ?"),
}
ANSWERS = {
    "name": ("you are {}", "your name is {}"),
    "dish": ("you ordered the {}", "you will eat {}"),
    "drink": ("you will drink {}", "you asked for {}"),
    "number": ("you are {} in all", "the table is for {}"),
}
UNKNOWN = ("i do not know", "you have not told me yet")
COUNTS = Counts(1200, 60, 60)  # dialogues
SETTINGS = {
    "encoder": "bilstm", "decoder": "attention", "embedding_size": 64, "hidden_size": 96, "num_layers": 1,
    "dropout": 0.2, "init_range": 0.2, "src_tokenizer": "space", "trg_tokenizer": "space", "min_freq": 1,
    "teacher_forcing_ratio": 1.0, "batch_size": 64, "lr": 0.004, "lr_schedule": "cosine", "epochs": 7,
}  # fmt: skip
SAMPLING: dict[str, Any] = {"strategy": "sample", "temperature": 0.7, "top_p": 0.9, "no_repeat_ngram_size": 3}
DRAWN, SHOWN = 4, 3  # replies to each context, contexts that are printed
TURNS, MOST_TURNS = 9, 16


class Exchange(NamedTuple):
    """What was said before a reply, every right reply, and the word that they need, which may be none."""

    said: tuple[str, ...]
    replies: tuple[str, ...]
    word: str

    def context(self, turns: int) -> str:
        """The last turns."""
        return " | ".join(self.said[-turns:])

    def answerable(self, turns: int) -> bool:
        """Whether the last turns hold the word."""
        return not self.word or self.word in self.context(turns).split()


def exchanges(rng: np.random.Generator) -> Iterator[Exchange]:
    """Those of one dialogue."""
    told: dict[str, str] = {}
    said: list[str] = []
    for _ in range(int(rng.integers(4, 9))):
        topic = str(rng.choice(list(TOPICS)))
        ways: tuple[str, ...]
        if topic in told or rng.random() < 0.2:
            said.append(str(rng.choice(QUESTIONS[topic])))
            ways = ANSWERS[topic] if topic in told else UNKNOWN
        else:
            told[topic] = str(rng.choice(TOPICS[topic]))
            said.append(str(rng.choice(STATEMENTS[topic])).format(told[topic]))
            ways = REPLIES[topic]
        word = told.get(topic, "")
        yield Exchange(tuple(said), tuple(way.format(word) for way in ways), word)
        said.append(str(rng.choice(ways)).format(word))


def draw(counts: Counts) -> list[list[Exchange]]:
    """The exchanges of the dialogues of each split."""
    rng = np.random.default_rng(0)
    train, *others = ([one for _ in range(count) for one in exchanges(rng)] for count in counts)
    known = {one.said for one in train}
    return [train, *([one for one in split if one.said not in known] for split in others)]


def write_data(folder: Path, splits: Sequence[Sequence[Exchange]], turns: int) -> dict[str, str]:
    """Write contexts and replies, each in one of its ways; the settings that name the files."""
    rng = np.random.default_rng(1)
    files = {}
    for name, split in zip(("data", "valid", "test"), splits, strict=True):
        pairs = [(one.context(turns), str(rng.choice(one.replies))) for one in split]
        files[name] = running.write_pairs(folder / f"{name}.tsv", pairs)
    return files


def figures(translator: Translator, split: Sequence[Exchange], turns: int) -> list[str]:
    """What sampled and greedy replies to a split are worth, and some of them, in lines."""
    contexts, right = [one.context(turns) for one in split], [one.replies for one in split]
    greedy = translator.translate(contexts)
    drawn = translator.search(contexts, n_best=DRAWN, **SAMPLING)
    sampled = [[translator.text_of(hypothesis) for hypothesis in several] for several in drawn]
    shares = {
        "greedy": exact_match(greedy, right, False),
        "sampled": np.mean([exact_match(column, right, False) for column in zip(*sampled, strict=True)]),
        "answerable": 100 * np.mean([one.answerable(turns) for one in split]),
    }
    lines = [f"{len(split):,} replies; right of them, in percent:"]
    lines += [f"  {name:12} {share:9.3f}" for name, share in shares.items()]
    lines += [f"  {'ways':12} {np.mean([len({*several}) for several in sampled]):9.3f}   of {DRAWN} drawn replies"]
    for context, several in list(zip(contexts, sampled, strict=True))[:: len(split) // SHOWN + 1]:
        lines += ["", *(f"  {turn}" for turn in context.split(" | ")), *(f"    = {reply}" for reply in several)]
    return lines


def build_parser() -> OneLineParser:
    parser = running.build_parser("dialogue", "Reply in generated dialogues.")
    told = f"last turns of a dialogue that are kept, 1 to {MOST_TURNS} (default: {TURNS})"
    parser.add_argument(
        "--turns", type=int, choices=range(1, MOST_TURNS + 1), default=TURNS, metavar="NUMBER", help=told
    )
    return parser


def dialogue(arguments: Sequence[str] | None = None, counts: Counts = COUNTS) -> int:
    """Make data, train, and reply as the command line says."""
    task = running.begin(build_parser(), SETTINGS, arguments)
    splits, turns = draw(counts), task.options.turns
    run_dir = running.trained(task, write_data(task.folder, splits, turns))
    print_results("\n".join(figures(Translator.load(run_dir), splits[-1], turns)))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(dialogue, arguments)
