"""The vocabulary's name in version 0.1; it stands in ``seq2seq.text.vocabulary``."""

from seq2seq.text.vocabulary import *  # noqa: F403
