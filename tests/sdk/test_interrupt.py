"""Signals where Python can't let an exception out."""

from __future__ import annotations

import signal
import sys

import pytest

from boir_sdk.cli import interrupt


def test_a_signal_where_nothing_can_be_raised_prints_no_traceback(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python swallows what a finaliser or an import's callback raises, and says so; the event tells it all the same."""

    class Finalised:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)  # pytest has one of its own
    before = sys.unraisablehook
    with interrupt.interruptible() as stop:
        thing = Finalised()
        del thing
        assert stop.is_set()
    assert sys.unraisablehook is before
    assert capfd.readouterr().err == ""
