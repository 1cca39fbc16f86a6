"""The overlay window, where there is a display."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType

import cv2

from boir_sdk.draw import draw
from boir_sdk.errors import InputError
from boir_sdk.stream.result import StreamResult

_INSTEAD = "use --out FILE or --serve PORT instead"
_LEAVE_KEYS = {ord("q"), 27}  # 27 is Esc


class WindowSink:
    """Shows the people over the frames. Use it from the main thread.

    Attributes:
        closed: the user closed the window, or pressed q or Esc in it.
    """

    def __init__(self, title: str = "boir", *, keypoint_threshold: float = 0.1) -> None:
        """Open a window.

        Args:
            title: what its bar says.
            keypoint_threshold: keypoints with a lower score aren't drawn.

        Raises:
            InputError: there is no display, or this OpenCV was built without windows.
        """
        _check_display()
        self._title, self._threshold = title, keypoint_threshold
        self.closed = False
        self._shown = False
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise InputError(f"can't open a window: {' '.join(str(error).split())[:200]}; {_INSTEAD}") from error

    def write(self, result: StreamResult) -> None:
        """Show one frame; an event without a frame only keeps the window alive.

        Args:
            result: the next one of the stream.
        """
        if self.closed:
            return
        if result.frame is not None:
            labels = result.poses.ids is not None
            drawn = draw(result.frame, result.poses, keypoint_threshold=self._threshold, labels=labels)
            if not self._shown:
                cv2.resizeWindow(self._title, drawn.shape[1], drawn.shape[0])
            cv2.imshow(self._title, drawn)
            self._shown = True
        key = cv2.waitKey(1) & 0xFF
        gone = self._shown and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        self.closed = key in _LEAVE_KEYS or gone

    def close(self) -> None:
        """Take the window away; a second call does nothing."""
        self.closed = True
        try:
            cv2.destroyWindow(self._title)
        except cv2.error:
            return  # the user closed it before

    def __enter__(self) -> WindowSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_display() -> None:
    """Refuse where no window can be shown.

    A window toolkit ends the whole process when a display is named but can't be reached, so a child process tries.
    """
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise InputError(f"there is no display to open a window on (DISPLAY isn't set); {_INSTEAD}")
    probe = "import cv2; cv2.namedWindow('boir'); cv2.destroyAllWindows()"
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, a fixed text
            [sys.executable, "-c", probe], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"can't open a window: {error}; {_INSTEAD}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason was given"]
        reason = next((line for line in lines if "display" in line), lines[-1])
        raise InputError(f"can't open a window: {reason[:200]}; {_INSTEAD}")
