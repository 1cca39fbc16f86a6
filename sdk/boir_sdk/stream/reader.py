"""The parent's side of a camera that is read by a child process (see `reader_child` for why)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO

import numpy as np

from boir_sdk.stream.failure import SourceError
from boir_sdk.stream.reader_child import ENDED, FAILED, FRAME, HEADER, OPENED, Task
from boir_sdk.stream.size_watch import ask_for_reports
from boir_sdk.stream.source import Frame

MAX_PIXELS = 100_000_000  # as for pictures: boir_sdk.image.MAX_PIXELS
_GOODBYE_S = 1.0
_START_S = 10.0  # for a child to start on a slow machine
# No guess at the frame rate, which takes up to twenty frames before the first one is given out.
_FFMPEG_OPTIONS = "rtsp_transport;tcp|allowed_media_types;video|fpsprobesize;0"
_COMMAND = (sys.executable, "-m", "boir_sdk.stream.reader_child")


class CameraReader:
    """A camera read by a child process, one process a connection.

    Frames are numbered and timed over all connections of its life, on this computer's clock: what a camera says of
    time jumps.
    """

    live = True

    def __init__(self, task: Task, *, command: Sequence[str] = _COMMAND) -> None:
        """Remember what to read.

        Args:
            task: for the child.
            command: what to start as the child.
        """
        self.name = task.name
        self._task, self._command = task, list(command)
        # The child keeps the limits; a child that is silent for longer than all of them together hangs itself.
        self._longest_s = 2 * (task.connect_s + task.first_frame_s) + task.stall_s + _START_S
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()  # the garbage collector may call `cancel` anywhere
        self._cancelled = False
        self._index = 0
        self._began_s: float | None = None

    def open(self) -> None:
        """Start a child and wait until it has reached the camera.

        Raises:
            SourceError: with the cause as its code.
        """
        self.close()
        with self._lock:
            if self._cancelled:
                raise SourceError("cancelled", f"{self.name}: closed")
            try:
                self._process = process = self._start()
            except OSError as error:
                raise SourceError(
                    "source", f"{self.name}: can't start a process to read it: {error.strerror}"
                ) from error
        try:
            assert process.stdin is not None  # noqa: S101 - for the type checker
            process.stdin.write(self._task.to_line())
            process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._lost() from error
        if self._record()[0] != OPENED:
            raise self._lost()
        if self._began_s is None:
            self._began_s = time.monotonic()

    def read(self) -> Frame | None:
        """Wait for the next frame; None at the end of a video that has one.

        Raises:
            SourceError: with the cause as its code.
        """
        kind, frame = self._record()
        if kind == ENDED:
            return None
        if kind != FRAME or frame is None:
            raise self._lost()
        return frame

    def close(self) -> None:
        """End the child; the camera is told if it listens."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        _hang_up(process)
        try:
            process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def cancel(self) -> None:
        """From any thread: end a running `open` or `read`; called again, without asking the child."""
        with self._lock:
            again, self._cancelled = self._cancelled, True
            process = self._process
            if process is not None and again:
                process.kill()
        if process is not None:
            _hang_up(process)

    def _start(self) -> subprocess.Popen[bytes]:
        environment = dict(os.environ)
        environment.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _FFMPEG_OPTIONS)
        ask_for_reports(environment)
        # The child must find this very package and the same OpenCV, however they got onto the path.
        environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109
        return subprocess.Popen(  # noqa: S603 - our own module
            self._command,
            bufsize=0,  # what a buffer holds, `poll` doesn't see
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # FFmpeg writes addresses with passwords there
            env=environment,
            start_new_session=True,  # Ctrl-C in the terminal is for the parent
        )

    def _record(self) -> tuple[bytes, Frame | None]:
        """The next record of the child; a failure that it reports is raised."""
        head = self._bytes(HEADER.size)
        arrived = time.monotonic()
        kind, height, width, read_ms, length = HEADER.unpack(head)
        if kind == FAILED:
            code, message = json.loads(bytes(self._bytes(length)))
            raise SourceError(code, message)
        if kind != FRAME:
            return kind, None
        if not 0 < height * width <= MAX_PIXELS or length != height * width * 3:
            raise SourceError(
                "decode", f"{self.name} sends pictures of {width} x {height} pixels, more than can be right"
            )
        image = np.frombuffer(self._bytes(length), dtype=np.uint8).reshape(height, width, 3)
        began = arrived if self._began_s is None else self._began_s
        frame = Frame(image, self._index, arrived - began, arrived, read_ms)
        self._index += 1
        return FRAME, frame

    def _bytes(self, count: int) -> bytearray:
        process = self._process
        if process is None or process.stdout is None:
            raise self._lost()
        data, got = bytearray(count), 0
        view = memoryview(data)
        while got < count:
            if not _readable(process.stdout, self._longest_s):
                process.kill()
                raise SourceError("stalled", f"{self.name}: the process that reads it hangs; it was ended")
            more = process.stdout.readinto(view[got:])  # type: ignore[attr-defined]
            if not more:
                raise self._lost()
            got += more
        return data

    def _lost(self) -> SourceError:
        if self._cancelled:
            return SourceError("cancelled", f"{self.name}: closed")
        return SourceError("lost", f"{self.name}: the process that reads it has ended")


def _readable(pipe: IO[bytes], seconds: float) -> bool:
    """Whether there is something to read, or the end, within a time; without `poll` (Windows) nobody knows."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    """Tell the child to stop: the end of its input."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # it has gone already
            process.stdin.close()
