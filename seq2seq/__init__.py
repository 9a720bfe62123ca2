"""seq2seq: words to words. Data, vocabularies, the LSTM encoder-decoder, search, scores, and their commands."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seq2seq.api import Run, load_run, train_run
    from seq2seq.decoding.translator import Translator

__all__ = ["Run", "Translator", "load_run", "train_run"]


def __getattr__(name: str) -> Any:
    """``from seq2seq import Translator``, loaded only when asked for: the commands start faster without it."""
    if name == "Translator":
        from seq2seq.decoding.translator import Translator

        return Translator
    if name in __all__:
        from seq2seq import api

        return getattr(api, name)
    raise AttributeError(f"module 'seq2seq' has no attribute {name!r}")
