"""A client of the preview over real sockets: single requests, the pictures, the figures."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from boir_sdk.preview import Preview, handler


def ask(
    preview: Preview, method: str, path: str, body: str | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One request; header names are written with _ for -; the Host is ours unless given."""
    connection = http.client.HTTPConnection("127.0.0.1", preview.port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, data


def post(preview: Preview, settings: Any, **headers: str) -> int:
    body = settings if isinstance(settings, str) else json.dumps(settings)
    given = {"Content_Type": "application/json", "Origin": f"http://127.0.0.1:{preview.port}", **headers}
    return ask(preview, "POST", "/settings", body, **given)[0]


@contextmanager
def opened(preview: Preview, path: str, **headers: str) -> Iterator[socket.socket]:
    """A connection on which `path` was asked for."""
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{preview.port}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", preview.port), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        yield connection


def until(connection: socket.socket, end: bytes, data: bytes = b"") -> tuple[bytes, bytes]:
    """Read to `end`; return what came before it and after it."""
    while end not in data:
        more = connection.recv(65536)
        assert more, f"the connection ended after {data[-200:]!r}"
        data += more
    before, _, after = data.partition(end)
    return before, after


def pictures(connection: socket.socket) -> Iterator[np.ndarray[Any, Any]]:
    """The decoded pictures of a multipart stream."""
    head, rest = until(connection, handler.PART)
    assert f"multipart/x-mixed-replace; boundary={handler.BOUNDARY}".encode() in head
    while True:
        jpeg, rest = until(connection, handler.PART, rest)
        yield cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def figures(connection: socket.socket) -> Iterator[dict[str, Any]]:
    """The figures of an event stream."""
    head, rest = until(connection, b"\r\n\r\n")
    assert b"text/event-stream" in head
    while True:
        line, rest = until(connection, b"\n\n", rest)
        yield json.loads(line.removeprefix(b"data: "))


def drawn(picture: np.ndarray[Any, Any]) -> int:
    """How many pixels have a colour: the frames are grey, people aren't."""
    return int((np.ptp(picture.astype(int), axis=2) > 60).sum())


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("boir-preview")]
