"""Credentials never leave: names of sources and free text without user names, passwords and tokens."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

UNPARSEABLE = "<unparseable source>"
HIDDEN = "***"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{0,30}://")
# Query values that cameras' addresses are told apart by, and that are never secret.
_OPEN_KEYS = frozenset(
    {"channel", "subtype", "stream", "streamtype", "profile", "unicast", "proto", "resolution", "fps"}
)
_HOST = re.compile(r"(?:[A-Za-z0-9._~\-]+|\[[0-9A-Fa-f:.%]+\])(?::[0-9]{1,5})?\Z")
_TOKEN = re.compile(r"\S+")
_USERINFO = re.compile(r"[^\s@/'\"]+:\S+@(?=\S)")
_SECRET_WORD = re.compile(
    r"(?i)\b(pass(?:word|wd|phrase)?|pwd|token|secret|api[_-]?key|auth(?:orization)?|user(?:name)?)\b"
    r"(\s*[=:]\s*)(?:(?:basic|digest|bearer)\s+)?(\"[^\"]*\"|'[^']*'|[^\s&,;]+)"
)


def source_name(source: object) -> str:
    """Name a source so that it can be shown: a URL without credentials and tokens, a path, or a kind of object.

    Args:
        source: what a user gave as a source.

    Returns:
        The name; `<unparseable source>` for a URL that can't be understood well enough to be sure.
    """
    if isinstance(source, os.PathLike):
        source = os.fsdecode(source)
    if isinstance(source, int) and not isinstance(source, bool):
        return f"camera {source}"
    if not isinstance(source, str):
        return f"<{type(source).__qualname__}>"
    match = _SCHEME.match(source)
    if match:
        return _url_name(source, match.end())
    return redact(source)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Hide credentials in free text, such as a foreign exception's.

    In URLs everything before the last `@` and the values of query parameters and the fragment are replaced by `***`,
    as are `user:password@` without a scheme and what follows words such as `password=`. A secret with white space in
    it can't be told from the text around it: give it in `secrets`.

    Args:
        text: any text.
        secrets: exact strings to hide, as they are and percent-encoded.
    """
    forms = {form for secret in secrets if secret for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return _hide_words(_TOKEN.sub(_redact_token, text))


def _hide_words(text: str) -> str:
    return _SECRET_WORD.sub(lambda found: f"{found[1]}{found[2]}{HIDDEN}", text)


def _redact_token(found: re.Match[str]) -> str:
    token = found[0]
    scheme = _SCHEME.search(token)
    if scheme is None:
        return _USERINFO.sub(f"{HIDDEN}@", token)
    before = _USERINFO.sub(f"{HIDDEN}@", token[: scheme.start()])
    body = token[scheme.end() :]
    _, at, rest = body.rpartition("@")
    return before + scheme[0] + (f"{HIDDEN}@" if at else "") + _without_values(rest)


def _url_name(url: str, start: int) -> str:
    """A URL as a name: scheme, host and path only when all three are beyond doubt."""
    if not url.isprintable() or any(letter.isspace() or letter in "\\<>\"'" for letter in url):
        return UNPARSEABLE
    rest = url[start:]
    _, at, after = rest.rpartition("@")
    host = re.split(r"[/?#]", after, maxsplit=1)[0]
    if not _HOST.match(host):
        return UNPARSEABLE
    return _hide_words(url[:start] + (f"{HIDDEN}@" if at else "") + _without_values(after))


def _without_values(rest: str) -> str:
    """Host, path and query -> the same with the values of the query and the fragment hidden."""
    rest, hash_mark, _ = rest.partition("#")
    path, mark, query = rest.partition("?")
    parts = []
    for part in query.split("&") if mark else []:
        key, equals, value = part.partition("=")
        shown = value if key.lower() in _OPEN_KEYS and value.isalnum() and len(value) <= 8 else HIDDEN
        parts.append(f"{key}={shown}" if equals else HIDDEN)
    return path + mark + "&".join(parts) + (f"#{HIDDEN}" if hash_mark else "")
