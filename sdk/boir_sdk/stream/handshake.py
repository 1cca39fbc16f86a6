"""Ask a network camera what it offers, in plain Python, so that a failure has a cause.

The decoder only says that an address can't be opened. This does what a player does up to the description of the
stream (RTSP of RFC 2326 and its SDP of RFC 8866; the status line of HTTP), and names what went wrong in one word. With
`deep` it goes on through SETUP and PLAY.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urljoin

from boir_sdk.errors import InputError
from boir_sdk.stream import authorization
from boir_sdk.stream.address import Address, redirected
from boir_sdk.stream.failure import SourceError

REDIRECTS = 5
_HEADER_BYTES = 64 << 10
_BODY_BYTES = 256 << 10
_CODECS = frozenset(
    {"H264", "H265", "HEVC", "JPEG", "MP4V-ES", "MPV", "H263", "H263-1998", "H263-2000", "VP8", "VP9", "AV1"}
)
_STATIC_PAYLOADS = {"26": "JPEG", "31": "H261", "32": "MPV", "34": "H263"}


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of the camera: status, headers (names in lower case, repeated ones as a list) and body."""

    status: int
    headers: dict[str, list[str]]
    body: bytes


def check(address: Address, timeout_s: float, *, deep: bool = False) -> Address:
    """Find out whether the address gives video that can be decoded.

    Args:
        address: of the camera.
        timeout_s: for all of it together.
        deep: RTSP only: begin to play as well, and end it at once.

    Returns:
        The address, after redirects.

    Raises:
        SourceError: with the cause as its code; the message holds no credentials.
    """
    deadline = time.monotonic() + timeout_s
    for _ in range(REDIRECTS + 1):
        try:
            talk = _check_rtsp if address.scheme.startswith("rtsp") else _check_http
            location = talk(address, deadline, deep)
        except TimeoutError as error:
            raise SourceError("timeout", f"{address.name} doesn't answer within {timeout_s:g} s") from error
        except ConnectionRefusedError as error:
            raise SourceError("refused", f"{address.name} refuses the connection: is the camera on?") from error
        except socket.gaierror as error:
            raise SourceError("unreachable", f"the host {address.host} isn't known here: check the address") from error
        except ssl.SSLError as error:
            raise SourceError("tls", f"{address.name}: no encrypted connection: {error.reason}") from error
        except (ConnectionError, EOFError, http.client.RemoteDisconnected) as error:
            raise SourceError("lost", f"{address.name} closed the connection before it described its stream") from error
        except OSError as error:
            raise SourceError(
                "unreachable", f"{address.name} can't be reached: {error.strerror or 'no way'}"
            ) from error
        except (ValueError, http.client.HTTPException) as error:
            raise SourceError("protocol", f"{address.name} answers something else than {address.scheme}") from error
        if location is None:
            return address
        try:
            address = redirected(address, location)
        except InputError as error:
            raise SourceError("redirect", f"{address.name} redirects to something that isn't a stream") from error
    raise SourceError("redirect", f"{address.name} redirects more than {REDIRECTS} times")


def _check_rtsp(address: Address, deadline: float, deep: bool) -> str | None:
    with _connect(address, deadline) as connection:
        talk = _Conversation(connection, address, deadline)
        answer = talk.ask("DESCRIBE", address.bare, {"Accept": "application/sdp"})
        if location := _judge(answer, address):
            return location
        control = _video_control(answer.body.decode("utf-8", "replace"), address)
        if deep:
            base = (answer.headers.get("content-base") or [address.bare])[0]
            track = base if control in ("", "*") else urljoin(_rtsp_as_http(base), control)
            setup = talk.ask("SETUP", _http_as_rtsp(track), {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"})
            _judge(setup, address)
            session = {"Session": (setup.headers.get("session") or [""])[0].partition(";")[0]}
            _judge(talk.ask("PLAY", base, session), address)
            talk.send("TEARDOWN", base, session)
    return None


def _check_http(address: Address, deadline: float, deep: bool) -> str | None:
    header: dict[str, str] = {}
    for _ in range(2):
        with _connect(address, deadline) as connection:
            client = http.client.HTTPConnection(address.host, address.port)
            client.sock = connection
            client.request("GET", address.path, headers=header)
            found = client.getresponse()
            answer = Response(found.status, {}, b"")
            for name, value in found.getheaders():
                answer.headers.setdefault(name.lower(), []).append(value)
        if answer.status != 401 or header or address.user is None:
            break
        challenges = answer.headers.get("www-authenticate", [])
        header = {
            "Authorization": authorization.answer(challenges, "GET", address.path, address.user, address.password or "")
        }
    return _judge(answer, address)


def _connect(address: Address, deadline: float) -> socket.socket:
    connection = socket.create_connection((address.host, address.port), timeout=_left(deadline))
    if address.scheme not in ("rtsps", "https"):
        return connection
    # Cameras sign their own certificates and the decoder doesn't verify either: this only keeps onlookers out.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection, server_hostname=address.host)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Conversation:
    """Requests and responses on one connection, with a deadline for all of them."""

    def __init__(self, connection: socket.socket, address: Address, deadline: float) -> None:
        self._connection, self._address, self._deadline = connection, address, deadline
        self._received = b""
        self._sequence = 0
        self._challenges: list[str] = []

    def ask(self, method: str, url: str, headers: dict[str, str]) -> Response:
        """Send a request and return the response, with credentials once they are asked for."""
        self.send(method, url, headers)
        response = self._response()
        if response.status == 401 and not self._challenges and self._address.user is not None:
            self._challenges = response.headers.get("www-authenticate", [])
            if self._challenges:
                self.send(method, url, headers)
                response = self._response()
        return response

    def send(self, method: str, url: str, headers: dict[str, str]) -> None:
        """Send a request without waiting."""
        self._sequence += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._sequence}", "User-Agent: boir-sdk"]
        if self._challenges:
            user, password = self._address.user or "", self._address.password or ""
            lines.append("Authorization: " + authorization.answer(self._challenges, method, url, user, password))
        lines += [f"{name}: {value}" for name, value in headers.items() if value]
        self._connection.settimeout(_left(self._deadline))
        self._connection.sendall("\r\n".join([*lines, "", ""]).encode())

    def _response(self) -> Response:
        while b"\r\n\r\n" not in self._received:
            if len(self._received) > _HEADER_BYTES:
                raise ValueError("header too long")
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("utf-8", "replace").split("\r\n")
        found = re.match(r"RTSP/1\.\d (\d{3})\b", first)
        if found is None or len(head) > _HEADER_BYTES:
            raise ValueError("not an RTSP response")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name.strip().lower(), []).append(value.strip())
        length = int((headers.get("content-length") or ["0"])[0])
        if not 0 <= length <= _BODY_BYTES:
            raise ValueError("body too long")
        while len(self._received) < length:
            self._receive()
        body, self._received = self._received[:length], self._received[length:]
        return Response(int(found[1]), headers, body)

    def _receive(self) -> None:
        self._connection.settimeout(_left(self._deadline))
        data = self._connection.recv(16 << 10)
        if not data:
            raise EOFError
        self._received += data


def _judge(response: Response, address: Address) -> str | None:
    """A status that means failure -> the error; a redirect -> where to; success -> None."""
    status, where = response.status, address.name
    if 200 <= status < 300:
        return None
    if status in (401, 403):
        if address.user is None:
            raise SourceError(
                "auth", f"{where} asks for a user name and a password: rtsp://${{USER}}:${{PASSWORD}}@..."
            )
        raise SourceError("auth", f"{where} refuses the user name or the password")
    if status in (404, 410):
        raise SourceError("not_found", f"{where}: the camera has no stream under this path ({status})")
    location = response.headers.get("location")
    if 300 <= status < 400 and location:
        return location[0]
    raise SourceError("server", f"{where}: the camera answers with status {status}")


def _video_control(sdp: str, address: Address) -> str:
    """The control address of the first video that can be decoded.

    Raises:
        SourceError: `sdp` when it isn't a description with video, `codec` when nothing of it can be decoded.
    """
    lines = [line.strip() for line in sdp.splitlines()]
    starts = [i for i, line in enumerate(lines) if line.startswith("m=")]
    found: set[str] = set()
    for i in starts if lines[:1] == ["v=0"] else []:
        media = re.match(r"m=video \d+(?:/\d+)? \S+ (\d+)", lines[i])
        if media is None:
            continue
        section = lines[i : min((start for start in starts if start > i), default=len(lines))]
        names = [
            line.partition(" ")[2].partition("/")[0] for line in section if line.startswith(f"a=rtpmap:{media[1]} ")
        ]
        codec = (names or [_STATIC_PAYLOADS.get(media[1], "")])[0].upper()
        if codec in _CODECS:
            return next((line.partition(":")[2] for line in section if line.startswith("a=control:")), "")
        found.add(codec or f"payload {media[1]}")
    if found:
        raise SourceError(
            "codec", f"{address.name} offers video as {', '.join(sorted(found))[:80]}, which can't be decoded"
        )
    raise SourceError("sdp", f"{address.name} doesn't describe any video")


def _rtsp_as_http(url: str) -> str:
    """`urljoin` only joins schemes it knows."""
    return re.sub(r"^rtsp", "http", url)


def _http_as_rtsp(url: str) -> str:
    return re.sub(r"^http", "rtsp", url)
