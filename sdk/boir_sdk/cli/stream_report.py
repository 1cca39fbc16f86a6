"""What `boir stream` says about a run: a line that is kept up to date, events as they come, a summary at the end."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TYPE_CHECKING, TextIO

from boir_sdk.cli.progress import LOG_PERIOD_S, TERMINAL_PERIOD_S

if TYPE_CHECKING:
    from boir_sdk.stream.result import StreamEvent, StreamResult

RATE_WINDOW_S = 5.0


class Report:
    """Counts results and tells about them on stderr.

    On a terminal the line is rewritten in place; a log gets one every `LOG_PERIOD_S`. Events and the summary are lines
    of their own.
    """

    def __init__(self, *, enabled: bool = True, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._enabled = enabled
        self._start_s = time.monotonic()
        self._first_s: float | None = None
        self._last_s = self._start_s
        self._told_s = -float("inf") if self._terminal else self._start_s
        self._line_open = False
        self._recent_s: deque[float] = deque()
        self._ids: set[tuple[str, int]] = set()
        self._tracked = False
        self.frames = self.dropped = self.gaps = self.failed = self.most_people = 0

    def add(self, result: StreamResult) -> None:
        """Count a result; tell about it if it is time or an event."""
        now_s = time.monotonic()
        self.dropped += result.dropped
        if result.frame is not None:
            self.frames += 1
            self._first_s = now_s if self._first_s is None else self._first_s
            self._last_s = now_s
            self._recent_s.append(now_s)
            while now_s - self._recent_s[0] > RATE_WINDOW_S:
                self._recent_s.popleft()
            self.most_people = max(self.most_people, len(result.poses))
            if result.poses.ids is not None:
                self._tracked = True
                self._ids.update((result.source, int(number)) for number in result.poses.ids)
        if result.event is not None:
            self.gaps += result.event.kind == "gap"
            self.failed += result.event.kind == "failed"
            told = _event_text(result.event, result.source)
            self._say(f"boir: {told}", always=result.event.kind == "failed")
        period_s = TERMINAL_PERIOD_S if self._terminal else LOG_PERIOD_S
        if self._enabled and result.frame is not None and now_s - self._told_s >= period_s:
            self._told_s = now_s
            self._show(self._line(result, now_s))

    def clear(self) -> None:
        """Take the line off the terminal, so that other output can be printed."""
        if self._line_open:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._line_open = False

    def summary(self, *, stopped: bool) -> None:
        """Print the summary line."""
        seconds = 0.0 if self._first_s is None else self._last_s - self._first_s
        rate = (self.frames - 1) / seconds if seconds > 0 else 0.0
        frames = f"{self.frames} {'frame' if self.frames == 1 else 'frames'}"
        people = (
            f"{len(self._ids)} people followed" if self._tracked else f"at most {self.most_people} people at a time"
        )
        parts = [f"{frames} in {time.monotonic() - self._start_s:.1f} s ({rate:.1f} frames/s)", people]
        parts.append(f"{self.dropped} dropped")
        parts.append(f"{self.gaps} {'gap' if self.gaps == 1 else 'gaps'}")
        parts += [f"{self.failed} failed"] if self.failed else []
        self._say(f"boir: {'stopped after ' if stopped else ''}{', '.join(parts)}", always=False)

    def _say(self, text: str, *, always: bool) -> None:
        if self._enabled or always:
            self.clear()
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def _show(self, text: str) -> None:
        if self._terminal:
            self._stream.write(f"\r\x1b[K{text}")
            self._line_open = True
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def _line(self, result: StreamResult, now_s: float) -> str:
        seconds = now_s - self._recent_s[0]
        rate = (len(self._recent_s) - 1) / seconds if seconds > 0 else 0.0
        return (
            f"{self.frames} frames, {rate:.1f} frames/s, {len(result.poses)} people, "
            f"{1000 * result.age_s:.0f} ms old, {self.dropped} dropped"
        )


def _event_text(event: StreamEvent, source: str) -> str:
    """Word an event; the source's name is put in front where the message doesn't have it."""
    where = "" if source in event.message else f"{source}: "
    cause = "" if event.code == event.kind else f" ({event.code})"
    return f"{where}{event.kind}{cause}: {event.message}"
