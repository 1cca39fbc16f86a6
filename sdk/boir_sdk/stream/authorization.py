"""Answer a server's challenge with Basic or Digest credentials (RFC 7617, RFC 7616), as RTSP and HTTP share them."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Sequence

_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_HASHES: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data).hexdigest(),  # noqa: S324 - what the protocol prescribes
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}


def answer(challenges: Sequence[str], method: str, uri: str, user: str, password: str) -> str:
    """Return the value of an `Authorization` header.

    Args:
        challenges: values of the `WWW-Authenticate` headers; a Digest is preferred to Basic.
        method: of the request, such as `DESCRIBE`.
        uri: of the request, as it is sent.
        user: user name.
        password: password.

    Raises:
        ValueError: no challenge is of a kind known here.
    """
    for challenge in challenges:
        kind, _, rest = challenge.partition(" ")
        if kind.lower() != "digest":
            continue
        fields = {m[1].lower(): m[2] if m[2] is not None else m[3] for m in _PARAMETER.finditer(rest)}
        algorithm = fields.get("algorithm", "MD5").upper()
        if algorithm in _HASHES and {"realm", "nonce"} <= fields.keys():
            return _digest(fields, algorithm, method, uri, user, password)
    if any(challenge.partition(" ")[0].lower() == "basic" for challenge in challenges):
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    raise ValueError("no known kind of authentication")


def _digest(fields: dict[str, str], algorithm: str, method: str, uri: str, user: str, password: str) -> str:
    def hashed(text: str) -> str:
        return _HASHES[algorithm](text.encode())

    who = hashed(f"{user}:{fields['realm']}:{password}")
    what = hashed(f"{method}:{uri}")
    quoted = user.replace("\\", "\\\\").replace('"', '\\"')
    parts = [f'username="{quoted}"', f'realm="{fields["realm"]}"', f'nonce="{fields["nonce"]}"', f'uri="{uri}"']
    if "auth" in re.split(r"[\s,]+", fields.get("qop", "")):
        once, count = secrets.token_hex(8), "00000001"
        response = hashed(f"{who}:{fields['nonce']}:{count}:{once}:auth:{what}")
        parts += ["qop=auth", f"nc={count}", f'cnonce="{once}"']
    else:
        response = hashed(f"{who}:{fields['nonce']}:{what}")
    parts.append(f'response="{response}"')
    if "algorithm" in fields:
        parts.append(f"algorithm={algorithm}")
    if "opaque" in fields:
        parts.append(f'opaque="{fields["opaque"]}"')
    return "Digest " + ", ".join(parts)
