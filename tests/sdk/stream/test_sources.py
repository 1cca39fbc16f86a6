"""What a user may name as a source, and files through a real decoder."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from boir_sdk.errors import InputError
from boir_sdk.skeleton import COCO17
from boir_sdk.stream import Source, SourceError, Stream, open_source
from boir_sdk.stream.camera import Camera
from boir_sdk.stream.file import VideoFile
from boir_sdk.stream.pictures import Pictures
from boir_sdk.stream.rtsp import NetworkCamera
from tests.support.fake_camera_scripted import ScriptedSource, picture
from tests.support.fake_estimator import FakeEstimator


@pytest.fixture
def video(tmp_path):
    """A video of 20 frames of 64 x 48 at 10 frames a second."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for i in range(20):
        writer.write(np.full((48, 64, 3), 10 * i, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(
    ("source", "kind", "live", "name"),
    [
        (0, Camera, True, "camera 0"),
        ("3", Camera, True, "camera 3"),
        ("/dev/video2", Camera, True, "/dev/video2"),
        ("rtsp://u:p@h/x", NetworkCamera, True, "rtsp://***@h/x"),
        ("https://h/x?token=y", NetworkCamera, True, "https://h/x?token=***"),
        ([picture(0)], Pictures, False, "<list>"),
        (np.zeros((2, 4, 4, 3), np.uint8), Pictures, False, "<ndarray>"),
        (iter([]), Pictures, False, "<list_iterator>"),
    ],
)
def test_what_is_meant(source, kind, live, name) -> None:
    opened = open_source(source)
    assert isinstance(opened, kind) and isinstance(opened, Source)
    assert (opened.live, opened.name) == (live, name)


def test_files_folders_and_patterns(tmp_path, video) -> None:
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture(i))
    assert isinstance(open_source(video), VideoFile)
    for source, count in ((tmp_path, 3), (str(tmp_path / "[01].png"), 2), (tmp_path / "2.png", 1)):
        opened = open_source(source)
        assert isinstance(opened, Pictures)
        assert len(frames(opened)) == count


def test_a_source_of_ones_own_is_taken_as_it_is() -> None:
    source = ScriptedSource([])
    assert open_source(source) is source


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere.mp4", "nowhere.mp4 doesn't exist"),
        ("ftp://u:canary@h/x", "rtsp"),
        ("rtsp://u:canary@", "unparseable"),
        ("u:canary@host/live", r"\*\*\*@host/live doesn't exist"),
        ("/nowhere/*.jpg", "no picture matches"),
        ("", "isn't the name"),
        (-1, "camera number -1"),
        (True, "isn't a source"),
        (None, "isn't a source"),
        (3.5, "isn't a source"),
        (b"bytes", "isn't a source"),
        (np.zeros((4, 4, 3), np.uint8), "call the estimator"),
    ],
)
def test_what_is_no_source(source, says) -> None:
    with pytest.raises(InputError, match=says) as caught:
        open_source(source)
    assert "canary" not in str(caught.value)


def test_a_video_gives_every_frame_with_its_time(video) -> None:
    taken = frames(open_source(video))
    assert [frame.index for frame in taken] == list(range(20))
    assert np.allclose([frame.time_s for frame in taken], np.arange(20) / 10, atol=1e-3)
    assert np.allclose([frame.image.mean() for frame in taken], 10 * np.arange(20), atol=3)


@pytest.mark.parametrize("name", ["classroom.mp4", "store-aisle-detection.mp4"])
def test_a_real_clip_gives_as_many_frames_as_the_decoder(shared, name) -> None:
    path = shared / "data" / "videos" / name
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    with Stream(FakeEstimator(), [open_source(path)], COCO17) as stream:
        results = list(stream)
    assert len(results) == count > 20
    assert [result.index for result in results] == list(range(count))
    assert np.all(np.diff([result.time_s for result in results]) > 0)


@pytest.mark.parametrize("keep", [0, 40, 0.5])
def test_a_damaged_video_ends_with_a_failed_event(video, keep) -> None:
    data = video.read_bytes()
    video.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with Stream(FakeEstimator(), [open_source(video)], COCO17) as stream:
        results = list(stream)
    assert results[-1].event is not None
    assert (results[-1].event.kind, results[-1].event.code) == ("failed", "decode")
    assert all(result.event is None for result in results[:-1])


def test_a_text_file_is_no_video(tmp_path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a video")
    with pytest.raises(SourceError, match=r"notes\.mp4 isn't a video") as caught:
        open_source(path).open()
    assert caught.value.then == "end"


def test_pictures_can_be_read_again_and_close_their_generator() -> None:
    pictures = Pictures([picture(i) for i in range(3)], "list")
    assert len(frames(pictures)) == len(frames(pictures)) == 3
    closed = []

    def generator():
        try:
            yield picture(0)
            yield picture(1)
        finally:
            closed.append(True)

    source = Pictures(generator(), "generator")
    source.open()
    source.read()
    source.close()
    assert closed == [True]


def frames(source: Source) -> list:
    source.open()
    taken = []
    while (frame := source.read()) is not None:
        taken.append(frame)
    source.close()
    return taken
