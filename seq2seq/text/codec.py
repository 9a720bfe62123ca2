"""TextCodec: a source and a target sentence to an item and ids, and ids back to a sentence; RUN_DIR/text.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from seq2seq.run import config_file, manifest, registry
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.options import RANGES, convert
from seq2seq.run.writing import replace_run_file
from seq2seq.sources import Dataset, EncodedSplit, Items, KnownSide, Learner, Pair, Ragged, Source, SourceSide
from seq2seq.text import sampling
from seq2seq.text.side import TextLearner, TextSide, opened
from seq2seq.text.tokenizers import Tokenizer
from seq2seq.text.vocabulary import Vocabulary

_SRC_SUBWORDS, _TRG_SUBWORDS = 2, 3  # streams of the seed and the epoch, beside that of noise


@dataclass(frozen=True)
class TextCodec:
    """What a run knows of its two sides, and the longest output that decoding allows.

    Attributes:
        source: of text a ``TextSide``, a tokenizer and a vocabulary; else what that source keeps.
        target: the tokenizer and the vocabulary of the target.
        max_output_length: tokens after which a translation is cut.
    """

    source: SourceSide
    target: TextSide
    max_output_length: int

    @property
    def trg_tokenizer(self) -> Tokenizer:
        return self.target.tokenizer

    @property
    def trg_vocabulary(self) -> Vocabulary:
        return self.target.vocabulary

    @classmethod
    def build(cls, dataset: Dataset, config: Config) -> TextCodec:
        """Both sides from the training split of ``dataset``; settings left open suit the data set."""
        return cls.build_encoded(dataset, config)[0]

    @classmethod
    def build_encoded(
        cls, dataset: Dataset, config: Config, known: TextCodec | None = None
    ) -> tuple[TextCodec, dict[str, EncodedSplit]]:
        """As ``build``, and every split encoded: each sentence is tokenised once.

        Args:
            known: of another run: its tokenizers and words are kept, and new words come behind them.
        """
        is_train = _is_train(dataset)
        src, trg = _learners(dataset, config, known)
        sampling.check(config, [side.tokenizer for side in (src, trg) if isinstance(side, TextLearner)])
        if config.share_vocab:
            src.share(trg)
        most = config.max_length or np.inf
        kept = is_train & (np.maximum(src.lengths, trg.lengths) <= most)
        if not kept.any():
            raise UserError(f"data {config.data}: no training pairs are left with max_length {config.max_length}")
        source, items = src.learn(kept)
        target, ids = trg.learn(kept)
        longest = int(trg.lengths[kept].max())
        limit = output_limit(config, longest)
        if known is not None and config.max_output_length is None:
            limit = max(limit, known.max_output_length)
        return cls(source, target, limit), _cut(dataset, EncodedSplit(items, ids))

    def encode_dataset(self, dataset: Dataset) -> dict[str, EncodedSplit]:
        """Every split, encoded."""
        return _cut(dataset, self.encode_pairs([pair for pairs in dataset.splits.values() for pair in pairs]))

    def for_training(self, train: EncodedSplit, pairs: Sequence[Pair], config: Config) -> EncodedSplit:
        """The training pairs, of which each epoch may read something else; ``pairs`` are they as they were given."""
        source: Source = registry.build("source", config)
        src, raw = train.src, [src for src, _ in pairs]
        if isinstance(self.source, TextSide):
            src = self.source.for_training(cast(Ragged, src), raw, config, _SRC_SUBWORDS)
        trg = self.target.for_training(train.trg, [trg for _, trg in pairs], config, _TRG_SUBWORDS)
        return EncodedSplit(source.for_training(src, self.source, config.seed), trg)

    def encode_pairs(self, pairs: Sequence[Pair]) -> EncodedSplit:
        tokens = self.trg_tokenizer.tokenize_all([trg for _, trg in pairs])  # this work starts before the other is done
        return EncodedSplit(self.source.encode([src for src, _ in pairs]), self.target.ids_of(tokens))

    def encode_sources(self, raw: Sequence[Any]) -> Items:
        """The items of raw sources to translate; one without positions has nothing to translate."""
        return self.source.spoken(self.source.encode(raw), raw)

    def decode(self, ids: Sequence[int]) -> str:
        """The sentence of target ids, detokenised."""
        return self.trg_tokenizer.detokenize(self.trg_vocabulary.decode(ids))

    def target_tokens(self, sentence: str) -> list[str]:
        return self.trg_tokenizer.tokenize(sentence)

    def fingerprint(self) -> str:
        """sha256 (hex) of both sides: weights belong to one fingerprint."""
        return hashlib.sha256((self.source.fingerprint() + self.target.fingerprint()).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """All that makes it, as JSON can hold it."""
        sides = {"src": self.source.stored(), "trg": self.target.stored()}
        stored = {f"{side}_{key}": value for side, entries in sides.items() for key, value in entries.items()}
        return {**stored, "max_output_length": self.max_output_length}

    def save(self, run_dir: Path) -> None:
        replace_run_file(run_dir / "text.json", (json.dumps(self.to_dict(), ensure_ascii=False) + "\n").encode())

    @classmethod
    def load(cls, run_dir: Path) -> TextCodec:
        """The codec of a run; UserError if it is missing, malformed, or not the one that the training wrote."""
        path = run_dir / "text.json"
        data = manifest.read_covered(run_dir, path.name)
        config = config_file.load(run_dir)
        try:
            stored = json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError):
            raise UserError(f"{path}: not valid JSON; expected the tokenizers and vocabularies of a run") from None
        return cls.restored(stored, config, path)

    @classmethod
    def restored(cls, stored: Any, config: Config, path: Path) -> TextCodec:
        """What ``to_dict`` told, as ``path`` holds it; it is not trusted (UserError)."""
        kind: Source = registry.build("source", config)
        _check_keys(stored, path, kind.keys)
        try:
            source = kind.restored({key: stored[f"src_{key}"] for key in kind.keys})
            target = TextSide.restored({key: stored[f"trg_{key}"] for key in TextSide.keys}, "trg")
            limit = convert("max_output_length", stored["max_output_length"], (int,))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        if registry.reads(config).copies:
            source, target = _open(source, target)
        return cls(source, target, limit)


def _learners(dataset: Dataset, config: Config, known: TextCodec | None) -> tuple[Learner, TextLearner]:
    """What learns the two sides, from the beginning or on top of what is known."""
    if known is None:
        src: Learner = registry.build("source", config).learner(dataset, config)
        return src, TextLearner("trg", dataset, config, beside=src)
    if isinstance(known.source, TextSide):
        first = config.options.get("truncate_source", 0)
        src = TextLearner("src", dataset, config, first, known=known.source)
    else:
        src = KnownSide(known.source, [raw for pairs in dataset.splits.values() for raw, _ in pairs])
    return src, TextLearner("trg", dataset, config, known=known.target)


def output_limit(config: Config, longest: int) -> int:
    """Tokens after which translations are cut, where the longest training target has so many."""
    return config.max_output_length or min(longest + longest // 2 + 1, int(RANGES["max_output_length"].high))


def _open(source: SourceSide, target: TextSide) -> tuple[SourceSide, TextSide]:
    """The two sides of a run that copies words, with one vocabulary, which is open."""
    assert isinstance(source, TextSide)  # or they could not share one
    vocabulary = opened(target.vocabulary)
    return replace(source, vocabulary=vocabulary), replace(target, vocabulary=vocabulary)


def _check_keys(stored: Any, path: Path, src_keys: Sequence[str]) -> None:
    """UserError where there are other entries than those of text.json."""
    keys = *(f"src_{key}" for key in src_keys), *(f"trg_{key}" for key in TextSide.keys), "max_output_length"
    if not isinstance(stored, dict) or set(stored) != set(keys):
        raise UserError(f"{path}: expected the tokenizers and vocabularies of a run, with the keys {', '.join(keys)}")


def _is_train(dataset: Dataset) -> npt.NDArray[np.bool_]:
    """Of the pairs of all splits, one after the other, which are for training."""
    dataset.split("train")  # must exist
    return np.concatenate([np.full(len(pairs), name == "train") for name, pairs in dataset.splits.items()])


def _cut(dataset: Dataset, encoded: EncodedSplit) -> dict[str, EncodedSplit]:
    """By split what all pairs became, one split after the other."""
    parts = encoded.cut(len(pairs) for pairs in dataset.splits.values())
    return dict(zip(dataset.splits, parts, strict=True))
