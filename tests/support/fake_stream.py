"""A stream without a camera or model: scripted results, and an estimator that gives them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17
from boir_sdk.stream.result import StreamEvent, StreamResult

SIZE = (64, 96)  # height, width


def person(x: float, y: float, height: float) -> NDArray[np.float32]:
    """A standing person's 17 keypoints: nose at the top of `height` px, ankles at its bottom, `x` in the middle."""
    xs = [0, 0.02, -0.02, 0.05, -0.05, 0.12, -0.12, 0.16, -0.16, 0.18, -0.18, 0.08, -0.08, 0.09, -0.09, 0.09, -0.09]
    ys = [0.05, 0.03, 0.03, 0.05, 0.05, 0.2, 0.2, 0.37, 0.37, 0.52, 0.52, 0.55, 0.55, 0.77, 0.77, 0.98, 0.98]
    return np.stack([x + height * np.array(xs), y + height * np.array(ys)], axis=1).astype(np.float32)


def people(count: int, *, step: int = 0, ids: bool = False, size: tuple[int, int] = SIZE) -> Poses:
    """`count` people side by side with scores 0.9, 0.8, ...; they move right with `step`."""
    height, width = size
    xs = [(width * (i + 1) / (count + 1) + 2 * step) % width for i in range(count)]
    keypoints = np.array([person(x, 0.1 * height, 0.8 * height) for x in xs]).reshape(count, 17, 2)
    scores = np.array([0.9 - 0.1 * i for i in range(count)])
    return Poses(keypoints, np.full((count, 17), 0.8), scores, COCO17, list(range(1, count + 1)) if ids else None)


def result(
    index: int,
    count: int = 2,
    *,
    time_s: float | None = None,
    size: tuple[int, int] = SIZE,
    source: str = "fake",
    fps: float = 25.0,
    ids: bool = False,
    dropped: int = 0,
    event: StreamEvent | None = None,
) -> StreamResult:
    """A result whose grey frame gets lighter with its index."""
    frame = np.full((*size, 3), 40 + index % 100, dtype=np.uint8)
    poses = people(count, step=index, ids=ids, size=size)
    when_s = index / fps if time_s is None else time_s
    return StreamResult(frame, poses, index, when_s, 0.05, dropped, event, source, {"infer": 12.3456})


def event(kind: str, code: str, *, index: int = 0, source: str = "fake", message: str = "no frame") -> StreamResult:
    """A result without a frame."""
    empty = Poses.empty(COCO17)
    return StreamResult(None, empty, index, 0.0, 0.0, 0, StreamEvent(kind, code, message), source, {})


def endless(
    count: int = 3, *, pace_s: float = 0.04, size: tuple[int, int] = (240, 320), source: str = "fake"
) -> Iterator[StreamResult]:
    """Moving people for ever, at a camera's pace."""
    for index in itertools.count():
        yield result(index, count, size=size, source=source, ids=True)
        time.sleep(pace_s)


class FakeStream:
    """Gives scripted results; `stop` and `close` end it."""

    def __init__(self, results: Iterable[StreamResult]) -> None:
        self._results = iter(results)
        self._stopped = self.closed = False

    def __iter__(self) -> FakeStream:
        return self

    def __next__(self) -> StreamResult:
        if self._stopped:
            raise StopIteration
        return next(self._results)

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        self._stopped = self.closed = True

    def __enter__(self) -> FakeStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class StreamingEstimator:
    """Takes `PoseEstimator`'s arguments and gives the results put into `script`.

    Attributes:
        script: what the next stream gives; class-wide, set by a test.
        made: the estimators so far; class-wide, cleared by a test.
    """

    script: Sequence[StreamResult] | Iterable[StreamResult] = ()
    made: list[StreamingEstimator] = []  # noqa: RUF012 - shared on purpose
    info = {"thresholds": {"keypoint": 0.1, "score": 0.2, "followed": 0.08}}  # noqa: RUF012

    def __init__(self, model: str = "default", **options: Any) -> None:
        self.model, self.options, self.closed = model, options, False
        self.sources: list[Any] = []
        self.how: dict[str, Any] = {}
        self.streamed: FakeStream | None = None
        StreamingEstimator.made.append(self)

    def stream(self, source: Any, **how: Any) -> FakeStream:
        return self.streams([source], **how)

    def streams(self, sources: Sequence[Any], **how: Any) -> FakeStream:
        self.sources, self.how = list(sources), how
        self.streamed = FakeStream(StreamingEstimator.script)
        return self.streamed

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> StreamingEstimator:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
