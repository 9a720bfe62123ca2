"""Requests that wait are decoded together, in order, within bounds, and each for itself where one has an error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from seq2seq.run.errors import UserError
from seq2seq.serving.batching import Batcher, Job
from seq2seq.serving.limits import Limits, RefusalError
from tests.seq2seq.tiny_translators import SENTENCES


@pytest.fixture
def batcher(gate: Any, tiny: dict[str, Any]) -> Iterator[Batcher]:
    """One whose model "gate" waits; a job of it is under way."""
    found = Batcher({"gate": gate, "plain": tiny["plain"]}, Limits(batch_size=4, queue_size=12))
    found.start()
    found.submit(Job("gate", ["w1"]))
    assert gate.entered.wait(20)
    yield found
    gate.open.set()
    found.stop()


def submit(batcher: Batcher, *jobs: Job) -> list[Job]:
    for job in jobs:
        batcher.submit(job)
    return list(jobs)


def words(job: Job) -> list[str]:
    return job.answer.result(20)["translations"]


def test_what_waits_is_decoded_together(batcher: Batcher, gate: Any, tiny: dict[str, Any]) -> None:
    jobs = submit(
        batcher,
        Job("gate", SENTENCES[:2]),
        Job("plain", ["w3"]),
        Job("gate", ["w2"], {"beam_size": 3}),
        Job("gate", ["w4"]),
        Job("gate", SENTENCES[:3]),  # does not fit any more
        Job("gate", ["w5", "w6 w7"], {"beam_size": 3}),
        Job("gate", ["w8"]),
    )
    gate.open.set()
    for job in jobs:
        expected = tiny["plain" if job.model == "plain" else "attending"].translate(job.sentences, **job.options)
        assert words(job) == expected
    assert gate.searched == [
        ["w1"], [*SENTENCES[:2], "w4", "w8"], ["w2", "w5", "w6 w7"], SENTENCES[:3],
    ]  # fmt: skip
    text = batcher.metrics.text()
    assert 'seq2seq_sentences_total{model="gate"} 11\n' in text
    assert "seq2seq_batch_sentences_sum 12\n" in text
    assert "seq2seq_queue_sentences 0\n" in text


def test_more_than_a_batch_is_one_job(batcher: Batcher, gate: Any, tiny: dict[str, Any]) -> None:
    (job,) = submit(batcher, Job("gate", SENTENCES * 2))
    gate.open.set()
    assert words(job) == tiny["attending"].translate(SENTENCES * 2)


def test_a_full_queue_takes_no_more(batcher: Batcher, gate: Any) -> None:
    jobs = submit(batcher, Job("gate", ["w1"] * 8), Job("plain", ["w1"] * 4))
    with pytest.raises(RefusalError, match="12 sentences wait already") as caught:
        batcher.submit(Job("plain", ["w1"]))
    assert caught.value.status == 503
    gate.open.set()
    assert [len(words(job)) for job in jobs] == [8, 4]
    batcher.submit(job := Job("plain", ["w1"] * 12))
    assert len(words(job)) == 12


def test_who_has_gone_or_waited_for_too_long_is_not_decoded(batcher: Batcher, gate: Any) -> None:
    gone, late, kept = submit(batcher, Job("gate", ["w2"]), Job("gate", ["w3"]), Job("gate", ["w4"]))
    assert gone.answer.cancel()
    late.arrived = time.monotonic() - 31
    gate.open.set()
    assert len(words(kept)) == 1
    with pytest.raises(CancelledError):
        words(gone)
    with pytest.raises(RefusalError, match="waited for more than 30 s"):
        words(late)
    assert gate.searched == [["w1"], ["w4"]]


def test_an_error_is_that_of_its_own_request(batcher: Batcher, gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = gate._behind

    class Faulty:
        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        def search(self, sentences: list[str], **options: Any) -> Any:
            if "w3" in sentences:
                raise UserError("w3 is too much")
            return inner.search(sentences, **options)

    monkeypatch.setattr(gate, "_behind", Faulty())
    good, bad, other = submit(batcher, Job("gate", ["w2"]), Job("gate", ["w3"]), Job("gate", ["w4"]))
    gate.open.set()
    assert words(good) + words(other) == inner.translate(["w2", "w4"])
    with pytest.raises(UserError, match="w3 is too much"):
        words(bad)


def test_a_stop_finishes_what_is_queued(batcher: Batcher, gate: Any) -> None:
    jobs = submit(batcher, Job("gate", ["w2"]), Job("plain", ["w3"]))
    gate.open.set()
    batcher.stop()
    assert all(job.answer.done() for job in jobs)
    assert not batcher.running
    with pytest.raises(RefusalError, match="is stopping"):
        batcher.submit(Job("plain", ["w1"]))


def test_streams_are_decoded_together(batcher: Batcher, gate: Any, tiny: dict[str, Any]) -> None:
    told: list[tuple[int, int]] = []
    jobs = [
        Job("gate", SENTENCES[:2], told=lambda number, found: told.append((number, len(found.ids)))),
        Job("gate", ["w5"], told=lambda number, found: told.append((2 + number, len(found.ids)))),
    ]
    submit(batcher, *jobs)
    gate.open.set()
    assert [words(job) for job in jobs] == [tiny["attending"].translate(job.sentences) for job in jobs]
    lengths = [len(found["tokens"]) for job in jobs for (found,) in job.answer.result()["hypotheses"]]
    assert sorted(told) == [(number, length) for number in range(3) for length in range(1, lengths[number] + 1)]
    assert "seq2seq_batch_sentences_sum 4\n" in batcher.metrics.text()
