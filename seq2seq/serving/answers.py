"""What a search found, as JSON can hold it: lists, texts, and numbers that are some."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from seq2seq.decoding.contract import Hypothesis
from seq2seq.decoding.translator import Translator


def translations(
    name: str, translator: Translator, sentences: Sequence[str], found: Sequence[Sequence[Hypothesis]],
    replace_unk: bool,
) -> dict[str, Any]:  # fmt: skip
    """What was found of some sentences, as the API tells it (``seq2seq.serving.schema.Translations``).

    Args:
        found: of each sentence its hypotheses, best first.
        replace_unk: as of ``Translator.translate``.
    """
    tokens = [translator.codec.source.tokens(sentence) for sentence in sentences]
    texts = [
        [translator.text_of(one, sentence if replace_unk else None) for one in hypotheses]
        for sentence, hypotheses in zip(sentences, found, strict=True)
    ]
    return {
        "model": name,
        "translations": [best for best, *_ in texts],
        "source_tokens": tokens,
        "hypotheses": [
            [_found(translator, one, text) for one, text in zip(hypotheses, own, strict=True)]
            for hypotheses, own in zip(found, texts, strict=True)
        ],
    }


def _found(translator: Translator, one: Hypothesis, text: str) -> dict[str, Any]:
    weights = one.alignment
    known = weights is not None and bool(np.isfinite(weights).all())
    return {
        "text": text,
        "score": _finite(one.score),
        "log_prob": _finite(one.log_prob),
        "tokens": translator.codec.trg_vocabulary.decode(one.ids),
        "alignment": np.round(weights.astype(np.float64), 4).tolist() if weights is not None and known else None,
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
