"""The preview: a little web server in threads of its own, that a stream's results are handed to."""

from __future__ import annotations

import ipaddress
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any

from boir_sdk.errors import ConfigError
from boir_sdk.preview.access import Access
from boir_sdk.preview.feed import Feed
from boir_sdk.preview.handler import Handler
from boir_sdk.stream.result import StreamResult

MAX_CONNECTIONS = 64


class Preview:
    """Shows a stream's results in web browsers, from threads of its own; a sink like the others.

    Example:
        >>> with PoseEstimator() as estimator, Preview(8000) as preview:  # doctest: +SKIP
        ...     print(preview.link)
        ...     for result in estimator.stream(0):
        ...         preview.write(result)
    """

    def __init__(
        self,
        port: int = 8000,
        *,
        address: str = "127.0.0.1",
        token: str | None = None,
        hosts: Iterable[str] = (),
        score_threshold: float = 0.0,
        keypoint_threshold: float = 0.1,
        on_link: Callable[[str], None] | None = None,
    ) -> None:
        """Start to listen.

        Args:
            port: 0 to 65535; 0 takes a free one, see `port`.
            address: this machine only by default; `0.0.0.0` or one of the machine's addresses lets others look on.
            token: what viewers have to show (`access.new_token()` makes one); needed when others can look on.
            hosts: further names by which browsers may address this machine.
            score_threshold: where the page's slider begins.
            keypoint_threshold: keypoints with a lower score aren't drawn.
            on_link: called with each new one-time link, after the one before was used.

        Raises:
            ConfigError: another address without a token, a short token, or the port can't be had.
        """
        if not 0 <= port <= 65535:
            raise ConfigError(f"port is {port!r}, expected 0 to 65535")
        self._on_link = on_link
        access = Access(address, token=token, hosts=hosts, on_code=self._tell)
        feed = Feed(score_threshold=score_threshold, keypoint_threshold=keypoint_threshold)
        try:
            self._server = _Server(address, port, access, feed)
        except OSError as error:
            feed.close()
            raise ConfigError(
                f"can't listen on {address} port {port}: {error.strerror or error}; choose another"
            ) from error
        self._address = address
        self._access = access
        self._feed = feed
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="boir-preview-accept", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The page's address. Where a token is needed it has to be shown; `link` does that."""
        return f"http://{_reachable(self._address)}:{self.port}/"

    @property
    def link(self) -> str:
        """What to open in a browser, namely `url`, or where a token is needed a link that works once."""
        return f"{self.url}link?code={self._access.code}" if self._access.needs_token else self.url

    def write(self, result: StreamResult) -> None:
        """Show the next result; returns at once, whatever the viewers do.

        Args:
            result: the next one of the stream.
        """
        self._feed.publish(result)

    def close(self) -> None:
        """Send the viewers away and end all threads; a second call does nothing."""
        if self._feed.closed:
            return
        self._feed.close()
        self._server.shutdown()
        self._server.server_close()
        self._server.end_handlers()
        self._thread.join(timeout=5)

    def _tell(self, code: str) -> None:
        if self._on_link is not None:
            self._on_link(f"{self.url}link?code={code}")

    def __enter__(self) -> Preview:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _reachable(address: str) -> str:
    """A host for a link: the address itself, or for "all addresses" the one that this machine has outside."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.is_unspecified:
        return _outward()
    return f"[{address}]" if ip.version == 6 else address


def _outward() -> str:
    """The address under which other machines know this one; its name where it has no network. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation: only the route to it is looked up
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


class _Server(socketserver.TCPServer):
    """A thread a connection, at most `MAX_CONNECTIONS`, all of which `end_handlers` ends."""

    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: str, port: int, access: Access, feed: Feed) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._lock = threading.Lock()
        self._handlers: dict[threading.Thread, socket.socket] = {}
        super().__init__((address, port), partial(Handler, access, feed))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a new thread, or refuse where there are too many."""
        thread = threading.Thread(
            target=self._answer, args=(request, client_address), name="boir-preview-viewer", daemon=True
        )
        with self._lock:
            full = len(self._handlers) >= MAX_CONNECTIONS
            if not full:
                self._handlers[thread] = request
        if full:
            request.settimeout(0.5)
            with suppress(OSError):
                request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.shutdown_request(request)
            return
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            with self._lock:
                del self._handlers[thread]
            raise

    def _answer(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # the viewer left
        except Exception:  # noqa: BLE001 - nothing a client sends may end more than its own connection
            self.failures += 1
        finally:
            self.shutdown_request(request)
            with self._lock:
                self._handlers.pop(threading.current_thread(), None)

    failures = 0
    """Requests that met a defect of ours; tests look at it."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Count instead of printing: a connection for which there was no thread."""
        self.failures += 1

    def end_handlers(self) -> None:
        """Cut every connection and wait for its thread."""
        with self._lock:
            handlers = dict(self._handlers)
        for request in handlers.values():
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
        for thread in handlers:
            thread.join(timeout=2)
