"""The preview's server over real sockets: what it shows, its limits, and how it ends."""

from __future__ import annotations

import random
import select
import socket
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from boir_sdk.errors import ConfigError
from boir_sdk.preview import Preview, handler, request
from boir_sdk.preview.feed import MAX_VIEWERS
from tests.support.fake_stream import event, result
from tests.support.preview_client import ask, drawn, figures, opened, pictures, post, threads

SIZE = (240, 320)


@pytest.fixture
def preview() -> Iterator[Preview]:
    with Preview(0) as made:
        yield made


def test_pictures_and_figures_of_a_stream(preview: Preview) -> None:
    preview.write(result(0, 3, size=SIZE, ids=True))
    with opened(preview, "/stream?source=0") as stream, opened(preview, "/events") as events:
        shown, told = pictures(stream), figures(events)
        first = next(shown)
        assert first.shape == (*SIZE, 3)
        assert drawn(first) > 200
        preview.write(result(60, 3, size=SIZE, ids=True, dropped=2))
        second = next(shown)
        assert np.abs(first.astype(int) - second).max() > 100
        source = next(state for state in told if state["sources"][0]["index"] == 60)["sources"][0]
    assert (source["people"], source["dropped"], source["latency_ms"]) == (3, 2, 50)
    assert source["keypoints"][0] == "nose"
    assert [person["id"] for person in source["table"]] == [1, 2, 3]
    assert source["table"][0]["keypoints"][0] == pytest.approx(
        [*result(60, 3, size=SIZE).poses.keypoints[0, 0].tolist(), 0.8], abs=0.01
    )


def test_the_threshold_changes_who_is_drawn_and_counted(preview: Preview) -> None:
    preview.write(result(0, 3, size=SIZE))
    with opened(preview, "/stream") as stream, opened(preview, "/events") as events:
        shown, told = pictures(stream), figures(events)
        everyone = drawn(next(shown))
        assert post(preview, {"threshold": 0.85}) == 204
        one = drawn(next(shown))
        state = next(state for state in told if state["threshold"] == 0.85)
        assert 0 < one < 0.5 * everyone
        assert state["sources"][0]["people"] == len(state["sources"][0]["table"]) == 1
        assert post(preview, {"threshold": 1}) == 204
        assert drawn(next(shown)) == 0


def test_pause_keeps_the_picture_and_start_shows_the_newest(preview: Preview) -> None:
    preview.write(result(0, 1, size=SIZE))
    with opened(preview, "/stream") as stream, opened(preview, "/events") as events:
        shown, told = pictures(stream), figures(events)
        before = next(shown)
        assert post(preview, {"paused": True}) == 204
        again = next(shown)  # settings redraw the picture that stands
        for index in range(1, 40):
            preview.write(result(index, 1, size=SIZE))
        state = next(state for state in told if state["paused"])
        assert state["sources"][0]["index"] == 0
        assert np.array_equal(before, again)
        stream.settimeout(0.5)
        with pytest.raises(TimeoutError):
            next(shown)
    assert post(preview, {"paused": False}) == 204
    with opened(preview, "/stream") as stream, opened(preview, "/events") as events:
        assert next(figures(events))["sources"][0]["index"] == 39
        assert not np.array_equal(before, next(pictures(stream)))


def test_a_viewer_never_gets_what_was_drawn_before_he_came(preview: Preview) -> None:
    """While nobody looks nothing is drawn, so the last picture may be hours old."""
    preview.write(result(0, 1, size=SIZE))
    with opened(preview, "/stream") as stream:
        before = next(pictures(stream))
    for index in range(1, 6):
        preview.write(result(20 * index, 1, size=SIZE))
        with opened(preview, "/stream") as stream:
            now = next(pictures(stream))
        assert not np.array_equal(before, now)
        before = now


def test_gaps_are_told_until_a_frame_comes(preview: Preview) -> None:
    preview.write(result(0, size=SIZE))
    preview.write(event("gap", "stalled", message="no frame for 5 s"))
    with opened(preview, "/events") as events:
        told = figures(events)
        assert next(told)["sources"][0]["event"] == {"kind": "gap", "message": "no frame for 5 s"}
        preview.write(result(1, size=SIZE))
        assert next(state for state in told if state["sources"][0]["index"] == 1)["sources"][0]["event"] is None


def test_opencv_reads_the_stream_too(preview: Preview) -> None:
    end = threading.Event()

    def publish() -> None:
        index = 0
        while not end.wait(0.02):
            preview.write(result(index, 2, size=SIZE))
            index += 1

    preview.write(result(0, 2, size=SIZE))
    thread = threading.Thread(target=publish)
    thread.start()
    try:
        capture = cv2.VideoCapture(f"{preview.url}stream")
        got, picture = capture.read()
        capture.release()
    finally:
        end.set()
        thread.join()
    assert got
    assert picture.shape == (*SIZE, 3)
    assert drawn(picture) > 200


def test_each_source_has_a_picture(preview: Preview) -> None:
    preview.write(result(0, size=SIZE, source="a"))
    preview.write(result(0, size=(100, 50), source="b"))
    with opened(preview, "/stream?source=1") as stream:
        assert next(pictures(stream)).shape == (100, 50, 3)
    assert ask(preview, "GET", "/stream?source=2")[0] == 404


def test_large_frames_are_shrunk(preview: Preview) -> None:
    preview.write(result(0, size=(1000, 2560)))
    with opened(preview, "/stream") as stream:
        picture = next(pictures(stream))
    assert picture.shape == (500, 1280, 3)
    assert drawn(picture) > 200


def test_nothing_is_drawn_when_nobody_looks(preview: Preview, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr("boir_sdk.preview.feed._encoded", lambda *_: calls.append(1) or b"")
    for index in range(20):
        preview.write(result(index))
    time.sleep(0.2)
    assert calls == []


def test_a_port_in_use_is_said(preview: Preview) -> None:
    with pytest.raises(ConfigError, match=f"port {preview.port}: .*choose another"):
        Preview(preview.port)


def malformed(count: int) -> Iterator[bytes]:
    """Requests that are no good HTTP/1.1, from a list and from a seed."""
    good = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    fixed = [
        b"\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\nHost: localhost\n\n",
        b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: local\x00host\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 101 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 70000 + b"\r\n\r\n",
        b"POST /settings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n",
        b"POST /settings HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /settings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /settings HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"FETCH! / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ]
    yield from fixed
    draw = random.Random(7)
    for _ in range(count - len(fixed)):
        broken = bytearray(good)
        for _ in range(draw.randint(1, 4)):  # in the request line, so that the request can't stay a good one
            broken[draw.randrange(len("GET / HTTP/1.1"))] = draw.choice(b'\x00\x01\x7f\xff <>{}|\\^"\n')
        yield bytes(broken)


def test_a_thousand_malformed_requests_are_refused_and_the_server_lives(preview: Preview) -> None:
    wrong = []
    for data in malformed(1000):
        with socket.create_connection(("127.0.0.1", preview.port), timeout=20) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
        if not answer.startswith(b"HTTP/1.1 4"):
            wrong.append((data[:80], answer[:80]))
    assert wrong == []
    assert preview._server.failures == 0
    assert ask(preview, "GET", "/")[0] == 200
    deadline = time.monotonic() + 5
    while "boir-preview-viewer" in threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "boir-preview-viewer" not in threads()


@pytest.mark.parametrize(
    "start", [b"", b"GET / HTTP/1.1\r\nX: ", b"POST /settings HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"]
)
def test_a_request_that_trickles_in_is_cut(monkeypatch: pytest.MonkeyPatch, preview: Preview, start: bytes) -> None:
    monkeypatch.setattr(handler, "read_request", lambda connection: request.read_request(connection, limit_s=0.5))
    with socket.create_connection(("127.0.0.1", preview.port), timeout=20) as connection:
        connection.sendall(start)
        for _ in range(300):  # never silent for long: only a limit for all of it ends this
            connection.sendall(b"x")
            if select.select([connection], [], [], 0.05)[0]:
                break
        else:
            pytest.fail("the server went on listening")
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")


def test_places_for_viewers_are_limited_and_given_back(preview: Preview) -> None:
    preview.write(result(0))
    with opened(preview, "/events") as extra:
        next(figures(extra))
        viewers = [socket.create_connection(("127.0.0.1", preview.port), timeout=20) for _ in range(MAX_VIEWERS)]
        for viewer in viewers:
            viewer.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            next(pictures(viewer))
        assert ask(preview, "GET", "/stream")[0] == 503
        viewers[0].close()
        deadline = time.monotonic() + 10
        status = 503
        while status == 503 and time.monotonic() < deadline:
            time.sleep(0.1)
            with opened(preview, "/stream") as again:
                status = int(again.recv(4096).split()[1])
        assert status == 200
        for viewer in viewers:
            viewer.close()


def test_a_viewer_that_takes_nothing_is_cut_and_holds_nobody_up(
    preview: Preview, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "CUT_S", 1.0)
    monkeypatch.setattr(handler, "SEND_BUFFER", 8192)
    noise = np.random.default_rng(1).integers(0, 255, (720, 1280, 3), dtype=np.uint8)

    def show(index: int) -> None:
        """Publish a frame that makes a large JPEG."""
        plain = result(index, 0)
        preview.write(type(plain)(noise, plain.poses, index, 0.0, 0.0, 0, None, "fake", {}))

    show(0)
    with opened(preview, "/stream") as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        index, meanwhile, deadline = 0, 0, time.monotonic() + 30
        while time.monotonic() < deadline:
            index += 1
            show(index)
            if "boir-preview-viewer" in threads():
                meanwhile += 1
            elif meanwhile:
                break
            time.sleep(0.02)
        assert meanwhile > 5, "publishing waited for a viewer"
        assert "boir-preview-viewer" not in threads(), "the viewer wasn't cut"


def test_closing_sends_viewers_away_and_leaves_no_thread() -> None:
    preview = Preview(0)
    preview.write(result(0))
    with opened(preview, "/stream") as stream, opened(preview, "/events") as events, opened(preview, "/") as page:
        next(pictures(stream))
        next(figures(events))
        page.recv(100)
        preview.close()
        preview.close()
        while stream.recv(65536):
            pass
        while events.recv(65536):
            pass
    assert threads() == []
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", preview.port), timeout=5):
        pass
    preview.write(result(1))  # a stream's loop may be one result behind
