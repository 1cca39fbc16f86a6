"""A network camera as a source: RTSP, or HTTP with a stream of pictures or a video."""

from __future__ import annotations

from boir_sdk.stream.address import parse
from boir_sdk.stream.health import Limits
from boir_sdk.stream.reader import CameraReader
from boir_sdk.stream.reader_child import Task
from boir_sdk.stream.redact import source_name


class NetworkCamera(CameraReader):
    """A camera under a URL.

    RTSP comes over TCP, the video only; set OpenCV's `OPENCV_FFMPEG_CAPTURE_OPTIONS` for something else.
    """

    def __init__(self, url: str, limits: Limits) -> None:
        """Check the URL; `open` connects.

        Args:
            url: rtsp, rtsps, http or https; see `boir_sdk.stream.address.parse` for credentials.
            limits: time limits.

        Raises:
            InputError: it isn't such a URL, or a variable in it isn't set.
        """
        address = parse(url)
        super().__init__(
            Task(address.full, None, source_name(url), limits.connect_s, limits.first_frame_s, limits.stall_s)
        )
