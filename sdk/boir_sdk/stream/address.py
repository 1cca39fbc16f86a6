"""The address of a network camera: taken apart, with credentials kept away from what is shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote, urljoin

from boir_sdk.errors import InputError
from boir_sdk.stream.redact import source_name

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._~\-]+)(?::(?P<port>[0-9]{1,5}))?\Z")


@dataclass(frozen=True, slots=True)
class Address:
    """A URL in parts; its `repr` shows no credentials.

    Attributes:
        scheme: `rtsp`, `rtsps`, `http` or `https`.
        host: name or number; IPv6 without brackets.
        port: 1 to 65535.
        path: everything behind the host, with the query; begins with `/`.
        user: as it is, not percent-encoded; None without credentials.
        password: likewise.
    """

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)  # its query may hold a token
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def bare(self) -> str:
        """The URL without credentials, as the camera is asked for it."""
        return f"{self.scheme}://{self._host}:{self.port}{self.path}"

    @property
    def name(self) -> str:
        """The URL as it may be shown: without credentials and without tokens in its query."""
        return source_name(self.bare)

    @property
    def full(self) -> str:
        """The URL with percent-encoded credentials: for the decoder only, never for people."""
        if self.user is None:
            return self.bare
        login = f"{quote(self.user, safe='')}:{quote(self.password or '', safe='')}"
        return f"{self.scheme}://{login}@{self._host}:{self.port}{self.path}"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def parse(url: str, environment: Mapping[str, str] | None = None) -> Address:
    """Take a URL apart.

    Credentials may be percent-encoded; `${NAME}` in them is replaced by the environment variable's value. A password
    with unencoded `/`, `?` or `#` is understood as long as only one reading is possible.

    Args:
        url: scheme://[user[:password]@]host[:port][/path][?query].
        environment: where variables are looked up; None for the process's own.

    Raises:
        InputError: it isn't such a URL, or a variable isn't set; the message holds no credentials.
    """
    name = source_name(url)
    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in DEFAULT_PORTS:
        raise InputError(f"{name}: expected a URL that begins with {', '.join(DEFAULT_PORTS)}://")
    if not url.isprintable() or " " in url:
        raise InputError(f"{name}: the URL has white space or control characters: percent-encode them (%20)")
    login, host_port, path = _split(rest, name)
    found = _HOST_PORT.match(host_port)
    port = DEFAULT_PORTS[scheme] if found is None or found["port"] is None else int(found["port"])
    if found is None or not 1 <= port <= 65535:
        raise _unclear(name)
    user, password = (
        (None, None) if login is None else _login(login, os.environ if environment is None else environment)
    )
    path = path.partition("#")[0]
    return Address(
        scheme, found["host"].strip("[]"), port, path if path.startswith("/") else "/" + path, user, password
    )


def redirected(address: Address, location: str) -> Address:
    """Where a redirect leads; credentials go along only to the same host, port and kind of connection.

    Raises:
        InputError: the new address isn't a stream's.
    """
    target = parse(location, {}) if "://" in location else replace(address, path=urljoin(address.path, location))
    same = (target.scheme, target.host, target.port) == (address.scheme, address.host, address.port)
    return replace(target, user=address.user if same else None, password=address.password if same else None)


def _split(rest: str, name: str) -> tuple[str | None, str, str]:
    """What follows the scheme -> credentials or None, host and port, path and query."""
    end = re.search(r"[/?#]", rest)
    authority, path = (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])
    login, at, host_port = authority.rpartition("@")
    if "@" not in path:
        return (login if at else None), host_port, path
    # Either the path has an @, or the password has a / ? or #: a guess could ask a wrong host for the rest of it.
    if _HOST_PORT.match(host_port):
        if ":" in rest.rpartition("@")[0]:
            raise _unclear(name)
        return None, host_port, path
    login, _, after = rest.rpartition("@")
    end = re.search(r"[/?#]", after)
    host_port, path = (after, "") if end is None else (after[: end.start()], after[end.start() :])
    return login, host_port, path


def _unclear(name: str) -> InputError:
    return InputError(
        f"{name}: it isn't clear which part is the host: percent-encode special characters of user, password and path "
        "(@ is %40, / is %2F, # is %23), or take credentials from the environment: rtsp://${USER}:${PASSWORD}@host/"
    )


def _login(login: str, environment: Mapping[str, str]) -> tuple[str, str]:
    user, _, password = login.partition(":")
    return _filled(user, environment), _filled(password, environment)


def _filled(text: str, environment: Mapping[str, str]) -> str:
    """Percent-decode what was written out; a variable's value is taken as it is."""
    parts = _VARIABLE.split(text)
    for place in range(1, len(parts), 2):
        if parts[place] not in environment:
            raise InputError(f"the environment variable {parts[place]}, named in a source's URL, isn't set")
    return "".join(environment[part] if place % 2 else unquote(part) for place, part in enumerate(parts))
