"""What viewers get: the newest result of each source as a JPEG with overlays, and the figures beside it.

A stream's loop hands results in and never waits: drawing and encoding happen in one thread of the feed, once for all
viewers, only while somebody looks, and always of the newest result. A viewer that is slow misses pictures.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from boir_sdk.draw import draw
from boir_sdk.errors import InputError
from boir_sdk.poses import Poses
from boir_sdk.stream.result import StreamEvent, StreamResult

FPS_WINDOW_S = 3.0
JPEG_QUALITY = 80
LONGEST_SIDE = 1280  # px of a picture sent; larger frames are shrunk
MAX_VIEWERS = 8


class TooManyViewers(Exception):
    """`MAX_VIEWERS` are looking already."""


class UnknownSource(Exception):
    """There is no source of that number, or none yet."""


@dataclass(slots=True)
class _Channel:
    """One source as the feed knows it."""

    name: str
    latest: StreamResult | None = None  # the newest with a frame
    shown: StreamResult | None = None  # what viewers see: older than `latest` while paused
    event: StreamEvent | None = None  # since the last frame
    dropped: int = 0
    times_s: deque[float] = field(default_factory=deque)
    stale: bool = False  # `shown` isn't in `jpeg` yet
    jpeg: bytes = b""
    number: int = 0  # of the JPEG, from 1
    begun: int = 0  # the number of the newest JPEG whose drawing has begun
    viewers: int = 0


class Feed:
    """Takes results, gives pictures and figures. Safe from any number of threads."""

    def __init__(self, *, score_threshold: float = 0.0, keypoint_threshold: float = 0.1) -> None:
        """Start the drawing thread.

        Args:
            score_threshold: people below it aren't shown at first; viewers can change it.
            keypoint_threshold: keypoints below it aren't drawn.
        """
        self._keypoint_threshold = keypoint_threshold
        self._lowest = self._threshold = score_threshold
        self._paused = False
        self._channels: dict[str, _Channel] = {}
        self._order: list[_Channel] = []
        self._changed = threading.Condition()
        self._version = 0
        self._readers = 0
        self._closed = False
        self._painter = threading.Thread(target=self._paint, name="boir-preview-paint", daemon=True)
        self._painter.start()

    def publish(self, result: StreamResult) -> None:
        """Take a stream's next result; returns at once."""
        now_s = time.monotonic()
        with self._changed:
            channel = self._channels.get(result.source)
            if channel is None:
                channel = self._channels[result.source] = _Channel(result.source)
                self._order.append(channel)
            channel.dropped += result.dropped
            if result.frame is None:
                channel.event = result.event
            else:
                channel.event = None
                channel.latest = result
                channel.times_s.append(now_s)
                if not self._paused:
                    channel.shown, channel.stale = result, True
            self._touch()

    def change(self, *, threshold: float | None = None, paused: bool | None = None) -> None:
        """Change what viewers see, for all of them.

        Args:
            threshold: people with a lower score aren't shown, 0..1.
            paused: keep the picture and its table as they are; the stream itself goes on.

        Raises:
            InputError: the threshold is out of range.
        """
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"threshold is {threshold!r}, expected 0 to 1")
        with self._changed:
            if threshold is not None:
                self._threshold = threshold
            if paused is not None:
                self._paused = paused
            for channel in self._order:
                if not self._paused:
                    channel.shown = channel.latest
                channel.stale = channel.shown is not None
            self._touch()

    def figures(self) -> dict[str, Any]:
        """What the page shows beside the picture: settings, and for each source its figures and its people."""
        with self._changed:
            now_s = time.monotonic()
            rows = [(channel, channel.shown, channel.event, self._rate(channel, now_s)) for channel in self._order]
            threshold, paused, lowest = self._threshold, self._paused, self._lowest
        sources = []
        for channel, shown, event, fps in rows:
            poses = None if shown is None else _above(shown.poses, threshold)
            sources.append(
                {
                    "name": channel.name,
                    "fps": round(fps, 1),
                    "latency_ms": None if shown is None else round(1000 * shown.age_s),
                    "index": None if shown is None else shown.index,
                    "dropped": channel.dropped,
                    "event": None if event is None else {"kind": event.kind, "message": event.message},
                    "people": 0 if poses is None else len(poses),
                    "keypoints": [] if poses is None else list(poses.skeleton.keypoints),
                    "table": [] if poses is None else _table(poses),
                }
            )
        return {"threshold": threshold, "lowest": lowest, "paused": paused, "sources": sources}

    @contextmanager
    def viewing(self, number: int) -> Iterator[int]:
        """Count a viewer of source `number` while the block runs.

        Yields:
            The number that `picture` starts after: what was drawn before the viewer came may be hours old.

        Raises:
            UnknownSource: see the name.
            TooManyViewers: see the name.
        """
        with self._changed:
            if not 0 <= number < len(self._order):
                raise UnknownSource
            if sum(channel.viewers for channel in self._order) >= MAX_VIEWERS:
                raise TooManyViewers
            channel = self._order[number]
            channel.viewers += 1
            channel.stale = channel.shown is not None
            begun = channel.begun
            self._touch()
        try:
            yield begun
        finally:
            with self._changed:
                channel.viewers -= 1

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Count a reader of the figures while the block runs.

        Raises:
            TooManyViewers: see the name.
        """
        with self._changed:
            if self._readers >= MAX_VIEWERS:
                raise TooManyViewers
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1

    def picture(self, number: int, after: int, timeout_s: float) -> tuple[int, bytes] | None:
        """Wait for a picture of source `number` that is newer than `after`.

        Returns:
            Its number and the JPEG; None when none came in time or the feed was closed.
        """
        channel = self._order[number]
        with self._changed:
            self._changed.wait_for(lambda: self._closed or channel.number > after, timeout_s)
            return None if self._closed or channel.number <= after else (channel.number, channel.jpeg)

    def news(self, after: int, timeout_s: float) -> int:
        """Wait until something changed since version `after`; return the version now."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._version > after, timeout_s)
            return self._version

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Wake everyone who waits and end the drawing thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._painter.join(timeout=5)

    def _touch(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _rate(self, channel: _Channel, now_s: float) -> float:
        times_s = channel.times_s
        while times_s and now_s - times_s[0] > FPS_WINDOW_S:
            times_s.popleft()
        return len(times_s) / max(now_s - times_s[0], 1e-3) if len(times_s) > 1 else 0.0

    def _paint(self) -> None:
        """Draw and encode what is stale and looked at, until closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or any(map(_wanted, self._order)))
                if self._closed:
                    return
                work = [(channel, channel.shown) for channel in self._order if _wanted(channel)]
                for channel, _ in work:
                    channel.stale = False
                    channel.begun += 1
                threshold = self._threshold
            for channel, shown in work:
                assert shown is not None and shown.frame is not None  # noqa: S101 - for the type checker
                jpeg = _encoded(shown.frame, _above(shown.poses, threshold), self._keypoint_threshold)
                with self._changed:
                    channel.jpeg, channel.number = jpeg, channel.begun
                    self._changed.notify_all()


def _wanted(channel: _Channel) -> bool:
    return channel.stale and channel.viewers > 0


def _above(poses: Poses, threshold: float) -> Poses:
    return poses[poses.scores >= threshold]


def _encoded(frame_bgr: NDArray[np.uint8], poses: Poses, keypoint_threshold: float) -> bytes:
    """Draw the people and encode the picture, shrunk if it is large."""
    scale = LONGEST_SIDE / max(frame_bgr.shape[:2])
    if scale < 1:
        size = (round(frame_bgr.shape[1] * scale), round(frame_bgr.shape[0] * scale))
        size = (max(1, size[0]), max(1, size[1]))
        frame_bgr = cv2.resize(frame_bgr, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        poses = Poses(poses.keypoints * scale, poses.keypoint_scores, poses.scores, poses.skeleton, poses.ids)
    drawn = draw(frame_bgr, poses, keypoint_threshold=keypoint_threshold, labels=poses.ids is not None)
    _, data = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()


def _table(poses: Poses) -> list[dict[str, Any]]:
    """The people as the page's table needs them: id or number, score, and [x, y, score] of each keypoint."""
    triples = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2).round(2).tolist()
    ids = [None] * len(poses) if poses.ids is None else poses.ids.tolist()
    return [
        {"id": number, "score": round(float(score), 2), "keypoints": person}
        for number, score, person in zip(ids, poses.scores, triples, strict=True)
    ]
