"""A damaged video ends its stream with an event that says so, and counters that add up; the next one plays."""

from __future__ import annotations

import random

import cv2
import numpy as np
import pytest
from fuzz import mutate

from boir_sdk.skeleton import COCO17
from boir_sdk.stream.pipeline import Stream
from boir_sdk.stream.source import open_source
from tests.support.fake_estimator import FakeEstimator

FRAMES = 20


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "good.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (96, 64))
    for number in range(FRAMES):
        writer.write(np.full((64, 96, 3), 10 * number % 250, np.uint8))
    writer.release()
    return path.read_bytes()


def play(path):
    with Stream(FakeEstimator(), [open_source(path)], COCO17) as stream:
        return list(stream)


def frames(results):
    return [result.index for result in results if result.frame is not None]


def test_a_whole_video_has_every_frame(video, tmp_path):
    path = tmp_path / "a.avi"
    path.write_bytes(video)
    assert frames(play(path)) == list(range(FRAMES))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7])
def test_a_cut_video_ends_with_an_event(share, video, tmp_path):
    path = tmp_path / "a.avi"
    path.write_bytes(video[: int(len(video) * share)])
    results = play(path)
    given = frames(results)
    assert given == list(range(len(given))) and len(given) < FRAMES
    last = results[-1].event
    assert last is not None and last.code == "decode" and "a.avi" in last.message
    assert all(result.dropped == 0 for result in results)


def test_flipped_bits_lose_no_count(video, tmp_path):
    path = tmp_path / "a.avi"
    short = 0
    for seed in range(25):
        path.write_bytes(mutate.data(random.Random(seed), video))
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        stated = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else FRAMES
        capture.release()
        results = play(path)
        given = frames(results)
        assert given == list(range(len(given)))
        # Where the damage hit the number of frames itself, nothing tells how many there were.
        if len(given) < min(FRAMES, stated) - 3:
            short += 1
            assert results[-1].event is not None and results[-1].event.code == "decode"
    assert short > 3
