"""Who may see the preview: addresses, host names, origins and tokens."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie

from boir_sdk.errors import ConfigError

MIN_TOKEN = 16  # characters
MAX_SESSIONS = 64


def new_token() -> str:
    """Make a token of 128 random bits (22 characters)."""
    return secrets.token_urlsafe(16)


def is_loopback(address: str) -> bool:
    """Whether an address to listen on can only be reached from this machine."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


class Access:
    """Checks requests against the address that is listened on and the token.

    A viewer shows the token in the header `Authorization: Bearer TOKEN`, or opens a one-time link: its code is taken
    once, for a cookie that holds until the preview ends, and a new link replaces it.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None,
        hosts: Iterable[str] = (),
        on_code: Callable[[str], None] | None = None,
    ) -> None:
        """Check the combination.

        Args:
            address: what is listened on.
            token: needed unless the address is a loopback one; at least 16 characters.
            hosts: further names by which browsers may address this machine.
            on_code: called with each new code for a link, after the one before was used.

        Raises:
            ConfigError: other machines could look on without a token, or the token is short.
        """
        self._wide = not is_loopback(address)
        if token is None and self._wide:
            raise ConfigError(f"listening on {address} shows the preview to other machines: that needs a token")
        if token is not None and (len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable()):
            raise ConfigError(f"the preview's token needs at least {MIN_TOKEN} plain characters")
        self._token = token
        names = {"localhost", address, *hosts}
        if self._wide:
            machine = socket.gethostname()
            names |= {machine, f"{machine}.local"}
        self._names = {name.lower().strip("[]") for name in names}
        self._on_code = on_code
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, None] = OrderedDict()
        self.code = secrets.token_urlsafe(16)
        """The code of the link that works now."""

    @property
    def needs_token(self) -> bool:
        """Whether viewers have to show a token."""
        return self._token is not None

    def host_is_ours(self, host: str | None) -> bool:
        """Whether a Host header names this machine.

        A foreign name that was made to point here (DNS rebinding) doesn't. An IP address can't be made to point
        anywhere, so when other machines may look on, any is taken; otherwise loopback ones.
        """
        if not host:
            return False
        name, port = _split(host.lower())
        if name is None or not (port == "" or port.isdecimal()):
            return False
        if name in self._names:
            return True
        try:
            ip = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._wide or ip.is_loopback

    def origin_is_ours(self, origin: str | None, host: str) -> bool:
        """Whether a POST comes from our own page, as its Origin header says; `host` was found to be ours."""
        return origin is not None and origin.lower() == f"http://{host.lower()}"

    def may_see(self, authorization: str | None, cookie: str | None, cookie_name: str) -> bool:
        """Whether a request shows the token or a session; always so when no token is needed."""
        if self._token is None:
            return True
        kind, _, shown = (authorization or "").partition(" ")
        if kind.lower() == "bearer" and _same(shown.strip(), self._token):
            return True
        session = _cookie(cookie, cookie_name)
        if not session:
            return False
        with self._lock:
            return any([_same(session, known) for known in self._sessions])  # a list: all are compared, every time

    def redeem(self, code: str) -> str | None:
        """Take a link's code; return a new session's secret, or None when the code is wrong or used up."""
        with self._lock:
            if not _same(code, self.code):
                return None
            self.code = secrets.token_urlsafe(16)
            session = secrets.token_urlsafe(16)
            self._sessions[session] = None
            while len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
            fresh = self.code
        if self._on_code is not None:
            self._on_code(fresh)
        return session


def _same(shown: str, known: str) -> bool:
    """Compare in a time that doesn't tell where the difference is."""
    return hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), known.encode())


def _split(host: str) -> tuple[str | None, str]:
    """A Host header as name and port ("" without one); the name is None when it can't be one."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return None, ""
        return name, port[1:]
    name, _, port = host.partition(":")
    return name or None, port


def _cookie(header: str | None, name: str) -> str | None:
    try:
        morsel = SimpleCookie(header or "").get(name)
    except CookieError:
        return None
    return None if morsel is None else morsel.value
