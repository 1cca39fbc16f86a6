"""Against an RTSP server by others: streamed, killed, stopped and restarted, and the stream comes back by itself."""

from __future__ import annotations

import signal

import pytest

from boir_sdk.skeleton import COCO17
from boir_sdk.stream import Stream, open_source
from tests.sdk.stream.test_faults import LIMITS, in_order, is_event, nothing_left, patient, until
from tests.support.fake_estimator import FakeEstimator
from tests.support.rtsp_server import RtspServer, missing


@pytest.fixture(scope="module")
def server():
    if reason := missing():
        pytest.skip(reason)
    with RtspServer() as started:
        yield started


def test_killed_restarted_stopped_and_continued(server) -> None:
    with Stream(FakeEstimator(), [open_source(server.url, LIMITS)], COCO17, limits=LIMITS) as stream:
        results = patient(stream)
        taken = until(results, lambda result: result.index >= 10)
        server.kill()
        taken += until(results, is_event("gap"))
        server.start()
        taken += until(results, is_event("recovered"))
        server.send(signal.SIGSTOP)
        taken += until(results, lambda result: result.event is not None and result.event.code in ("stalled", "timeout"))
        server.send(signal.SIGCONT)
        taken += until(results, is_event("recovered"))
    assert all(result.frame.shape == (240, 320, 3) for result in taken if result.frame is not None)
    in_order(taken)
    assert nothing_left()


def test_an_unknown_path_is_reported_as_such(server) -> None:
    source = open_source(server.url.replace("/test", "/elsewhere"), LIMITS)
    with Stream(FakeEstimator(), [source], COCO17, limits=LIMITS) as stream:
        until(patient(stream), lambda result: result.event is not None and result.event.code == "not_found")
    assert nothing_left()
