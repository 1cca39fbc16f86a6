"""Notice that a camera's pictures have changed their size in mid-stream, which OpenCV hides.

OpenCV stretches pictures of a new size to the size that a stream began with, and none of its properties tells. FFmpeg's
H.264 decoder does say so in its log, so the reading child (whose standard output and error nobody else looks at) reads
that. Pictures of other codecs, and of all on Windows, keep their first size until the next connection.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections.abc import MutableMapping

_REPORT = re.compile(rb"Reinit context to (\d+x\d+)")


def ask_for_reports(environment: MutableMapping[str, str]) -> None:
    """Set the variables that a child needs from its start for FFmpeg to write them."""
    environment.update(OPENCV_FFMPEG_DEBUG="1", OPENCV_FFMPEG_LOGLEVEL="40")


class SizeWatch:
    """Takes over the standard output and error of the process and reads FFmpeg's reports there."""

    def __init__(self) -> None:
        """Redirect; what is written there is read by `changed` and goes nowhere else."""
        self._log, end = os.pipe() if os.name == "posix" else (-1, os.open(os.devnull, os.O_WRONLY))
        if os.name == "posix":
            for side in (self._log, end):
                os.set_blocking(side, False)  # a full pipe loses lines rather than hold up the decoder
        for stream in (1, 2):
            os.dup2(end, stream)
        os.close(end)
        self._size: bytes | None = None
        self._rest = b""

    def changed(self) -> bool:
        """Whether the decoder has met another size since the last call; the first one after `forget` isn't another."""
        before = self._size
        if os.name != "posix":
            return False
        ctypes.CDLL(None).fflush(None)  # OpenCV prints the log through C's buffered standard output
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._log, 1 << 16):
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    if found := _REPORT.search(line):
                        self._size = found[1]
        return before not in (None, self._size)

    def forget(self) -> None:
        """A new connection begins."""
        self.changed()
        self._size = None
