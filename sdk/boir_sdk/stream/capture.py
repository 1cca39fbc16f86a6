"""One source in a thread of its own: read, notice silence, reconnect, and say so."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from boir_sdk.stream.failure import SourceError
from boir_sdk.stream.health import Backoff, Limits
from boir_sdk.stream.inbox import Inbox
from boir_sdk.stream.redact import redact
from boir_sdk.stream.result import StreamEvent
from boir_sdk.stream.source import Frame, Source

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())  # events say it all to who asks for no log


class Capture:
    """Brings frames and events of a source into its inbox until the source ends or `stop` is called."""

    def __init__(self, source: Source, inbox: Inbox, limits: Limits, wake: Callable[[], None]) -> None:
        """Start reading.

        Args:
            source: opened, read and closed by the new thread.
            inbox: where frames and events go.
            limits: how long a live source may be silent, and how long to wait between attempts.
            wake: called after each item put, from the new thread.
        """
        self.name = source.name
        self._source, self._inbox, self._limits, self._wake = source, inbox, limits, wake
        self._backoff = Backoff(limits)
        self._stop = threading.Event()
        self._silent = threading.Lock()  # guards the two below
        self._in_gap = False
        self._heard_s: float | None = time.monotonic()  # None while the frame in hand waits for room
        self.finished = False
        self._thread = threading.Thread(target=self._run, name=f"boir-capture-{source.name}", daemon=True)
        self._thread.start()

    def watch(self) -> None:
        """Report a live source that has been silent for too long; called every now and then by whoever waits."""
        with self._silent:
            if self._in_gap or self._heard_s is None or self.finished or not self._source.live:
                return
            silence = time.monotonic() - self._heard_s
            if silence <= self._limits.stall_s:
                return
            self._in_gap = True
        text = f"{self.name}: no frame for {silence:.1f} s; waiting and reconnecting"
        log.warning("%s", text)
        self._put_event("gap", "stalled", text, wait=False)

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop.set()
        self._inbox.close()
        self._source.cancel()

    def join(self, seconds: float) -> bool:
        """Wait for the thread to end; False when it is still there, which only a foreign iterable can cause."""
        self._thread.join(seconds / 2)
        if self._thread.is_alive():
            self._source.cancel()
            self._thread.join(seconds / 2)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if not self._connection():
                    break
        except BaseException as error:  # noqa: BLE001 - a source of the user's own; the stream must end and say why
            log.warning("%s failed: %s", self._source.name, redact(f"{type(error).__name__}: {error}"))
            self._put_event("failed", "source", redact(f"{self._source.name}: {type(error).__name__}: {error}"))
        finally:
            self._close()
            self.finished = True
            self._wake()

    def _connection(self) -> bool:
        """Open, read to the end or a failure, close; True when another attempt should follow."""
        try:
            self._source.open()
            while not self._stop.is_set():
                try:
                    frame = self._source.read()
                except SourceError as error:
                    if error.then != "skip":
                        raise
                    self._put_event("skipped", error.code, str(error))
                    continue
                if frame is None:
                    if not self._stop.is_set():
                        self._put_event("ended", "ended", f"{self._source.name} has come to its end")
                    return False
                if not self._pass_on(frame):
                    return False
        except SourceError as error:
            self._close()
            return self._failed(error)
        return False

    def _pass_on(self, frame: Frame) -> bool:
        self._backoff.reset()
        with self._silent:
            self._in_gap, self._heard_s = False, None
        open_still = self._inbox.put_frame(frame)
        with self._silent:
            self._heard_s = time.monotonic()
        self._wake()
        return open_still

    def _failed(self, error: SourceError) -> bool:
        """Report a failure and wait; True when another attempt should follow."""
        if self._stop.is_set():
            return False
        if error.then == "end":
            log.warning("%s", error)
            self._put_event("failed", error.code, str(error))
            return False
        wait = self._backoff.next_wait(error.code)
        with self._silent:
            kind = "reconnecting" if self._in_gap else "gap"
            self._in_gap = True
        log.log(logging.WARNING if kind == "gap" else logging.INFO, "%s; next attempt in %.1f s", error, wait)
        self._put_event(kind, error.code, f"{error}; next attempt in {wait:.1f} s")
        return not self._stop.wait(wait)

    def _put_event(self, kind: str, code: str, message: str, *, wait: bool = True) -> None:
        self._inbox.put_event(StreamEvent(kind, code, message), wait=wait)
        self._wake()

    def _close(self) -> None:
        try:
            self._source.close()
        except Exception as error:  # noqa: BLE001 - nothing that closing may raise should end a stream
            log.debug("%s: closing failed: %s", self._source.name, redact(str(error)))
