"""The API by value: the engine's words for everybody, what is refused, and nothing of the file system."""

from __future__ import annotations

import json
import random
import re
import threading
from typing import Any

import pytest

from tests.seq2seq.tiny_translators import SENTENCES, WORDS, translator

LONG = "w1 " * 700


def test_words_are_the_engines_whoever_asks_beside(served: Any, tiny: dict[str, Any], rounds: int) -> None:
    """64 clients at once, each with requests of its own."""
    failed: list[Any] = []

    def ask(seed: int) -> None:
        rng = random.Random(seed)
        try:
            with served.client() as client:
                for _ in range(3 * rounds):
                    sentences = [" ".join(rng.choices(WORDS, k=rng.randint(1, 9))) for _ in range(rng.randint(1, 5))]
                    model, beam = rng.choice([*tiny]), rng.choice([1, 1, 3])
                    reply = client.post("/translate", {"sentences": sentences, "model": model, "beam_size": beam})
                    answers.append((model, beam, sentences, reply.json["translations"]))
        except Exception as error:
            failed.append(error)

    answers: list[tuple[str, int, list[str], list[str]]] = []
    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(answers) == 64 * 3 * rounds
    for model in tiny:
        for beam in (1, 3):
            own = [answer for answer in answers if answer[:2] == (model, beam)]
            given, found = ([text for answer in own for text in answer[side]] for side in (2, 3))
            assert tiny[model].translate(given, beam_size=beam) == found


def test_hypotheses_carry_what_is_asked_for(client: Any, tiny: dict[str, Any]) -> None:
    asked = {"model": "attending", "beam_size": 4, "n_best": 3, "length_penalty": 0.5, "alignment": True}
    reply = client.post("/translate", {"sentences": [SENTENCES[0], "", SENTENCES[2]], **asked}).json
    assert reply["source_tokens"] == [SENTENCES[0].split(), [], SENTENCES[2].split()]
    options = {name: value for name, value in asked.items() if name != "model"}
    expected = tiny["attending"].search([SENTENCES[0], "", SENTENCES[2]], **options)
    assert [len(found) for found in reply["hypotheses"]] == [3, 1, 3]
    for found, hypotheses in zip(reply["hypotheses"], expected, strict=True):
        for one, hypothesis in zip(found, hypotheses, strict=True):
            assert one["tokens"] == tiny["attending"].codec.trg_vocabulary.decode(hypothesis.ids)
            assert (one["score"], one["log_prob"]) == pytest.approx((hypothesis.score, hypothesis.log_prob), abs=1e-5)
            rows = [] if hypothesis.alignment is None else hypothesis.alignment.tolist()
            for row, weights in zip(one["alignment"] or [], rows, strict=True):
                assert row == pytest.approx(weights, abs=1e-3)
    assert reply["translations"] == [found[0]["text"] for found in reply["hypotheses"]]


def events(body: bytes) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in body.decode().split("\n\n")[:-1]]
    assert all(len(block) == 2 for block in blocks)
    return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in blocks]


@pytest.mark.parametrize("model", ["plain", "attending"])
def test_a_stream_grows_into_the_translation(client: Any, tiny: dict[str, Any], model: str) -> None:
    reply = client.post("/stream", {"sentences": SENTENCES, "model": model})
    assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    *tokens, (kind, done) = events(reply.body)
    assert kind == "done"
    assert {kind for kind, _ in tokens} == {"token"}
    assert done["translations"] == tiny[model].translate(SENTENCES)
    for number, (found,) in enumerate(done["hypotheses"]):
        own = [token for _, token in tokens if token["sentence"] == number]
        assert [token["token"] for token in own] == found["tokens"]
        assert [token["text"] for token in own] == [" ".join(found["tokens"][: n + 1]) for n in range(len(own))]


def test_a_stream_tells_its_errors(client: Any) -> None:
    reply = client.post("/stream", {"sentences": ["w1"], "alignment": True})  # the LSTM does not attend
    ((kind, error),) = events(reply.body)
    assert kind == "error"
    assert "does not attend to the source" in error["error"]


WRONG: dict[str, tuple[Any, int, str]] = {
    "no JSON": (b"{", 422, "body.1: JSON decode error"),
    "no UTF-8": (b'{"sentences": ["\xff"]}', 400, "parsing the body"),
    "deep": (b"[" * 100_000, 400, "parsing the body"),
    "no object": ([1], 422, "body: "),
    "no sentences": ({}, 422, "body.sentences: Field required"),
    "none": ({"sentences": []}, 422, "body.sentences: List should have at least 1 item"),
    "one text": ({"sentences": "w1"}, 422, "body.sentences: Input should be a valid list"),
    "a number": ({"sentences": [1]}, 422, "body.sentences.0: Input should be a valid string"),
    "too many": ({"sentences": ["w1"] * 9}, 422, "at most 8 items"),
    "too long": ({"sentences": ["w1", LONG]}, 422, "body.sentences.1: String should have at most 2000 characters"),
    "a surrogate": (b'{"sentences": ["\\ud800"]}', 422, "body.sentences.0: "),
    "another model": ({"sentences": ["w1"], "model": "../plain"}, 422, "body.model: Input should be 'plain' or"),
    "another key": ({"sentences": ["w1"], "path": "x"}, 422, "body.path: Extra inputs"),
    "a wide beam": ({"sentences": ["w1"], "beam_size": 11}, 422, "body.beam_size: Input should be less than or equal"),
    "a text beam": ({"sentences": ["w1"], "beam_size": "3"}, 422, "body.beam_size: Input should be a valid integer"),
    "a true beam": ({"sentences": ["w1"], "beam_size": True}, 422, "body.beam_size: "),
    "NaN": (b'{"sentences": ["w1"], "length_penalty": NaN}', 422, "body.length_penalty: "),
    "a long number": (b'{"sentences": ["w1"], "beam_size": ' + b"9" * 5000 + b"}", 400, "parsing the body"),
    "more than the beam": ({"sentences": ["w1"], "n_best": 3, "beam_size": 2}, 422, "n_best is 3; expected"),
    "longer than trained": ({"sentences": ["w1"], "max_output_length": 10}, 422, "max_output_length is 10; expected"),
    "no attention": ({"sentences": ["w1"], "replace_unk": True}, 422, "does not attend"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(client: Any, case: str) -> None:
    content, status, message = WRONG[case]
    reply = client.post("/translate", content)
    assert (reply.status, message in reply.error) == (status, True), reply


def test_only_json_is_read(client: Any) -> None:
    """A page of the web may send forms and plain text to this address, but JSON only where it is allowed to."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert client.post("/translate", {"sentences": ["w1"]}, {"content-type": kind}).status in (400, 422)
    assert "access-control-allow-origin" not in client.send("OPTIONS", "/translate", None, {}).headers


PATHS = [
    "/../pyproject.toml", "/page.js/../app.py", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "//etc/passwd",
    "/page/page.js", "/app.py", "/page.js%00.css", "/static/../../../etc/passwd", "/file:///etc/passwd", "/docs",
    "/redoc", "/models/plain", "/translate/../health", "/?file=/etc/passwd&path=../../etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_reaches_the_file_system(client: Any, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*arguments: Any, **options: Any) -> Any:
        raise AssertionError(f"opened {arguments}")

    monkeypatch.setattr("builtins.open", forbidden)
    monkeypatch.setattr("os.open", forbidden)
    reply = client.get(path)
    if path.startswith("/?"):
        assert (reply.status, b"<title>Translate</title>" in reply.body) == (200, True)
    else:
        assert (reply.status, reply.error) == (404, "Not Found")


def test_every_answer_carries_its_policy(client: Any) -> None:
    replies = [client.get(path) for path in ("/", "/page.js", "/page.css", "/icon.svg", "/models", "/nowhere")]
    replies += [client.post("/translate", b"{"), client.send("DELETE", "/translate", None, {})]
    assert [reply.status for reply in replies] == [200, 200, 200, 200, 200, 404, 422, 405]
    for reply in replies:
        policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert not {"server", "access-control-allow-origin"} & {*reply.headers}


def test_openapi_tells_the_limits(client: Any) -> None:
    described = client.get("/openapi.json").json
    assert {*described["paths"]} == {"/translate", "/stream", "/models", "/health", "/metrics"}
    asked = described["components"]["schemas"]["TranslateRequest"]["properties"]
    assert asked["sentences"]["maxItems"] == 8
    assert asked["sentences"]["items"]["maxLength"] == 2000
    assert asked["model"]["enum"] == ["plain", "attending"]
    assert asked["beam_size"]["maximum"] == 10
    answers = described["paths"]["/translate"]["post"]["responses"]
    assert {*answers} == {"200", "400", "408", "413", "422", "429", "503"}
    assert answers["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/Refusal")


def test_models_are_told_without_their_paths(client: Any) -> None:
    told = client.get("/models").json
    assert [(one["name"], one["attends"]) for one in told["models"]] == [("plain", False), ("attending", True)]
    assert (told["max_characters"], told["max_sentences"], told["max_beam_size"]) == (2000, 8, 10)
    assert not {"path", "run_dir", "data"} & {*told["models"][0]}


SAMPLE = re.compile(r'[a-z0-9_]+(\{[a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*\})? (\d+(\.\d+)?(e-?\d+)?)')


def test_health_and_metrics(serve: Any, tiny: dict[str, Any]) -> None:
    with serve(tiny) as own, own.client() as client:
        assert client.get("/health").json == {"status": "ok"}
        for _ in range(3):
            client.post("/translate", {"sentences": ["w1", "w2 w3"]})
        client.get("/a-path-of-a-client")
        client.post("/translate", {"sentences": []})
        reply = client.get("/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = reply.body.decode().splitlines()
    assert all(line.startswith(("# HELP ", "# TYPE ")) or SAMPLE.fullmatch(line) for line in lines)
    for line in (
        'seq2seq_requests_total{path="/translate",code="200"} 3', 'seq2seq_requests_total{path="other",code="404"} 1',
        'seq2seq_requests_total{path="/translate",code="422"} 1', 'seq2seq_request_seconds_count{path="/translate"} 4',
        'seq2seq_sentences_total{model="plain"} 6', "seq2seq_batch_sentences_sum 6", "seq2seq_queue_seconds_count 3",
    ):  # fmt: skip
        assert line in lines
    assert "a-path-of-a-client" not in reply.body.decode()


def test_an_error_of_the_server_is_in_its_log_alone(
    serve: Any, tiny: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(tiny["plain"], name)

        def search(self, *arguments: Any, **options: Any) -> Any:
            raise RuntimeError("the secrets of the house")

    with serve({"broken": Broken()}) as own, own.client() as client:
        reply = client.post("/translate", {"sentences": ["w1"]})
        assert (reply.status, reply.error) == (500, "an error of the server; its log says more")
        assert client.get("/health").status == 200
    assert "the secrets of the house" in caplog.text


def test_models_that_read_no_text_are_refused(serve: Any) -> None:
    from seq2seq.run.errors import UserError

    frames = translator("vector", "lstm", "vectors", num_layers=1, hidden_size=12)
    with pytest.raises(UserError, match="model rows: reads vectors; expected a run that reads text"):
        serve({"rows": frames}).__enter__()
