"""The routes: a page, a JSON API, health and metrics. No route reads a file that a request names, nor any file at all:
the page is read once, as the application is made."""

# No postponed annotations: FastAPI reads those of the handlers, and some of their types are made for each application.
import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from seq2seq.decoding import settings
from seq2seq.decoding.contract import Hypothesis
from seq2seq.decoding.translator import Translator
from seq2seq.run.errors import UserError
from seq2seq.serving import metrics, schema
from seq2seq.serving.batching import Batcher, Job
from seq2seq.serving.guard import Guard, error_line
from seq2seq.serving.limits import Limits, RefusalError

# Route -> the file of the package, and what it is.
PAGE = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
API = ("/translate", "/stream", "/models", "/health", "/metrics", "/openapi.json")
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": schema.Refusal, "description": meaning}
    for status, meaning in {
        400: "No JSON, or another host.",
        408: "The body took too long.",
        413: "The body is too large.",
        422: "Something in the body is not as expected.",
        429: "Too many requests.",
        503: "The queue is full, the wait was too long, or the server is stopping.",
    }.items()
}
STREAM = {
    "content": {"text/event-stream": {}},
    "description": "Events: `token` with a sentence's number, a token and the text so far, each time a token is found; "
    "then `done` with what /translate answers, or `error`. Translations are greedy.",
}


def create_app(translators: Mapping[str, Translator], limits: Limits, hosts: Collection[str] = ()) -> Guard:
    """An ASGI application that translates.

    Args:
        translators: by the names that requests call them by; the first is the default.
        limits: of what one client, and all together, may ask for.
        hosts: names that the server may be called by; none allows all.

    Raises:
        UserError: a source that is not text.
    """
    for name, translator in translators.items():
        _require_text(name, translator)
    batcher = Batcher(translators, limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await asyncio.to_thread(batcher.stop)

    app = FastAPI(
        title="seq2seq", description="Translations by trained models.", lifespan=lifespan, docs_url=None, redoc_url=None
    )
    for kind in _HANDLED:
        app.add_exception_handler(kind, _answer_error)
    _add_page(app)
    _add_watching(app, batcher)
    _add_translating(app, translators, limits, batcher)
    return Guard(app, limits, batcher.metrics, [*PAGE, *API], hosts)


def _require_text(name: str, translator: Translator) -> None:
    if translator.settings.source != "text":
        raise UserError(f"model {name}: reads {translator.settings.source}; expected a run that reads text")


def _add_page(app: FastAPI) -> None:
    folder = resources.files("seq2seq.serving") / "page"
    for route, (name, kind) in PAGE.items():
        app.add_api_route(route, _constant((folder / name).read_bytes(), kind), include_in_schema=False)


def _constant(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return Response(content, media_type=kind)

    return answer


def _add_watching(app: FastAPI, batcher: Batcher) -> None:
    @app.get("/health", response_model=schema.Health, responses={503: {"model": schema.Health}})
    async def health() -> Response:
        status = "ok" if batcher.running else "stopping"
        return _json({"status": status}, 200 if batcher.running else 503)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {metrics.CONTENT_TYPE: {}}}})
    async def counted() -> Response:
        return Response(batcher.metrics.text(), headers={"content-type": metrics.CONTENT_TYPE})


def _add_translating(app: FastAPI, translators: Mapping[str, Translator], limits: Limits, batcher: Batcher) -> None:
    streamed, searched = schema.requests(list(translators), limits)
    known = {
        "models": [schema.facts(*item).model_dump() for item in translators.items()],
        **{name: getattr(limits, name) for name in ("max_characters", "max_sentences", "max_beam_size")},
    }

    @app.get("/models", response_model=schema.Models)
    async def models() -> Response:
        return _json(known)

    @app.post("/translate", response_model=schema.Translations, responses=REFUSALS)
    async def translate(asked: searched, request: Request) -> Response:  # type: ignore[valid-type]
        job = _job(asked, translators)
        batcher.submit(job)
        return _json(await _unless_gone(job, request))

    @app.post("/stream", response_class=StreamingResponse, responses={**REFUSALS, 200: STREAM})
    async def stream(asked: streamed) -> Response:  # type: ignore[valid-type]
        job = _job(asked, translators)
        events = _events(job, _tokens_of(job, translators[job.model]))
        batcher.submit(job)
        return StreamingResponse(events, media_type="text/event-stream")


def _job(asked: Any, translators: Mapping[str, Translator]) -> Job:
    """What a request asks for, checked."""
    options = asked.model_dump()
    sentences, model, replace_unk = options.pop("sentences"), options.pop("model"), options.pop("replace_unk")
    most, own = options["max_output_length"], translators[model].codec.max_output_length
    if most is not None and most > own:
        raise UserError(f"max_output_length is {most}; expected at most {own}, as model {model} was trained")
    settings.decoding(**options)
    return Job(model, sentences, options, replace_unk)


async def _unless_gone(job: Job, request: Request) -> dict[str, Any]:
    """A job's answer; where the client goes before that, it is not waited for, nor decoded if that has not begun."""
    answer = asyncio.wrap_future(job.answer)
    gone: asyncio.Future[Any] = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise RefusalError(499, "the client has gone")
        return answer.result()
    finally:
        gone.cancel()
        job.answer.cancel()


def _tokens_of(job: Job, translator: Translator) -> asyncio.Queue[dict[str, Any] | None]:
    """Where the tokens of a job will come, as the thread that decodes tells them."""
    loop, tokens = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any] | None]()

    def told(number: int, found: Hypothesis) -> None:
        source = job.sentences[number] if job.replace_unk else None
        token = translator.codec.trg_vocabulary.decode(found.ids[-1:])[0]
        event = {"sentence": number, "token": token, "text": translator.text_of(found, source)}
        with suppress(RuntimeError):  # the server was stopped by force, and nobody waits any more
            loop.call_soon_threadsafe(tokens.put_nowait, event)

    job.told = told
    return tokens


async def _events(job: Job, tokens: asyncio.Queue[dict[str, Any] | None]) -> AsyncIterator[bytes]:
    """The server-sent events of a job. Where the client goes, it is not decoded if that has not begun."""
    answer = asyncio.wrap_future(job.answer)
    answer.add_done_callback(lambda _: tokens.put_nowait(None))
    try:
        while (token := await tokens.get()) is not None:
            yield _event("token", token)
        error = answer.exception()
        yield _event("done", answer.result()) if error is None else _event("error", {"error": _reason(error)[1]})
    finally:
        job.answer.cancel()


def _event(kind: str, content: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + _compact(content) + b"\n\n"


# --- errors -----------------------------------------------------------------------------------------------------------
def _reason(error: BaseException) -> tuple[int, str]:
    """Status and line of an error."""
    if isinstance(error, RefusalError):
        return error.status, error.reason
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return 422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    if isinstance(error, UserError):
        return 422, str(error)
    if isinstance(error, MemoryError):
        return 503, "out of memory; try fewer or shorter sentences, or a smaller beam"
    return 500, "an error of the server; its log says more"


async def _answer_error(request: Request, error: Exception) -> Response:
    status, reason = _reason(error)
    headers = dict(getattr(error, "headers", None) or {})
    if status == 503:
        headers["retry-after"] = "1"
    return Response(error_line(reason), status, headers, "application/json")


_HANDLED = RefusalError, HTTPException, RequestValidationError, UserError, MemoryError, Exception


def _json(content: Any, status: int = 200) -> Response:
    return Response(_compact(content), status, media_type="application/json")


def _compact(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
