"""The server as a process: a socket, signals, and uvicorn between them."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping

import uvicorn

from seq2seq.decoding.translator import Translator
from seq2seq.run.errors import UserError
from seq2seq.serving.app import create_app
from seq2seq.serving.connection import connection
from seq2seq.serving.guard import LOOPBACK
from seq2seq.serving.limits import Limits

_KEEP_ALIVE = 5  # seconds that an idle connection stays open
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]


class Server(uvicorn.Server):
    """Ends in order at SIGTERM, Ctrl-C or SIGHUP: takes nothing new, answers what it has taken, and returns.

    Args:
        config: uvicorn's.
        ready: is called when requests are taken.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # which alone may have handlers
            yield
            return
        former = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound and does not listen yet; port 0 is any free one. UserError where it cannot be."""
    try:
        listed = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = listed[0]
        found = socket.socket(family, kind, protocol)  # asyncio turns Nagle's delay off where it reads TCP here
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(address)
        except OSError:
            found.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        expected = "expected an address of this machine, and a free port"
        raise UserError(f"host {host}, port {port}: {reason}; {expected}") from None
    return found


def names_of(bound: socket.socket, host: str, allowed: Collection[str] = ()) -> list[str]:
    """The names that requests may call a server by: those that are given; else, where only this machine reaches it, its
    own, so that no page of the web does under another name (DNS rebinding); else all, told by an empty list."""
    if allowed:
        return list(allowed)
    return [*LOOPBACK, host] if ipaddress.ip_address(bound.getsockname()[0]).is_loopback else []


def address_of(bound: socket.socket) -> str:
    """What to type into a browser."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if bound.family == socket.AF_INET6 else f"http://{host}:{port}"


def server(
    translators: Mapping[str, Translator], limits: Limits, hosts: Collection[str] = (),
    ready: Callable[[], None] = lambda: None,
) -> Server:  # fmt: skip
    """A server that is to be run on a bound socket, ``server(...).run([socket])``; arguments as of ``create_app`` and
    ``Server``."""
    config = uvicorn.Config(
        create_app(translators, limits, hosts), http=connection(limits), ws="none", lifespan="on", log_level="error",
        access_log=False, proxy_headers=False, server_header=False,
        timeout_keep_alive=_KEEP_ALIVE, timeout_graceful_shutdown=limits.stop_timeout,
    )  # fmt: skip
    return Server(config, ready)
