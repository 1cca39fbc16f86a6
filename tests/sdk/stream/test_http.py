"""Streams over HTTP from a server on loopback: a camera's endless pictures, a video with an end, and refusals."""

from __future__ import annotations

import base64
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from boir_sdk.skeleton import COCO17
from boir_sdk.stream import SourceError, Stream, open_source
from boir_sdk.stream.address import parse
from boir_sdk.stream.handshake import check
from tests.sdk.stream.test_faults import LIMITS, is_event, nothing_left, patient, until
from tests.support.fake_estimator import FakeEstimator

LOGIN = "Basic " + base64.b64encode(b"u:p@w").decode()


class Handler(BaseHTTPRequestHandler):
    """`/camera` endless pictures, `/clip.avi` a file, `/secret` behind a password, `/round` a redirect to itself."""

    clip = b""
    gone = False

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/secret" and self.headers.get("Authorization") != LOGIN:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="cam"')
            self.end_headers()
        elif path in ("/camera", "/secret"):
            self._pictures()
        elif path == "/clip.avi":
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.clip)))
            self.end_headers()
            self.wfile.write(self.clip)
        elif path == "/round":
            self.send_response(302)
            self.send_header("Location", "/round")
            self.end_headers()
        else:
            self.send_error({"/busy": 503}.get(path, 404))

    def _pictures(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        data = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
        try:
            while not self.gone:
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(0.03)
        except OSError:
            return

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    path = tmp_path_factory.mktemp("http") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for i in range(20):
        writer.write(np.full((48, 64, 3), 10 * i, np.uint8))
    writer.release()
    Handler.clip, Handler.gone = path.read_bytes(), False
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://{{}}127.0.0.1:{server.server_address[1]}"
    Handler.gone = True
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(("login", "path"), [("", "/camera?token=canary"), ("u:p%40w@", "/secret")])
def test_a_camera_that_sends_pictures(url, login, path) -> None:
    with Stream(FakeEstimator(), [open_source(url.format(login) + path, LIMITS)], COCO17, limits=LIMITS) as stream:
        taken = until(patient(stream), lambda result: result.index >= 5)
    assert all(result.frame is not None and result.frame.shape == (48, 64, 3) for result in taken if not result.event)
    assert "canary" not in repr([(result.source, result.event) for result in taken])
    assert nothing_left()


def test_a_video_behind_a_url_comes_to_its_end(url) -> None:
    source = open_source(url.format("") + "/clip.avi", LIMITS)
    with Stream(FakeEstimator(), [source], COCO17, limits=LIMITS, policy="all") as stream:
        results = [result for result in stream if result.frame is not None]
    assert [result.index for result in results] == list(range(20))
    assert nothing_left()


@pytest.mark.parametrize(
    ("login", "path", "code"),
    [
        ("", "/secret", "auth"),
        ("u:wrong@", "/secret", "auth"),
        ("", "/nothing?token=canary", "not_found"),
        ("", "/busy", "server"),
        ("", "/round", "redirect"),
    ],
)
def test_the_cause_is_named(url, login, path, code) -> None:
    with pytest.raises(SourceError) as caught:
        check(parse(url.format(login) + path), 10.0)
    assert caught.value.code == code
    assert not {"wrong", "canary"} & set(str(caught.value).replace("=", " ").split())


def test_something_else_than_http_is_named(url) -> None:
    with pytest.raises(SourceError) as caught:
        check(parse(url.format("").replace("http", "rtsp") + "/camera"), 10.0)
    assert caught.value.code in ("protocol", "lost")


def test_a_stream_reports_what_it_may_not_see(url) -> None:
    with Stream(FakeEstimator(), [open_source(url.format("") + "/secret", LIMITS)], COCO17, limits=LIMITS) as stream:
        results = patient(stream)
        until(results, lambda result: result.event is not None and result.event.code == "auth")
        assert until(results, is_event("reconnecting"))[-1].event is not None
    assert nothing_left()
