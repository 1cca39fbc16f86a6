"""`boir stream`: options, outputs, what it says, how it ends; with scripted streams, and once with the real thing."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from boir_sdk.cli import main, stream
from boir_sdk.cli.stream_report import Report
from boir_sdk.errors import ConfigError
from boir_sdk.stream.result import StreamEvent, StreamResult
from tests.conftest import ROOT
from tests.support.fake_stream import StreamingEstimator, event, result

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "sdk"), "PYTHONUNBUFFERED": "1"}
COMMAND = [sys.executable, "-m", "boir_sdk.cli.main", "stream"]


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two sources, a.mp4 and b.mp4, and fresh fakes."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"a video, as far as the fakes are concerned")
    StreamingEstimator.made.clear()
    StreamingEstimator.script = [result(index, source="a.mp4", ids=True) for index in range(5)]
    return tmp_path


def parse(*arguments: str) -> argparse.Namespace:
    return main.parser().parse_args(["stream", *arguments])


def run(*arguments: str) -> int:
    return stream.run(parse(*arguments), estimator_factory=StreamingEstimator)


def frame_count(path: str | Path) -> int:
    """How many frames of a video can be decoded."""
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def lines(path: str | Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_every_output_has_every_frame(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a.mp4", "--out", "o.mp4", "--json", "r.jsonl", "--coco", "c.json") == 0
    assert frame_count("o.mp4") == 5
    assert [line["index"] for line in lines("r.jsonl")] == [0, 1, 2, 3, 4]
    assert len(json.loads(Path("c.json").read_text())) == 10
    assert len(json.loads(Path("c.images.json").read_text())["images"]) == 5
    out, err = capsys.readouterr()
    assert out == ""
    assert "boir: 5 frames in " in err
    assert "2 people followed, 0 dropped, 0 gaps" in err
    assert all(made.closed and made.streamed is not None and made.streamed.closed for made in StreamingEstimator.made)


def test_options_reach_the_estimator_and_the_stream() -> None:
    run("a.mp4", "--track", "--smooth", "--policy", "latest", "--device", "GPU", "--size", "384", "--threshold", "0.3")
    (made,) = StreamingEstimator.made
    assert made.how == {"track": True, "smooth": True, "policy": "latest"}
    assert (made.options["device"], made.options["size"], made.options["score_threshold"]) == ("GPU", 384, 0.3)
    assert made.sources[0].name == "a.mp4"


def test_max_frames_counts_frames_and_not_events() -> None:
    StreamingEstimator.script = [event("gap", "stalled", source="a.mp4"), *StreamingEstimator.script]
    assert run("a.mp4", "--max-frames", "3", "--json", "r.jsonl") == 0
    assert [line["width"] for line in lines("r.jsonl")] == [None, 96, 96, 96]


def test_lines_on_standard_output_are_only_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a.mp4", "--json", "-") == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["index"] for line in out.splitlines()] == [0, 1, 2, 3, 4]
    assert "5 frames" in err


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a.mp4", "--quiet", "--out", "o.mp4") == 0
    assert capsys.readouterr() == ("", "")


def test_several_sources_have_an_output_each(capsys: pytest.CaptureFixture[str]) -> None:
    StreamingEstimator.script = [
        result(index, source=name) for index in range(3) for name in ("a.mp4", "b.mp4") if (index, name) != (2, "b.mp4")
    ]
    outputs = ["--out", "o1.mp4", "--out", "o2.mp4", "--coco", "c1.json", "--coco", "c2.json", "--json", "r.jsonl"]
    assert run("a.mp4", "b.mp4", *outputs) == 0
    assert (frame_count("o1.mp4"), frame_count("o2.mp4")) == (3, 2)
    assert len(json.loads(Path("c1.images.json").read_text())["images"]) == 3
    assert len(json.loads(Path("c2.images.json").read_text())["images"]) == 2
    assert [line["source"] for line in lines("r.jsonl")] == ["a.mp4", "b.mp4"] * 2 + ["a.mp4"]


def test_sources_with_the_same_name_are_told_apart() -> None:
    names = ["rtsp://***@cam/1", "rtsp://***@cam/1 (2)"]
    StreamingEstimator.script = [result(0, source=names[0]), result(0, source=names[1]), result(1, source=names[1])]
    sources = ["rtsp://a:first@cam/1", "rtsp://b:second@cam/1"]
    assert run(*sources, "--json", "r1.jsonl", "--json", "r2.jsonl", "--policy", "all") == 0
    assert [source.name for source in StreamingEstimator.made[0].sources] == names
    assert (len(lines("r1.jsonl")), len(lines("r2.jsonl"))) == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.mp4", "b.mp4", "--out", "o.mp4"], "2 sources but 1 --out: give --out once for each source"),
        (["a.mp4", "--out", "o.mp4", "--out", "p.mp4"], "1 sources but 2 --out"),
        (["a.mp4", "b.mp4", "--coco", "c.json"], "2 sources but 1 --coco"),
        (["a.mp4", "b.mp4", "a.mp4", "--json", "r", "--json", "s"], "3 sources but 2 --json"),
        (["a.mp4", "b.mp4", "--out", "o.mp4", "--out", "./o.mp4"], "written by two outputs"),
        (["a.mp4", "--json", "c.json", "--coco", "c.json"], "written by two outputs"),
        (["a.mp4", "--json", "c.images.json", "--coco", "c.json"], "written by two outputs"),
        (["a.mp4", "b.mp4", "--json", "-", "--json", "-"], "give --json - once"),
        (["a.mp4", "--out", "./a.mp4"], "would replace a source"),
        (["a.mp4", "--serve-on", "0.0.0.0"], "give --serve PORT too"),  # noqa: S104 - that it is refused is the test
        (["a.mp4", "--serve-name", "cam.lan"], "give --serve PORT too"),
    ],
)
def test_outputs_that_contradict_are_refused_before_work(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(*arguments)
    assert StreamingEstimator.made == []


@pytest.mark.parametrize(
    "arguments",
    [[], ["a.mp4", "--policy", "newest"], ["a.mp4", "--serve", "70000"], ["a.mp4", "--serve", "x"],
     ["a.mp4", "--max-frames", "0"], ["a.mp4", "--size", "²"], ["a.mp4", "--threshold", "2"]],
)  # fmt: skip
def test_wrong_usage_is_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse(*arguments)
    assert left.value.code == 2
    assert "usage: boir stream" in capsys.readouterr().err


def test_a_failed_source_is_said_and_code_1_and_the_files_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    StreamingEstimator.script = [
        result(0, source="a.mp4"),
        result(1, source="a.mp4"),
        event("failed", "decode", source="a.mp4", message="a.mp4 breaks off after 2 frames"),
    ]
    assert run("a.mp4", "--quiet", "--out", "o.mp4", "--json", "r.jsonl") == 1
    assert capsys.readouterr().err == "boir: failed (decode): a.mp4 breaks off after 2 frames\n"
    assert frame_count("o.mp4") == 2
    assert len(lines("r.jsonl")) == 3


def test_events_and_drops_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    recovered = StreamEvent("recovered", "stalled", "frames again after 6.0 s")
    StreamingEstimator.script = [
        result(0, source="a.mp4"),
        event("gap", "stalled", source="a.mp4", message="no frame for 5 s"),
        event("reconnecting", "refused", source="a.mp4", message="next attempt in 1 s"),
        result(9, 1, source="a.mp4", dropped=4, event=recovered),
    ]
    assert run("a.mp4") == 0
    told = capsys.readouterr().err.splitlines()
    assert told[:3] == [
        "boir: a.mp4: gap (stalled): no frame for 5 s",
        "boir: a.mp4: reconnecting (refused): next attempt in 1 s",
        "boir: a.mp4: recovered (stalled): frames again after 6.0 s",
    ]
    assert "2 frames in " in told[3]
    assert "at most 2 people at a time, 4 dropped, 1 gap" in told[3]


def test_an_error_while_writing_still_finishes_the_other_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, item: StreamResult) -> None:
        raise OSError("oh")

    monkeypatch.setattr("boir_sdk.stream.sink_json.JsonLinesSink.write", broken)
    with pytest.raises(OSError, match="oh"):
        run("a.mp4", "--out", "o.mp4", "--json", "r.jsonl")
    assert frame_count("o.mp4") == 1
    assert StreamingEstimator.made[0].closed


def test_a_window_without_a_display_is_an_error_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("boir_sdk.estimator.PoseEstimator", StreamingEstimator)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert main.main(["stream", "a.mp4", "--show"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("boir: error: there is no display")


def test_closing_the_window_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Window:
        def __init__(self, *_: object, **__: object) -> None:
            self.shown, self.closed = 0, False

        def write(self, item: StreamResult) -> None:
            self.shown += 1
            self.closed = self.shown == 2

        def close(self) -> None:
            self.closed = True

        def __enter__(self) -> Window:
            return self

        def __exit__(self, *exc: object) -> None:
            self.close()

    monkeypatch.setattr("boir_sdk.stream.sink.WindowSink", Window)
    assert run("a.mp4", "--show", "--json", "r.jsonl") == 0
    assert len(lines("r.jsonl")) == 2


@pytest.mark.parametrize(
    ("arguments", "variable", "guarded"),
    [
        ([], None, False),
        ([], "a-token-from-outside", True),
        (["--serve-on", "0.0.0.0"], None, True),  # noqa: S104 - with a token
    ],
)
def test_the_preview_is_announced_and_shows_the_stream(
    arguments: list[str],
    variable: str | None,
    guarded: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("BOIR_PREVIEW_TOKEN", raising=False)
    if variable:
        monkeypatch.setenv("BOIR_PREVIEW_TOKEN", variable)
    seen: list[tuple[str, bytes]] = []

    def script() -> Iterator[StreamResult]:
        yield result(0, source="a.mp4")
        link = capsys.readouterr().err.partition("boir: preview at ")[2].split()[0]
        here = link.replace(link.split("/")[2].rpartition(":")[0], "127.0.0.1")
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        seen.append((link, opener.open(here, timeout=20).read()))
        yield result(1, source="a.mp4")

    StreamingEstimator.script = script()
    assert run("a.mp4", "--serve", "0", *arguments) == 0
    ((link, page),) = seen
    assert ("/link?code=" in link) is guarded
    assert b"<title>boir" in page
    assert variable is None or variable not in link
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("boir-")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_line_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    screen = Terminal()
    report = Report(stream=screen)
    for index in range(3):
        report.add(result(index, dropped=index))
        now_s += 0.5
    report.add(event("gap", "stalled"))
    report.summary(stopped=True)
    assert screen.getvalue() == (
        "\r\x1b[K1 frames, 0.0 frames/s, 2 people, 50 ms old, 0 dropped"
        "\r\x1b[K2 frames, 2.0 frames/s, 2 people, 50 ms old, 1 dropped"
        "\r\x1b[K3 frames, 2.0 frames/s, 2 people, 50 ms old, 3 dropped"
        "\r\x1b[Kboir: fake: gap (stalled): no frame\n"
        "boir: stopped after 3 frames in 1.5 s (2.0 frames/s), at most 2 people at a time, 3 dropped, 1 gap\n"
    )


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    log = io.StringIO()
    report = Report(stream=log)
    for index in range(25):
        report.add(result(index, time_s=0.0))
        now_s += 1.0
    assert [line.split()[0] for line in log.getvalue().splitlines()] == ["11", "21"]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo picture as a video of 400 frames that moves a little."""
    path = tmp_path_factory.mktemp("video") / "people.avi"
    picture = cv2.imread(str(ROOT / "demos" / "people.jpg"))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (picture.shape[1], picture.shape[0]))
    for number in range(400):
        writer.write(cv2.convertScaleAbs(picture, alpha=1, beta=number % 8))
    writer.release()
    return path


def test_the_real_thing(video: Path) -> None:
    options = ["--max-frames", "4", "--track", "--smooth", "--size", "256"]
    done = subprocess.run(
        [*COMMAND, video, *options, "--out", "o.mp4", "--json", "-"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["index"] for line in found] == [0, 1, 2, 3]
    assert all(len(line["people"]) >= 3 for line in found)
    assert {person["id"] for line in found for person in line["people"]} >= {1, 2, 3}
    assert frame_count("o.mp4") == 4


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_130_and_a_playable_video(video: Path, number: signal.Signals) -> None:
    options = ["--out", "o.mp4", "--json", "r.jsonl", "--coco", "c.json", "--size", "256"]
    process = subprocess.Popen([*COMMAND, video, *options], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (Path("r.jsonl").exists() and len(Path("r.jsonl").read_bytes()) > 100):
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    kept = lines("r.jsonl")
    assert 1 <= len(kept) < 400
    assert frame_count("o.mp4") == len(kept)
    assert len(json.loads(Path("c.images.json").read_text())["images"]) == len(kept)
    assert f"stopped after {len(kept)} frame" in err
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []


def test_help_and_a_missing_file_need_no_openvino() -> None:
    code = (
        "import sys; from boir_sdk.cli.main import main; code = main(['stream', 'no.mp4']); "
        "print(code, sorted({'openvino'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1 []"
    assert done.stderr.startswith("boir: error: no.mp4 doesn't exist")
    help_text = subprocess.run([*COMMAND, "--help"], env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
    assert "examples:" in help_text
    assert "--serve-on" in help_text


def test_a_password_is_in_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    StreamingEstimator.script = [result(0, source="rtsp://***@cam.local/1")]
    secret = "canary-password"  # noqa: S105 - to be looked for
    assert run(f"rtsp://user:{secret}@cam.local/1", "--json", "r.jsonl", "--coco", "c.json", "--out", "o.mp4") == 0
    said = "".join(capsys.readouterr())
    written = b"".join(path.read_bytes() for path in Path().iterdir() if path.suffix != ".mp4")
    assert secret not in said
    assert secret.encode() not in written
