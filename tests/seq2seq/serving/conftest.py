"""Servers in threads of this process, on ports of their own, and clients of the standard library."""

from __future__ import annotations

import http.client
import importlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from seq2seq.decoding.translator import Translator
from seq2seq.serving.limits import Limits
from tests.seq2seq.pairs import options_that_fit
from tests.seq2seq.tiny_translators import SIZES, translator

JSON = {"content-type": "application/json"}


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The reason of an error, which is one line of JSON."""
        assert self.body.endswith(b"\n")
        assert self.body.count(b"\n") == 1
        assert [*self.json] == ["error"]
        return self.json["error"]


class Client:
    """One connection, which is kept."""

    def __init__(self, port: int, timeout: float = 20.0) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, None, headers)

    def post(self, path: str, content: Any, headers: Mapping[str, str] = JSON) -> Reply:
        """``content`` as it is where it is bytes, else as JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.send("POST", path, body, headers)

    def send(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Reply:
        self.connection.request(method, path, body, dict(headers))
        reply = self.connection.getresponse()
        return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())


class Running(NamedTuple):
    """A server that runs."""

    port: int
    server: Any
    translators: Mapping[str, Translator]

    def client(self, timeout: float = 20.0) -> Client:
        return Client(self.port, timeout)


class Gate:
    """A translator whose searches wait until they may go on, and are remembered."""

    def __init__(self, behind: Translator) -> None:
        self._behind, self.searched = behind, []
        self.open, self.entered = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    def search(self, sentences: list[str], **options: Any) -> Any:
        self.searched.append(list(sentences))
        self.entered.set()
        assert self.open.wait(20)
        return self._behind.search(sentences, **options)


@contextmanager
def running(translators: Mapping[str, Any], hosts: tuple[str, ...] = (), **limits: Any) -> Iterator[Running]:
    """A server on any free port, stopped at the end."""
    module = importlib.import_module("seq2seq.serving.server")
    with module.bind("127.0.0.1", 0) as bound:
        server = module.server(translators, Limits(**limits), hosts)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            while not server.started:
                thread.join(0.01)
                assert thread.is_alive()
            yield Running(bound.getsockname()[1], server, translators)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def tiny() -> dict[str, Translator]:
    """Two models: an LSTM whose search is compiled, and one that attends."""
    attending = options_that_fit("bilstm", "attention") or {}
    return {
        "plain": translator("lstm", "lstm", num_layers=1, **SIZES),
        "attending": translator("bilstm", "attention", **{**attending, **SIZES}),
    }


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """``running``; skips without FastAPI and uvicorn."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    return running


@pytest.fixture(scope="module")
def served(serve: Callable[..., Any], tiny: dict[str, Translator]) -> Iterator[Running]:
    """A server of both models with limits as by default, but for the number of sentences."""
    with serve(tiny, max_sentences=8) as found:
        yield found


@pytest.fixture
def client(served: Running) -> Iterator[Client]:
    with served.client() as found:
        yield found


@pytest.fixture
def gate(tiny: dict[str, Translator]) -> Iterator[Gate]:
    """A gate in front of the model that attends; it is open at the end."""
    found = Gate(tiny["attending"])
    yield found
    found.open.set()
