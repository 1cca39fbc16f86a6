"""Sinks: video, JSON Lines, COCO results, window; fed with scripted results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from boir_sdk import interchange
from boir_sdk.draw import draw
from boir_sdk.errors import InputError
from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17
from boir_sdk.stream.result import StreamEvent, StreamResult
from boir_sdk.stream.sink import CocoSink, JsonLinesSink, VideoSink, WindowSink
from tests.conftest import ROOT
from tests.support.fake_stream import event, result


def frames_of(path: Path) -> tuple[list[NDArray[np.uint8]], float]:
    """All frames of a video, and its rate."""
    capture = cv2.VideoCapture(str(path))
    assert capture.isOpened()
    frames = []
    while True:
        got, frame = capture.read()
        if not got:
            break
        frames.append(frame)
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return frames, rate


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize(
    ("ending", "count", "fps"), [("mp4", 30, 25.0), ("mkv", 12, 29.97), ("avi", 12, 12.0), ("mp4", 3, 50.0)]
)
def test_every_frame_is_in_the_video_at_the_source_s_rate(tmp_path: Path, ending: str, count: int, fps: float) -> None:
    path = tmp_path / "new" / f"v.{ending}"
    with VideoSink(path) as sink:
        for index in range(count):
            sink.write(result(index, fps=fps))
        assert not path.exists()
    frames, rate = frames_of(path)
    assert len(frames) == sink.frames == count
    assert rate == pytest.approx(fps, rel=1e-3)
    assert leftovers(path.parent) == []


def test_people_are_drawn_as_draw_does(tmp_path: Path) -> None:
    shown = result(0, 2, size=(240, 320), ids=True)
    with VideoSink(tmp_path / "v.avi", fps=10) as sink:
        sink.write(shown)
    (frame,), _ = frames_of(tmp_path / "v.avi")
    assert shown.frame is not None
    expected = draw(shown.frame, shown.poses, labels=True)
    assert np.abs(frame.astype(int) - expected).mean() < 4
    assert np.abs(frame.astype(int) - shown.frame).max() > 100


def test_frames_of_another_size_are_fitted_into_the_first_one_s(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "v.avi", fps=10) as sink:
        sink.write(result(0, 0, size=(64, 96)))
        sink.write(result(1, 0, size=(128, 96)))  # becomes 48 wide, with bars left and right
    frames, _ = frames_of(tmp_path / "v.avi")
    assert [frame.shape for frame in frames] == [(64, 96, 3)] * 2
    assert frames[1][:, :16].max() < 12
    assert frames[1][:, -16:].max() < 12
    assert frames[1][:, 32:64].min() > 25


@pytest.mark.parametrize(
    ("times_s", "expected"),
    [
        ([0.0, 0.1, 0.2, 0.3], 4),
        ([0.0, 0.1, 0.5, 0.6], 7),  # three frames were dropped: their place is filled
        ([0.0, 0.02, 0.04, 0.1], 2),  # faster than the file
        ([5.0, 5.1, 105.0, 105.1], 13),  # of a long gap a second is shown
        ([5.0, 5.1, 0.0, 0.1], 4),  # a source that began anew
    ],
)
def test_a_live_source_s_video_lasts_as_long_as_it_did(tmp_path: Path, times_s: list[float], expected: int) -> None:
    with VideoSink(tmp_path / "v.avi", fps=10, realtime=True) as sink:
        for index, time_s in enumerate(times_s):
            sink.write(result(index, time_s=time_s))
    assert len(frames_of(tmp_path / "v.avi")[0]) == sink.frames == expected


@pytest.mark.parametrize(
    ("realtime", "times_s", "expected"),
    [
        (True, [0.0, 0.2, 0.4, 0.6], 5.0),
        (False, [0.0, 0.2, 0.4, 0.6], 5.0),
        (False, [0.0, 0.0], 25.0),
        (True, [7.0], 25),
    ],
)
def test_the_rate_comes_from_the_first_frames(
    tmp_path: Path, realtime: bool, times_s: list[float], expected: float
) -> None:
    with VideoSink(tmp_path / "v.mp4", realtime=realtime) as sink:
        for index, time_s in enumerate(times_s):
            sink.write(result(index, time_s=time_s))
    assert frames_of(tmp_path / "v.mp4")[1] == pytest.approx(expected)


def test_a_dropped_frame_doesn_t_change_a_file_s_rate(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "v.mp4") as sink:
        for index in (0, 1, 2, 9, 10):
            sink.write(result(index, fps=30))
    assert frames_of(tmp_path / "v.mp4")[1] == pytest.approx(30)


def test_odd_sizes_are_written(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "v.mp4", fps=10) as sink:
        for index in range(4):
            sink.write(result(index, size=(65, 97)))
    assert len(frames_of(tmp_path / "v.mp4")[0]) == 4


def test_without_a_frame_there_is_no_video(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "v.mp4") as sink:
        sink.write(event("gap", "stalled"))
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_loop_leaves_a_playable_video(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), VideoSink(tmp_path / "v.mp4") as sink:
        for index in range(12):
            sink.write(result(index))
        raise KeyboardInterrupt
    assert len(frames_of(tmp_path / "v.mp4")[0]) == 12


def test_a_video_that_isn_t_whole_is_an_error_and_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v.mp4").write_bytes(b"old")
    sink = VideoSink(tmp_path / "v.mp4", fps=10)
    for index in range(4):
        sink.write(result(index))
    monkeypatch.setattr("boir_sdk.stream.sink_video._frames_in", lambda path: 2)
    with pytest.raises(InputError, match=r"v\.mp4: only 2 of 4 frames"):
        sink.close()
    assert (tmp_path / "v.mp4").read_bytes() == b"old"
    assert leftovers(tmp_path) == []
    sink.close()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("v.gif", {}, r"must end in \.mp4"),
        ("v", {}, r"must end in \.mp4"),
        ("v.mp4", {"fps": 0.0}, "fps is 0"),
        ("v.mp4", {"fps": float("nan")}, "fps is nan"),
        ("f/v.mp4", {}, r"can't write .*f/v\.mp4"),  # f is a file
        ("d.mp4", {}, "it is a folder"),
        ("n" * 300 + ".mp4", {}, "can't write"),
    ],
)
def test_a_video_that_can_t_be_written_is_said_at_once(
    tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    (tmp_path / "f").write_text("")
    (tmp_path / "d.mp4").mkdir()
    with pytest.raises(InputError, match=message):
        VideoSink(tmp_path / name, **options)
    assert leftovers(tmp_path) == []


def script() -> list[StreamResult]:
    return [
        result(0, 2, ids=True),
        event("gap", "stalled", index=1, message="no frame for 5 s"),
        result(4, 1, ids=True, dropped=3, event=StreamEvent("recovered", "stalled", "frames again")),
        result(5, 0),
    ]


def test_json_lines_say_everything_and_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "r.jsonl"
    with JsonLinesSink(path) as sink:
        for number, item in enumerate(script(), start=1):
            sink.write(item)
            assert path.read_text().count("\n") == number, "a line is there as soon as it is written"
    read = [interchange.from_json_line(line) for line in path.read_text().splitlines()]
    for item, (poses, extra) in zip(script(), read, strict=True):
        assert poses.keypoints.tolist() == item.poses.keypoints.tolist()
        assert (poses.ids is None) == (item.poses.ids is None or len(poses) == 0)
        assert (extra["index"], extra["dropped"], extra["source"]) == (item.index, item.dropped, item.source)
    assert [extra["width"] for _, extra in read] == [96, None, 96, 96]
    assert [extra["event"] and extra["event"]["kind"] for _, extra in read] == [None, "gap", "recovered", None]
    assert read[1][1]["event"] == {"kind": "gap", "code": "stalled", "message": "no frame for 5 s"}
    assert read[0][1]["timings_ms"] == {"infer": 12.35}


def test_json_lines_replace_an_older_file_and_go_to_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.jsonl").write_text("old\n" * 100)
    with JsonLinesSink(tmp_path / "r.jsonl") as in_file, JsonLinesSink("-") as printed:
        in_file.write(script()[0])
        printed.write(script()[0])
    assert capsys.readouterr().out == (tmp_path / "r.jsonl").read_text()
    print("standard output is still open")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error() -> None:
    with JsonLinesSink("/dev/full") as sink, pytest.raises(InputError, match="/dev/full: No space left"):
        sink.write(script()[0])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_json_lines_go_through_a_named_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p")
    with subprocess.Popen(["cat", tmp_path / "p"], stdout=subprocess.PIPE, text=True) as reader:  # noqa: S607
        with JsonLinesSink(tmp_path / "p") as sink:
            sink.write(script()[0])
        out, _ = reader.communicate(timeout=30)
    assert interchange.from_json_line(out)[1]["index"] == 0


def test_coco_results_and_their_frames(tmp_path: Path) -> None:
    with CocoSink(tmp_path / "c.json") as sink:
        for item in script():
            sink.write(item)
        assert not (tmp_path / "c.json").exists()
    people = json.loads((tmp_path / "c.json").read_text())
    images = json.loads((tmp_path / "c.images.json").read_text())["images"]
    assert [(person["image_id"], person["track_id"]) for person in people] == [(0, 1), (0, 2), (4, 1)]
    assert [image["id"] for image in images] == [0, 4, 5]
    assert {(image["width"], image["height"]) for image in images} == {(96, 64)}
    back = Poses.from_coco([person for person in people if person["image_id"] == 0], COCO17)
    assert back.keypoints.tolist() == script()[0].poses.keypoints.tolist()
    assert leftovers(tmp_path) == []


def test_coco_results_of_nothing_are_valid(tmp_path: Path) -> None:
    CocoSink(tmp_path / "c.json").close()
    assert json.loads((tmp_path / "c.json").read_text()) == []
    assert json.loads((tmp_path / "c.images.json").read_text()) == {"images": []}


@pytest.mark.parametrize(
    ("second", "message"), [(result(7, source="other"), "need another file"), (result(3), "frame 3 after frame 3")]
)
def test_coco_results_are_of_one_source_and_each_frame_once(tmp_path: Path, second: StreamResult, message: str) -> None:
    with CocoSink(tmp_path / "c.json") as sink:
        sink.write(result(3))
        with pytest.raises(InputError, match=message):
            sink.write(second)


def test_a_window_needs_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(InputError, match=r"no display .* --serve PORT"):
        WindowSink()


@pytest.mark.skipif(sys.platform != "linux", reason="displays are named differently")
def test_a_display_that_can_t_be_reached_doesn_t_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    with pytest.raises(InputError, match="can't open a window"):
        WindowSink()


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb (apt-get install xvfb)")
def test_a_window_shows_frames_and_q_closes_it() -> None:
    """On a display of its own, in a process of its own: the key is sent by replacing what waits for one."""
    code = (
        "import cv2\n"
        "from tests.support.fake_stream import event, result\n"
        "from boir_sdk.stream.sink import WindowSink\n"
        "keys = iter([-1, -1, -1, ord('q')])\n"
        "wait = cv2.waitKey\n"
        "cv2.waitKey = lambda ms: (wait(ms), next(keys))[1]\n"
        "with WindowSink('w') as window:\n"
        "    for item in (event('gap', 'stalled'), result(0), result(1), result(2)):\n"
        "        assert not window.closed\n"
        "        window.write(item)\n"
        "    assert window.closed\n"
        "    window.write(result(3))\n"
        "print('shown')\n"
    )
    screen = ["Xvfb", "-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    with subprocess.Popen(screen, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            display = f":{server.stdout.readline().strip()}"
            path = f"{ROOT / 'sdk'}{os.pathsep}{ROOT}"
            done = subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONPATH": path, "DISPLAY": display},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            server.terminate()
    assert done.stdout == "shown\n", done.stderr
