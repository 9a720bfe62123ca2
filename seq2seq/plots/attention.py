"""What translations attended to: for each sentence a map with its tokens across and those of the translation down, as
in figure 3 of Bahdanau et al., "Neural machine translation by jointly learning to align and translate" (2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seq2seq.decoding.translator import Translator
from seq2seq.plots.drawing import new_figure
from seq2seq.run.errors import UserError


class Attended(NamedTuple):
    """A translation and what each of its tokens attended to: (T, S) weights."""

    source: list[str]
    target: list[str]
    weights: np.ndarray


def attended(translator: Translator, sentences: Sequence[Any], **asked: Any) -> list[Attended]:
    """The translations of sentences, with their attention; those without a token are left out.

    Raises:
        UserError: the run's decoder does not attend.
    """
    found = []
    for raw, (best, *_) in zip(sentences, translator.search(sentences, **asked, alignment=True), strict=True):
        if best.alignment is not None and len(best.ids):
            source = translator.codec.source.positions(raw, best.alignment.shape[1])
            found.append(Attended(source, translator.codec.trg_vocabulary.decode(best.ids), best.alignment))
    return found


def maps(found: Sequence[Attended]) -> Any:
    """A figure of the maps, two in a row; UserError where there is none."""
    if not found:
        raise UserError("attention: no sentence has a translation; expected sentences")
    columns = min(2, len(found))
    figure, axes = new_figure(-(-len(found) // columns), columns, 5.0, 4.6)
    for axis, (source, target, weights) in zip(axes, found, strict=False):
        axis.imshow(weights, cmap="Greys", vmin=0.0, vmax=1.0, aspect="auto")
        axis.set_xticks(range(len(source)), [_plain(token) for token in source], rotation=60, ha="right")
        axis.set_yticks(range(len(target)), [_plain(token) for token in target])
    for axis in axes[len(found) :]:
        axis.set_axis_off()
    return figure


def _plain(text: str) -> str:
    """Text that Matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")
