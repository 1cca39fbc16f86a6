"""The preview's routes: a page, its pictures as multipart JPEG, its figures as Server-Sent Events, its settings."""

from __future__ import annotations

import io
import json
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from boir_sdk.errors import InputError
from boir_sdk.preview.access import Access
from boir_sdk.preview.feed import MAX_VIEWERS, Feed, TooManyViewers, UnknownSource
from boir_sdk.preview.request import Gone, Refused, read_request

PAGES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
GUARDS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Headers of every answer."""
CHALLENGE = {"WWW-Authenticate": "Bearer"}
BOUNDARY = "boir-frame"
PART = f"\r\n--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
"""Ends a picture and begins the next: browsers show one only when they have seen the head of the part behind it."""
CUT_S = 10.0  # a viewer that takes nothing for so long is cut
SEND_BUFFER = 128 * 1024  # bytes: what a slow viewer can lag behind
FIGURES_PERIOD_S = 0.2
_LOOK_S = 1.0  # how often a waiting handler looks whether its viewer has left


class Handler(BaseHTTPRequestHandler):
    """Answers one request; every connection carries one."""

    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def __init__(self, access: Access, feed: Feed, *connection: Any) -> None:
        self._access, self._feed = access, feed
        super().__init__(*connection)  # answers at once

    def handle(self) -> None:
        """Read the request, check who asks, answer."""
        self.close_connection = True
        self.command, self.requestline, self.request_version = "", "", "HTTP/1.1"
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        try:
            head, self._body = read_request(self.connection)
            self.raw_requestline, _, rest = head.partition(b"\r\n")
            self.rfile = io.BytesIO(rest)
            self.connection.settimeout(CUT_S)
            if self.parse_request():
                self._route()
        except Refused as refused:
            self._refuse(refused)
        except (Gone, TimeoutError, ConnectionError):
            return

    def _route(self) -> None:
        access = self._access
        host = self.headers["Host"]
        if not access.host_is_ours(host):
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "this preview isn't known by that name")
        self._name = f"boir_preview_{self.connection.getsockname()[1]}"
        parts = urlsplit(self.path)
        if parts.path == "/settings":
            routes: dict[str, Callable[[str], None]] = {"POST": lambda _: self._settings(host)}
        elif parts.path in PAGES:
            routes = {"GET": lambda _: self._page(parts.path)}
        elif parts.path in ("/stream", "/events", "/link"):
            routes = {"GET": {"/stream": self._stream, "/events": self._events, "/link": self._link}[parts.path]}
        else:
            raise Refused(HTTPStatus.NOT_FOUND, "there is nothing here")
        if self.command not in routes:
            allowed = ", ".join(routes)
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"use {allowed}", {"Allow": allowed})
        # Another site may not fill the viewers' places or read along; older browsers don't say who asks.
        foreign = self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
        if foreign and not (self.headers.get("Sec-Fetch-Mode") == "navigate" and parts.path in ("/", "/link")):
            raise Refused(HTTPStatus.FORBIDDEN, "another site can't use this preview")
        known = access.may_see(self.headers.get("Authorization"), self.headers.get("Cookie"), self._name)
        if not known and parts.path != "/link":
            raise Refused(HTTPStatus.UNAUTHORIZED, "open the link that the preview printed", CHALLENGE)
        routes[self.command](parts.query)

    def _page(self, path: str) -> None:
        name, kind = PAGES[path]
        self._send(HTTPStatus.OK, (files("boir_sdk.preview") / name).read_bytes(), kind)

    def _link(self, query: str) -> None:
        session = self._access.redeem(_one(query, "code") or "")
        if session is None:
            raise Refused(HTTPStatus.UNAUTHORIZED, "this link was used already or is wrong: take the newest", CHALLENGE)
        cookie = f"{self._name}={session}; HttpOnly; SameSite=Lax; Path=/"
        self._send(HTTPStatus.SEE_OTHER, b"", "text/plain", {"Location": "/", "Set-Cookie": cookie})

    def _settings(self, host: str) -> None:
        if not self._access.origin_is_ours(self.headers.get("Origin"), host):
            raise Refused(HTTPStatus.FORBIDDEN, "settings are changed from the preview's own page")
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "settings are JSON")
        try:
            self._feed.change(**_checked_settings(self._body))
        except InputError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from None
        self._send(HTTPStatus.NO_CONTENT, b"", None)

    def _stream(self, query: str) -> None:
        number = _one(query, "source") or "0"
        if not (number.isascii() and number.isdecimal() and len(number) < 5):
            raise Refused(HTTPStatus.BAD_REQUEST, "source is a number, from 0")
        feed = self._feed
        try:
            with feed.viewing(int(number)) as shown:
                self._start(HTTPStatus.OK, f"multipart/x-mixed-replace; boundary={BOUNDARY}")
                self.wfile.write(PART)
                while not self._left():
                    news = feed.picture(int(number), shown, _LOOK_S)
                    if news is not None:
                        shown, jpeg = news
                        self.wfile.write(jpeg + PART)
        except UnknownSource:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such source, or no frame of it yet") from None
        except TooManyViewers:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_VIEWERS} viewers are here already") from None

    def _events(self, query: str) -> None:
        feed, version = self._feed, -1
        try:
            with feed.reading():
                self._start(HTTPStatus.OK, "text/event-stream")
                while not self._left():
                    news = feed.news(version, _LOOK_S)
                    # Also without news: figures such as the frame rate fall when frames stop.
                    data = json.dumps(feed.figures(), separators=(",", ":"))
                    self.wfile.write(f"data: {data}\n\n".encode())
                    version = news
                    time.sleep(FIGURES_PERIOD_S)
        except TooManyViewers:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_VIEWERS} viewers are here already") from None

    def _left(self) -> bool:
        """Whether the viewer closed the connection, or the preview is closing."""
        if self._feed.closed:
            return True
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            return bool(selector.select(0)) and not self.connection.recv(4096)

    def _start(self, status: HTTPStatus, kind: str | None, more: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        for name, value in {**GUARDS, **(more or {}), "Connection": "close"}.items():
            self.send_header(name, value)
        if kind:
            self.send_header("Content-Type", kind)
        self.end_headers()

    def _send(self, status: HTTPStatus, body: bytes, kind: str | None, more: dict[str, str] | None = None) -> None:
        length = {} if status == HTTPStatus.NO_CONTENT else {"Content-Length": str(len(body))}
        self._start(status, kind, {**length, **(more or {})})
        if body and self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, refused: Refused) -> None:
        self.connection.settimeout(1.0)
        with suppress(OSError):
            self._send(refused.status, f"{refused}\n".encode(), "text/plain; charset=utf-8", refused.headers)
            self.connection.shutdown(socket.SHUT_WR)
            # What is still coming is taken, a little: closing with it unread would take the answer away again.
            end_s = time.monotonic() + 1.0
            while time.monotonic() < end_s and self.connection.recv(65536):
                pass

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse in our own words what the standard library's parser refuses."""
        self._refuse(Refused(HTTPStatus.BAD_REQUEST, message or "this isn't a request"))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: addresses and links don't belong into logs."""


def _one(query: str, name: str) -> str | None:
    """The value of a parameter that is there once."""
    values = parse_qs(query, max_num_fields=10).get(name, []) if query.count("&") < 10 else []
    return values[0] if len(values) == 1 else None


def _checked_settings(body: bytes) -> dict[str, Any]:
    """Settings from a request's body: `threshold` 0..1, `paused`, or both.

    Raises:
        InputError: anything else.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise InputError("settings are a JSON object") from None
    if not isinstance(data, dict) or not data or data.keys() - {"threshold", "paused"}:
        raise InputError("settings are threshold, paused or both")
    if "threshold" in data and (isinstance(data["threshold"], bool) or not isinstance(data["threshold"], (int, float))):
        raise InputError("threshold is a number")
    if "paused" in data and not isinstance(data["paused"], bool):
        raise InputError("paused is true or false")
    return data
