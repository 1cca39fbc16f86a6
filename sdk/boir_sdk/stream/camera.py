"""A camera plugged into this computer as a source."""

from __future__ import annotations

from collections.abc import Sequence

from boir_sdk.stream.health import Limits
from boir_sdk.stream.reader import CameraReader
from boir_sdk.stream.reader_child import Task


class Camera(CameraReader):
    """A local camera, by number or device path."""

    def __init__(self, device: int | str, limits: Limits, *, command: Sequence[str] | None = None) -> None:
        """Remember the device; `open` opens it.

        Args:
            device: number from 0, or a path such as `/dev/video0`.
            limits: time limits.
            command: another child to start instead of the one that reads through OpenCV.
        """
        name = f"camera {device}" if isinstance(device, int) else device
        task = Task(None, device, name, limits.connect_s, limits.first_frame_s, limits.stall_s)
        if command is None:
            super().__init__(task)
        else:
            super().__init__(task, command=command)
