"""Reading one HTTP request with limits: on its size, and on how long all of it may take."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping
from http import HTTPStatus

LIMIT_BYTES = 64 * 1024
LIMIT_S = 10.0

_LINE = re.compile(rb"[A-Z]{1,16} /[!-~]{0,2047} HTTP/1\.[01]\Z")
_HEADER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[ \t]*[ -~\t\x80-\xff]*\Z")
_LENGTH = re.compile(rb"[0-9]{1,9}\Z")


class Refused(Exception):
    """A request that isn't answered as asked.

    Attributes:
        status: the answer's status, 4xx or 503.
        headers: what the status needs beside it.
    """

    def __init__(self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class Gone(Exception):
    """The other side left before its request was whole."""


def read_request(connection: socket.socket, *, limit_s: float = LIMIT_S) -> tuple[bytes, bytes]:
    """Read one request: the head (request line and headers with the empty line) and the body.

    The time limit is for all of it, so that a client that sends a byte now and then is cut too.

    Raises:
        Refused: too long (431, 413), too slow (408) or malformed (400).
        Gone: the connection was closed first.
    """
    end_s = time.monotonic() + limit_s
    data = b""
    while (split := data.find(b"\r\n\r\n")) < 0:
        if len(data) > LIMIT_BYTES:
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a head has at most {LIMIT_BYTES} bytes")
        if b"\n\n" in data or b"\n\r\n" in data.replace(b"\r\n\r\n", b""):
            raise Refused(HTTPStatus.BAD_REQUEST, "lines end with CR LF")
        data += _receive(connection, end_s)
    head, body = data[: split + 4], data[split + 4 :]
    length = _checked_length(head)
    while len(body) < length:
        body += _receive(connection, end_s)
    return head, body[:length]


def _receive(connection: socket.socket, end_s: float) -> bytes:
    left_s = end_s - time.monotonic()
    if left_s <= 0:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"a request has to arrive within {LIMIT_S:g} s")
    connection.settimeout(left_s)
    try:
        data = connection.recv(16384)
    except TimeoutError:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"a request has to arrive within {LIMIT_S:g} s") from None
    except OSError as error:
        raise Gone from error
    if not data:
        raise Gone
    return data


def _checked_length(head: bytes) -> int:
    """Check the form of every line of the head; return the length of the body."""
    if len(head) > LIMIT_BYTES:
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a head has at most {LIMIT_BYTES} bytes")
    line, *headers = head[:-4].split(b"\r\n")
    if not _LINE.match(line):
        raise Refused(HTTPStatus.BAD_REQUEST, "this isn't a request line of HTTP/1.1")
    if len(headers) > 100:
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "at most 100 headers")
    values: dict[bytes, list[bytes]] = {}
    for header in headers:
        if not _HEADER.match(header):
            raise Refused(HTTPStatus.BAD_REQUEST, "this isn't a header line")
        name, _, value = header.partition(b":")
        values.setdefault(name.lower(), []).append(value.strip())
    if len(values.get(b"host", [])) != 1:
        raise Refused(HTTPStatus.BAD_REQUEST, "a request needs one Host header")
    if b"transfer-encoding" in values:
        raise Refused(HTTPStatus.BAD_REQUEST, "a body's length has to be given by Content-Length")
    lengths = values.get(b"content-length", [b"0"])
    if len(lengths) != 1 or not _LENGTH.match(lengths[0]):
        raise Refused(HTTPStatus.BAD_REQUEST, "this isn't a Content-Length")
    length = int(lengths[0])
    if length > LIMIT_BYTES:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {LIMIT_BYTES} bytes")
    return length
