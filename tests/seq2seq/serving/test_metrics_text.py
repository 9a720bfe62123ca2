"""The metrics in Prometheus's text format, by value."""

from __future__ import annotations

from seq2seq.serving.metrics import Counter, Gauge, Histogram, Metrics


def lines(metric: object) -> list[str]:
    return list(metric.lines())[2:]  # type: ignore[attr-defined]


def test_a_counter_keeps_all_its_digits() -> None:
    counter = Counter("hits_total", "Hits.", ("path", "code"))
    assert lines(counter) == []
    counter.add(1, "/b", "200")
    counter.add(12345678, "/a", "200")
    counter.add(0.5, "/a", "200")
    assert list(counter.lines()) == [
        "# HELP hits_total Hits.", "# TYPE hits_total counter", 'hits_total{path="/a",code="200"} 12345678.5',
        'hits_total{path="/b",code="200"} 1',
    ]  # fmt: skip


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram("s", "Seconds.", (0.1, 1.0, 10.0))
    for value in (0.1, 0.25, 1.0, 50.0):
        histogram.observe(value)
    assert lines(histogram) == [
        's_bucket{le="0.1"} 1', 's_bucket{le="1"} 3', 's_bucket{le="10"} 3', 's_bucket{le="+Inf"} 4', "s_sum 51.35",
        "s_count 4",
    ]  # fmt: skip


def test_a_gauge_is_read_when_it_is_asked_for() -> None:
    waiting = [0]
    gauge = Gauge("q", "Waiting.", lambda: waiting[0])
    waiting[0] = 7
    assert lines(gauge) == ["q 7"]


def test_labels_are_escaped() -> None:
    counter = Counter("c", "C.", ("name",))
    counter.add(1, 'a"b\\c\nd')
    assert lines(counter) == ['c{name="a\\"b\\\\c\\nd"} 1']


def test_all_of_a_server_are_there_from_the_start() -> None:
    text = Metrics(lambda: 3).text()
    assert "seq2seq_queue_sentences 3\n" in text
    assert text.count("# TYPE") == 7
    assert "seq2seq_queue_seconds_count 0\n" in text
