"""Ctrl-C and SIGTERM: the first asks to finish the picture at hand, the second ends at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""Exit code of a run that was stopped by a signal (128 + SIGINT, as shells say it)."""


@contextmanager
def graceful() -> Iterator[threading.Event]:
    """Give an event that is set by the first SIGINT or SIGTERM; a second one ends the process with code 130.

    Outside the main thread, where Python allows no handlers, the event is never set.
    """
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            # Not KeyboardInterrupt: worker threads in native code would be waited for.
            os._exit(INTERRUPTED)
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
