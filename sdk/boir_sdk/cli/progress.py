"""A progress line on stderr: rewritten in place on a terminal, a new line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

TERMINAL_PERIOD_S = 0.1
LOG_PERIOD_S = 10.0


class Progress:
    """Count pictures and say how far a run is.

    Nothing is shown for a single picture, or when switched off; a log (stderr is no terminal) gets its first line
    after `LOG_PERIOD_S`, so that short runs stay silent there.
    """

    def __init__(self, total: int, *, enabled: bool = True, stream: TextIO | None = None) -> None:
        self._total = total
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._enabled = enabled and total > 1
        self._start_s = time.monotonic()
        self._shown_s = -float("inf") if self._terminal else self._start_s
        self._line_open = False

    def show(self, done: int) -> None:
        """Tell that `done` pictures are finished; most calls print nothing."""
        now_s = time.monotonic()
        period_s = TERMINAL_PERIOD_S if self._terminal else LOG_PERIOD_S
        if not self._enabled or now_s - self._shown_s < period_s:
            return
        self._shown_s = now_s
        text = progress_text(done, self._total, now_s - self._start_s)
        if self._terminal:
            self._stream.write(f"\r\x1b[K{text}")
            self._line_open = True
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Take the line off the terminal, so that other output can be printed."""
        if self._line_open:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._line_open = False
            self._shown_s = -float("inf")


def progress_text(done: int, total: int, elapsed_s: float) -> str:
    """Word the state of a run: count, share, rate and the time left."""
    text = f"{done}/{total} pictures ({100 * done // total} %)"
    if done == 0 or elapsed_s <= 0:
        return text
    rate = done / elapsed_s
    left_s = round((total - done) / rate)
    minutes, seconds = divmod(left_s, 60)
    hours, minutes = divmod(minutes, 60)
    left = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    return f"{text}, {rate:.1f} pictures/s, {left} left"
