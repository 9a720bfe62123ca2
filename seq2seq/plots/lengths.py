"""How BLEU depends on the length of the source, as in figure 2 of Bahdanau et al. (2015) and figure 3 of Sutskever et
al. (2014): sentences of like length together."""

from __future__ import annotations

from typing import Any

from seq2seq.analysis.lengths import Scored, buckets, by_length, names_of
from seq2seq.plots.drawing import colour, new_figure


def lengths_figure(runs: dict[str, Scored]) -> Any:
    """A figure with a line for each run, over ranges that are those of the first one, and how many sentences are in
    each."""
    ranges = buckets(next(iter(runs.values())).lengths)
    figure, (axis,) = new_figure(1, 1, 7.0, 4.2)
    counts = axis.twinx()
    for number, (name, found) in enumerate(runs.items()):
        scores = by_length(found, ranges)
        axis.plot(range(len(ranges)), [bleu for _, bleu in scores], color=colour(number), marker="o", label=name)
        if number == 0:
            counts.bar(range(len(ranges)), [count for count, _ in scores], color="#cccccc", alpha=0.5, zorder=0)
    axis.set_xticks(range(len(ranges)), names_of(ranges))
    axis.set_xlabel("tokens of the source")
    axis.set_ylabel("BLEU, %")
    counts.set_ylabel("sentences")
    axis.set_zorder(counts.get_zorder() + 1)
    axis.patch.set_visible(False)
    axis.legend()
    axis.grid(alpha=0.3)
    return figure
