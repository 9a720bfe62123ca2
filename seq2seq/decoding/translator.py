"""Translator: a trained run, ready to translate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.decoding.scorers import Ensemble, scorer_of
from seq2seq.decoding.search import search
from seq2seq.decoding.strategies import Hypothesis, Scorer, Search
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run import checkpoint, config_file
from seq2seq.run.config import Config
from seq2seq.run.devices import Device, allow_tf32, decoding_precision, require
from seq2seq.run.errors import UserError, UserTypeError
from seq2seq.run.folder import run_of
from seq2seq.run.messages import shown
from seq2seq.run.options import check_decoding, check_text
from seq2seq.sources import Items, evaluation_batches
from seq2seq.text.codec import TextCodec


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
        self._models: tuple[Seq2Seq, ...] = (model,)

    @classmethod
    def load(
        cls, run_dir: str | Path, name: str = "best", precision: str | None = None, device: Device = "cpu"
    ) -> Translator:
        """The translator of a run's checkpoint ``name`` ("best" or "last"), on any device wherever it was trained.

        Raises:
            UserError: the folder is no whole run, or there is no such checkpoint or device.
        """
        run_dir = _folder(run_dir)
        if name not in ("best", "last"):
            raise UserError(f"name is {shown(name)}; expected best or last")
        settings = replace(config_file.load(run_dir), device=device)
        require(device, precision or "fp32")
        codec = TextCodec.load(run_dir)
        model = build_model(codec.source.num_inputs, len(codec.trg_vocabulary), settings)
        checkpoint.load(checkpoint.path_of(run_dir, name), model, None, run_of(run_dir, codec))
        model.eval()
        return cls(model, codec, settings, precision)

    @classmethod
    def ensemble(cls, translators: Sequence[Translator]) -> Translator:
        """One translator of several runs, which gives a token the mean of the probabilities that they give it.

        Raises:
            UserError: there are none, or two that have other tokenizers or vocabularies, or other precisions.
        """
        if not translators:
            raise UserError("ensemble: got no translators; expected one or more")
        first, *others = translators
        for number, other in enumerate(others, start=2):
            if (other.codec.to_dict(), other.precision) != (first.codec.to_dict(), first.precision):
                what = "precision" if other.precision != first.precision else "tokenizers or vocabularies"
                raise UserError(f"ensemble: translator {number} has other {what} than the first; expected the same")
        together = cls(first.model, first.codec, first.settings, first.precision)
        together._models = tuple(model for one in translators for model in one._models)
        return together

    def translate(
        self, sentences: Iterable[str], beam_size: int = 1, length_penalty: float = 1.0, batch_size: int = 64
    ) -> list[str]:
        """Translations, detokenised, in the order of ``sentences``; beam_size 1 is greedy. Errors as of ``search``."""
        found = self.search(sentences, beam_size, length_penalty, 1, batch_size)
        return [self.codec.decode(hypotheses[0].ids) for hypotheses in found]

    def translate_ids(
        self, sources: Items, beam_size: int = 1, length_penalty: float = 1.0, batch_size: int = 64
    ) -> list[str]:
        """As ``translate``, of sentences that are source ids already."""
        found = self.search_ids(sources, beam_size, length_penalty, 1, batch_size)
        return [self.codec.decode(hypotheses[0].ids) for hypotheses in found]

    def search(
        self,
        sentences: Iterable[str],
        beam_size: int = 1,
        length_penalty: float = 1.0,
        n_best: int = 1,
        batch_size: int = 64,
    ) -> list[list[Hypothesis]]:
        """The ``n_best`` hypotheses for each sentence, best first; for an empty or blank sentence one, the empty one.

        Sentences of like length are decoded together, ``batch_size`` at a time; that changes the speed alone.

        Raises:
            UserError: a number out of its range (``seq2seq.run.options``), or a sentence that is no valid Unicode.
            UserTypeError: no sentences, one string instead of several, or an argument that is no number.
        """
        decoding = check_decoding(beam_size, n_best, length_penalty, batch_size)
        return self._search(self.codec.encode_sources(self.codec.source.checked(sentences)), *decoding)

    def search_ids(
        self,
        sources: Items,
        beam_size: int = 1,
        length_penalty: float = 1.0,
        n_best: int = 1,
        batch_size: int = 64,
    ) -> list[list[Hypothesis]]:
        """As ``search``, of sentences that are source ids already; one without ids is an empty sentence."""
        return self._search(sources, *check_decoding(beam_size, n_best, length_penalty, batch_size))

    def _search(
        self, sources: Items, beam_size: int, n_best: int, length_penalty: float, batch_size: int
    ) -> list[list[Hypothesis]]:
        results = [[Hypothesis((), 0.0, 0.0)] for _ in range(len(sources))]
        spoken = np.flatnonzero(sources.lengths)
        for positions in evaluation_batches(sources.lengths[spoken], np.zeros_like(spoken), batch_size):
            indices = spoken[positions].tolist()
            found = self._search_batch([sources[i] for i in indices], beam_size, length_penalty, n_best)
            for index, hypotheses in zip(indices, found, strict=True):
                results[index] = hypotheses
        return results

    def _search_batch(
        self, sources: Sequence[Any], beam_size: int, length_penalty: float, n_best: int
    ) -> list[list[Hypothesis]]:
        allow_tf32(self.precision)
        asked = Search(self.codec.max_output_length, beam_size, length_penalty, n_best)
        return search(self._scorer(), sources, asked)

    def _scorer(self) -> Scorer:
        scorers: list[Scorer] = [scorer_of(model, self.precision == "bf16") for model in self._models]
        return scorers[0] if len(scorers) == 1 else Ensemble(scorers)


def _folder(run_dir: Any) -> Path:
    """The path of a run as a Python program gives it."""
    try:
        path = Path(run_dir)
    except TypeError:
        raise UserTypeError(f"run_dir is {shown(run_dir)}; expected the folder of a training run") from None
    check_text("run_dir", str(path) if run_dir else "")
    return path
