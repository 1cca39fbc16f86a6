"""Addresses of cameras: what is understood, what is refused, and where credentials come from."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boir_sdk.errors import InputError
from boir_sdk.stream.address import parse, redirected

GOOD = [
    ("rtsp://h/live", ("rtsp", "h", 554, "/live", None, None)),
    ("RTSP://h", ("rtsp", "h", 554, "/", None, None)),
    ("http://h:8080/v?x=1", ("http", "h", 8080, "/v?x=1", None, None)),
    ("rtsp://u:p@h/live", ("rtsp", "h", 554, "/live", "u", "p")),
    ("rtsp://u@h/live", ("rtsp", "h", 554, "/live", "u", "")),
    ("rtsp://u:p%40ss@h/live", ("rtsp", "h", 554, "/live", "u", "p@ss")),
    ("rtsp://u:p@ss@h/live", ("rtsp", "h", 554, "/live", "u", "p@ss")),
    ("rtsp://u:pa/s#s@h/live", ("rtsp", "h", 554, "/live", "u", "pa/s#s")),
    ("rtsp://h/live@2", ("rtsp", "h", 554, "/live@2", None, None)),
    ("rtsp://[fe80::1]:8554/x", ("rtsp", "fe80::1", 8554, "/x", None, None)),
    ("rtsp://${CAM}:${WORD}@h/x", ("rtsp", "h", 554, "/x", "us er", "a%41@/")),
    ("rtsps://h?y", ("rtsps", "h", 322, "/?y", None, None)),
]
BAD = [
    "rtsp://h:554/live@2",
    "rtsp://u:p@ss/w@h/",
    "rtsp://us#er:pw@h/",
    "ftp://h/x",
    "rtsp://",
    "rtsp://h:0/",
    "rtsp://h:99999/",
    "rtsp://h x/",
    "rtsp://u:p",
    "rtsp://h\n/",
    "rtsp:/h",
]
ENVIRONMENT = {"CAM": "us er", "WORD": "a%41@/"}


@pytest.mark.parametrize(("url", "expected"), GOOD)
def test_parse(url, expected) -> None:
    address = parse(url, ENVIRONMENT)
    got = (address.scheme, address.host, address.port, address.path, address.user, address.password)
    assert got == expected


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_address_is_refused(url) -> None:
    with pytest.raises(InputError):
        parse(url, {})


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(InputError, match="WORD"):
        parse("rtsp://u:${WORD}@h/", {})


def test_a_variable_of_the_process_is_read(monkeypatch) -> None:
    monkeypatch.setenv("S1_WORD", "se cret")
    assert parse("rtsp://u:${S1_WORD}@h/").password == "se cret"  # noqa: S105


@settings(max_examples=150, deadline=None)
@given(user=st.text(min_size=1, max_size=12), password=st.text(max_size=12))
def test_full_is_read_back(user: str, password: str) -> None:
    try:
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    except UnicodeEncodeError:  # a lone surrogate is no text
        return
    address = parse(f"rtsp://{login}@h:1/x?y=1", {})
    assert (address.user, address.password) == (user, password)
    assert parse(address.full, {}) == address
    assert parse(address.bare, {}).user is None


@pytest.mark.parametrize(
    ("location", "bare", "login"),
    [
        ("/other", "rtsp://h:554/other", "u"),
        ("rtsp://h/other", "rtsp://h:554/other", "u"),
        ("rtsp://elsewhere/other", "rtsp://elsewhere:554/other", None),
        ("rtsp://h:555/other", "rtsp://h:555/other", None),
        ("http://h:554/other", "http://h:554/other", None),
    ],
)
def test_credentials_follow_a_redirect_to_the_same_place_only(location, bare, login) -> None:
    target = redirected(parse("rtsp://u:p@h/x", {}), location)
    assert (target.bare, target.user) == (bare, login)
