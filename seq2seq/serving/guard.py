"""What stands in front of the application: who may call it, how much and how often, and what every answer carries.

A request is read whole before anything is done for it, within a time and a size. The application behind it sees only
requests that are allowed; every error is one line of JSON: {"error": "..."}.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from seq2seq.run.messages import one_line
from seq2seq.serving.limits import Limits, RefusalError
from seq2seq.serving.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
UNLIMITED = ("/health", "/metrics")  # by rate: those who watch ask often
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_LOG = logging.getLogger(__name__)
_ADDRESSES = 10_000  # whose rates are known at one time


def error_line(reason: str) -> bytes:
    """The body of every answer that is an error."""
    return json.dumps({"error": one_line(reason)}).encode() + b"\n"


class Rates:
    """A token bucket for each address: ``rate`` requests a second, and as many at once (at least one)."""

    def __init__(self, rate: float) -> None:
        self._rate, self._most = rate, max(rate, 1.0)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests, and when that was

    def allows(self, address: str, now: float) -> bool:
        """Whether it may send one more at time ``now``, in seconds; then it is counted."""
        left, before = self._left.pop(address, (self._most, now))
        left = min(self._most, left + (now - before) * self._rate)
        self._left[address] = (left - 1.0 if left >= 1.0 else left, now)
        if len(self._left) > _ADDRESSES:
            self._left.popitem(last=False)
        return left >= 1.0


class Guard:
    """An ASGI application around another one.

    Args:
        app: what answers.
        limits: of size, time and rate.
        metrics: where answers are counted.
        paths: of the application; others are counted as one.
        hosts: names that a request may call the server by, without ports; none allows all.
    """

    def __init__(
        self, app: App, limits: Limits, metrics: Metrics, paths: Collection[str], hosts: Collection[str] = ()
    ) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._paths, self._hosts = frozenset(paths), frozenset(name.lower() for name in hosts)
        self._rates = Rates(limits.rate) if limits.rate is not None else None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, answered = time.perf_counter(), _Answer(send)
        try:
            await self._serve(scope, receive, answered)
        except asyncio.CancelledError:  # the server waits no longer for the application
            if not answered.status:
                await answer(answered, RefusalError(503, "the server is stopping"))
        except Exception:
            if not answered.complete:
                raise
            _LOG.exception("error of the application")  # raised, it would end the connection as well
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.requests.add(1, path, str(answered.status))
            self._metrics.seconds.observe(time.perf_counter() - started, path)

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._check(scope, headers)
            body = await self._body(headers, receive)
        except RefusalError as refusal:
            await answer(send, refusal)
        except ConnectionError:
            return
        else:
            await self._app(scope, _Replay(body, receive), send)

    def _check(self, scope: Message, headers: dict[bytes, str]) -> None:
        """RefusalError for a request that comes to another host, or too often."""
        if self._hosts and _name(headers.get(b"host", "")) not in self._hosts:
            raise RefusalError(400, "Host: not a name of this server; expected one of --allowed-hosts")
        address = (scope.get("client") or ("",))[0]
        if self._rates is None or scope["path"] in UNLIMITED:
            return
        if not self._rates.allows(address, time.monotonic()):
            raise RefusalError(429, f"more than {self._limits.rate:g} requests a second; try again later")

    async def _body(self, headers: dict[bytes, str], receive: Receive) -> bytes:
        """All of it. RefusalError where it is too long or too slow; ConnectionError where its sender has gone."""
        most, body = self._limits.max_body, bytearray()
        declared = headers.get(b"content-length", "")
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > most):
            raise RefusalError(413, f"the body is larger than {most} bytes")
        try:
            async with asyncio.timeout(self._limits.client_timeout):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionError
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > most:
                        raise RefusalError(413, f"the body is larger than {most} bytes")
        except TimeoutError:
            raise RefusalError(408, f"the body took more than {self._limits.client_timeout:g} s to arrive") from None
        return bytes(body)


class _Answer:
    """``send`` with the headers that every answer has; remembers the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0  # nobody was there to be answered
        self.complete = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {name for name, _ in message["headers"]}
            more = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in own]
            message = {**message, "headers": [*message["headers"], *more]}
        await self._send(message)
        self.complete = message["type"] == "http.response.body" and not message.get("more_body", False)


class _Replay:
    """``receive`` of a request whose body is there already; later calls wait for the client to go."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def answer(send: Send, refusal: RefusalError) -> None:
    """Send a refusal."""
    body = error_line(refusal.reason)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"retry-after", b"1")] if refusal.status in (429, 503) else []
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _name(host: str) -> str:
    """The name in a Host header, without a port and brackets."""
    name = host.lower().strip()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]
