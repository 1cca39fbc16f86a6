"""The progress line, with a clock and streams of our own."""

from __future__ import annotations

import io
import time

import pytest

from boir_sdk.cli.progress import Progress, progress_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize(
    ("done", "total", "elapsed_s", "expected"),
    [
        (0, 10, 0.0, "0/10 pictures (0 %)"),
        (5, 10, 10.0, "5/10 pictures (50 %), 0.5 pictures/s, 0:10 left"),
        (10, 10, 5.0, "10/10 pictures (100 %), 2.0 pictures/s, 0:00 left"),
        (1, 3601, 1.0, "1/3601 pictures (0 %), 1.0 pictures/s, 1:00:00 left"),
    ],
)
def test_text(done: int, total: int, elapsed_s: float, expected: str) -> None:
    assert progress_text(done, total, elapsed_s) == expected


def test_a_terminal_s_line_is_rewritten_and_taken_away(clock: Clock) -> None:
    stream = Terminal()
    progress = Progress(4, stream=stream)
    progress.show(1)
    progress.show(2)  # too soon
    clock.now_s += 1
    progress.show(3)
    progress.clear()
    progress.clear()
    assert stream.getvalue().count("\r\x1b[K") == 3
    assert "2/4" not in stream.getvalue()
    assert "\n" not in stream.getvalue()


def test_after_a_clear_the_line_comes_back_at_once(clock: Clock) -> None:
    stream = Terminal()
    progress = Progress(4, stream=stream)
    progress.show(1)
    progress.clear()
    progress.show(2)
    assert "2/4" in stream.getvalue()


def test_a_log_gets_a_line_now_and_then(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(100, stream=stream)
    for done in range(1, 51):
        clock.now_s += 0.5
        progress.show(done)
    lines = stream.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["20/100", "40/100"]


@pytest.mark.parametrize(("total", "enabled"), [(1, True), (5, False)])
def test_silence(clock: Clock, total: int, enabled: bool) -> None:
    stream = Terminal()
    progress = Progress(total, enabled=enabled, stream=stream)
    clock.now_s += 60
    progress.show(1)
    progress.clear()
    assert stream.getvalue() == ""
