"""Latency of the server at 1, 8 and 64 clients, beside one that decodes a request after the other.

    python benchmarks/serving.py [MODEL] [--clients 1,8,64] [--requests 1000] [--json FILE]
    python benchmarks/serving.py --hidden-size 512 --words 8000 --requests 200 --json FILE

Each client sends its requests one after the other over one connection, a sentence each, drawn from those of ``--input``
or made of the model's own words. Both servers are processes of their own and answer the same requests, in turns; before
a time is believed, all words are those of the engine. Without a model a small one is made, which was never trained.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from figures import write

from seq2seq.decoding.translator import Translator

SERVERS = {"batched": ["-m", "seq2seq.serve"], "naive": [__file__, "--naive"]}


class Patient(ThreadingHTTPServer):
    """One that lets all clients connect at once, as uvicorn does."""

    request_queue_size = 2048
    daemon_threads = True


def naive(path: str) -> None:
    """Serve as a first attempt would: a thread for each connection, and a lock around the model."""
    translator, lock = Translator.load(path), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body leave together

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                found = translator.translate(asked["sentences"], beam_size=asked["beam_size"])
            body = json.dumps({"translations": found}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Nothing is said."""

    translator.translate(["a"])
    with Patient(("127.0.0.1", 0), Handler) as server:
        print(f"serving at http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


@contextmanager
def started(kind: str, model: Path) -> Iterator[int]:
    """A server in a process of its own; its port."""
    more = ["--port", "0", "--queue-size", "100000"] if kind == "batched" else []
    command = [sys.executable, *SERVERS[kind], str(model), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        try:
            line = process.stdout.readline()
            if not line:
                sys.exit(f"the {kind} server did not start")
            yield int(line.rpartition(":")[2])
        finally:
            process.terminate()


class Client(threading.Thread):
    """Requests one after the other, and what became of them: seconds, words, errors."""

    def __init__(self, port: int, sentences: Sequence[str], beam_size: int) -> None:
        super().__init__()
        self._port, self._sentences, self._beam_size = port, sentences, beam_size
        self.took: list[float] = []
        self.found: dict[str, str] = {}
        self.failed: list[str] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        try:
            for sentence in self._sentences:
                self._ask(connection, sentence)
        except OSError as error:
            self.failed.append(str(error))
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, sentence: str) -> None:
        body = json.dumps({"sentences": [sentence], "beam_size": self._beam_size})
        start = time.perf_counter()
        connection.request("POST", "/translate", body, {"content-type": "application/json"})
        reply = connection.getresponse()
        content = reply.read()
        self.took.append(time.perf_counter() - start)
        if reply.status == 200:
            self.found[sentence] = json.loads(content)["translations"][0]
        else:
            self.failed.append(f"{reply.status}: {content[:200]!r}")


def load(port: int, count: int, requests: int, beam_size: int, expected: dict[str, str]) -> dict[str, float]:
    """Figures of so many clients at once; ends the program where one was not answered as expected."""
    rng = random.Random(count)
    clients = [Client(port, rng.choices(list(expected), k=requests), beam_size) for _ in range(count)]
    start = time.perf_counter()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    seconds = time.perf_counter() - start
    took = [one for client in clients for one in client.took]
    if failed := [line for client in clients for line in client.failed]:
        sys.exit(f"{len(failed)} of {count * requests} requests failed, the first by {failed[0]}")
    for text, words in [pair for client in clients for pair in client.found.items()]:
        if words != expected[text]:
            sys.exit(f"other words than the engine's for {text!r}: {words!r}")
    p50, p95, p99 = np.percentile(took, [50, 95, 99]).tolist()
    return {"p50_ms": p50 * 1e3, "p95_ms": p95 * 1e3, "p99_ms": p99 * 1e3, "requests_per_second": len(took) / seconds}


def measure(model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Figures by server and number of clients."""
    translator, beam = Translator.load(model), options.beam_size
    texts = sentences_for(translator, options.input)
    expected = dict(zip(texts, translator.translate(texts, beam_size=beam), strict=True))
    rows: dict[str, Any] = {kind: {} for kind in SERVERS}
    with started("batched", model) as batched, started("naive", model) as plain:
        ports = {"batched": batched, "naive": plain}
        for port in ports.values():  # what is compiled and prepacked is so before the clock runs
            load(port, 2, min(20, options.requests), beam, expected)
        for count in options.clients:
            for kind, port in ports.items():
                row = rows[kind][count] = load(port, count, options.requests, beam, expected)
                told = ", ".join(f"{name} {value:.4g}" for name, value in row.items())
                print(f"{kind:8} {count:3} clients: {told}", flush=True)
    size = {"hidden_size": translator.settings.options["hidden_size"], "words": len(translator.codec.trg_vocabulary)}
    return {"requests_of_each_client": options.requests, "beam_size": beam, **size, "servers": rows}


def sentences_for(translator: Translator, path: Path | None) -> list[str]:
    """Different sentences to draw from."""
    if path is not None:
        return list(dict.fromkeys(filter(str.strip, path.read_text(encoding="utf-8").splitlines())))
    rng, words = random.Random(0), translator.codec.source.vocabulary.tokens[4:]
    return list(dict.fromkeys(" ".join(rng.choices(words, k=rng.randint(3, 15))) for _ in range(200)))


def made(folder: Path, size: int, count: int) -> Path:
    """A model of one layer of so many units and words that was never trained, in a file."""
    from seq2seq.models.model import build_model
    from seq2seq.run.config import Config
    from seq2seq.shipping import model_file
    from seq2seq.text.codec import TextCodec
    from seq2seq.text.side import TextSide
    from seq2seq.text.tokenizers import SpaceTokenizer
    from seq2seq.text.vocabulary import Vocabulary

    config = Config(init_range=0.8, embedding_size=size // 2, hidden_size=size, num_layers=1, dropout=0.0)
    side = TextSide(SpaceTokenizer(), Vocabulary([f"w{number}" for number in range(count)]))
    model = build_model(side.num_inputs, side.num_inputs, config)
    model_file.write(folder / "made.seq2seq", model, TextCodec(side, side, 15), config)
    return folder / "made.seq2seq"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="a run or a model file; without one a small one is made")
    parser.add_argument("--hidden-size", type=int, default=64, help="of the one that is made")
    parser.add_argument("--words", type=int, default=200, help="of both its sides")
    parser.add_argument("--clients", type=lambda text: [int(word) for word in text.split(",")], default=[1, 8, 64])
    parser.add_argument("--requests", type=int, default=1000, help="of each client")
    parser.add_argument("--beam-size", type=int, default=1)
    parser.add_argument("--input", type=Path, help="file of sentences")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--naive", metavar="MODEL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.naive:
        return naive(options.naive)
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or made(Path(folder), options.hidden_size, options.words)
        result = measure(model, options)
    if options.json:
        write(options.json, result)


if __name__ == "__main__":
    main()
