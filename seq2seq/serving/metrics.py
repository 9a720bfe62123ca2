"""What a server counts, in the text format of Prometheus (version 0.0.4): counters, gauges and histograms.

Several threads count at the same time. The labels of a metric take few values, all of them the server's own: a client
can make no new ones.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SENTENCES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

Labels = tuple[str, ...]


class Metric:
    """A name with a value for each combination of labels.

    Args:
        name: with the unit in it, as Prometheus has it.
        meaning: a line.
        labels: their names.
    """

    kind = ""

    def __init__(self, name: str, meaning: str, labels: Sequence[str] = ()) -> None:
        self.name, self.meaning, self.labels = name, meaning, tuple(labels)
        self._lock = threading.Lock()

    def lines(self) -> Iterator[str]:
        """As Prometheus reads it."""
        yield f"# HELP {self.name} {self.meaning}"
        yield f"# TYPE {self.name} {self.kind}"
        with self._lock:
            yield from list(self._samples())

    def _samples(self) -> Iterator[str]:
        raise NotImplementedError

    def _sample(self, suffix: str, values: Labels, value: float, more: str = "") -> str:
        pairs = [f'{name}="{_escaped(text)}"' for name, text in zip(self.labels, values, strict=True)]
        inside = ",".join([*pairs, *([more] if more else [])])
        return f"{self.name}{suffix}{f'{{{inside}}}' if inside else ''} {_number(value)}"


class Counter(Metric):
    """What only grows."""

    kind = "counter"

    def __init__(self, name: str, meaning: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, meaning, labels)
        self._values: dict[Labels, float] = {} if labels else {(): 0.0}

    def add(self, amount: float, *values: str) -> None:
        """Count ``amount`` more, for these labels."""
        with self._lock:
            self._values[values] = self._values.get(values, 0.0) + amount

    def _samples(self) -> Iterator[str]:
        return (self._sample("", values, value) for values, value in sorted(self._values.items()))


class Gauge(Metric):
    """What goes up and down: read from ``value`` when it is asked for."""

    kind = "gauge"

    def __init__(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        super().__init__(name, meaning)
        self._value = value

    def _samples(self) -> Iterator[str]:
        yield self._sample("", (), self._value())


class Histogram(Metric):
    """How many observations are at most each of ``bounds``, their number and their sum."""

    kind = "histogram"

    def __init__(self, name: str, meaning: str, bounds: Sequence[float], labels: Sequence[str] = ()) -> None:
        super().__init__(name, meaning, labels)
        self._bounds = tuple(bounds)
        self._found: dict[Labels, list[float]] = {}  # a count for each bound and one above all, then the sum
        if not labels:
            self._found[()] = self._nothing()

    def observe(self, value: float, *values: str) -> None:
        """Count one observation, for these labels."""
        with self._lock:
            found = self._found.setdefault(values, self._nothing())
            found[bisect_left(self._bounds, value)] += 1
            found[-1] += value

    def _nothing(self) -> list[float]:
        return [0.0] * (len(self._bounds) + 2)

    def _samples(self) -> Iterator[str]:
        for values, (*counts, total) in sorted(self._found.items()):
            up_to = 0.0
            for bound, count in zip((*map("{:g}".format, self._bounds), "+Inf"), counts, strict=True):
                up_to += count
                yield self._sample("_bucket", values, up_to, f'le="{bound}"')
            yield self._sample("_sum", values, total)
            yield self._sample("_count", values, up_to)


class Metrics:
    """Those of a server.

    Args:
        waiting: how many sentences wait now.
    """

    def __init__(self, waiting: Callable[[], float]) -> None:
        self.requests = Counter("seq2seq_requests_total", "Requests answered.", ("path", "code"))
        self.seconds = Histogram("seq2seq_request_seconds", "Time to a request's whole answer.", SECONDS, ("path",))
        self.sentences = Counter("seq2seq_sentences_total", "Sentences translated.", ("model",))
        self.tokens = Counter("seq2seq_tokens_total", "Target tokens of their best translations.", ("model",))
        self.batches = Histogram("seq2seq_batch_sentences", "Sentences decoded together.", SENTENCES)
        self.waits = Histogram("seq2seq_queue_seconds", "Time that a request waited to be decoded.", SECONDS)
        self.waiting = Gauge("seq2seq_queue_sentences", "Sentences that wait.", waiting)

    def text(self) -> str:
        """All of them."""
        metrics: Iterable[Metric] = vars(self).values()
        return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


def _number(value: float) -> str:
    """All its digits: a counter of a million still grows by one."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
