"""Basic and Digest against the examples of the standards."""

from __future__ import annotations

import hashlib

import pytest

from boir_sdk.stream import authorization

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
FIELDS = (
    f'realm="http-auth@example.org", qop="auth, auth-int", nonce="{NONCE}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMA"'
)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_digest_of_rfc_7616(monkeypatch, algorithm, response) -> None:
    monkeypatch.setattr(authorization.secrets, "token_hex", lambda _: CNONCE)
    challenge = f"Digest {FIELDS}, algorithm={algorithm}"
    got = authorization.answer([challenge], "GET", "/dir/index.html", "Mufasa", "Circle of Life")
    assert f'response="{response}"' in got
    assert f"algorithm={algorithm}" in got and 'opaque="FQhe' in got and "qop=auth," in got


def test_digest_without_qop_is_preferred_to_basic() -> None:
    challenges = ['Basic realm="cam"', 'Digest realm="cam", nonce="n"']
    got = authorization.answer(challenges, "DESCRIBE", "rtsp://h/x", "u", "p")
    who = hashlib.md5(b"u:cam:p").hexdigest()  # noqa: S324
    what = hashlib.md5(b"DESCRIBE:rtsp://h/x").hexdigest()  # noqa: S324
    right = hashlib.md5(f"{who}:n:{what}".encode()).hexdigest()  # noqa: S324
    assert got == f'Digest username="u", realm="cam", nonce="n", uri="rtsp://h/x", response="{right}"'


def test_basic_of_rfc_7617() -> None:
    got = authorization.answer(['Basic realm="WallyWorld"'], "GET", "/", "Aladdin", "open sesame")
    assert got == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_a_quote_in_a_user_name_stays_inside() -> None:
    got = authorization.answer(['Digest realm="r", nonce="n"'], "GET", "/", 'a"b\\c', "p")
    assert 'username="a\\"b\\\\c"' in got


@pytest.mark.parametrize("challenges", [[], ["Negotiate"], ['Digest realm="r", nonce="n", algorithm=SHA-512-256']])
def test_an_unknown_kind_is_refused(challenges) -> None:
    with pytest.raises(ValueError, match="authentication"):
        authorization.answer(challenges, "GET", "/", "u", "p")
