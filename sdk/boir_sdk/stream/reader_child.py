"""The child process that reads one camera: decode with OpenCV, hand frames to the parent through a pipe.

Why a process: a native `open` or `read` can't be interrupted (a stalled camera holds it for three time-outs), its
options are process-wide, and it writes addresses with passwords to the standard error stream. A process can be ended at
any moment, has options of its own and no standard error.

Protocol: the parent writes one line of JSON (`Task`) to the standard input and keeps it open; its end means stop. The
child writes records: `HEADER` and as many bytes as it says. Time limits are kept here, by a thread of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, BinaryIO

from boir_sdk.stream import handshake
from boir_sdk.stream.address import Address, parse
from boir_sdk.stream.failure import SourceError
from boir_sdk.stream.size_watch import SizeWatch

HEADER = struct.Struct("<cIIdI")
"""Kind, height, width, reading time in ms, length of what follows (of a frame: height x width x 3)."""
OPENED, FRAME, ENDED, FAILED = b"O", b"F", b"E", b"X"
_MISSING_FRAMES = 3  # containers round their frame count
_GOODBYE_S = 0.5  # for the camera to be told that nobody watches any more


@dataclass(frozen=True, slots=True)
class Task:
    """What to read.

    Attributes:
        url: address with credentials, or None.
        device: camera number or path, or None.
        name: for messages, without credentials.
        connect_s: limit for the camera to answer.
        first_frame_s: limit from then to the first frame.
        stall_s: limit between frames.
    """

    url: str | None
    device: int | str | None
    name: str
    connect_s: float
    first_frame_s: float
    stall_s: float

    def to_line(self) -> bytes:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"


class Reader:
    """One connection, from opening to its end; `run` returns when there is nothing more to read."""

    def __init__(self, task: Task, commands: BinaryIO, records: BinaryIO) -> None:
        """Begin to watch the parent and the clock.

        Args:
            task: what to read.
            commands: its end means stop.
            records: where frames go.
        """
        self._task, self._records = task, records
        self._stop = threading.Event()
        self._limit: tuple[float, str, str] | None = None
        self._writing = threading.Lock()
        self._size_watch = SizeWatch()
        threading.Thread(target=self._watch_parent, args=(commands,), daemon=True).start()
        threading.Thread(target=self._watch_clock, daemon=True).start()

    def run(self) -> None:
        """Open, then send frames until the parent says stop or the camera gives no more."""
        try:
            opened = False
            while True:
                capture = self._open()
                if not opened:
                    self._send(OPENED)
                    opened = True
                if not self._read(capture):
                    return
        except SourceError as error:
            self._send(FAILED, data=json.dumps([error.code, str(error)]).encode())

    def _read(self, capture: Any) -> bool:
        """Send the frames of a connection; True when it must be opened again for pictures of another size."""
        try:
            self._size_watch.forget()
            wait_s = self._task.first_frame_s
            frames, expected = 0, _frame_count(capture)
            while not self._stop.is_set():
                start = time.perf_counter()
                got, image = self._limited(wait_s, "stalled", "sends no picture", capture.read)
                if not got and 0 < expected <= frames + _MISSING_FRAMES:
                    self._send(ENDED)
                    return False
                if not got:
                    raise SourceError("lost", f"{self._task.name}: the connection broke off")
                if self._size_watch.changed():
                    return True
                took = (time.perf_counter() - start) * 1000
                self._send(FRAME, image.shape[0], image.shape[1], took, memoryview(image).cast("B"))
                wait_s = self._task.stall_s
                frames += 1
            return False
        finally:
            capture.release()

    def _open(self) -> Any:
        """An opened `cv2.VideoCapture`."""
        task = self._task
        if task.url is None:
            import cv2

            kind = cv2.CAP_V4L2 if isinstance(task.device, str) else cv2.CAP_ANY
            capture = self._limited(task.connect_s, "no_device", "doesn't open", cv2.VideoCapture, task.device, kind)
            if not capture.isOpened():
                raise SourceError("no_device", f"{task.name} isn't there, is in use or may not be read")
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            return capture
        address = self._handshake(parse(task.url), deep=False)
        import cv2  # after the handshake: a camera that isn't there is asked for again and again, and this is slow

        # The decoder's own limits are only a second line: the clock here is exact, theirs come three in a row.
        wait_ms = int(task.first_frame_s * 1000)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, wait_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait_ms]
        capture = self._limited(
            task.first_frame_s, "stalled", "sends no picture", cv2.VideoCapture, address.full, cv2.CAP_FFMPEG, limits
        )
        if capture.isOpened():
            return capture
        capture.release()
        self._handshake(address, deep=True)
        raise SourceError("decode", f"{task.name} answers, but its video can't be decoded")

    def _handshake(self, address: Address, *, deep: bool) -> Address:
        limit_s = self._task.connect_s
        check = partial(handshake.check, address, limit_s, deep=deep)
        # A little more than the handshake's own limit, which a host name that isn't answered for exceeds.
        found: Address = self._limited(limit_s + 0.3, "timeout", "doesn't answer", check)
        return found

    def _limited(self, seconds: float, code: str, what: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Make a call that ends this process if it takes longer than the limit."""
        self._limit = (time.monotonic() + seconds, code, f"{self._task.name} {what} within {seconds:g} s")
        try:
            return call(*arguments)
        finally:
            self._limit = None

    def _send(self, kind: bytes, height: int = 0, width: int = 0, took: float = 0.0, data: Any = b"") -> None:
        with self._writing:
            self._records.write(HEADER.pack(kind, height, width, took, len(data)))
            self._records.write(data)
            self._records.flush()

    def _watch_parent(self, commands: BinaryIO) -> None:
        commands.read()  # returns at the end only
        self._stop.set()
        time.sleep(_GOODBYE_S)
        os._exit(0)

    def _watch_clock(self) -> None:
        while True:
            time.sleep(0.05)
            limit = self._limit
            if limit is not None and time.monotonic() > limit[0]:
                self._send(FAILED, data=json.dumps(limit[1:]).encode())
                os._exit(0)


def _frame_count(capture: Any) -> int:
    """How many frames a video behind a URL says it has; 0 for a live one."""
    import cv2

    count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return int(count) if 0 < count < 1e9 else 0


def main() -> None:
    """Read the task from the standard input and serve it."""
    records = os.fdopen(os.dup(1), "wb")  # what libraries print must not get in between: `SizeWatch` takes that
    task = Task(**json.loads(sys.stdin.buffer.readline()))
    with contextlib.suppress(OSError):  # the parent has closed its end
        Reader(task, sys.stdin.buffer, records).run()
    # Not sys.exit: a thread waits for the standard input.
    os._exit(0)


if __name__ == "__main__":
    main()
