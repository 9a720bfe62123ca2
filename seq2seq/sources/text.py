"""Text as a source: the ids of its tokens and marks around them, to be translated, or to be reconstructed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown
from seq2seq.run.registry import option, register
from seq2seq.sources.batches import IntArray, Ragged, padded
from seq2seq.sources.contract import Examples, Source
from seq2seq.sources.corpus import read_copies, read_pairs, read_sources
from seq2seq.sources.dataset import Dataset, Languages
from seq2seq.sources.files import each_line
from seq2seq.sources.load import load_dataset
from seq2seq.sources.named import is_named
from seq2seq.sources.noise import Noise, NoisySentences
from seq2seq.sources.reading import Reading
from seq2seq.sources.streamed import load_streamed
from seq2seq.text.side import TextLearner, TextSide
from seq2seq.text.vocabulary import EOS_ID, SOS_ID, SPECIALS

TASKS = "translate", "autoencode"
MARKS: dict[str, tuple[list[int], list[int]]] = {  # before and behind the tokens
    "both": ([SOS_ID], [EOS_ID]), "end": ([], [EOS_ID]), "none": ([], []),
}  # fmt: skip


@dataclass(frozen=True)
class TextOptions(Reading):
    """How text is read, from files and by a model."""

    reverse_source: bool = option(False, "feed the source backwards (Sutskever et al., 2014)")
    source_marks: str = option("both", "around a source's tokens: both <sos> and <eos>, the end alone, or none")
    truncate_source: int = option(0, "read so many first tokens of a source, and no more; 0 reads all", 0, 1_000_000)
    task: str = option("translate", "translate, or autoencode: the target is the source itself", inherited=False)
    noise_drop: float = option(0.0, "probability that training leaves a word of the source out", 0.0, 0.99, True, False)
    noise_shuffle: int = option(0, "places that training may move a word of the source by", 0, 1000, True, False)


@register("source", "text")
class TextSource(Source):
    """Ids of tokens; with ``reverse_source`` the tokens are reversed (Sutskever et al. 2014, section 3.3).

    With task "autoencode" the target of every source is that source (Hinton and Salakhutdinov, "Reducing the
    dimensionality of data with neural networks", 2006), without the noise of training.
    """

    Options = TextOptions
    keys = TextSide.keys
    ids = True
    capturable = True

    def __init__(self, options: TextOptions | None = None) -> None:
        super().__init__(options)
        self.options.check()
        if self.options.task not in TASKS:
            raise UserError(f"task is {self.options.task!r}; expected {' or '.join(TASKS)}")
        if self.options.source_marks not in MARKS:
            raise UserError(f"source_marks is {shown(self.options.source_marks)}; expected {', '.join(MARKS)}")
        self._before, self._behind = MARKS[self.options.source_marks]
        self.marks = len(self._before) + len(self._behind)
        self._reconstructs = self.options.task == "autoencode"

    def load(self, config: Config) -> Dataset:
        if config.data_cache is not None:
            if is_named(config.data):
                raise UserError(f"data_cache is {config.data_cache!r}; it is for files, and {config.data} is none")
            return load_streamed(config.data, config.languages, config.valid, config.test, self._reading)
        dataset = load_dataset(
            config.data, data_dir=config.data_dir, src_language=config.src_language, trg_language=config.trg_language,
            valid=config.valid, test=config.test, seed=config.seed, one_sided=self._reconstructs,
            reading=self._reading,
        )  # fmt: skip
        return _reconstructing(dataset, config.src_tokenizer) if self._reconstructs else dataset

    def read_examples(self, argument: str, spec: str, languages: Languages = (None, None)) -> Examples:
        read = read_copies if self._reconstructs else read_pairs
        pairs = read(argument, spec, self._reading, languages)
        return Examples(pairs, [(trg,) for _, trg in pairs])

    def read(self, path: str, languages: Languages = (None, None)) -> list[str]:
        """The lines of a text, or the sources of a table, which may be none."""
        return read_sources(path, self._reading, languages)

    @property
    def _reading(self) -> Reading:
        return Reading(**{field.name: getattr(self.options, field.name) for field in fields(Reading)})

    def stream(self) -> Iterator[str]:
        if sys.stdin is None:
            raise UserError("standard input is closed; name a file with --input")
        return each_line(sys.stdin.buffer, "standard input")

    def label(self, raw: str) -> str:
        return raw

    def shown(self, item: Sequence[int], side: TextSide) -> str:
        return " ".join(map(side.vocabulary.token, self.collate([item])[0][:, 0].tolist()))

    def learner(self, dataset: Dataset, config: Config) -> TextLearner:
        return TextLearner("src", dataset, config, self.options.truncate_source)

    def restored(self, stored: dict[str, Any]) -> TextSide:
        return TextSide.restored(stored, "src", self.options.truncate_source)

    def collate(self, items: Sequence[Sequence[int]]) -> tuple[IntArray, IntArray]:
        """N lists of ids -> tokens and marks, <sos> and <eos>, in columns (S, N) int64, and their lengths (N,). Where
        there would be nothing, <eos> is."""
        step, before, behind = -1 if self.options.reverse_source else 1, self._before, self._behind
        columns = ([*before, *np.asarray(ids, np.int64)[::step].tolist(), *behind] for ids in items)
        return padded([column or [EOS_ID] for column in columns])

    def own(self, positions: np.ndarray) -> np.ndarray:
        tokens = positions[..., len(self._before) : positions.shape[-1] - len(self._behind)]
        return tokens[..., ::-1] if self.options.reverse_source else tokens

    def for_training(self, items: Ragged, side: TextSide, seed: int) -> Ragged:
        drop, shuffle = self.options.noise_drop, self.options.noise_shuffle
        if not (drop or shuffle):
            return items
        return NoisySentences(items, Noise(drop, shuffle, side.begins_word(items), seed))

    def random_items(self, rng: np.random.Generator, lengths: Sequence[int], num_inputs: int) -> Ragged:
        return Ragged(rng.integers(len(SPECIALS), num_inputs, length).tolist() for length in lengths)


def _reconstructing(dataset: Dataset, src_tokenizer: str | None) -> Dataset:
    """The data set with every source as its own target, split into the same tokens."""
    splits = {name: [(src, src) for src, _ in pairs] for name, pairs in dataset.splits.items()}
    tokenizer = {"trg_tokenizer": src_tokenizer or dataset.defaults["src_tokenizer"]}
    return replace(
        dataset, trg_language=dataset.src_language, splits=splits, alternatives={},
        defaults=dataset.defaults | tokenizer,
    )  # fmt: skip
