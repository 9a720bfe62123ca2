"""What a tokenizer does, as a table that page/text.js reads: patterns, exceptions, pieces with their scores.

Contract: by its table a page splits and joins as the tokenizer does. One whose rules are not data, as those that spaCy
has for a language without blanks, is refused (UserError).

Sources: the tokenizers of ``seq2seq.text.tokenizers``; the fields of a SentencePiece model, sentencepiece_model.proto.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

from seq2seq.run.errors import UserError
from seq2seq.shipping.patterns import characters, javascript
from seq2seq.text.spacy_rules import TORN_EXAMPLES, rules_of
from seq2seq.text.tokenizers import TORN, Tokenizer, WordTokenizer

_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3  # types of pieces
_UNIGRAM, _BPE = 1, 2  # types of models


def table(tokenizer: Tokenizer) -> dict[str, Any]:
    """The rules of a tokenizer, for JSON.

    Raises:
        UserError: it has rules that cannot be told.
    """
    config = tokenizer.to_config()
    told = {"name": config["name"], "lower": config["lower"]}
    if config["name"] == "sentencepiece":
        return told | _pieces(base64.b64decode(config["model"]))
    if isinstance(tokenizer, WordTokenizer):
        try:
            return told | _words(tokenizer)
        except (ValueError, AttributeError) as error:
            raise UserError(
                f"tokenizer word: a page cannot have the rules of {tokenizer.backend} for {tokenizer.language!r} "
                f"({error}); expected another language, or the tokenizer space, char or sentencepiece"
            ) from None
    if config["name"] not in ("space", "char"):
        raise UserError(
            f"tokenizer {config['name']}: a page does not know it; expected word, space, char, sentencepiece"
        )
    return told


# --- words
def _words(tokenizer: WordTokenizer) -> dict[str, Any]:
    torn = zip(TORN, TORN_EXAMPLES, strict=True)
    joins = [
        (javascript(re.compile(pattern)), whole)
        for (pattern, whole), example in torn
        if len(tokenizer.tokenize(example)) > 1
    ]
    split = _spacy(tokenizer.language) if tokenizer.backend == "spacy" else _moses(tokenizer.language)
    return {"backend": tokenizer.backend, "split": split, "join": _joiner(tokenizer.language) | {"torn": joins}}


def _moses(language: str) -> dict[str, Any]:
    """The substitutions of sacremoses, in their order, and the words that a dot does not end."""
    from sacremoses import MosesTokenizer

    rules: Any = MosesTokenizer(language)
    by_language = {
        "en": "ENGLISH_SPECIFIC_APOSTROPHE",
        "fr": "FR_IT_SPECIFIC_APOSTROPHE",
        "it": "FR_IT_SPECIFIC_APOSTROPHE",
    }
    own = getattr(rules, by_language[language]) if language in by_language else [rules.NON_SPECIFIC_APOSTROPHE]
    return {
        "clean": _substitutions(rules.DEDUPLICATE_SPACE, rules.ASCII_JUNK),
        "pad": _substitutions(rules.PAD_NOT_ISALNUM),
        "part": _substitutions(rules.COMMA_SEPARATE_1, rules.COMMA_SEPARATE_2, rules.COMMA_SEPARATE_3, *own),
        "end": _substitutions(rules.TRAILING_DOT_APOSTROPHE),
        "alpha": f"[{characters(rules.IsAlpha)}]",
        "lower": f"[{characters(rules.IsLower)}]",
        "prefixes": rules.NONBREAKING_PREFIXES,
        "numeric": rules.NUMERIC_ONLY_PREFIXES,
    }


def _substitutions(*rules: tuple[re.Pattern[str], str]) -> list[Any]:
    return [(javascript(pattern), re.sub(r"\\(\d)", r"$\1", by)) for pattern, by in rules]


def _joiner(language: str) -> dict[str, Any]:
    """What the detokenizer of sacremoses looks for."""
    from sacremoses import MosesDetokenizer
    from sacremoses.util import CJKChars

    rules: Any = MosesDetokenizer(language)
    patterns = {
        "currency": rules.IS_CURRENCY_SYMBOL, "punctuation": rules.IS_PUNCT, "quote": rules.IS_OPEN_QUOTE,
        "contraction": rules.IS_ENGLISH_CONTRACTION, "elision": rules.IS_FRENCH_CONRTACTION,
        "alpha": rules.STARTS_WITH_ALPHA,
    }  # fmt: skip
    told = {name: javascript(pattern) for name, pattern in patterns.items()}
    return {"language": language, "patterns": told, "cjk": CJKChars().ranges}


def _spacy(language: str) -> dict[str, Any]:
    """The affixes and exceptions of spaCy's ordinary tokenizer."""
    rules = ordinary(rules_of(language))
    searches = {
        "prefix": rules.prefix_search, "suffix": rules.suffix_search, "infix": rules.infix_finditer,
        "whole": rules.token_match, "url": rules.url_match,
    }  # fmt: skip
    told = {name: search and javascript(search.__self__) for name, search in searches.items()}
    exceptions = [(text, [_orth(token) for token in tokens]) for text, tokens in rules.rules.items()]
    return told | {"exceptions": exceptions}


def ordinary(rules: Any) -> Any:
    """The rules, where they are data; ValueError where a language has a tokenizer of its own."""
    if type(rules).__name__ != "Tokenizer" or type(rules).__module__ != "spacy.tokenizer":
        raise ValueError(f"they are the program {type(rules).__name__}")
    return rules


def _orth(token: dict[Any, str]) -> str:
    from spacy.symbols import ORTH

    return token[ORTH]


# --- subwords
def _pieces(model: bytes) -> dict[str, Any]:
    """The pieces and their scores; UserError where text is changed before it is split, or bytes are pieces."""
    from sentencepiece import SentencePieceProcessor

    fields = list(_fields(model))
    trainer, normalizer = (dict(_fields(next((value for number, value in fields if number == n), b""))) for n in (2, 3))
    kinds = [dict(_fields(piece)).get(3, _NORMAL) for number, piece in fields if number == 1]
    is_plain = not normalizer.get(2) and all(normalizer.get(number, 1) for number in (3, 4, 5)) and not trainer.get(24)
    if trainer.get(3, _UNIGRAM) not in (_UNIGRAM, _BPE) or not is_plain or {*kinds} - {_NORMAL, _UNKNOWN, _CONTROL}:
        raise UserError(
            "tokenizer sentencepiece: a page knows models bpe and unigram with pieces of plain characters and text as "
            "it is; expected a model that this toolkit trained"
        )
    known = SentencePieceProcessor(model_proto=model)
    pieces = [(known.id_to_piece(n), known.get_score(n)) for n, kind in enumerate(kinds) if kind == _NORMAL]
    return {"pieces": pieces, "bpe": trainer.get(3, _UNIGRAM) == _BPE, "unknown": known.id_to_piece(known.unk_id())}


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The numbered fields of a protocol buffer: whole numbers, or bytes."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
            continue
        size = {1: 8, 5: 4}.get(key & 7) or number()
        yield key >> 3, message[at : at + size]
        at += size
