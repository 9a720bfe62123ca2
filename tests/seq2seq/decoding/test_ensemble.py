"""Several runs as one translator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seq2seq import Translator
from seq2seq.run.errors import UserError


def test_two_runs_translate_together(train, corpus: Path) -> None:
    """By the mean of their probabilities: between the two in log p, and unlike each of them in some sentence."""
    runs = [Translator.load(train(f"seed-{seed}", "--seed", seed, "--epochs", 2)) for seed in (1, 2)]
    sentences = [line.split("\t")[0] for line in corpus.read_text().splitlines()][:20]
    together = Translator.ensemble(runs)
    for beam_size in (1, 4):
        found = [one[0] for one in together.search(sentences, beam_size)]
        alone = [[one[0] for one in run.search(sentences, beam_size)] for run in runs]
        assert [h.log_prob for h in found] != [h.log_prob for h in alone[0]]
        assert all(np.isfinite(h.log_prob) and h.log_prob < 0 for h in found)
    twins = Translator.ensemble([runs[0], runs[0]])
    assert twins.translate(sentences) == runs[0].translate(sentences)
    assert Translator.ensemble(runs[:1]).translate(sentences) == runs[0].translate(sentences)
    nested = Translator.ensemble([together, runs[1]])
    assert len(nested.translate(sentences)) == len(sentences)


def test_runs_that_do_not_go_together_are_refused(train) -> None:
    one, other = (Translator.load(train(f"run-{n}", "--min-freq", n, "--max-steps", 2)) for n in (1, 30))
    with pytest.raises(UserError, match="ensemble: translator 2 has other tokenizers or vocabularies than the first"):
        Translator.ensemble([one, other])
    rounded = Translator(one.model, one.codec, one.settings, "bf16")
    with pytest.raises(UserError, match="ensemble: translator 2 has other precision than the first"):
        Translator.ensemble([one, rounded])
    with pytest.raises(UserError, match="ensemble: got no translators"):
        Translator.ensemble([])
