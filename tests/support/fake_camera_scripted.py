"""A source that does what a script says, and pictures that say which one they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from boir_sdk.stream.source import Frame, SourceError

Step = float | str | tuple[int, int]


def picture(number: int, height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    """A picture whose last pixel holds its number, 0 to 65535 (and whose first one asks `FakeEstimator` for nobody)."""
    image = np.zeros((height, width, 3), np.uint8)
    image[-1, -1] = (number & 255, number >> 8, 7)
    return image


def number(image: NDArray[np.uint8]) -> int:
    """The number of a `picture`."""
    return int(image[-1, -1, 0]) + 256 * int(image[-1, -1, 1])


class ScriptedSource:
    """A live source by script.

    Steps: a size `(height, width)` is a frame of it; a number waits so many seconds; a word fails with that code;
    `block` doesn't return until cancelled; `end` ends. What fails is opened again and goes on with the next step.
    """

    def __init__(self, steps: Iterable[Step], *, name: str = "scripted", live: bool = True) -> None:
        self.name, self.live = name, live
        self.opened = self.closed = 0
        self._steps: Iterator[Step] = iter(steps)
        self._cancelled = threading.Event()
        self._index = 0
        self._start = time.monotonic()

    def open(self) -> None:
        self.opened += 1

    def read(self) -> Frame | None:
        for step in self._steps:
            if self._cancelled.is_set():
                return None
            if step == "end":
                return None
            if step == "block":
                self._cancelled.wait()
                raise SourceError("cancelled", "closed")
            if isinstance(step, str):
                raise SourceError(step, f"{self.name}: {step}")
            if isinstance(step, tuple):
                now = time.monotonic()
                image = picture(self._index, *step)
                self._index += 1
                return Frame(image, self._index - 1, now - self._start, now, 0.0)
            self._cancelled.wait(step)
        return None

    def close(self) -> None:
        self.closed += 1

    def cancel(self) -> None:
        self._cancelled.set()


def endless(fps: float, frames: int = 1 << 30) -> Iterator[Step]:
    """A camera that keeps time, whatever else does not."""
    start = time.monotonic()
    for i in range(frames):
        yield max(start + i / fps - time.monotonic(), 0.0)
        yield (24, 32)


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
