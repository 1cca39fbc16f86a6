"""Credentials never leave: tables for what people write, properties for what nobody thought of."""

from __future__ import annotations

import string
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boir_sdk.errors import InputError
from boir_sdk.stream.address import parse
from boir_sdk.stream.redact import UNPARSEABLE, redact, source_name

NAMES = [
    (0, "camera 0"),
    ("/dev/video0", "/dev/video0"),
    (Path("a/b.mp4"), "a/b.mp4"),
    ("rtsp://10.0.0.1/live", "rtsp://10.0.0.1/live"),
    ("rtsp://10.0.0.1:8554/live?channel=1&subtype=0", "rtsp://10.0.0.1:8554/live?channel=1&subtype=0"),
    ("rtsp://u:p@10.0.0.1/live", "rtsp://***@10.0.0.1/live"),
    ("rtsp://u@10.0.0.1/live", "rtsp://***@10.0.0.1/live"),
    ("rtsp://u:p@ss@host/live", "rtsp://***@host/live"),
    ("rtsp://u:p/a?s#s@host/live", "rtsp://***@host/live"),
    ("rtsp://[fe80::1]:554/live", "rtsp://[fe80::1]:554/live"),
    ("http://host/v?token=abc&channel=2#x", "http://host/v?token=***&channel=2#***"),
    ("http://host/v?abcdef", "http://host/v?***"),
    ("rtsp://host/user=admin&password=abc&channel=1", "rtsp://host/user=***&password=***&channel=1"),
    ("rtsp://u:p", UNPARSEABLE),
    ("rtsp://u:p w@host/", UNPARSEABLE),
    ("rtsp://u:pw@", UNPARSEABLE),
    ("rtsp://", UNPARSEABLE),
    ("admin:secret@10.0.0.1/live", "***@10.0.0.1/live"),
    ([1, 2], "<list>"),
]
TEXTS = [
    ("cannot open rtsp://u:p@h/x: refused", "cannot open rtsp://***@h/x: refused"),
    ("('rtsp://u:p@h/x', 5)", "('rtsp://***@h/x', 5)"),
    ("two: rtsp://a:b@h and http://c:d@i/?key=v", "two: rtsp://***@h and http://***@i/?key=***"),
    ("password=hunter2, user: bob", "password=***, user: ***"),
    ("Authorization: Basic dTpw", "Authorization: ***"),
    ("mail to bob@example.org at 10:30", "mail to bob@example.org at 10:30"),
    ("nothing to hide", "nothing to hide"),
]
# What users put into passwords, and what breaks parsers.
awkward = st.text(alphabet=string.ascii_letters + string.digits + "@:/?#%&=+!$'\"[]{}~é", min_size=6, max_size=24)
ABSENT = "qzj"  # in no name that the code itself brings


@pytest.mark.parametrize(("source", "expected"), NAMES)
def test_source_name(source, expected) -> None:
    assert source_name(source) == expected


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_redact(text, expected) -> None:
    assert redact(text) == expected


@settings(max_examples=400, deadline=None)
@given(
    user=awkward, password=awkward, encoded=st.booleans(), path=st.sampled_from(["", "/", "/live", "/a/b?channel=1"])
)
def test_no_url_shows_its_credentials(user: str, password: str, encoded: bool, path: str) -> None:
    user, password = ABSENT + user, ABSENT + password
    if encoded:
        user, password = quote(user, safe=""), quote(password, safe="")
    url = f"rtsp://{user}:{password}@camera:554{path}"
    for text in (source_name(url), redact(url), redact(f"open({url}) failed"), redact(f"rtsp: {url}, again {url}")):
        assert ABSENT not in text
    try:
        address = parse(url, {})
    except InputError as error:
        assert ABSENT not in str(error)
        return
    assert ABSENT not in address.name + repr(address) + address.bare


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=100))
def test_any_text_is_taken_and_doing_it_twice_changes_nothing(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@settings(max_examples=200, deadline=None)
@given(secret=st.text(alphabet=string.printable, min_size=4, max_size=20), before=st.sampled_from(["", "x ", "at:"]))
def test_given_secrets_are_hidden_wherever_they_stand(secret: str, before: str) -> None:
    secret = ABSENT + secret
    assert ABSENT not in redact(f"{before}{secret} {quote(secret, safe='')}", [secret])
