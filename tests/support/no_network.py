"""A pytest plugin (`-p tests.support.no_network`, `make offline`): nothing may leave this machine, nor its children.

Loopback and local sockets work; any other address is refused at once and remembered in the file that the environment
variable names, also by child processes, which a `sitecustomize` on their path brings under the same rule.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

TRIED = "BOIR_NETWORK_TRIED"
HOOK = f"""
import os, sys
if os.environ.get({TRIED!r}):
    sys.path.append({str(Path(__file__).resolve().parents[2])!r})
    from tests.support.no_network import block
    block()
    sys.path.pop()
"""


def is_local(host: object) -> bool:
    """Whether an address or a name means this machine."""
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host)).is_loopback
    except ValueError:
        return False


def block() -> None:
    """From now on this process reaches only itself and others on this machine."""
    connect, connect_ex, sendto, getaddrinfo = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.socket.sendto,
        socket.getaddrinfo,
    )

    def check(what: str, where: object) -> None:
        host = where[0] if isinstance(where, tuple) else where
        if isinstance(where, tuple) and not is_local(host):
            with Path(os.environ[TRIED]).open("a") as file:
                file.write(f"{what} {where}\n")
            raise OSError(101, f"Network is unreachable (blocked: {what} {where})")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        check("connect", address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        check("connect", address)
        return connect_ex(self, address)

    def guarded_sendto(self: socket.socket, data: Any, *arguments: Any) -> int:
        check("send to", arguments[-1])
        return sendto(self, data, *arguments)

    def guarded_getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        check("look up", (host,))
        return getaddrinfo(host, *arguments, **options)

    socket.socket.connect = guarded_connect  # type: ignore[method-assign,assignment]
    socket.socket.connect_ex = guarded_connect_ex  # type: ignore[method-assign,assignment]
    socket.socket.sendto = guarded_sendto  # type: ignore[method-assign,assignment]
    socket.getaddrinfo = guarded_getaddrinfo


def hook(folder: Path) -> dict[str, str]:
    """Write the hook for child processes; returns the environment that brings them under the rule."""
    (folder / "sitecustomize.py").write_text(HOOK)
    tried = folder / "tried.txt"
    tried.touch()
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {TRIED: str(tried), "PYTHONPATH": os.pathsep.join(paths)}


def pytest_configure(config: pytest.Config) -> None:
    """Block this process and those it will start."""
    os.environ.update(hook(Path(tempfile.mkdtemp(prefix="boir-offline-"))))
    block()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was tried; tests that want a refusal by a foreign host may be among it."""
    tried = sorted(set(Path(os.environ[TRIED]).read_text().splitlines()))
    terminalreporter.write_line(f"no network: {len(tried)} addresses were tried" + "".join(f"\n  {t}" for t in tried))
