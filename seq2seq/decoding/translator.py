"""Translator: a trained run, ready to translate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.decoding.constraints.words import NotThese
from seq2seq.decoding.contract import Array, Constrain, Hypothesis, Row, Scorer, Search
from seq2seq.decoding.pairs import PairScore, token_log_probs
from seq2seq.decoding.scorers import Ensemble, scorer_of
from seq2seq.decoding.scorers import encode as encoded
from seq2seq.decoding.settings import Decoding, decoding
from seq2seq.decoding.unknown import replace_unknown
from seq2seq.models import copying
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run import checkpoint, config_file
from seq2seq.run.config import Config
from seq2seq.run.devices import Device, allow_tf32, decoding_precision, require
from seq2seq.run.errors import UserError, UserTypeError
from seq2seq.run.folder import run_of
from seq2seq.run.messages import counted, shown
from seq2seq.run.options import check_text, number, texts
from seq2seq.shipping import model_file
from seq2seq.shipping.quantise import NARROW
from seq2seq.sources import EncodedSplit, Items, evaluation_batches
from seq2seq.text.codec import TextCodec
from seq2seq.text.vocabulary import EOS_ID, UNK_ID


class Translator:
    """A model with the text on both sides of it.

    Args:
        model: trained weights.
        codec: the tokenizers and vocabularies they belong to.
        settings: the run's Config.
        precision: of the products while decoding, "fp32", "bf16" or on cuda "tf32", or the form of the weights, "f16"
            or "int8"; by default as the weights are stored, else as in training, and a run in fp64 has no other
            (UserError).

    Attributes:
        models: those that translate together: the one, or all of an ensemble.
    """

    def __init__(self, model: Seq2Seq, codec: TextCodec, settings: Config, precision: str | None = None) -> None:
        self.model, self.codec, self.settings = model, codec, settings
        self.precision = decoding_precision(settings.precision, precision, model.device, model.form)
        if self.precision in NARROW and model.form == "full":
            raise UserError(f"precision is {self.precision!r}; the weights are not; expected it for Translator.load")
        self.models: tuple[Seq2Seq, ...] = (model,)
        self.on_progress: Callable[[int], None] | None = None

    @classmethod
    def load(
        cls, run_dir: str | Path, name: str = "best", precision: str | None = None, device: Device = "cpu"
    ) -> Translator:
        """The translator of a run's checkpoint ``name`` ("best", "last" or "average"), or of a model file, which has
        but one; on any device, wherever it was trained. In the precision "f16" or "int8" it is that of the file that
        ``seq2seq.export --weights`` would write.

        Raises:
            UserError: the folder is no whole run, or there is no such checkpoint or device.
        """
        run_dir = _folder(run_dir)
        if name not in checkpoint.NAMES:
            raise UserError(f"name is {shown(name)}; expected best, last or average")
        require(device, precision or "fp32")
        if model_file.is_model_file(run_dir):
            shipped = model_file.read(run_dir)
            settings = replace(shipped.config, device=device)
            model = model_file.build(run_dir, shipped, settings)
            model.eval()
            return cls(model, shipped.codec, settings, precision)
        settings = replace(config_file.load(run_dir), device=device)
        codec = TextCodec.load(run_dir)
        model = build_model(codec.source.num_inputs, len(codec.trg_vocabulary), settings)
        checkpoint.load(checkpoint.path_of(run_dir, name), model, None, run_of(run_dir, codec))
        if precision in NARROW:
            model_file.narrow(model, precision)
        model.eval()
        return cls(model, codec, settings, precision)

    @classmethod
    def load_all(
        cls, run_dirs: Sequence[str | Path], name: str = "best", precision: str | None = None, device: Device = "cpu"
    ) -> Translator:
        """The translator of a run, or of several together; errors as of ``load`` and ``ensemble``."""
        loaded = [cls.load(run_dir, name, precision, device) for run_dir in run_dirs]
        return loaded[0] if len(loaded) == 1 else cls.ensemble(loaded)

    @classmethod
    def ensemble(cls, translators: Sequence[Translator]) -> Translator:
        """One translator of several runs, which gives a token the mean of the probabilities that they give it.

        Raises:
            UserError: there are none, or two that have other tokenizers or vocabularies, or other precisions.
        """
        if not translators:
            raise UserError("ensemble: got no translators; expected one or more")
        first, *others = translators
        for place, other in enumerate(others, start=2):
            precisions = {"fp32" if one.precision in NARROW else one.precision for one in (first, other)}  # of steps
            if other.codec.to_dict() != first.codec.to_dict() or len(precisions) > 1:
                what = "precision" if len(precisions) > 1 else "tokenizers or vocabularies"
                raise UserError(f"ensemble: translator {place} has other {what} than the first; expected the same")
            _require_same_copies(first.model, other.model, place)
        together = first.in_precision(first.precision)
        together.models = tuple(model for one in translators for model in one.models)
        return together

    def in_precision(self, precision: str) -> Translator:
        """The same models with products in another precision."""
        other = Translator(self.model, self.codec, self.settings, precision)
        other.models = self.models
        return other

    def translate(
        self, sentences: Iterable[Any], beam_size: int = 1, length_penalty: float = 1.0, batch_size: int = 64,
        replace_unk: bool = False, **options: Any,
    ) -> list[str]:  # fmt: skip
        """Translations, detokenised, in the order of ``sentences``; beam_size 1 is greedy.

        Args:
            replace_unk: for each <unk> the token of the sentence that was most looked at (Luong et al., 2015, section
                4.1); of models with attention.
            options: as of ``search``, and so are the errors.
        """
        if "n_best" in options:
            raise UserError("translate: n_best is given; expected Translator.search, which returns several")
        listed = self.codec.source.checked(sentences, "translate", "sentence")
        found = self.search(
            listed, beam_size, length_penalty, 1, batch_size,
            **options | ({"alignment": True} if replace_unk else {}),
        )  # fmt: skip
        sources: Sequence[Any] = listed if replace_unk else [None] * len(listed)
        return [self.text_of(best[0], source) for best, source in zip(found, sources, strict=True)]

    def translate_ids(
        self, sources: Items, beam_size: int = 1, length_penalty: float = 1.0, batch_size: int = 64, **options: Any
    ) -> list[str]:
        """As ``translate``, of sentences that are source ids already."""
        found = self.search_ids(sources, beam_size, length_penalty, 1, batch_size, **options)
        return [self.text_of(best[0]) for best in found]

    def text_of(self, hypothesis: Hypothesis, source: Any = None) -> str:
        """The sentence of a hypothesis, detokenised; with the sentence that it translates, and its alignment, tokens of
        that in place of <unk>."""
        tokens = self.codec.trg_vocabulary.decode(hypothesis.ids)
        if source is not None and UNK_ID in hypothesis.ids:
            tokens = replace_unknown(tokens, hypothesis, self.codec.source.tokens(source))
        return self.codec.trg_tokenizer.detokenize(tokens)

    def search(
        self, sentences: Iterable[Any], beam_size: int = 1, length_penalty: float = 1.0, n_best: int = 1,
        batch_size: int = 64, **options: Any,
    ) -> list[list[Hypothesis]]:  # fmt: skip
        """The ``n_best`` hypotheses for each sentence, best first; for an empty or blank sentence one, the empty one.

        Sentences of like length are decoded together, ``batch_size`` at a time; that changes the speed alone.

        Args:
            options: ``strategy`` by name, the options of strategies and constraints (docs/decoding.md), and those of
                ``seq2seq.decoding.settings.Decoding``, such as ``alignment=True`` or ``prefixes=[...]``.

        Raises:
            UserError: a number out of its range (``seq2seq.run.options``), an option that the strategy does not have,
                or a sentence that is no valid Unicode.
            UserTypeError: no sentences, one string instead of several, or an argument of another type.
        """
        asked = decoding(
            beam_size=beam_size, length_penalty=length_penalty, n_best=n_best, batch_size=batch_size, **options
        )
        return self._search(
            self.codec.encode_sources(self.codec.source.checked(sentences, "translate", "sentence")), asked
        )

    def search_ids(
        self, sources: Items, beam_size: int = 1, length_penalty: float = 1.0, n_best: int = 1, batch_size: int = 64,
        first: int = 1, **options: Any,
    ) -> list[list[Hypothesis]]:  # fmt: skip
        """As ``search``, of sentences that are source ids already; one without ids is an empty sentence. Messages
        number them from ``first``."""
        asked = decoding(
            beam_size=beam_size, length_penalty=length_penalty, n_best=n_best, batch_size=batch_size, **options
        )
        self._require_positions(sources, first)
        return self._search(sources, asked)

    def stream(
        self, sentences: Iterable[Any], told: Callable[[int, Hypothesis], None], batch_size: int = 64, **options: Any
    ) -> list[Hypothesis]:  # fmt: skip
        """The greedy translation of each sentence, told token by token while it is found; the words are those of
        ``translate``.

        Args:
            told: is called with the number of a sentence, from 0, and what there is of its translation, which has grown
                by a token. What it raises ends the search.
            options: as of ``search``, and so are the errors.
        """
        asked = decoding(strategy="greedy", batch_size=batch_size, **options)
        sources = self.codec.encode_sources(self.codec.source.checked(sentences, "translate", "sentence"))
        return [best for best, *_ in self._search(sources, asked, told)]

    def score(self, sources: Iterable[Any], targets: Iterable[str], batch_size: int = 64) -> list[PairScore]:
        """How likely each target is, given its source; errors as of ``search``, or where one side has more."""
        pairs = self.codec.source.checked(sources, "score", "source"), texts("score", targets, "target")
        if len(pairs[0]) != len(pairs[1]):
            got = f"{counted(len(pairs[0]), 'source')} and {counted(len(pairs[1]), 'target')}"
            raise UserError(f"score: got {got}; expected equal numbers")
        return self.score_pairs(self.codec.encode_pairs(list(zip(*pairs, strict=True))), batch_size)

    def score_pairs(self, encoded: EncodedSplit, batch_size: int = 64) -> list[PairScore]:
        """As ``score``, of pairs that are ids already."""
        allow_tf32(self.precision)
        batch_size = number("batch_size", batch_size)
        found = token_log_probs(self.models, encoded, batch_size, self.precision == "bf16")
        vocabulary = self.codec.trg_vocabulary
        return [
            PairScore((*vocabulary.decode(ids), vocabulary.tokens[EOS_ID]), tuple(log_probs.tolist()))
            for ids, log_probs in zip(encoded.trg, found, strict=True)
        ]

    def encode(self, sentences: Iterable[Any], batch_size: int = 64) -> Array:
        """A vector for each sentence, (N, D) float32: what the run's encoder makes of it (``Encoder.vectors``).

        A vector does not depend on the sentences beside it, nor on ``batch_size``, to the bit. Errors as of ``search``;
        several runs together have no vectors.
        """
        return self.encode_ids(
            self.codec.source.encode(self.codec.source.checked(sentences, "encode", "sentence")), batch_size
        )

    def encode_ids(self, sources: Items, batch_size: int = 64) -> Array:
        """As ``encode``, of sentences that are source ids already."""
        if len(self.models) > 1:
            raise UserError(
                f"encode: there are {len(self.models)} runs together; expected one, whose vectors are wanted"
            )
        allow_tf32(self.precision)
        self._require_positions(sources)
        encoder, nothing = self.model.encoder, np.zeros_like(sources.lengths)
        found = np.zeros((len(sources), encoder.vector_size), np.float32)
        for indices in evaluation_batches(sources.lengths, nothing, number("batch_size", batch_size)):
            memory = encoded(self.model, [sources[i] for i in indices.tolist()], self.precision == "bf16")
            found[indices] = encoder.vectors(memory)
        return found

    def _search(
        self, sources: Items, asked: Decoding, told: Callable[[int, Hypothesis], None] | None = None
    ) -> list[list[Hypothesis]]:
        results = [[Hypothesis((), 0.0, 0.0)] for _ in range(len(sources))]
        spoken = np.flatnonzero(sources.lengths)
        self._require_positions(sources)
        whole = self._in_ids(asked, len(sources))
        for positions in evaluation_batches(sources.lengths[spoken], np.zeros_like(spoken), asked.batch_size):
            indices = spoken[positions].tolist()
            prefixes = tuple(self._within_pair(whole.prefixes[i], sources[i]) for i in indices if whole.prefixes)
            part = replace(whole, prefixes=prefixes, told=told and self._telling(told, sources, indices))
            allow_tf32(self.precision)
            found = asked.strategy.find(self._scorer(), [sources[i] for i in indices], part)
            for index, hypotheses in zip(indices, found, strict=True):
                results[index] = self._of_run(hypotheses, sources[index])
            if self.on_progress is not None:
                self.on_progress(len(indices))
        return results

    def _require_positions(self, sources: Items, first: int = 1) -> None:
        """UserError where a source is longer than an encoder reads; the messages number them from ``first``."""
        for model in self.models if len(sources) else ():
            place = int(sources.lengths.argmax())
            longest = int(sources.lengths[place]) + model.source.marks
            model.encoder.require_positions(longest, f"sentence {place + first}")

    def _telling(
        self, told: Callable[[int, Hypothesis], None], sources: Items, indices: Sequence[int]
    ) -> Callable[[Row], None]:
        """What a search of the sources at ``indices`` calls, so that ``told`` is given numbers and ids of its own."""

        def tell(row: Row) -> None:
            index = indices[row.sentence.number]
            told(index, self._of_run([row.hypothesis(row.log_prob)], sources[index])[0])

        return tell

    def _within_pair(self, ids: tuple[int, ...], item: Any) -> tuple[int, ...]:
        """Ids of the run as the model has them beside this source."""
        if not self.model.copies:
            return ids
        source = self.model.source.collate([item])[0][:, 0]
        return tuple(copying.within_pair(index, source, self.model.vocab_size) for index in ids)

    def _of_run(self, hypotheses: list[Hypothesis], item: Any) -> list[Hypothesis]:
        """Hypotheses with the ids that copied words have in the run, whichever source they come from."""
        if not self.model.copies:
            return hypotheses
        source = self.model.source.collate([item])[0][:, 0]
        return [replace(one, ids=copying.of_run(one.ids, source, self.model.vocab_size)) for one in hypotheses]

    def _in_ids(self, asked: Decoding, count: int) -> Search:
        """The search of ``count`` sentences that is asked for, with the ids of what it is asked for in words."""
        most = asked.max_output_length or self.codec.max_output_length
        for model in self.models:
            model.decoder.require_positions(most, "max_output_length: the longest translation")
        constraints: tuple[Constrain, ...] = asked.constraints
        for constraint in asked.constraints:
            constraint.check(most)
        if asked.forbidden_words:
            constraints = (*constraints, NotThese([self._known_ids(word) for word in asked.forbidden_words]))
        ratio = asked.max_length_ratio or math.inf
        prefixes = tuple(tuple(self._trg_ids(text)) for text in asked.prefixes or ())
        if prefixes and len(prefixes) != count:
            raise UserError(f"prefixes: there are {len(prefixes)}; expected {count}, one for each sentence")
        for place, prefix in enumerate(prefixes, start=1):
            if len(prefix) >= most:
                expected = f"fewer than max_output_length = {most}"
                raise UserError(f"prefixes: text {place} has {counted(len(prefix), 'token')}; expected {expected}")
        return Search(most, asked.n_best, constraints, prefixes, ratio, asked.alignment, asked.seed)

    def _trg_ids(self, text: str) -> list[int]:
        return self.codec.trg_vocabulary.encode(self.codec.target_tokens(text))

    def _known_ids(self, word: str) -> list[int]:
        """Of a word that can be produced; UserError for another."""
        ids = self._trg_ids(word)
        if not ids or UNK_ID in ids or max(ids) >= len(self.codec.trg_vocabulary):
            raise UserError(f"forbidden_words: {shown(word)} is not in the target vocabulary; expected words of it")
        return ids

    @property
    def _form(self) -> str:
        """Of the matrices while decoding, as of ``scorer_of``."""
        return self.precision if self.precision in ("bf16", *NARROW) else "full"

    def _scorer(self) -> Scorer:
        scorers: list[Scorer] = [scorer_of(model, self._form) for model in self.models]
        return scorers[0] if len(scorers) == 1 else Ensemble(scorers)


def _require_same_copies(first: Seq2Seq, other: Seq2Seq, place: int) -> None:
    """UserError where a token that one model copies would be another one of the other."""
    if other.copies != first.copies:
        raise UserError(f"ensemble: of translator {place} and the first one copies words; expected all or none")
    if first.copies and other.source.options != first.source.options:
        raise UserError(
            f"ensemble: translator {place} copies from sources that are read in another way than the first's"
        )


def _folder(run_dir: Any) -> Path:
    """The path of a run as a Python program gives it."""
    try:
        path = Path(run_dir)
    except TypeError:
        raise UserTypeError(f"run_dir is {shown(run_dir)}; expected the folder of a training run") from None
    check_text("run_dir", str(path) if run_dir else "")
    return path
