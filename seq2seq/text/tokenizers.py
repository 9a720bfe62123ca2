"""Sentences to tokens and back: words, blanks, characters or learned subwords.

Contract: a tokenizer is immutable, lower-cases first if told to, and its JSON configuration rebuilds it exactly, on
another machine too: the word tokenizer records which library split the words, the subword tokenizer carries its model.
Configurations come from files and are not trusted: whatever is wrong with one is a `UserError`.

Sources: word tokens as in the PyTorch sequence-to-sequence tutorials (spaCy's rules) or of Moses (Koehn et al. 2007);
subwords of Kudo and Richardson 2018 (SentencePiece).
"""

import base64
import binascii
import functools
import importlib.util
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from seq2seq.run.errors import UserError, require_integer
from seq2seq.text.languages import plain_code
from seq2seq.text.spacy_rules import TORN_EXAMPLES, SpacyRules

_BLANK = "\u2581"
_ENCODED = {" ": _BLANK, _BLANK: _BLANK * 2}
_DECODED = {token: character for character, token in _ENCODED.items()}
_MAX_SENTENCE_BYTES = 1_000_000
_MOST_PIECES = 8000
# What splitting may tear apart and the Moses rules do not join; for each of TORN_EXAMPLES: where the blank must go.
TORN = ((r"(?<=\w) - (?=\w)", "-"), (r"(?<=\w) (?=n['\u2019]t\b)", ""))


class Tokenizer(Protocol):
    """What every tokenizer can do."""

    def tokenize(self, sentence: str) -> list[str]:
        """The tokens of one sentence."""

    def tokenize_all(self, sentences: Sequence[str]) -> Iterable[list[str]]:
        """The tokens of each sentence, to be read once; work in another process, if any, starts with the call."""
        return map(self.tokenize, sentences)

    def detokenize(self, tokens: Sequence[str]) -> str:
        """The sentence the tokens stand for, as a reader expects it."""

    def begins_word(self, token: str) -> bool:
        """Whether a word begins with the token: with every one but those that go on with a word, as subwords may."""
        return True

    def to_config(self) -> dict[str, Any]:
        """A dictionary for JSON that `tokenizer_from_config` turns back into this tokenizer."""


class SpaceTokenizer(Tokenizer):
    """Splits at blanks (U+0020) only; runs of blanks count as one."""

    def __init__(self, lower: bool = False) -> None:
        self.lower = lower

    def tokenize(self, sentence: str) -> list[str]:
        return [token for token in _cased(sentence, self.lower).split(" ") if token]

    def detokenize(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens)

    def to_config(self) -> dict[str, Any]:
        return {"name": "space", "lower": self.lower}


class CharTokenizer(Tokenizer):
    """A token per character; a blank becomes U+2581, and that character is doubled, so sentences come back exactly."""

    def __init__(self, lower: bool = False) -> None:
        self.lower = lower

    def tokenize(self, sentence: str) -> list[str]:
        return [_ENCODED.get(character, character) for character in _cased(sentence, self.lower)]

    def detokenize(self, tokens: Sequence[str]) -> str:
        return "".join(_DECODED.get(token, token) for token in tokens)

    def to_config(self) -> dict[str, Any]:
        return {"name": "char", "lower": self.lower}


class WordTokenizer(Tokenizer):
    """Words and punctuation marks.

    Args:
        language: code of the language, such as "de"; the rules differ.
        backend: "spacy" (its rule-based tokenizer, the one of the tutorials) or "moses"; None takes spaCy where it is
            installed. Both join words by the Moses rules.
        lower: lower-case the sentence first.

    Raises:
        UserError: the backend is unknown, not installed, or does not know the language.
    """

    def __init__(self, language: str, backend: str | None = None, lower: bool = False) -> None:
        self.language = language
        self.lower = lower
        self.backend = backend or ("spacy" if importlib.util.find_spec("spacy") else "moses")
        if self.backend not in ("spacy", "moses"):
            raise UserError(f"tokenizer backend is {self.backend!r}; expected 'spacy' or 'moses'")
        self._rules = SpacyRules(language) if self.backend == "spacy" else _MosesRules(language)

    def tokenize(self, sentence: str) -> list[str]:
        return self._rules.split(_cased(sentence, self.lower))

    def tokenize_all(self, sentences: Sequence[str]) -> Iterable[list[str]]:
        return self._rules.split_all([_cased(sentence, self.lower) for sentence in sentences])

    def detokenize(self, tokens: Sequence[str]) -> str:
        sentence: str = self._detokenizer.detokenize(list(tokens), unescape=False)
        for torn, whole in self._joins:
            sentence = torn.sub(whole, sentence)
        return sentence

    @functools.cached_property
    def _detokenizer(self) -> Any:
        return _moses("MosesDetokenizer", self.language)

    @functools.cached_property
    def _joins(self) -> list[tuple[re.Pattern[str], str]]:
        torn = zip(TORN, self._rules.torn_examples(), strict=True)
        return [(re.compile(pattern), whole) for (pattern, whole), is_torn in torn if is_torn]

    def to_config(self) -> dict[str, Any]:
        return {"name": "word", "language": self.language, "backend": self.backend, "lower": self.lower}


class SentencePieceTokenizer(Tokenizer):
    """Subwords learned from the training sentences.

    Args:
        model: a serialized SentencePiece model; not trusted.
        lower: lower-case the sentence first.

    Raises:
        UserError: the bytes are no SentencePiece model.
    """

    def __init__(self, model: bytes, lower: bool = False) -> None:
        from sentencepiece import SentencePieceProcessor

        self.lower = lower
        self._model = model
        self._processor = SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except (RuntimeError, TypeError) as error:
            raise UserError(f"tokenizer model: no SentencePiece model of {len(model)} bytes ({_line(error)})") from None

    @classmethod
    def train(
        cls, sentences: Iterable[str], vocab_size: int | None = None, model_type: str = "bpe", lower: bool = False
    ) -> "SentencePieceTokenizer":
        """Learn the pieces; the same sentences give the same bytes.

        Args:
            sentences: the training sentences.
            vocab_size: number of pieces; None takes 8,000, or as many as the sentences yield if that is less.
            model_type: "bpe" or "unigram".
            lower: lower-case the sentences first.

        Raises:
            UserError: the model type is unknown, the number of pieces is none, or the sentences do not yield that many
                pieces, or need more.
        """
        if vocab_size is not None:
            require_integer("max_vocab_size", vocab_size, 1)
        if model_type not in ("bpe", "unigram"):
            raise UserError(f"model_type is {model_type!r}; expected 'bpe' or 'unigram'")
        cased = [_cased(sentence, lower) for sentence in sentences]
        # The library makes room for as many pieces as it is asked for; text yields fewer than it has characters.
        most = min(vocab_size, sum(map(len, cased)) + len(cased) + 100) if vocab_size else _MOST_PIECES
        try:
            return cls(_learn_pieces(cased, most, model_type, exact=vocab_size is not None), lower)
        except RuntimeError as error:
            raise UserError(_refusal(str(error), vocab_size, cased)) from None

    def tokenize(self, sentence: str) -> list[str]:
        pieces: list[str] = self._processor.encode(_cased(sentence, self.lower), out_type=str)
        return pieces

    def sample(self, sentences: Sequence[str], alpha: float, nbest: int, seed: int) -> list[list[int]]:
        """The numbers of the pieces of one drawn split of each sentence, a function of the seed.

        Args:
            alpha: of a unigram model the power of each split's probability; of BPE the probability that a merge is
                left out.
            nbest: of a unigram model, draw one of so many likeliest splits; -1 one of all.
            seed: from 0 to 2^32 - 2.
        """
        from sentencepiece import set_random_generator_seed

        set_random_generator_seed(seed)  # a thread's generator begins with it, and a list is split in a new thread
        cased = [_cased(sentence, self.lower) for sentence in sentences]
        drawn: list[list[int]] = self._processor.encode(
            cased, out_type=int, enable_sampling=True, alpha=alpha, nbest_size=nbest, num_threads=1
        )
        return drawn

    def pieces(self) -> dict[str, int]:
        """The numbers of the pieces that a sentence may be split into."""
        known, size = self._processor, self._processor.get_piece_size()
        numbers = (n for n in range(size) if not (known.is_control(n) or known.is_unknown(n) or known.is_unused(n)))
        return {known.id_to_piece(number): number for number in numbers}

    def most_pieces(self, sentences: Iterable[str]) -> int:
        """As many pieces as no split of a sentence exceeds: its characters, and the blank that is put before it."""
        return max((len(_cased(sentence, self.lower)) for sentence in sentences), default=0) + 1

    def detokenize(self, tokens: Sequence[str]) -> str:
        sentence: str = self._processor.decode_pieces(list(tokens))
        return sentence

    def begins_word(self, token: str) -> bool:
        return token.startswith(_BLANK)

    def to_config(self) -> dict[str, Any]:
        return {"name": "sentencepiece", "lower": self.lower, "model": base64.b64encode(self._model).decode("ascii")}


def _learn_pieces(sentences: Sequence[str], vocab_size: int, model_type: str, exact: bool) -> bytes:
    """A serialized model of ``vocab_size`` pieces, or of fewer unless ``exact``; RuntimeError where it cannot be."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.Train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=vocab_size,
        hard_vocab_limit=exact,
        model_type=model_type,
        character_coverage=1.0,
        normalization_rule_name="identity",
        max_sentence_length=_MAX_SENTENCE_BYTES,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def _refusal(reason: str, vocab_size: int | None, sentences: Sequence[str]) -> str:
    """One line for the library's ``reason`` why no pieces were learned."""
    if not any(sentence.strip() for sentence in sentences):
        return "sentencepiece: the training text is empty; expected sentences"
    most, least = re.search(r"<= (\d+)", reason), re.search(r"required_chars\. \d+ vs (\d+)", reason)
    size = f"max_vocab_size is {vocab_size or _MOST_PIECES}"
    if most:
        return f"{size}; expected at most --max-vocab-size {most[1]}: the training text yields no more pieces"
    if least:
        return f"{size}; expected at least --max-vocab-size {least[1]}: every character of the training text is a piece"
    return f"{size}; the training text does not yield that"


_KEYS: dict[str, dict[str, type]] = {
    "word": {"language": str, "backend": str, "lower": bool},
    "space": {"lower": bool},
    "char": {"lower": bool},
    "sentencepiece": {"lower": bool, "model": str},
}


def build_tokenizer(
    name: str,
    language: str,
    sentences: Iterable[str],
    *,
    lower: bool = False,
    vocab_size: int | None = None,
    model_type: str = "bpe",
) -> Tokenizer:
    """A new tokenizer for one side of the training data.

    Args:
        name: "word", "space", "char" or "sentencepiece".
        language: code of the language in any form, such as "de", "de-AT" or "zho"; used by "word".
        sentences: the training sentences; used by "sentencepiece" only.
        lower: lower-case sentences before splitting them.
        vocab_size, model_type: see `SentencePieceTokenizer.train`.

    Raises:
        UserError: the name is unknown, or the tokenizer refuses its arguments.
    """
    if name == "word":
        return WordTokenizer(plain_code(language), lower=lower)
    if name == "space":
        return SpaceTokenizer(lower)
    if name == "char":
        return CharTokenizer(lower)
    if name == "sentencepiece":
        return SentencePieceTokenizer.train(sentences, vocab_size, model_type, lower)
    raise UserError(f"tokenizer is {name!r}; expected one of {', '.join(_KEYS)}")


def tokenizer_from_config(config: dict[str, Any]) -> Tokenizer:
    """Rebuild the tokenizer that `to_config` described; the configuration is not trusted.

    Raises:
        UserError: a key is missing, unknown or of the wrong type, or what it needs is not installed.
    """
    name = config.get("name") if isinstance(config, dict) else None
    if not isinstance(name, str) or name not in _KEYS:
        raise UserError(f"tokenizer: name is {name!r}; expected one of {', '.join(_KEYS)}")
    values = {key: value for key, value in config.items() if key != "name"}
    kinds = {key: kind.__name__ for key, kind in _KEYS[name].items()}
    if {key: type(value).__name__ for key, value in values.items()} != kinds:
        raise UserError(f"tokenizer {name}: keys are {sorted(map(str, values))}; expected {kinds}")
    if name == "word":
        return WordTokenizer(**values)
    if name == "sentencepiece":
        return SentencePieceTokenizer(_decoded_model(values["model"]), values["lower"])
    return SpaceTokenizer(**values) if name == "space" else CharTokenizer(**values)


def _cased(sentence: str, lower: bool) -> str:
    return sentence.lower() if lower else sentence


def _line(error: Exception) -> str:
    """The last line of a library's message, without a trailing full stop."""
    return (str(error).strip().splitlines() or ["no reason given"])[-1].rstrip(".")


def _decoded_model(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UserError("tokenizer model: not base64; expected a serialized SentencePiece model") from None


class _MosesRules:
    """The Moses rules of a language, with the methods of `SpacyRules`."""

    def __init__(self, language: str) -> None:
        self._tokenizer = _moses("MosesTokenizer", language)

    def split(self, sentence: str) -> list[str]:
        tokens: list[str] = self._tokenizer.tokenize(sentence, escape=False)
        return tokens

    def split_all(self, sentences: Sequence[str]) -> Iterable[list[str]]:
        return map(self.split, sentences)

    def torn_examples(self) -> list[bool]:
        return [len(self.split(example)) > 1 for example in TORN_EXAMPLES]


def _moses(kind: str, language: str) -> Any:
    import sacremoses

    return getattr(sacremoses, kind)(lang=language)
