"""Addresses that hypothesis makes up, with whatever people put into passwords, through everything that shows them."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from boir_sdk.errors import InputError
from boir_sdk.stream.address import parse
from boir_sdk.stream.redact import redact, source_name

CANARY = "qzj"  # in no text that the code itself brings
_AWKWARD = st.text(alphabet="@:/?#%&=+!$'\"[]{}~\\ü☃ab1.-_", max_size=16)


def check(examples: int) -> int:
    """Try so many; returns how many were. An assertion names the first that shows something."""
    tried = 0

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True)
    @given(
        scheme=st.sampled_from(["rtsp", "rtsps", "http", "https", "RTSP"]),
        user=_AWKWARD,
        password=_AWKWARD,
        host=st.sampled_from(["camera", "10.0.0.1", "[fe80::1]", "cam.example", "user.host"]),
        port=st.sampled_from(["", ":554", ":70000"]),
        path=st.sampled_from(["", "/", "/live", "/a/b?channel=1", "/x?token=qzjt", "/#qzjf"]),
        encode=st.booleans(),
        around=st.sampled_from(["{}", "can't open {}: refused", "('{}', 5)", "{} {}", "<{}>", "url={};"]),
    )
    def one(scheme: str, user: str, password: str, host: str, port: str, path: str, encode: bool, around: str) -> None:
        nonlocal tried
        tried += 1
        login = [CANARY + user, CANARY + password]
        if encode:
            login = [quote(part, safe="") for part in login]
        url = f"{scheme}://{':'.join(login)}@{host}{port}{path}"
        for shown in (source_name(url), redact(url), redact(around.format(url, url))):
            assert CANARY not in shown, (url, shown)
        try:
            address = parse(url, {})
        except InputError as error:
            assert CANARY not in str(error), (url, str(error))
        else:
            assert CANARY not in repr(address) + address.name, url

    one()
    return tried


def run(examples: int) -> bool:
    """Print how many were tried; an assertion ends the run."""
    print(f"{check(examples)} addresses, none showed its credentials")
    return True
