"""Translator: a trained run, ready to translate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from seq2seq import checkpoint, config
from seq2seq.config import Config
from seq2seq.data import Ragged, evaluation_batches
from seq2seq.devices import Device, allow_tf32, decoding_precision, require
from seq2seq.model import Seq2Seq, build_model
from seq2seq.run_dir import run_of
from seq2seq.search import Hypothesis, beam_search, greedy_search
from seq2seq.text import TextCodec


class Translator:
    """A model with the text on both sides of it.

    Args:
        model: trained weights.
        codec: the tokenizers and vocabularies they belong to.
        settings: the run's Config.
        precision: of the products while decoding, "fp32", "bf16" or on cuda "tf32"; by default as in training, and a
            run in fp64 has no other (UserError).
    """

    def __init__(self, model: Seq2Seq, codec: TextCodec, settings: Config, precision: str | None = None) -> None:
        self.model, self.codec, self.settings = model, codec, settings
        self.precision = decoding_precision(settings.precision, precision, model.device)

    @classmethod
    def load(
        cls, run_dir: str | Path, name: str = "best", precision: str | None = None, device: Device = "cpu"
    ) -> Translator:
        """The translator of a run's checkpoint ``name`` ("best" or "last"), on any device wherever it was trained.

        Raises:
            UserError: the folder is no whole run, or there is no such device.
        """
        run_dir = Path(run_dir)
        settings = replace(config.load(run_dir), device=device)
        require(device, precision or "fp32")
        codec = TextCodec.load(run_dir)
        model = build_model(len(codec.src_vocabulary), len(codec.trg_vocabulary), settings)
        checkpoint.load(checkpoint.path_of(run_dir, name), model, None, run_of(run_dir, codec))
        return cls(model, codec, settings, precision)

    def translate(
        self, sentences: Sequence[str], beam_size: int = 1, length_penalty: float = 1.0, batch_size: int = 64
    ) -> list[str]:
        """Translations, detokenised, in the order of ``sentences``; beam_size 1 is greedy."""
        found = self.search(sentences, beam_size, length_penalty, 1, batch_size)
        return [self.codec.decode(hypotheses[0].ids) for hypotheses in found]

    def translate_ids(
        self, sources: Ragged, beam_size: int = 1, length_penalty: float = 1.0, batch_size: int = 64
    ) -> list[str]:
        """As ``translate``, of sentences that are source ids already."""
        found = self.search_ids(sources, beam_size, length_penalty, 1, batch_size)
        return [self.codec.decode(hypotheses[0].ids) for hypotheses in found]

    def search(
        self,
        sentences: Sequence[str],
        beam_size: int = 1,
        length_penalty: float = 1.0,
        n_best: int = 1,
        batch_size: int = 64,
    ) -> list[list[Hypothesis]]:
        """The ``n_best`` hypotheses for each sentence, best first; for an empty or blank sentence one, the empty one.

        Sentences of like length are decoded together, ``batch_size`` at a time; that changes the speed alone.
        """
        if isinstance(sentences, str):
            raise TypeError("translate: got one string; expected a list of sentences")
        return self.search_ids(self.codec.encode_sources(sentences), beam_size, length_penalty, n_best, batch_size)

    def search_ids(
        self,
        sources: Ragged,
        beam_size: int = 1,
        length_penalty: float = 1.0,
        n_best: int = 1,
        batch_size: int = 64,
    ) -> list[list[Hypothesis]]:
        """As ``search``, of sentences that are source ids already; one without ids is an empty sentence."""
        results = [[Hypothesis((), 0.0, 0.0)] for _ in range(len(sources))]
        spoken = np.flatnonzero(sources.lengths)
        for positions in evaluation_batches(sources.lengths[spoken], np.zeros_like(spoken), batch_size):
            indices = spoken[positions].tolist()
            found = self._search_batch([sources[i].tolist() for i in indices], beam_size, length_penalty, n_best)
            for index, hypotheses in zip(indices, found, strict=True):
                results[index] = hypotheses
        return results

    def _search_batch(
        self, sources: Sequence[Sequence[int]], beam_size: int, length_penalty: float, n_best: int
    ) -> list[list[Hypothesis]]:
        allow_tf32(self.precision)
        limit, reverse, bf16 = self.codec.max_output_length, self.settings.reverse_source, self.precision == "bf16"
        if beam_size == 1 and n_best == 1:
            return [[h] for h in greedy_search(self.model, sources, limit, reverse, bf16)]
        return beam_search(self.model, sources, limit, beam_size, length_penalty, n_best, reverse, bf16)
