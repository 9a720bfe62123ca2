"""Shared by the toolkit's tests: tiny models, tiny corpora, and the commands run in this process or in their own."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import seq2seq.training.trainer as trainer_module
from minigrad import optim
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.sources import Batch, EncodedSplit, Ragged, TextSource
from tests.seq2seq.pairs import options_that_fit

SRC_VOCAB, TRG_VOCAB = 13, 11
TINY = {"embedding_size": 8, "hidden_size": 12}


# A longer search for faults, by hand: so many times the random rounds of every test that has some.
ROUNDS = int(os.environ.get("MINIGRAD_ROUNDS", "1"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``fuzz_seed`` runs for as many seeds as its module's SEEDS says, times MINIGRAD_ROUNDS."""
    if "fuzz_seed" in metafunc.fixturenames:
        metafunc.parametrize("fuzz_seed", range(metafunc.module.SEEDS * ROUNDS))


@pytest.fixture(scope="session")
def rounds() -> int:
    """What MINIGRAD_ROUNDS multiplies random rounds by; 1 in CI."""
    return ROUNDS


@pytest.fixture(scope="session", autouse=True)
def _compiled_here() -> Iterator[None]:
    """Commands that run in this process compile here: a child for it, which each new kind of run would start, spares
    memory alone (``training/test_warm_up.py``), and takes a second where all is compiled already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seq2seq.train.compile_kernels", lambda config: None)
        yield


class Result(NamedTuple):
    """What a command left: exit code and text."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., Seq2Seq]:
    """tiny_model(src_vocab, trg_vocab, **settings): two small layers, weights large enough to have opinions."""

    def build(src_vocab: int = SRC_VOCAB, trg_vocab: int = TRG_VOCAB, **settings: Any) -> Seq2Seq:
        sizes = {"embedding_size": 5, "hidden_size": 6, "num_layers": 2, "dropout": 0.0, "init_range": 0.8}
        return build_model(src_vocab, trg_vocab, Config(**{**sizes, **settings}))

    return build


@pytest.fixture(scope="session")
def fitting_options() -> Callable[..., dict[str, Any]]:
    """fitting_options(encoder, decoder, **wanted): options with which the two fit each other, those wanted that they
    have among them; a skip where none do."""

    def choose(encoder: str, decoder: str, **wanted: Any) -> dict[str, Any]:
        options = options_that_fit(encoder, decoder)
        if options is None:
            pytest.skip(f"encoder {encoder} and decoder {decoder} do not fit each other")
        known = registry.options_of({"encoder": encoder, "decoder": decoder})
        return options | {name: value for name, value in wanted.items() if name in known}

    return choose


@pytest.fixture
def trained(tiny_model, draw_batch) -> tuple[Seq2Seq, optim.Adam]:
    """A model after two steps, and the optimiser that took them."""
    model = tiny_model().train()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for seed in range(2):
        optimizer.zero_grad()
        model.loss(draw_batch(seed)).backward()
        optimizer.step()
    return model, optimizer


@pytest.fixture(scope="session")
def draw_batch() -> Callable[..., Batch]:
    """draw_batch(seed, lengths): random sentences; ``lengths`` are (source, target) words without specials."""

    def draw(seed: int = 0, lengths: Sequence[tuple[int, int]] = ((4, 3), (1, 6), (6, 1), (3, 4), (0, 0))) -> Batch:
        rng = np.random.default_rng(seed)
        sources = Ragged(rng.integers(4, SRC_VOCAB, src).tolist() for src, _ in lengths)
        targets = Ragged(rng.integers(4, TRG_VOCAB, trg).tolist() for _, trg in lengths)
        return TextSource().batch(EncodedSplit(sources, targets), range(len(lengths)))

    return draw


@pytest.fixture(scope="session")
def reversed_digits() -> Callable[..., list[tuple[str, str]]]:
    """reversed_digits(count, seed): distinct pairs such as ("3 1 4", "4 1 3"), of 3 to 5 digits."""

    def draw(count: int, seed: int = 0) -> list[tuple[str, str]]:
        rng = random.Random(seed)
        sources: dict[str, None] = {}
        while len(sources) < count:
            sources[" ".join(rng.choices("0123456789", k=rng.randint(3, 5)))] = None
        return [(source, source[::-1]) for source in sources]

    return draw


@pytest.fixture(scope="module")
def trained_run(
    tmp_path_factory: pytest.TempPathFactory,
    reversed_digits: Callable[..., list[tuple[str, str]]],
    options: Callable[[Path, Path], list[str]],
) -> Callable[..., Path]:
    """trained_run(count, "--epochs", 1): the folder of a tiny run on so many reversals, for all tests of a module."""
    from seq2seq import train as train_command

    def trained_run(count: int, *arguments: object) -> Path:
        root = tmp_path_factory.mktemp("trained")
        corpus = root / "digits.tsv"
        corpus.write_text("".join(f"{src}\t{trg}\n" for src, trg in reversed_digits(count)))
        with contextlib.redirect_stdout(io.StringIO()):
            assert train_command.main([*options(corpus, root / "run"), *map(str, arguments)]) == 0
        return root / "run"

    return trained_run


@pytest.fixture
def corpus(tmp_path: Path, reversed_digits: Callable[..., list[tuple[str, str]]]) -> Path:
    """A tab-separated file of 70 reversals."""
    path = tmp_path / "digits.tsv"
    path.write_text("".join(f"{src}\t{trg}\n" for src, trg in reversed_digits(70)))
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """run("train", "--seed", 1): the command in this process."""

    def run(command: str, *arguments: object) -> Result:
        capsys.readouterr()
        code = importlib.import_module(f"seq2seq.{command}").main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def train(run: Callable[..., Result], corpus: Path, tmp_path: Path) -> Callable[..., Path]:
    """train("name", "--epochs", 1): a tiny run on the corpus, with dropout and mixed teacher forcing; its folder.

    ``settings`` are options of its parts, instead of those that are small for LSTMs.
    """

    def train(name: str, *arguments: object, code: int = 0, settings: dict[str, Any] | None = None) -> Path:
        folder = tmp_path / name
        result = run("train", *tiny_options(corpus, folder, settings), *arguments)
        assert result.code == code, result.err
        return folder

    return train


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """interrupt(action, *steps): the action happens at the start of these steps (from 0); trial steps do not count."""

    def interrupt(action: Callable[[], Any], *steps: int) -> None:
        update, count = trainer_module.Trainer._update, -1

        def counted(one: trainer_module.Trainer, *arguments: Any) -> tuple[float, float]:
            nonlocal count
            count += 1
            if count in steps:
                action()
            return update(one, *arguments)

        monkeypatch.setattr(trainer_module.Trainer, "_update", counted)

    return interrupt


@pytest.fixture
def spawn() -> Callable[..., subprocess.Popen[str]]:
    """spawn("train", ...): the command in its own process, its streams piped."""

    def spawn(command: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        words = [sys.executable, "-m", f"seq2seq.{command}", *map(str, arguments)]
        return subprocess.Popen(words, **{**streams, **options})

    return spawn


@pytest.fixture(scope="session")
def options() -> Callable[[Path, Path], list[str]]:
    """options(corpus, folder): the command line of a tiny run, for ``spawn``."""
    return tiny_options


def tiny_options(corpus: Path, folder: Path, settings: dict[str, Any] | None = None) -> list[str]:
    given = {
        "data": corpus, "run_dir": folder, "batch_size": 8, "lr": 0.01, "min_freq": 1,
        "src_tokenizer": "space", "trg_tokenizer": "space", **(TINY if settings is None else settings),
    }  # fmt: skip
    return [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(run, tmp_path: Path) -> Callable[..., None]:
    """refused(message, command, *arguments): the command fails with that line and leaves all files as they are."""

    def refused(message: str, command: str, *arguments: object) -> None:
        before = snapshot(tmp_path)
        result = run(command, *arguments)
        assert result.code == 2, result
        assert result.err.startswith(f"error: {message}"), result.err
        assert result.err.count("\n") == 1
        assert "Traceback" not in result.out + result.err
        assert snapshot(tmp_path) == before

    return refused


@pytest.fixture(scope="session")
def history() -> Callable[[Path], list[dict[str, Any]]]:
    """history(folder): the lines of metrics.jsonl without what a clock says."""

    def read(folder: Path) -> list[dict[str, Any]]:
        records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in record.items() if key != "seconds"} for record in records]

    return read
