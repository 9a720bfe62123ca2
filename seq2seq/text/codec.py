"""TextCodec: sentences to ids and back, for both sides of a model; what a run keeps of it is RUN_DIR/text.json."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seq2seq.run import manifest
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.options import RANGES, convert
from seq2seq.run.writing import replace_run_file
from seq2seq.sources import Dataset, EncodedSplit, NumberedTokens, Pair, Ragged, encode_split, tokenize_pairs
from seq2seq.text.tokenizers import Tokenizer, build_tokenizer, tokenizer_from_config
from seq2seq.text.vocabulary import SPECIALS, UNK_ID, Vocabulary

_KEYS = ("src_tokenizer", "trg_tokenizer", "src_vocabulary", "trg_vocabulary", "max_output_length")


@dataclass(frozen=True)
class TextCodec:
    """A tokenizer and a vocabulary for each side, and the longest output that decoding allows.

    Attributes:
        max_output_length: tokens after which a translation is cut.
    """

    src_tokenizer: Tokenizer
    trg_tokenizer: Tokenizer
    src_vocabulary: Vocabulary
    trg_vocabulary: Vocabulary
    max_output_length: int

    @classmethod
    def build(cls, dataset: Dataset, config: Config) -> TextCodec:
        """Tokenizers and vocabularies from the training split of ``dataset``; settings left open suit the data set."""
        return cls.build_encoded(dataset, config)[0]

    @classmethod
    def build_encoded(cls, dataset: Dataset, config: Config) -> tuple[TextCodec, dict[str, EncodedSplit]]:
        """As ``build``, and every split in the codec's ids: each sentence is tokenised once."""
        pairs, is_train = _all_pairs(dataset)
        tokenizers = _build_tokenizers(dataset, config)
        src, trg = map(NumberedTokens, tokenize_pairs(pairs, *tokenizers))
        most = config.max_length or np.inf
        kept = is_train & (np.maximum(src.numbers.lengths, trg.numbers.lengths) <= most)
        if not kept.any():
            raise UserError(f"data {config.data}: no training pairs are left with max_length {config.max_length}")
        min_freq, max_size = _setting(dataset, config, "min_freq") or 1, config.max_vocab_size
        counts = Counter(src.counts(kept)), Counter(trg.counts(kept))
        if config.share_vocab:
            counts = (counts[0] + counts[1],) * 2
        src_vocabulary = _vocabulary("src", counts[0], min_freq, max_size)
        trg_vocabulary = _vocabulary("trg", counts[1], min_freq, max_size)
        longest = int(trg.numbers.lengths[kept].max())
        limit = config.max_output_length or min(longest + longest // 2 + 1, int(RANGES["max_output_length"].high))
        encoded = EncodedSplit(src.encode(src_vocabulary), trg.encode(trg_vocabulary))
        return cls(*tokenizers, src_vocabulary, trg_vocabulary, limit), _cut(dataset, encoded)

    def encode_dataset(self, dataset: Dataset) -> dict[str, EncodedSplit]:
        """Every split in ids."""
        return _cut(dataset, self.encode_pairs(_all_pairs(dataset)[0]))

    def encode_pairs(self, pairs: Sequence[Pair]) -> EncodedSplit:
        return encode_split(pairs, self.src_tokenizer, self.trg_tokenizer, self.src_vocabulary, self.trg_vocabulary)

    def encode_sources(self, sentences: Sequence[str]) -> Ragged:
        """The ids of source sentences to translate, as ``without_blanks``."""
        tokens = self.src_tokenizer.tokenize_all(sentences)
        return without_blanks(Ragged(map(self.src_vocabulary.encode, tokens)), sentences)

    def decode(self, ids: Sequence[int]) -> str:
        """The sentence of target ids, detokenised."""
        return self.trg_tokenizer.detokenize(self.trg_vocabulary.decode(ids))

    def target_tokens(self, sentence: str) -> list[str]:
        return self.trg_tokenizer.tokenize(sentence)

    def fingerprint(self) -> str:
        """sha256 (hex) of both vocabularies: weights belong to one fingerprint."""
        return hashlib.sha256(
            (self.src_vocabulary.fingerprint() + self.trg_vocabulary.fingerprint()).encode()
        ).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """All that makes it, as JSON can hold it."""
        return {
            "src_tokenizer": self.src_tokenizer.to_config(),
            "trg_tokenizer": self.trg_tokenizer.to_config(),
            "src_vocabulary": json.loads(self.src_vocabulary.to_json()),
            "trg_vocabulary": json.loads(self.trg_vocabulary.to_json()),
            "max_output_length": self.max_output_length,
        }

    def save(self, run_dir: Path) -> None:
        replace_run_file(run_dir / "text.json", (json.dumps(self.to_dict(), ensure_ascii=False) + "\n").encode())

    @classmethod
    def load(cls, run_dir: Path) -> TextCodec:
        """The codec of a run; UserError if it is missing, malformed, or not the one that the training wrote."""
        path = run_dir / "text.json"
        stored = _parsed(manifest.read_covered(run_dir, path.name), path)
        try:
            vocabularies = [
                Vocabulary.from_json(json.dumps(stored[f"{side}_vocabulary"]), f"{side}_vocabulary")
                for side in ("src", "trg")
            ]
            tokenizers = [tokenizer_from_config(stored[f"{side}_tokenizer"]) for side in ("src", "trg")]
            limit = convert("max_output_length", stored["max_output_length"], (int,))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        return cls(tokenizers[0], tokenizers[1], vocabularies[0], vocabularies[1], limit)


def _parsed(data: bytes, path: Path) -> dict[str, Any]:
    """The entries of text.json, all of them; UserError for anything else."""
    try:
        stored = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise UserError(f"{path}: not valid JSON; expected the tokenizers and vocabularies of a run") from None
    if not isinstance(stored, dict) or set(stored) != set(_KEYS):
        raise UserError(f"{path}: expected the tokenizers and vocabularies of a run, with the keys {', '.join(_KEYS)}")
    return stored


def _setting(dataset: Dataset, config: Config, name: str) -> Any:
    """A setting; where it was left open, what suits the data set."""
    value = getattr(config, name)
    return dataset.defaults.get(name) if value is None else value


def _build_tokenizers(dataset: Dataset, config: Config) -> tuple[Tokenizer, Tokenizer]:
    """New tokenizers for the source and the target side; one of subwords for both where they share a vocabulary."""
    lower = bool(_setting(dataset, config, "lower"))

    def build(sides: Sequence[int], name: str, language: str) -> Tokenizer:
        sentences = [pair[side] for side in sides for pair in dataset.split("train")]
        return build_tokenizer(name, language, sentences, lower=lower, vocab_size=config.max_vocab_size)

    src, trg = (_setting(dataset, config, f"{side}_tokenizer") or "word" for side in ("src", "trg"))
    if config.share_vocab and src == trg == "sentencepiece":
        both = build((0, 1), src, dataset.src_language)
        return both, both
    return build((0,), src, dataset.src_language), build((1,), trg, dataset.trg_language)


def without_blanks(sources: Ragged, sentences: Sequence[str]) -> Ragged:
    """``sources``, the ids of ``sentences``; none for a blank sentence, which has nothing to translate."""
    if all(sentence.strip() for sentence in sentences):
        return sources
    return Ragged(ids.tolist() if s.strip() else [] for ids, s in zip(sources, sentences, strict=True))


def _all_pairs(dataset: Dataset) -> tuple[list[Pair], npt.NDArray[np.bool_]]:
    """The pairs of all splits, one after the other, and which of them are for training."""
    dataset.split("train")  # must exist
    is_train = [np.full(len(pairs), name == "train") for name, pairs in dataset.splits.items()]
    return [pair for pairs in dataset.splits.values() for pair in pairs], np.concatenate(is_train)


def _cut(dataset: Dataset, encoded: EncodedSplit) -> dict[str, EncodedSplit]:
    """By split what ``_all_pairs`` put together."""
    parts = encoded.cut(len(pairs) for pairs in dataset.splits.values())
    return dict(zip(dataset.splits, parts, strict=True))


def _vocabulary(side: str, counts: Mapping[str, int], min_freq: int, max_size: int | None) -> Vocabulary:
    """The vocabulary of one side; UserError where not one word is frequent enough, since nothing could be learned."""
    vocabulary = Vocabulary.from_counts(counts, min_freq, max_size)
    if len(vocabulary) == len(SPECIALS):
        most = max((count for token, count in counts.items() if token not in SPECIALS), default=0)
        raise UserError(
            f"{side} vocabulary: empty, since min_freq is {min_freq} and the most frequent word of the training text "
            f"occurs {most} times; expected more text, a smaller --min-freq, "
            f"or --{side}-tokenizer char or sentencepiece"
        )
    return vocabulary


def require_known_words(codec: TextCodec, sources: Ragged, name: str) -> None:
    """UserError where not one word of ``sources`` (ids) is known: no text, another language or tokenisation."""
    if (sources.flat == UNK_ID).all():
        raise UserError(
            f"{name}: none of its {len(sources.flat):,} words is in the source vocabulary "
            f"(expected text like {' '.join(codec.src_vocabulary.tokens[4:10])} ...)"
        )
