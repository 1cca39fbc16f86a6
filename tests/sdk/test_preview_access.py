"""Who may see the preview and what is refused: hosts, origins, tokens, methods, settings."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from boir_sdk.errors import ConfigError
from boir_sdk.preview import Preview
from boir_sdk.preview.access import Access, is_loopback, new_token
from tests.support.fake_stream import result
from tests.support.preview_client import ask, opened, post, threads

TOKEN = "0123456789abcdef-token"  # noqa: S105 - made for these tests


@pytest.fixture
def preview() -> Iterator[Preview]:
    with Preview(0) as made:
        yield made


@pytest.fixture
def locked() -> Iterator[Preview]:
    with Preview(0, token=TOKEN) as made:
        yield made


@pytest.mark.parametrize(
    ("path", "kind", "piece"),
    [
        ("/", "text/html", b"<title>boir"),
        ("/page.css", "text/css", b"font"),
        ("/page.js", "text/javascript", b"EventSource"),
    ],
)
def test_the_page_is_served_with_guards(preview: Preview, path: str, kind: str, piece: bytes) -> None:
    status, headers, body = ask(preview, "GET", path)
    assert status == 200
    assert piece in body
    assert headers["content-type"].startswith(kind)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/", "/page.js", "/settings", "/nothing", "/link?code=x"])
def test_refusals_have_guards_too(locked: Preview, path: str) -> None:
    status, headers, _ = ask(locked, "GET", path)
    assert 400 <= status < 500
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LOCALHOST", 200),
        ("[::1]:{port}", 200),
        ("evil.example:{port}", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("192.168.1.5:{port}", 421),
        ("", 421),
        ("localhost:abc", 421),
    ],
)
def test_a_foreign_host_name_is_refused(preview: Preview, host: str, status: int) -> None:
    assert ask(preview, "GET", "/", Host=host.format(port=preview.port))[0] == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:{port}", 204),
        ("http://evil.example", 403),
        ("null", 403),
        ("https://127.0.0.1:{port}", 403),
        ("http://127.0.0.1", 403),
        ("http://localhost:{port}", 403),  # another name than the one that was asked
    ],
)
def test_only_our_own_page_changes_settings(preview: Preview, origin: str, status: int) -> None:
    assert post(preview, {"paused": True}, Origin=origin.format(port=preview.port)) == status


def test_without_an_origin_nothing_is_changed(preview: Preview) -> None:
    assert ask(preview, "POST", "/settings", '{"paused": true}', Content_Type="application/json")[0] == 403


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, "/page.js", 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"}, "/page.js", 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, "/", 200),
        ({"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "no-cors"}, "/page.js", 200),
    ],
)
def test_other_sites_don_t_read_along(preview: Preview, headers: dict[str, str], path: str, status: int) -> None:
    assert ask(preview, "GET", path, **headers)[0] == status


@pytest.mark.parametrize(
    "settings",
    ["", "{", "[]", "{}", "null", "1", {"threshold": 2}, {"threshold": -0.1}, {"threshold": "0.5"}, {"threshold": True},
     {"threshold": None}, {"paused": 1}, {"paused": None}, {"other": 1}, {"paused": True, "x": 1}, '{"threshold": NaN}',
     '{"threshold": 1e999}', "[" * 60000],
)  # fmt: skip
def test_settings_are_checked(preview: Preview, settings: Any) -> None:
    assert post(preview, settings) == 400


def test_settings_are_json_by_name(preview: Preview) -> None:
    assert post(preview, {"paused": True}, Content_Type="text/plain") == 415


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/stream", "GET"), ("HEAD", "/", "GET"), ("DELETE", "/events", "GET"), ("GET", "/settings", "POST"),
     ("OPTIONS", "/settings", "POST")],
)  # fmt: skip
def test_other_methods_are_refused(preview: Preview, method: str, path: str, allowed: str) -> None:
    status, headers, _ = ask(preview, method, path)
    assert (status, headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("path", ["/x", "/../access.py", "/page.html", "/server.py", "/stream/", "/%2e%2e/"])
def test_there_is_nothing_else(preview: Preview, path: str) -> None:
    assert ask(preview, "GET", path)[0] == 404


@pytest.mark.parametrize("query", ["source=-1", "source=a", "source=1e3", "source=99999", "source=²", "source=%00"])
def test_a_source_is_a_number(preview: Preview, query: str) -> None:
    preview.write(result(0))
    with opened(preview, "/stream?" + query.replace("²", "%C2%B2")) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("path", ["/", "/page.js", "/stream", "/events"])
def test_with_a_token_nothing_is_shown_without_it(locked: Preview, path: str) -> None:
    locked.write(result(0))
    status, headers, body = ask(locked, "GET", path)
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert ask(locked, "GET", path, Authorization=f"Bearer {TOKEN}x")[0] == 401
    assert ask(locked, "GET", path, Authorization=f"Basic {TOKEN}")[0] == 401
    assert ask(locked, "GET", path, Cookie=f"boir_preview_{locked.port}={TOKEN}")[0] == 401
    assert TOKEN.encode() not in body


def test_the_token_opens_by_header(locked: Preview) -> None:
    assert ask(locked, "GET", "/", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert post(locked, {"paused": True}, Authorization=f"Bearer {TOKEN}") == 204
    assert post(locked, {"paused": True}) == 401


def test_a_link_opens_once_and_the_next_one_is_told() -> None:
    links: list[str] = []
    with Preview(0, token=TOKEN, on_link=links.append) as preview:
        first = preview.link
        assert TOKEN not in first
        path = first.partition(str(preview.port))[2]
        status, headers, _ = ask(preview, "GET", path)
        assert (status, headers["location"]) == (303, "/")
        assert "HttpOnly" in headers["set-cookie"]
        assert "SameSite" in headers["set-cookie"]
        cookie = headers["set-cookie"].partition(";")[0]
        assert TOKEN not in cookie
        assert ask(preview, "GET", "/", Cookie=cookie)[0] == 200
        assert ask(preview, "GET", path)[0] == 401
        assert links == [preview.link]
        assert links != [first]
        assert ask(preview, "GET", links[0].partition(str(preview.port))[2])[0] == 303
        assert ask(preview, "GET", "/", Cookie=cookie)[0] == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"address": "0.0.0.0"}, "needs a token"),  # noqa: S104 - that it is refused is the test
        ({"address": "::"}, "needs a token"),
        ({"address": "192.0.2.1"}, "needs a token"),
        ({"address": "some.name"}, "needs a token"),
        ({"address": ""}, "needs a token"),
        ({"token": "short"}, "at least 16"),
        ({"token": "with a\nline break in it"}, "at least 16"),
        ({"address": "192.0.2.1", "token": TOKEN}, "can't listen on 192.0.2.1"),
        ({"port": 65536}, "expected 0 to 65535"),
    ],
)
def test_it_doesn_t_listen_wider_without_a_token(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Preview(options.pop("port", 0), **options)
    assert threads() == []


def test_other_machines_may_look_on_by_address_and_name() -> None:
    access = Access("0.0.0.0", token=new_token(), hosts=["cam.lan"])  # noqa: S104 - nothing listens
    for host in ("192.168.1.5:8000", "[2001:db8::1]:8000", "cam.lan", f"{socket.gethostname()}.local:8000"):
        assert access.host_is_ours(host)
    assert not access.host_is_ours("evil.example:8000")
    assert not access.host_is_ours("[2001:db8::1")


@pytest.mark.parametrize(
    ("address", "local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("::", False),
     ("", False), ("10.0.0.1", False), ("localhost.evil.example", False)],
)  # fmt: skip
def test_what_is_loopback(address: str, local: bool) -> None:
    assert is_loopback(address) is local
