"""One command line, with all that lies around it, from one number."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import hostile
from damage import damage
from sandbox import TINY, Sandbox
from settings_text import settings_text

from seq2seq.run import registry
from seq2seq.run.config import Config


class Round(NamedTuple):
    """What to run in a sandbox, and a note on what was done to it."""

    command: str
    arguments: list[str]
    stdin: bytes = b""
    note: str = ""


def draw(sandbox: Sandbox, rng: random.Random) -> Round:
    """A round of any kind; the sandbox is changed as it needs."""
    return rng.choice(_KINDS)(sandbox, rng)


# The kinds of value that go with an option; for the others anything may do.
_NUMERIC = {
    field.name for field in dataclasses.fields(Config) if "int" in str(field.type) or "float" in str(field.type)
}
_PATHS = {
    "data", "data_dir", "valid", "test", "run_dir", "config", "input", "output", "json", "prefix", "src", "trg",
}  # fmt: skip
_TRAIN = [field.name for field in dataclasses.fields(Config)] + ["config", "accept_changes"]
_OF_SEARCH = registry.options(registry.SEARCH_PACKAGES)
_SEARCH = (
    *_OF_SEARCH, "strategy", "batch_size", "max_output_length", "max_length_ratio", "forbidden_words", "seed",
    "replace_unk",
)  # fmt: skip
_MODEL = ("checkpoint", "precision", "device", "threads", "accept_changes")
_TRANSLATE = ("input", "output", "n_best", "prefix", *_SEARCH, *_MODEL)
_EVALUATE = ("split", "data_dir", "data", "valid", "test", "json", *_SEARCH, *_MODEL)
_SCORE = ("data", "src", "trg", "output", "tokens", "json", "batch_size", *_MODEL)
_DECODING = {"n_best", "batch_size", "threads", "max_output_length", "max_length_ratio", "seed"}
_DECODING |= {name for name, field in _OF_SEARCH.items() if registry.type_of(field) in (int, float)}
_GOOD_EXTRAS: tuple[tuple[str, ...], ...] = (
    ("--precision", "fp32"), ("--precision", "fp64"), ("--dropout", "0.3"), ("--reverse-source",), ("--lower", "true"),
    ("--src-tokenizer", "char"), ("--trg-tokenizer", "word"), ("--label-smoothing", "0.1"), ("--max-length", "4"),
    ("--save-every", "1"), ("--teacher-forcing-ratio", "1"), ("--num-layers", "2"), ("--max-vocab-size", "8"),
    ("--valid", "valid.tsv"), ("--test", "valid.tsv"), ("--max-output-length", "3"), ("--clip-norm", "0.5"),
    ("--src-language", "de"), ("--trg-language", "zh"), ("--threads", "1"), ("--seed", "3"), ("--batch-size", "7"),
)  # fmt: skip
_GOOD_DATA = (
    "digits.tsv",
    "digits.tsv.gz",
    "digits.src,digits.trg",
    "a b/c'd,a b/c'd",
    "header.tsv",
    "日本.tsv",
    "\udcff.tsv",
)


def _value(name: str, rng: random.Random) -> str:
    if name in _NUMERIC or name in _DECODING:
        return hostile.number(rng) if rng.random() < 0.9 else hostile.word(rng)
    if name in ("output", "json"):
        return hostile.path(rng).replace("fifo", "pipe")  # a pipe is fed when somebody reads it; that may take its time
    return hostile.path(rng) if name in _PATHS else hostile.word(rng)


def _option(name: str, rng: random.Random) -> Iterator[str]:
    """An option with a value nobody should give it: as two words or one, sometimes none, sometimes an odd name."""
    option, kind = "--" + name.replace("_", "-"), rng.random()
    value = _value(name, rng)
    if kind < 0.65:
        yield from (option, value)
    elif kind < 0.85:
        yield f"{option}={value}"
    elif kind < 0.92:
        yield option
    else:
        yield from (rng.choice((option[:-1], option.upper(), option.replace("-", "_"), "-" + name[0], value)), value)


def _hostile(names: Sequence[str], rng: random.Random, counts: tuple[int, ...] = (1, 1, 1, 2, 3)) -> list[str]:
    weights = [3 if name in _PATHS else 1 for name in names]
    return [word for name in rng.choices(names, weights, k=rng.choice(counts)) for word in _option(name, rng)]


def _extras(rng: random.Random) -> list[str]:
    return [word for words in rng.sample(_GOOD_EXTRAS, rng.choice((0, 0, 1, 2, 3))) for word in words]


def _new_run(rng: random.Random) -> list[str]:
    return [
        "--data",
        rng.choice(_GOOD_DATA),
        "--run-dir",
        rng.choice(("new", "new/deep/er", "folder/new", "a b/new")),
        *TINY,
    ]


def _train(sandbox: Sandbox, rng: random.Random) -> Round:
    extras = _extras(rng)
    return Round("train", [*_new_run(rng), *extras, *_hostile(_TRAIN, rng, (0, 0, 1, 1, 1, 1, 2, 3))])


def _train_on_text(sandbox: Sandbox, rng: random.Random) -> Round:
    """Data with odd lines among good ones, or of odd lines alone."""
    good = (sandbox.work / "digits.tsv").read_bytes() if rng.random() < 0.7 else b""
    lines = [good, *(hostile.text(rng) + b"\t" + hostile.text(rng) + b"\n" for _ in range(rng.randint(1, 4)))]
    rng.shuffle(lines)
    (sandbox.work / "drawn.tsv").write_bytes(b"".join(lines))
    option = rng.choice(("--data", "--data", "--valid", "--test"))
    return Round("train", [*_new_run(rng), *_extras(rng), option, "drawn.tsv"])


def _train_by_file(sandbox: Sandbox, rng: random.Random) -> Round:
    return Round("train", [*_new_run(rng), *_by_file(sandbox, rng)])


def _gradcheck(sandbox: Sandbox, rng: random.Random) -> Round:
    small = ["--hidden-size", "2", "--embedding-size", "2", "--num-layers", "1"]
    others = [name for name in _TRAIN if name != "num_layers"]  # many layers take their time
    return Round("gradcheck", [*small, *_hostile(others, rng)])


def _gradcheck_by_file(sandbox: Sandbox, rng: random.Random) -> Round:
    small = ["--hidden-size", "2", "--embedding-size", "2", "--num-layers", "1"]
    return Round("gradcheck", [*_by_file(sandbox, rng), *small])


def _by_file(sandbox: Sandbox, rng: random.Random) -> list[str]:
    text = settings_text(rng)
    (sandbox.work / "drawn.yaml").write_bytes(text)
    words = ["--config", rng.choice(("drawn.yaml", "drawn.yaml", "drawn.yaml", hostile.path(rng)))]
    return words * rng.choice((1, 1, 1, 2))


def _translate(sandbox: Sandbox, rng: random.Random) -> Round:
    words = [rng.choice(("run", "run", "link", "run/", hostile.path(rng))), "--input", "input.txt"]
    return Round("translate", [*words, *_hostile(_TRANSLATE, rng)], hostile.text(rng))


def _translate_text(sandbox: Sandbox, rng: random.Random) -> Round:
    """Odd text for a good run, decoded in some good way."""
    text = hostile.text(rng)
    (sandbox.work / "drawn.txt").write_bytes(text)
    decoding = rng.choice((
        [], ["--beam-size", "3"], ["--beam-size", "3", "--n-best", "2"], ["--batch-size", "1"],
        ["--strategy", "sample", "--top-k", "3"], ["--strategy", "diverse-beam", "--beam-size", "2"],
        ["--strategy", "exact", "--exact-steps", "9"], ["--no-unk", "--min-output-length", "2"],
    ))  # fmt: skip
    source = rng.choice(([], ["--input", "-"], ["--input", "drawn.txt"]))
    output = rng.choice(([], ["--output", "drawn.out"], ["--output", "/dev/null"]))
    return Round("translate", ["run", *decoding, *source, *output], text)


def _evaluate(sandbox: Sandbox, rng: random.Random) -> Round:
    words = [rng.choice(("run", "run", "link", hostile.path(rng)))]
    return Round("evaluate", [*words, *_hostile(_EVALUATE, rng)])


def _score(sandbox: Sandbox, rng: random.Random) -> Round:
    words = [rng.choice(("run", "run", "link", hostile.path(rng)))]
    pairs = rng.choice((["--data", "digits.tsv"], ["--src", "digits.src", "--trg", "digits.trg"], []))
    return Round("score", [*words, *pairs, *_hostile(_SCORE, rng, (0, 1, 1, 2))])


def _damaged(sandbox: Sandbox, rng: random.Random) -> Round:
    """Any command on a run that something happened to."""
    note = damage(sandbox, rng)
    accept = ["--accept-changes"] if rng.random() < 0.3 else []
    checkpoint = rng.choice(([], ["--checkpoint", "last"]))
    command, words = rng.choice((
        ("translate", ["run", "--input", "input.txt", *checkpoint]), ("evaluate", ["run", *checkpoint]),
        ("train", ["--run-dir", "run", "--resume", "--max-steps", "4", "--epochs", "2"]),
    ))  # fmt: skip
    return Round(command, [*words, *accept], note=note)


def _resume(sandbox: Sandbox, rng: random.Random) -> Round:
    words = ["--run-dir", "run", "--resume", *_hostile(_TRAIN, rng, (0, 1, 1, 2))]
    return Round("train", [*words, "--max-steps", "4", "--epochs", "2"])


_KINDS: tuple[Callable[[Sandbox, random.Random], Round], ...] = (
    *[_train] * 6, *[_train_on_text] * 2, *[_train_by_file] * 3, *[_gradcheck] * 2, _gradcheck_by_file,
    *[_translate] * 3, *[_translate_text] * 3, *[_evaluate] * 3, _score, *[_damaged] * 7, *[_resume] * 2,
)  # fmt: skip
