"""The tokenizers' name in version 0.1; they stand in ``seq2seq.text.tokenizers``."""

from seq2seq.text.tokenizers import *  # noqa: F403
