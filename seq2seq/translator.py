"""Translator: a trained run, ready to translate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seq2seq import checkpoint, config
from seq2seq.config import Config
from seq2seq.data import evaluation_batches
from seq2seq.model import Seq2Seq, build_model
from seq2seq.search import Hypothesis, beam_search, greedy_search
from seq2seq.text import TextCodec


class Translator:
    """A model with the text on both sides of it.

    Args:
        model: trained weights.
        codec: the tokenizers and vocabularies they belong to.
        settings: the run's Config.
    """

    def __init__(self, model: Seq2Seq, codec: TextCodec, settings: Config) -> None:
        self.model, self.codec, self.settings = model, codec, settings

    @classmethod
    def load(cls, run_dir: str | Path, name: str = "best") -> Translator:
        """The translator of a run's checkpoint ``name`` ("best" or "last"); UserError if the folder is no whole run."""
        run_dir = Path(run_dir)
        settings = config.load(run_dir)
        codec = TextCodec.load(run_dir)
        model = build_model(len(codec.src_vocabulary), len(codec.trg_vocabulary), settings)
        checkpoint.load(checkpoint.path_of(run_dir, name), model, None, codec.fingerprint())
        return cls(model, codec, settings)

    def translate(
        self, sentences: Sequence[str], beam_size: int = 1, length_penalty: float = 1.0, batch_size: int = 64
    ) -> list[str]:
        """Translations, detokenised, in the order of ``sentences``; beam_size 1 is greedy."""
        found = self.search(sentences, beam_size, length_penalty, 1, batch_size)
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

        Sentences of like length are decoded together, ``batch_size`` at a time; that changes the speed, and the scores
        by rounding (about 1e-6 of them).
        """
        if isinstance(sentences, str):
            raise TypeError("translate: got one string; expected a list of sentences")
        results = [[Hypothesis((), 0.0, 0.0)] for _ in sentences]
        sources = {i: self.codec.encode_source(s) for i, s in enumerate(sentences) if s and not s.isspace()}
        spoken = [i for i, source in sources.items() if source]
        lengths = [len(sources[i]) for i in spoken]
        for positions in evaluation_batches(lengths, [0] * len(lengths), batch_size):
            indices = [spoken[position] for position in positions]
            found = self._search_batch([sources[i] for i in indices], beam_size, length_penalty, n_best)
            for index, hypotheses in zip(indices, found, strict=True):
                results[index] = hypotheses
        return results

    def _search_batch(
        self, sources: Sequence[Sequence[int]], beam_size: int, length_penalty: float, n_best: int
    ) -> list[list[Hypothesis]]:
        limit, reverse = self.codec.max_output_length, self.settings.reverse_source
        if beam_size == 1 and n_best == 1:
            return [[h] for h in greedy_search(self.model, sources, limit, reverse)]
        return beam_search(self.model, sources, limit, beam_size, length_penalty, n_best, reverse)
