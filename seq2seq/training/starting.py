"""A run that starts from the weights of another: what fits is copied, what is new is drawn, and all of it is told.

A tensor of the same name and shape is copied whole. Of a tensor with a row for every word the rows of words that both
runs know are copied, wherever they stand; new words keep the rows that were drawn for them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minigrad import Tensor, nn
from seq2seq.decoding.translator import Translator
from seq2seq.models.model import Seq2Seq
from seq2seq.run.checkpoint import weights_of
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.text.codec import TextCodec
from seq2seq.text.side import TextSide
from seq2seq.text.vocabulary import Vocabulary

Array = np.ndarray


def former(config: Config) -> Translator | None:
    """The run that ``init_from`` names, its best weights; None where it names none.

    Raises:
        UserError: it is no whole run, or reads another kind of source.
    """
    if config.init_from is None:
        return None
    found = Translator.load(config.init_from)
    if found.settings.source != config.source:
        raise UserError(
            f"init_from {config.init_from}: its source is {found.settings.source}; this run has {config.source}"
        )
    return found


def copy_weights(start: Translator, model: Seq2Seq, codec: TextCodec, called: str) -> list[str]:
    """Put the weights of ``start``, ``called`` so, in place, as far as they fit; what was done, in lines."""
    stored = start.model.state_dict(keep_vars=True)
    rows = _rows(start.codec, codec, model)
    copied: dict[str, Tensor] = {}
    for name, tensor in weights_of(model).items():
        if name in stored and (found := _fitted(stored[name].array, tensor, rows.get(name))) is not None:
            copied[name] = found
    model.load_state_dict(copied, strict=False)
    return list(_told(start, model, codec, copied, called))


def _fitted(old: Array, tensor: Tensor, rows: Array | None) -> Tensor | None:
    """What a tensor becomes; None where the old one does not fit it.

    Args:
        rows: for a tensor by words the row of the old one for each of its own, or -1.
    """
    new = tensor.cpu().numpy().copy()
    if rows is None:
        return Tensor(old.astype(new.dtype)).to(tensor.device) if old.shape == new.shape else None
    if old.shape[1:] != new.shape[1:] or len(old) <= rows.max():
        return None
    known = rows >= 0
    new[known] = old[rows[known]]
    return Tensor(new).to(tensor.device)


def _rows(before: TextCodec, now: TextCodec, model: Seq2Seq) -> dict[str, Array]:
    """Of each tensor with a row for every word, by its name, the former row of each row; -1 for a new word."""
    target = _places(now.target.vocabulary, before.target.vocabulary)
    named = {id(parameter): name for name, parameter in model.named_parameters()}  # a shared one once
    found = {named[id(p)]: target for p in model.decoder.output.parameters() if id(p) in named}
    sides: list[tuple[nn.Module, Array]] = [(model.decoder, target)]
    if isinstance(before.source, TextSide) and isinstance(now.source, TextSide):
        sides.append((model.encoder, _places(now.source.vocabulary, before.source.vocabulary)))
    for part, places in sides:
        for module in part.modules():
            if isinstance(module, nn.Embedding) and len(module.weight) == len(places):
                found.setdefault(named.get(id(module.weight), ""), places)
    return found


def _places(words: Vocabulary, among: Vocabulary) -> Array:
    """The number of each token of ``words`` in the other vocabulary; -1 where it is not there."""
    places = {token: place for place, token in enumerate(among.tokens)}
    return np.array([places.get(token, -1) for token in words.tokens])


def _told(start: Translator, model: Seq2Seq, codec: TextCodec, copied: dict[str, Tensor], called: str) -> Iterator[str]:
    own = weights_of(model)
    drawn, left = [n for n in own if n not in copied], [n for n in weights_of(start.model) if n not in own]
    line = f"starts from {called}: {len(copied)} of {len(own)} tensors copied"
    yield line + "".join(
        f"; {what}: {', '.join(names)}" for what, names in (("drawn", drawn), ("left out", left)) if names
    )
    for which, before, now in (
        ("source", start.codec.source, codec.source),
        ("target", start.codec.target, codec.target),
    ):
        if isinstance(before, TextSide) and isinstance(now, TextSide):
            known = int((_places(now.vocabulary, before.vocabulary) >= 0).sum())
            new, lost = len(now.vocabulary) - known, len(before.vocabulary) - known
            yield f"{which} vocabulary: {known:,} known tokens copied, {new:,} new ones drawn, {lost:,} left out"
