"""The annotated video: people drawn over every frame, in a file that is playable also after a Ctrl-C."""

from __future__ import annotations

import statistics
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from boir_sdk.draw import draw
from boir_sdk.errors import InputError
from boir_sdk.stream.result import StreamResult
from boir_sdk.stream.whole_file import WholeFile

CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""Ending of the file -> codec that OpenCV's packages can write everywhere."""
DEFAULT_FPS = 25.0
HELD = 8  # frames that are kept until the frame rate is known
LONGEST_STILL_S = 1.0  # of a gap in a live source so much is shown, as a standing picture


class VideoSink:
    """Draws the people over the frames and writes a video file.

    The file has a constant frame rate and the size of the first frame; later frames of another size are fitted into it
    with black bars. It is written under a temporary name and gets its own in `close`; without a frame there is no file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float | None = None,
        realtime: bool = False,
        keypoint_threshold: float = 0.1,
        boxes: bool = False,
    ) -> None:
        """Make the temporary file.

        Args:
            path: ends in .mp4, .mkv or .avi.
            fps: frames per second of the file; None takes the source's rate, from the first frames' times.
            realtime: frames are repeated or left out so that the video lasts as long as the source did (a live source,
                of which frames are dropped); otherwise every frame is written once.
            keypoint_threshold: keypoints with a lower score aren't drawn.
            boxes: draw boxes too.

        Raises:
            InputError: another ending, an impossible rate, or nothing can be written there.
        """
        self._path = Path(path)
        ending = self._path.suffix.lower()
        if ending not in CODECS:
            raise InputError(f"can't write {self._path}: a video's name must end in {', '.join(CODECS)}")
        if fps is not None and not 0 < fps <= 1000:
            raise InputError(f"fps is {fps!r}, expected frames per second, above 0 and up to 1000")
        self._fps, self._realtime = fps, realtime
        self._threshold, self._boxes = keypoint_threshold, boxes
        self._whole = WholeFile(self._path)
        self._held: list[tuple[StreamResult, NDArray[np.uint8]]] = []
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._last = np.zeros((0, 0, 3), dtype=np.uint8)
        self._clock: _Clock | None = None
        self._closed = False
        self.frames = 0
        """Frames in the file so far."""

    def write(self, result: StreamResult) -> None:
        """Draw one frame and write it; an event without a frame is passed over.

        Args:
            result: the next one of the stream.

        Raises:
            InputError: OpenCV can't write such a video.
        """
        if result.frame is None:
            return
        drawn = draw(
            result.frame,
            result.poses,
            keypoint_threshold=self._threshold,
            boxes=self._boxes,
            labels=result.poses.ids is not None,
        )
        if self._writer is None:
            self._held.append((result, drawn))
            if self._fps is None and len(self._held) < HELD:
                return
            self._start()
        else:
            self._put(result.time_s, drawn)

    def _start(self) -> None:
        """Open the writer, now that the rate is known, and write what was held."""
        held, self._held = self._held, []
        fps = self._fps or frame_rate([result for result, _ in held], realtime=self._realtime)
        height, width = held[0][1].shape[:2]
        if min(height, width) < 2:
            raise InputError(f"can't write {self._path}: {width}x{height} px is too small for a video")
        self._size = (width, height)
        codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        writer = cv2.VideoWriter(str(self._whole.temporary), codec, fps, self._size)
        if not writer.isOpened():
            raise InputError(f"this OpenCV can't write {width}x{height} px at {fps:g} frames/s to {self._path}")
        self._writer = writer
        self._clock = _Clock(fps) if self._realtime else None
        for result, drawn in held:
            self._put(result.time_s, drawn)

    def _put(self, time_s: float, drawn: NDArray[np.uint8]) -> None:
        assert self._writer is not None  # noqa: S101 - for the type checker
        fitted = _fitted(drawn, self._size)
        stills, shown = (0, True) if self._clock is None else self._clock.step(time_s)
        for _ in range(stills):
            self._writer.write(self._last)
        if shown:
            self._writer.write(fitted)
            self._last = fitted
        self.frames += stills + shown

    def close(self) -> None:
        """Finish the file and give it its name; a second call does nothing.

        Raises:
            InputError: the file isn't whole (the disk is full); it is removed.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self._held:
                self._start()
        except BaseException:
            self._whole.discard()
            raise
        if self._writer is None:
            self._whole.discard()
            return
        self._writer.release()
        # OpenCV doesn't say when a frame couldn't be written, so the file is asked.
        counted = _frames_in(self._whole.temporary)
        if counted < self.frames:
            self._whole.discard()
            raise InputError(f"can't write {self._path}: only {counted} of {self.frames} frames arrived (disk full?)")
        self._whole.finish()

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Clock:
    """Decides how often a frame of a live source is shown in a file of constant rate."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._start_s: float | None = None
        self._last_s = 0.0
        self._next = 0  # slot that is written next

    def step(self, time_s: float) -> tuple[int, bool]:
        """How many times to repeat the frame before, and whether this one has a place."""
        if self._start_s is None:
            self._start_s = time_s
        elif time_s < self._last_s:  # the source began anew
            self._start_s = time_s - self._next / self._fps
        elif time_s - self._last_s > LONGEST_STILL_S:
            self._start_s += time_s - self._last_s - LONGEST_STILL_S
        self._last_s = time_s
        slot = round((time_s - self._start_s) * self._fps)
        if slot < self._next:
            return 0, False
        stills = slot - self._next
        self._next = slot + 1
        return stills, True


def frame_rate(results: list[StreamResult], *, realtime: bool) -> float:
    """Frames per second of a source, from its first results; 25 where their times don't tell.

    Args:
        results: with frames, in order.
        realtime: the usual rate of the results, 1 to 60; otherwise the rate of the source, dropped frames counted too.
    """
    if realtime:
        # The usual one: the first results are far apart, for the network is still being compiled.
        steps_s = [after.time_s - before.time_s for before, after in pairwise(results)]
        step_s = statistics.median(steps_s) if steps_s else 0.0
        return float(min(max(round(1 / step_s), 1), 60)) if step_s > 0 else DEFAULT_FPS
    first, last = results[0], results[-1]
    seconds, count = last.time_s - first.time_s, last.index - first.index
    return min(max(round(count / seconds, 3), 1.0), 1000.0) if seconds > 0 and count > 0 else DEFAULT_FPS


def _fitted(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture in the video's size (width, height), with black bars where its aspect differs."""
    width, height = size
    if picture.shape[:2] == (height, width):
        return picture
    scale = min(width / picture.shape[1], height / picture.shape[0])
    inner = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[y : y + inner[1], x : x + inner[0]] = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
    return canvas


def _frames_in(path: Path) -> int:
    """How many frames a video file says it has; 0 when it can't be opened."""
    capture = cv2.VideoCapture(str(path))
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    finally:
        capture.release()
