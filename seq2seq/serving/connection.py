"""uvicorn's HTTP/1.1 connection with what it leaves open: a time in which a request's head has to arrive and an answer
has to be read, a number of connections beyond which new ones are refused, and errors that are one line of JSON."""

from __future__ import annotations

import asyncio
import http
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from seq2seq.serving.guard import error_line
from seq2seq.serving.limits import Limits


class Connection(H11Protocol):
    """One that is closed where nothing arrives while a request is awaited, or nothing is read of an answer, in time.

    A subclass has ``limits``.
    """

    limits: Limits

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = None
        self._blocked: asyncio.TimerHandle | None = None
        if len(self.connections) > self.limits.max_connections:
            self._refuse(503, f"there are {self.limits.max_connections} connections already; try again later")
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(data)
            self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_watching()
        self._unblock()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is written to."""
        super().pause_writing()
        self._blocked = self.loop.call_later(self.limits.client_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unblock()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, f"{msg} Expected HTTP/1.1.")

    def _watch(self) -> None:
        """Let the time run while a head is awaited, from its beginning; stop it while a request is under way."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_watching()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.limits.client_timeout, self.transport.abort)

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _unblock(self) -> None:
        if self._blocked is not None:
            self._blocked.cancel()
            self._blocked = None

    def _refuse(self, status: int, reason: str) -> None:
        """Answer what is no request to the application, and close."""
        body = error_line(reason)
        head = (
            f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def connection(of: Limits) -> type[Connection]:
    """The class of a server's connections."""
    return type("Connection", (Connection,), {"limits": of})
