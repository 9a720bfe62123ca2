"""What a person sees of a training run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from typing import Any

from seq2seq.run.bars import bar
from seq2seq.run.streams import say

_SHOWN = 50  # updates, of which the loss is shown as their mean


class ProgressDisplay:
    """Shows the loss of the last updates, tokens per second and time left.

    Args:
        total_steps: steps of the whole run, or about so many.
        step: steps done before.
        interval: seconds between two plain lines.
    """

    def __init__(self, total_steps: int, step: int, interval: float = 10.0) -> None:
        self.total_steps, self.interval = total_steps, interval
        self._first_step, self._step = step, step
        self._start = self._shown = time.monotonic()
        self._tokens = 0
        self._last: deque[tuple[float, int]] = deque(maxlen=_SHOWN)  # losses, and the tokens that each is a mean over
        self._bar: Any = bar(total_steps, "step", step)

    def update(self, record: dict[str, Any]) -> None:
        """One step's record of metrics.jsonl."""
        self._step = record["step"]
        self._tokens += record["src_tokens"] + record["trg_tokens"]
        self._last.append((record["loss"], record["trg_tokens"]))
        if self._bar is not None:
            with suppress(OSError):  # a terminal that has gone
                self._bar.update(1)
                self._bar.set_postfix_str(f"loss {self._mean_loss():.3f}, {self._speed():,.0f} tok/s", refresh=False)
        elif time.monotonic() - self._shown >= self.interval:
            left = max(self.total_steps - self._step, 0) * self._elapsed() / (self._step - self._first_step)
            speed = f"{self._speed():,.0f} tokens/s"
            self.say(
                f"step {self._step}/{self.total_steps}  loss {self._mean_loss():.3f}  {speed}  {_duration(left)} left"
            )
            self._shown = time.monotonic()

    def _elapsed(self) -> float:
        return max(time.monotonic() - self._start, 1e-9)

    def _speed(self) -> float:
        return self._tokens / self._elapsed()

    def _mean_loss(self) -> float:
        return sum(loss * tokens for loss, tokens in self._last) / max(sum(tokens for _, tokens in self._last), 1)

    def say(self, line: str) -> None:
        """A line that stays, above the bar if there is one."""
        if self._bar is None:
            return say(line)
        try:
            with self._bar.external_write_mode():
                say(line)
        except OSError:  # the terminal of the bar has gone
            say(line)

    def close(self) -> None:
        if self._bar is not None:
            with suppress(OSError):
                self._bar.close()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
