"""A video file as a source: every frame once, in order."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np

from boir_sdk.stream.failure import SourceError
from boir_sdk.stream.redact import redact
from boir_sdk.stream.source import Frame

_MISSING_FRAMES = 3  # containers round their frame count; more than this missing means a damaged file


class VideoFile:
    """A video file that OpenCV can decode."""

    live = False

    def __init__(self, path: Path) -> None:
        """Remember the path; `open` opens it."""
        self.name = redact(str(path))
        self._path = path
        self._capture: cv2.VideoCapture | None = None
        self._index = 0
        self._fps = self._last_s = 0.0
        self._expected = 0
        self._cancelled = False

    def open(self) -> None:
        """Open the file at its first frame.

        Raises:
            SourceError: `decode` and `end` when it isn't a video or is damaged.
        """
        self.close()
        # Not by default: whichever back end comes first would also take a pattern such as img_%03d.jpg.
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            capture.release()
            raise SourceError("decode", f"{self.name} isn't a video that OpenCV can decode, or is damaged", "end")
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        self._fps = fps if 0.1 <= fps <= 1000 else 30.0
        count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._expected = int(count) if 0 < count < 1e9 else 0
        self._capture, self._index, self._last_s = capture, 0, -1.0 / self._fps

    def read(self) -> Frame | None:
        """Decode the next frame.

        Raises:
            SourceError: `decode` and `end` when the file breaks off before its stated end.
        """
        if self._capture is None or self._cancelled:
            return None
        start = time.perf_counter()
        got, image = self._capture.read()
        if not got:
            if self._index == 0 or self._index + _MISSING_FRAMES < self._expected:
                stated = f" of {self._expected}" if self._expected else ""
                raise SourceError(
                    "decode", f"{self.name} breaks off after {self._index}{stated} frames: it is damaged or cut", "end"
                )
            return None
        at = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if not (self._last_s < at < self._last_s + 3600):  # no time stamp, or one that makes no sense
            at = self._last_s + 1 / self._fps
        frame = Frame(
            np.ascontiguousarray(image), self._index, at, time.monotonic(), (time.perf_counter() - start) * 1000
        )
        self._index, self._last_s = self._index + 1, at
        return frame

    def close(self) -> None:
        """Close the file."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def cancel(self) -> None:
        """No further frame is decoded."""
        self._cancelled = True
