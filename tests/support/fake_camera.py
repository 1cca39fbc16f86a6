"""A network camera that fails on demand: real RTSP over loopback TCP, H.264 in interleaved RTP, each fault one line.

`Behaviour` says how the camera acts; `FakeCamera.heal` makes later connections find it in good order.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType

from tests.support.fake_camera_pictures import group

_PACKET = 1200


@dataclass(frozen=True)
class Behaviour:
    """How the camera acts; the defaults are a camera in good order.

    Attributes:
        listens: connections aren't refused.
        accepts: connections are looked at (else the kernel alone says yes).
        answers: requests are answered.
        login: `basic` or `digest`: asks for USER and PASSWORD.
        status: of the answers to given methods, such as `(("PLAY", 454),)`.
        location: where a redirect leads.
        sdp: instead of the right description.
        codec: name of the codec in the description.
        header_bytes: so much is sent as one endless header.
        bytes_per_s: no faster than this.
        frames: after so many the `ending` comes.
        ending: `stall`, `close`, `cut` (in mid-packet) or `reset`.
        corrupt: every third access unit has wrong bytes.
        keyframe_after_s: seconds from the first PLAY on without a picture that could be decoded alone.
        size: of the pictures.
        other_size_after: frames until the pictures come in the other size.
        jumps: seconds added to the time stamps from a frame on.
        twice: each frame is sent twice.
        fps: frames a second.
        burst: so many frames at once in the beginning.
    """

    listens: bool = True
    accepts: bool = True
    answers: bool = True
    login: str = ""
    status: tuple[tuple[str, int], ...] = ()
    location: str = ""
    sdp: str = ""
    codec: str = "H264"
    header_bytes: int = 0
    bytes_per_s: int = 0
    frames: int = 1 << 30
    ending: str = "stall"
    corrupt: bool = False
    keyframe_after_s: float = 0.0
    size: str = "160x96"
    other_size_after: int = 1 << 30
    jumps: tuple[tuple[int, float], ...] = ()
    twice: bool = False
    fps: float = 30.0
    burst: int = 0


GOOD = Behaviour()
USER, PASSWORD = "viewer", "p@ss/w:rd#%7e"


class FakeCamera:
    """A camera on a port of 127.0.0.1 that stays the same over restarts."""

    def __init__(self, behaviour: Behaviour = GOOD) -> None:
        self.behaviour = behaviour
        self.plays, self.first_play_s = 0, 0.0
        self.requests: list[str] = []
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        with socket.socket() as finder:
            finder.bind(("127.0.0.1", 0))
            self.port = int(finder.getsockname()[1])
        if behaviour.listens:
            self._listen()

    def url(self, login: str = "") -> str:
        return f"rtsp://{login + '@' if login else ''}127.0.0.1:{self.port}/live?channel=1"

    def heal(self, behaviour: Behaviour = GOOD) -> None:
        """Later connections, and ones that nobody looked at so far, find another camera."""
        self.behaviour = behaviour
        if self._listener is None:
            self._listen()

    def go_away(self) -> None:
        """As when the power fails: the listener and all connections end."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed.set()
        self.go_away()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> FakeCamera:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _listen(self) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(8)
        self._start(self._accept, self._listener)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._closed.is_set():
            if not self.behaviour.accepts:
                time.sleep(0.02)
                continue
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._open.add(connection)
            self._start(self._serve, connection, self.behaviour)

    def _serve(self, connection: socket.socket, how: Behaviour) -> None:
        # Whatever the client does to the connection is the end of it, as of a camera's.
        with contextlib.suppress(OSError, ValueError), connection:
            _Session(self, connection, how).run()
        self._open.discard(connection)

    def hold(self, connection: socket.socket) -> None:
        """Say nothing until the client goes."""
        connection.settimeout(0.05)
        while not self._closed.is_set():
            try:
                if not connection.recv(4096):
                    return
            except TimeoutError:
                continue


class _Session:
    """One connection."""

    def __init__(self, camera: FakeCamera, connection: socket.socket, how: Behaviour) -> None:
        self._camera, self._connection, self._how = camera, connection, how
        self._sequence = 0

    def run(self) -> None:
        if not self._how.answers:
            self._camera.hold(self._connection)
            return
        received = b""
        while True:
            data = self._connection.recv(4096)
            if not data:
                return
            received += data
            while b"\r\n\r\n" in received:
                head, _, received = received.partition(b"\r\n\r\n")
                if self._answer(head.decode()):
                    self._play()
                    return

    def _answer(self, head: str) -> bool:
        """Answer a request; True when frames should follow."""
        how = self._how
        method, url, _ = head.split(" ", 2)
        self._camera.requests.append(method)
        found = re.search(r"(?im)^cseq:\s*(\d+)", head)
        headers = [f"CSeq: {found[1] if found else 0}"]
        status, body = dict(how.status).get(method, 200), ""
        if how.header_bytes:
            self._send(b"RTSP/1.0 200 OK\r\nX-Long: ")
            for _ in range(how.header_bytes // 10_000):
                self._send(b"x" * 10_000)
            return False
        if how.login and method != "OPTIONS" and not _allowed(how.login, head, method):
            status = 401
            challenge = 'Basic realm="cam"' if how.login == "basic" else 'Digest realm="cam", nonce="abc123"'
            headers.append(f"WWW-Authenticate: {challenge}")
        elif how.location:
            status = 302
            headers.append(f"Location: {how.location or url}")
        elif method == "DESCRIBE" and status == 200:
            body = how.sdp or _describe(how)
            headers += [
                "Content-Type: application/sdp",
                f"Content-Base: {url.split('?')[0]}/",
                f"Content-Length: {len(body)}",
            ]
        elif method == "SETUP" and status == 200:
            headers += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 42;timeout=60"]
        elif method == "OPTIONS":
            headers.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "PLAY":
            headers.append("Session: 42")
        self._send("\r\n".join([f"RTSP/1.0 {status} Whatever", *headers, "", body]).encode())
        return method == "PLAY" and status == 200

    def _send(self, data: bytes) -> None:
        if not self._how.bytes_per_s:
            self._connection.sendall(data)
            return
        step = max(self._how.bytes_per_s // 20, 1)
        for start in range(0, len(data), step):
            self._connection.sendall(data[start : start + step])
            time.sleep(0.05)

    def _play(self) -> None:
        how, sent, began = self._how, 0, time.monotonic()
        self._camera.plays += 1
        self._camera.first_play_s = self._camera.first_play_s or began
        for stamp, unit in _timed(how):
            if sent >= how.frames:
                break
            if sent == how.other_size_after:  # and stays so, for later connections too
                self._camera.behaviour = replace(how, size=_other(how.size), other_size_after=1 << 30)
            if unit[0][0] & 31 == 7 and time.monotonic() - self._camera.first_play_s < how.keyframe_after_s:
                continue
            if how.corrupt and sent % 3 == 2:
                unit = [bytes([unit[-1][0]]) + bytes(255 - b for b in unit[-1][1:])]
            for packet in self._packets(unit, stamp):
                self._send(packet)
            sent += 1
            if sent > how.burst:
                due = began + (sent - how.burst) / how.fps
                if self._camera._closed.wait(max(due - time.monotonic(), 0)):
                    return
        if how.ending == "stall":
            self._camera.hold(self._connection)
        elif how.ending == "cut":
            self._connection.sendall(b"$\x00\x05\x00" + b"half a packet")
        elif how.ending == "reset":
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _packets(self, unit: list[bytes], stamp: int) -> Iterator[bytes]:
        """Interleaved RTP packets of an access unit (RFC 6184: single NAL units and FU-A)."""
        payloads = []
        for nal in unit:
            if len(nal) <= _PACKET:
                payloads.append(nal)
                continue
            pieces = [nal[i : i + _PACKET] for i in range(1, len(nal), _PACKET)]
            for i, piece in enumerate(pieces):
                flags = (0x80 if i == 0 else 0) | (0x40 if i == len(pieces) - 1 else 0)
                payloads.append(bytes([nal[0] & 0xE0 | 28, flags | nal[0] & 31]) + piece)
        for i, payload in enumerate(payloads):
            marker = 0x80 if i == len(payloads) - 1 else 0
            header = struct.pack(">BBHII", 0x80, marker | 96, self._sequence & 0xFFFF, stamp & 0xFFFFFFFF, 0x1234)
            self._sequence += 1
            yield b"$\x00" + struct.pack(">H", len(header) + len(payload)) + header + payload


def _timed(how: Behaviour) -> Iterator[tuple[int, list[bytes]]]:
    """Time stamps (90 kHz) and access units without end."""
    sizes = {"160x96": group("160x96"), "128x128": group("128x128")}
    number = 0
    while True:
        size = _other(how.size) if number >= how.other_size_after else how.size
        for unit in sizes[size]:
            shift = sum(seconds for at, seconds in how.jumps if number >= at)
            for _ in range(2 if how.twice else 1):
                yield int(90_000 * (number / how.fps + shift)), unit
            number += 1


def _other(size: str) -> str:
    return "128x128" if size == "160x96" else "160x96"


def _describe(how: Behaviour) -> str:
    sets = ",".join(base64.b64encode(nal).decode() for nal in group(how.size)[0][:2])
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=fake", "c=IN IP4 0.0.0.0", "t=0 0", "a=control:*"]
    lines += ["m=video 0 RTP/AVP 96", f"a=rtpmap:96 {how.codec}/90000"]
    lines += [f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}", "a=control:track1", ""]
    return "\r\n".join(lines)


def _allowed(kind: str, head: str, method: str) -> bool:
    found = re.search(r"(?im)^authorization:\s*(\w+)\s+(.*)$", head)
    if found is None or found[1].lower() != kind:
        return False
    if kind == "basic":
        return base64.b64decode(found[2].strip()).decode() == f"{USER}:{PASSWORD}"
    fields = dict(re.findall(r'(\w+)="([^"]*)"', found[2]))
    who = hashlib.md5(f"{USER}:cam:{PASSWORD}".encode()).hexdigest()  # noqa: S324 - what the protocol prescribes
    what = hashlib.md5(f"{method}:{fields['uri']}".encode()).hexdigest()  # noqa: S324
    right = hashlib.md5(f"{who}:abc123:{what}".encode()).hexdigest()  # noqa: S324
    return fields.get("response") == right
