"""Ctrl-C and SIGTERM: the first asks to finish what is at hand, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""Exit code of a run that was stopped by a signal (128 + SIGINT, as shells say it)."""

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def graceful() -> Iterator[threading.Event]:
    """Give an event that is set by the first SIGINT or SIGTERM; a second one ends the process with code 130.

    Outside the main thread, where Python allows no handlers, the event is never set.
    """
    with _answered(threading.Event(), raising=False) as stop:
        yield stop


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """As `graceful`, but the first signal also raises KeyboardInterrupt where the main thread is.

    For work that has no place to ask: what is half done is cleared away on the way out. The event tells a failure that
    is a signal in disguise (an import or a library that turned the KeyboardInterrupt into something of its own).
    """
    with _answered(threading.Event(), raising=True) as stop:
        yield stop


def command(work: Callable[[], int], said: str, *, whole_process: bool) -> int:
    """Do a command's work; return its exit code, or 130 when a signal stopped it, whatever became of the signal inside.

    Args:
        work: interruptible at any place.
        said: line for stderr when it was.
        whole_process: nothing comes after it, so from its end on a signal ends the process without a word.
    """
    code, stopped = 0, False
    try:
        with interruptible() as stop:
            try:
                code = work()
            except Exception:
                if not stop.is_set():
                    raise
            stopped = stop.is_set()
    except KeyboardInterrupt:
        stopped = True
    if whole_process:
        _leave_at_once()
    if not stopped:
        return code
    print(said, file=sys.stderr)
    return INTERRUPTED


def _leave_at_once() -> None:
    if threading.current_thread() is threading.main_thread():
        for number in _NUMBERS:
            signal.signal(number, _leave)


@contextmanager
def _answered(stop: threading.Event, *, raising: bool) -> Iterator[threading.Event]:
    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            # Not KeyboardInterrupt: worker threads in native code would be waited for.
            _leave(number, frame)
        stop.set()
        if raising:
            # Where Python can't let an exception out (import's own callbacks), it would print a traceback instead; the
            # event tells all the same.
            sys.unraisablehook = _all_but_interrupts
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    hook = sys.unraisablehook
    before = {number: signal.signal(number, handle) for number in _NUMBERS}
    try:
        yield stop
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _all_but_interrupts(unraisable: sys.UnraisableHookArgs) -> None:
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)
