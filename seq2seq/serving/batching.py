"""Sentences of many requests, decoded together by one thread.

Contract: while a batch is decoded, requests wait; those of the same model and the same search are the next batch, the
oldest first, so that nobody waits for a batch to fill and none is passed over. The queue is bounded, and so is the time
in it. A request whose client has gone is not decoded. What is found does not depend on what is decoded beside it, and
an error is that of its own request alone.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from seq2seq.decoding.contract import Hypothesis
from seq2seq.decoding.translator import Translator
from seq2seq.run.messages import counted
from seq2seq.serving.answers import translations
from seq2seq.serving.limits import Limits, RefusalError
from seq2seq.serving.metrics import Metrics

Told = Callable[[int, Hypothesis], None]


@dataclass(eq=False)
class Job:
    """The sentences of one request.

    Args:
        model: the name of a translator.
        sentences: one or more.
        options: arguments of ``Translator.search``.
        replace_unk: as of ``Translator.translate``.
        told: where it is given, tokens are told as they come: ``Translator.stream``.

    Attributes:
        answer: what was found, as ``answers.translations`` tells it; or the error.
    """

    model: str
    sentences: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    replace_unk: bool = False
    told: Told | None = None
    answer: Future[dict[str, Any]] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)

    def goes_with(self, other: Job) -> bool:
        """Whether both can be decoded together."""
        mine, its = ((job.model, job.options, job.replace_unk, job.told is None) for job in (self, other))
        return mine == its


class Batcher:
    """A thread that decodes, and the queue in front of it.

    Args:
        translators: by name.
        limits: of the queue and of batches.
    """

    def __init__(self, translators: Mapping[str, Translator], limits: Limits) -> None:
        self._translators, self._limits = translators, limits
        self.metrics = Metrics(lambda: self._waiting)
        self._jobs: deque[Job] = deque()
        self._waiting = 0  # sentences of the jobs
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name="seq2seq-decode", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take no more jobs; return when those that wait are done."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def running(self) -> bool:
        """Whether jobs are taken."""
        return self._thread.is_alive() and not self._stopping

    def submit(self, job: Job) -> None:
        """Queue a job; RefusalError where there is no place for it."""
        with self._changed:
            if not self.running:
                raise RefusalError(503, "the server is stopping; expected requests before that")
            if self._waiting + len(job.sentences) > self._limits.queue_size:
                raise RefusalError(503, f"{counted(self._waiting, 'sentence', 'wait already')}; try again later")
            self._jobs.append(job)
            self._waiting += len(job.sentences)
            self._changed.notify()

    def _serve(self) -> None:
        while (jobs := self._next()) is not None:
            wanted = [job for job in jobs if self._begins(job)]
            if wanted:
                self.metrics.batches.observe(sum(len(job.sentences) for job in wanted))
                self._decode(wanted)

    def _next(self) -> list[Job] | None:
        """The jobs to decode together, as soon as there are any; None when no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._stopping)
            if not self._jobs:
                return None
            taken, left, room = [first := self._jobs.popleft()], deque[Job](), self._limits.batch_size
            room -= len(first.sentences)
            for job in self._jobs:
                if len(job.sentences) <= room and job.goes_with(first):
                    taken.append(job)
                    room -= len(job.sentences)
                else:
                    left.append(job)
            self._jobs = left
            self._waiting -= sum(len(job.sentences) for job in taken)
            return taken

    def _begins(self, job: Job) -> bool:
        """Whether a job is still wanted; one that has waited for too long is told so."""
        waited = time.monotonic() - job.arrived
        if not job.answer.set_running_or_notify_cancel():
            return False
        self.metrics.waits.observe(waited)
        if waited > self._limits.max_wait:
            job.answer.set_exception(RefusalError(503, f"waited for more than {self._limits.max_wait:g} s; try later"))
            return False
        return True

    def _decode(self, jobs: Sequence[Job]) -> None:
        """Give each job what is found for it. Where one of several has an error, each is decoded for itself."""
        try:
            found = iter(self._search(jobs))
            each = [list(islice(found, len(job.sentences))) for job in jobs]
            answers = [self._answer(job, own) for job, own in zip(jobs, each, strict=True)]
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].answer.set_exception(error)
            else:
                for job in jobs:
                    self._decode([job])
        else:
            for job, answer in zip(jobs, answers, strict=True):
                job.answer.set_result(answer)

    def _answer(self, job: Job, found: list[list[Hypothesis]]) -> dict[str, Any]:
        self.metrics.sentences.add(len(found), job.model)
        self.metrics.tokens.add(sum(len(best.ids) for best, *_ in found), job.model)
        return translations(job.model, self._translators[job.model], job.sentences, found, job.replace_unk)

    def _search(self, jobs: Sequence[Job]) -> list[list[Hypothesis]]:
        translator, options = self._translators[jobs[0].model], dict(jobs[0].options)
        options["alignment"] = options.get("alignment") or jobs[0].replace_unk
        sentences = [sentence for job in jobs for sentence in job.sentences]
        options["batch_size"] = self._limits.batch_size
        if jobs[0].told is None:
            return translator.search(sentences, **options)
        listeners = [(job.told, number) for job in jobs for number in range(len(job.sentences))]

        def tell(number: int, so_far: Hypothesis) -> None:
            told, own = listeners[number]
            assert told is not None  # of all jobs that go together
            told(own, so_far)

        return [[best] for best in translator.stream(sentences, tell, **options)]
