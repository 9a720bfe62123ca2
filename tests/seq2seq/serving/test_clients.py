"""Clients that send nonsense, too much, too often, too slowly, or go: they get an error, and others do not notice."""

from __future__ import annotations

import json
import random
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from typing import Any

import pytest

from seq2seq.serving.guard import Rates

VALID = {"sentences": ["w1 w2", "w3"], "model": "plain", "beam_size": 2, "alignment": False, "n_best": 1}
VALUES = (
    "null", "true", "-1", "0", "1e400", "-0.0", "NaN", "9" * 400, '""', '"\\ud83d"', '"' + "a" * 3000 + '"', "[]", "{}",
    "[[[[]]]]", '["w1"]', '{"$ref": "#"}', "[" * 3000, '"\\u0000"', '["w1", null]', "1.5", '"beam"',
)  # fmt: skip


def fuzzed(rng: random.Random) -> bytes:
    """A body that is hardly ever right."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(rng.randrange(200))
    if kind == 1:  # a valid one with another value somewhere
        fields = {key: json.dumps(value) for key, value in VALID.items()}
        fields[rng.choice([*fields, "path", "", "__proto__"])] = rng.choice(VALUES)
        return ("{" + ", ".join(f"{json.dumps(key)}: {value}" for key, value in fields.items()) + "}").encode()
    body = bytearray(json.dumps(VALID).encode())
    if kind == 2:  # bytes changed
        for _ in range(rng.randint(1, 8)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        return bytes(body)
    start = rng.randrange(len(body))  # a piece left out, or twice
    piece = body[start : start + rng.randint(1, 40)]
    return bytes(body[:start] + piece * rng.choice([0, 2]) + body[start + len(piece) :])


def is_right(body: bytes) -> bool:
    """Whether the server may take a body: what Python's own reader makes of it."""
    asked = json.loads(body)
    least = {"n_best": 1, "beam_size": 1, "length_penalty": 0, "max_output_length": 1}
    numbers = all(asked.get(name) is None or asked[name] >= low for name, low in least.items())
    return bool(asked["sentences"]) and all(type(text) is str for text in asked["sentences"]) and numbers


def test_fuzzed_bodies_are_refused(served: Any, rounds: int) -> None:
    rng, refused, most = random.Random(0), 0, 300 * rounds
    with served.client() as client:
        for _ in range(most):
            route, body = rng.choice(["/translate", "/stream"]), fuzzed(rng)
            reply = client.post(route, body)
            if reply.status == 200:
                assert is_right(body), body
            else:
                assert 400 <= reply.status < 500, (body, reply)
                assert reply.error
                refused += 1
        assert refused > 0.8 * most
        assert client.post("/translate", {"sentences": ["w1"]}).status == 200


# --- too much ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def narrow(serve: Callable[..., Any], tiny: dict[str, Any]) -> Any:
    """A server with little patience."""
    with serve(tiny, max_body=2000, client_timeout=0.8, stop_timeout=5) as found:
        yield found


@contextmanager
def connected(port: int, sent: bytes = b"") -> Any:
    """A bare socket, over which ``sent`` has gone."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as found:
        found.sendall(sent)
        yield found


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def head(length: int | str, path: str = "/translate", more: str = "") -> bytes:
    lines = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{more}"
    return f"{lines}content-length: {length}\r\n\r\n".encode()


def test_a_body_that_is_too_large(narrow: Any) -> None:
    large = json.dumps({"sentences": ["w1 " * 600] * 3}).encode()
    with narrow.client() as client:
        reply = client.post("/translate", large)
        assert (reply.status, reply.error) == (413, "the body is larger than 2000 bytes")
    chunked = b"POST /translate HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    with connected(narrow.port, chunked + b"800\r\n" + b"x" * 0x800 + b"\r\n") as connection:
        assert b"413" in connection.recv(65536).split(b"\r\n")[0]
    with connected(narrow.port, head(10**12)) as connection:  # nothing has to come before that is known
        assert b"413" in connection.recv(65536).split(b"\r\n")[0]


def test_a_head_that_is_too_large_or_none(narrow: Any) -> None:
    for sent in (b"\x16\x03\x01nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", head(-1)):
        with connected(narrow.port, sent) as connection:
            answer = everything(connection)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert [*json.loads(answer.partition(b"\r\n\r\n")[2])] == ["error"]


def test_more_connections_than_allowed(serve: Any, tiny: dict[str, Any]) -> None:
    with serve(tiny, max_connections=4) as own:
        with connected(own.port), connected(own.port), connected(own.port), connected(own.port):
            with connected(own.port) as fifth:
                answer = everything(fifth)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert "connections already" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        with own.client() as client:
            until(lambda: client.get("/health").status == 200)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not _holds(holds):
        assert time.monotonic() < end
        time.sleep(0.02)


def _holds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except OSError:  # a refused connection
        return False


# --- too slowly -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "sent", [b"", b"POST /trans", head(10)[:-2], b"GET /health HTTP/1.1\r\nhost: x\r\n\r\nGET /he"]
)
def test_a_connection_that_says_nothing_more_is_closed(narrow: Any, sent: bytes) -> None:
    with connected(narrow.port, sent) as connection:
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 200") if sent.startswith(b"GET") else answer == b""


def test_a_head_that_drips_is_closed(narrow: Any) -> None:
    with connected(narrow.port) as connection:

        def drip() -> None:
            for byte in head(10) * 20:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)

        with pytest.raises(OSError, match=r"reset|pipe"):
            drip()


def test_a_body_that_never_comes(narrow: Any) -> None:
    with connected(narrow.port, head(100) + b'{"sent') as connection:
        answer = everything(connection)  # after which it is closed
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"took more than 0.8 s" in answer


def test_an_answer_that_nobody_reads(narrow: Any) -> None:
    """The connection ends although its client is still there."""
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", narrow.port))
        connection.settimeout(10)

        def ask() -> None:
            while True:
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 100)

        with pytest.raises(OSError, match=r"reset|pipe"):
            ask()
    until(lambda: len(narrow.server.server_state.connections) == 0)


# --- too often, elsewhere ---------------------------------------------------------------------------------------------
def test_rates() -> None:
    rates = Rates(2.0)
    assert [rates.allows("a", now) for now in (0.0, 0.0, 0.0, 0.4, 0.5, 0.6, 1.0)] == [
        True, True, False, False, True, False, True,
    ]  # fmt: skip
    assert rates.allows("b", 1.0)
    assert [Rates(0.5).allows("a", 0.0), rates.allows("a", 100.0), rates.allows("a", 100.0)] == [True] * 3
    for number in range(20_000):
        rates.allows(str(number), 200.0)
    assert len(rates._left) == 10_000


def test_a_client_that_asks_too_often(serve: Any, tiny: dict[str, Any]) -> None:
    with serve(tiny, rate=0.01) as own, own.client() as client:
        replies = [client.post("/translate", {"sentences": ["w1"]}) for _ in range(3)]
        assert [reply.status for reply in replies] == [200, 429, 429]
        assert replies[1].error == "more than 0.01 requests a second; try again later"
        assert replies[1].headers["retry-after"] == "1"
        assert [client.get(path).status for path in ("/health", "/metrics", "/models")] == [200, 200, 429]


def test_another_host_is_refused(serve: Any, tiny: dict[str, Any]) -> None:
    with serve(tiny, hosts=("localhost", "::1", "Own.example")) as own, own.client() as client:
        for host, status in {
            "localhost": 200, "LOCALHOST:8000": 200, "[::1]:80": 200, "own.example": 200, "evil.example": 400,
            "localhost.evil.example": 400, "127.0.0.1": 400, "": 400,
        }.items():  # fmt: skip
            assert client.get("/models", Host=host).status == status, host


# --- gone -------------------------------------------------------------------------------------------------------------
def test_what_vanishing_clients_asked_for_is_not_decoded(serve: Any, gate: Any, tiny: dict[str, Any]) -> None:
    body = [json.dumps({"sentences": [f"w{number}"]}).encode() for number in range(6)]
    with serve({"gate": gate}) as own, own.client() as client:
        gate.searched.clear()
        first = threading.Thread(target=client.post, args=("/translate", body[0]))
        first.start()
        assert gate.entered.wait(20)
        for number, path in enumerate(["/translate", "/stream", "/translate", "/stream"], start=1):
            with connected(own.port, head(len(body[number]), path) + body[number]):
                until(lambda: waiting(own) > 0)
        until(lambda: gone(own) >= 2)
        with own.client() as last:
            gate.open.set()
            assert last.post("/translate", body[5]).json["translations"] == tiny["attending"].translate(["w5"])
        first.join()
    assert gate.searched == [["w0"], ["w5"]]


def test_a_client_that_closes_its_half(serve: Any, gate: Any, tiny: dict[str, Any]) -> None:
    """To the server it is one that went: what it asked for is not decoded, its connection ends, others go on."""
    with serve({"gate": gate}) as own, own.client() as client:
        gate.searched.clear()
        first = threading.Thread(target=client.post, args=("/translate", {"sentences": ["w0"]}))
        first.start()
        assert gate.entered.wait(20)
        body = json.dumps({"sentences": ["w1"]}).encode()
        with connected(own.port, head(len(body)) + body) as connection:
            until(lambda: waiting(own) > 0)
            connection.shutdown(socket.SHUT_WR)
            assert everything(connection) == b""
        until(lambda: gone(own) == 1)
        gate.open.set()
        first.join()
        with own.client() as last:
            answer = last.post("/translate", {"sentences": ["w5"]}).json
            assert answer["translations"] == tiny["attending"].translate(["w5"])
    assert gate.searched == [["w0"], ["w5"]]


def waiting(own: Any) -> int:
    with own.client() as client:
        text = client.get("/metrics").body.decode()
    return int(text.rpartition("seq2seq_queue_sentences ")[2])


def gone(own: Any) -> int:
    """Requests whose clients went before they were answered."""
    with own.client() as client:
        text = client.get("/metrics").body.decode()
    lines = [line for line in text.splitlines() if 'path="/translate",code="499"' in line]
    return int(lines[0].split()[-1]) if lines else 0


# --- the end ----------------------------------------------------------------------------------------------------------
def test_a_stop_answers_what_waits_and_takes_nothing_new(serve: Any, gate: Any, tiny: dict[str, Any]) -> None:
    with serve({"gate": gate}) as own:
        replies: dict[int, Any] = {}

        def ask(number: int) -> None:
            with own.client() as client:
                replies[number] = client.post("/translate", {"sentences": [f"w{number}"]})

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(5)]
        threads[0].start()
        assert gate.entered.wait(20)
        for thread in threads[1:]:
            thread.start()
        until(lambda: waiting(own) == 4)
        own.server.handle_exit(signal.SIGTERM, None)
        until(lambda: refused(own.port))
        assert replies == {}
        gate.open.set()
        for thread in threads:
            thread.join()
    expected = tiny["attending"].translate([f"w{number}" for number in range(5)])
    assert [replies[number].json["translations"] for number in range(5)] == [[text] for text in expected]


def test_a_stop_waits_for_so_long(serve: Any, gate: Any, caplog: pytest.LogCaptureFixture) -> None:
    replies: dict[int, Any] = {}
    with serve({"gate": gate}, stop_timeout=0) as own:

        def ask(number: int) -> None:
            with own.client() as client:
                replies[number] = client.post("/translate", {"sentences": [f"w{number}"]})

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
        threads[0].start()
        assert gate.entered.wait(20)
        threads[1].start()
        until(lambda: waiting(own) == 1)
        own.server.handle_exit(signal.SIGTERM, None)
        for thread in threads:
            thread.join()
        gate.open.set()
    assert [(reply.status, reply.error) for reply in replies.values()] == [(503, "the server is stopping")] * 2
    assert gate.searched == [["w0"]]
    assert caplog.records[1:] == []  # one line that the time was up


def refused(port: int) -> bool:
    try:
        with connected(port):
            return False
    except ConnectionRefusedError:
        return True
