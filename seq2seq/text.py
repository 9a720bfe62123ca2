"""TextCodec: sentences to ids and back, for both sides of a model; what a run keeps of it is RUN_DIR/text.json."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seq2seq.config import Config
from seq2seq.data import Dataset, EncodedSplit, Pair, encode_split
from seq2seq.errors import UserError
from seq2seq.tokenizers import Tokenizer, build_tokenizer, tokenizer_from_config
from seq2seq.vocabulary import SPECIALS, Vocabulary
from seq2seq.writing import replace_file


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

        def setting(name: str) -> Any:
            value = getattr(config, name)
            return dataset.defaults.get(name) if value is None else value

        pairs = dataset.split("train")
        tokenized = []
        for side, language in (("src", dataset.src_language), ("trg", dataset.trg_language)):
            sentences = [pair[side == "trg"] for pair in pairs]
            name = setting(f"{side}_tokenizer") or "word"
            tokenizer = build_tokenizer(
                name, language, sentences, lower=bool(setting("lower")), vocab_size=config.max_vocab_size
            )
            tokenized.append((tokenizer, [tokenizer.tokenize(sentence) for sentence in sentences]))
        (src_tokenizer, src), (trg_tokenizer, trg) = tokenized
        most = config.max_length or float("inf")
        kept = [i for i in range(len(pairs)) if max(len(src[i]), len(trg[i])) <= most]
        min_freq, max_size = setting("min_freq") or 1, config.max_vocab_size
        if not kept:
            raise UserError(f"data {config.data}: no training pairs are left with max_length {config.max_length}")
        words = (("src", [src[i] for i in kept]), ("trg", [trg[i] for i in kept]))
        vocabularies = [_vocabulary(side, tokens, min_freq, max_size) for side, tokens in words]
        longest = max(len(trg[i]) for i in kept)
        limit = config.max_output_length or longest + longest // 2 + 1
        return cls(src_tokenizer, trg_tokenizer, vocabularies[0], vocabularies[1], limit)

    def encode_pairs(self, pairs: Sequence[Pair]) -> EncodedSplit:
        return encode_split(pairs, self.src_tokenizer, self.trg_tokenizer, self.src_vocabulary, self.trg_vocabulary)

    def encode_source(self, sentence: str) -> list[int]:
        return self.src_vocabulary.encode(self.src_tokenizer.tokenize(sentence))

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

    def save(self, run_dir: Path) -> None:
        stored = {
            "src_tokenizer": self.src_tokenizer.to_config(),
            "trg_tokenizer": self.trg_tokenizer.to_config(),
            "src_vocabulary": json.loads(self.src_vocabulary.to_json()),
            "trg_vocabulary": json.loads(self.trg_vocabulary.to_json()),
            "max_output_length": self.max_output_length,
        }
        replace_file(run_dir / "text.json", (json.dumps(stored, ensure_ascii=False) + "\n").encode())

    @classmethod
    def load(cls, run_dir: Path) -> TextCodec:
        """The codec of a run; UserError if it is missing or malformed."""
        path = run_dir / "text.json"
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            vocabularies = [
                Vocabulary.from_json(json.dumps(stored[f"{side}_vocabulary"]), f"{path}: {side}_vocabulary")
                for side in ("src", "trg")
            ]
            tokenizers = [tokenizer_from_config(stored[f"{side}_tokenizer"]) for side in ("src", "trg")]
            limit = stored["max_output_length"]
            if type(limit) is not int or limit < 1:
                raise ValueError(f"max_output_length is {limit!r}")
            return cls(tokenizers[0], tokenizers[1], vocabularies[0], vocabularies[1], limit)
        except UserError as error:
            raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; expected the folder of a training run") from None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: not the tokenizers and vocabularies of a run ({type(error).__name__}: {error})"
            ) from None


def _vocabulary(side: str, token_lists: Sequence[Sequence[str]], min_freq: int, max_size: int | None) -> Vocabulary:
    """The vocabulary of one side; UserError where not one word is frequent enough, since nothing could be learned."""
    vocabulary = Vocabulary.build(token_lists, min_freq, max_size)
    if len(vocabulary) == len(SPECIALS):
        counts = Counter(token for tokens in token_lists for token in tokens if token not in SPECIALS)
        most = max(counts.values(), default=0)
        raise UserError(
            f"{side} vocabulary: empty, since min_freq is {min_freq} and the most frequent word of the training text "
            f"occurs {most} times; expected more text or a smaller --min-freq"
        )
    return vocabulary


def require_known_words(codec: TextCodec, sentences: Sequence[str], name: str) -> None:
    """UserError where not one source word is known: no text, another language, or another tokenisation."""
    words = [token for sentence in sentences for token in codec.src_tokenizer.tokenize(sentence)]
    if not words or codec.src_vocabulary.unk_rate(words) == 1:
        raise UserError(
            f"{name}: none of its {len(words):,} words is in the source vocabulary "
            f"(expected text like {' '.join(codec.src_vocabulary.tokens[4:10])} ...)"
        )
