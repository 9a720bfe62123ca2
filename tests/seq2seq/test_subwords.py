"""Subwords of a run: learnt once where both sides share them."""

from __future__ import annotations

from typing import Any

import pytest

from seq2seq.run.config import Config
from seq2seq.sources import Dataset
from seq2seq.text.codec import TextCodec
from seq2seq.text.tokenizers import SentencePieceTokenizer

SUBWORDS: dict[str, Any] = {"src_tokenizer": "sentencepiece", "trg_tokenizer": "sentencepiece", "max_vocab_size": 40}
PAIRS = [(f"das haus am see hat {n} fenster", f"the house by the lake has {n} windows") for n in range(30)]


@pytest.fixture
def dataset() -> Dataset:
    return Dataset("pairs", "de", "en", {"train": PAIRS[6:], "valid": PAIRS[:6]})


@pytest.mark.parametrize(("shared", "times"), [(True, 1), (False, 2)])
def test_subwords_of_both_sides_are_learnt_once(dataset, monkeypatch, shared: bool, times: int) -> None:
    learnt, train = [], SentencePieceTokenizer.train
    monkeypatch.setattr(SentencePieceTokenizer, "train", lambda *given: learnt.append(1) or train(*given))
    codec = TextCodec.build(dataset, Config(share_vocab=shared, **SUBWORDS))
    assert len(learnt) == times
    assert (codec.source.tokenizer.to_config() == codec.trg_tokenizer.to_config()) == shared
