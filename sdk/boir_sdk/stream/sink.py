"""Sinks: where the results of a stream go.

A sink takes one result after the other and is closed once; closing makes its file whole, also after a Ctrl-C. Each
kind is in a module of its own; this one has what they share and gives their names.

Example:
    >>> from boir_sdk.stream.sink import JsonLinesSink, VideoSink
    >>> with PoseEstimator() as estimator, VideoSink("out.mp4") as video:  # doctest: +SKIP
    ...     for result in estimator.stream("in.mp4"):
    ...         video.write(result)
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from boir_sdk.stream.result import StreamResult
from boir_sdk.stream.sink_coco import CocoSink
from boir_sdk.stream.sink_json import JsonLinesSink
from boir_sdk.stream.sink_video import VideoSink
from boir_sdk.stream.sink_window import WindowSink

__all__ = ["CocoSink", "JsonLinesSink", "Sink", "VideoSink", "WindowSink"]


class Sink(Protocol):
    """What takes the results of a stream."""

    def write(self, result: StreamResult) -> None:
        """Take one result.

        Args:
            result: the next one of the stream.

        Raises:
            InputError: it can't be written (the disk is full, the folder is gone).
        """

    def close(self) -> None:
        """Finish what was written; a second call does nothing."""

    def __enter__(self) -> Sink: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
