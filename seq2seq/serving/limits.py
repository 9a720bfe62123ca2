"""What a server takes from its clients, and what it says where that is too much."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def _limit(default: float | None, meaning: str) -> Any:
    return field(default=default, metadata={"help": meaning})


@dataclass(frozen=True)
class Limits:
    """Each is an option of ``seq2seq.serve`` too. Lengths are in characters, sizes in bytes, times in seconds."""

    max_characters: int = _limit(2000, "characters of a sentence")
    max_sentences: int = _limit(64, "sentences of a request")
    max_body: int = _limit(1 << 20, "bytes of a request's body")
    max_beam_size: int = _limit(10, "the largest beam, and the most translations of a sentence, that may be asked for")
    batch_size: int = _limit(64, "sentences decoded together")
    queue_size: int = _limit(1024, "sentences that may wait")
    max_wait: float = _limit(30.0, "seconds after which a request that still waits is given up")
    rate: float | None = _limit(None, "requests a second that one address may send; by default any number")
    client_timeout: float = _limit(10.0, "seconds in which a request has to arrive whole, and its answer to be taken")
    max_connections: int = _limit(512, "connections at one time")
    stop_timeout: int = _limit(30, "seconds that requests under way are given when the server is to stop")


class RefusalError(Exception):
    """A request that is not served.

    Args:
        status: of HTTP, 400 to 599.
        reason: one line for the client.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason
