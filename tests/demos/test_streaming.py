"""The streaming demos, run as a user runs them, on a short video made of the demo picture."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17
from tests.conftest import ROOT
from tests.support.fake_stream import person

DEMOS = ("webcam", "video", "rtsp", "browser", "count_people_in_zone", "export_dataset")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "sdk"), "PYTHONUNBUFFERED": "1"}
FRAMES = 6


def demo_here(name: str, *arguments: str) -> int:
    """Run a demo in this process, which is quicker; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{name}.py", *arguments])
        patch.delenv("DISPLAY", raising=False)
        patch.delenv("WAYLAND_DISPLAY", raising=False)
        try:
            code: int = module(name).main()
        except SystemExit as left:
            return int(left.code or 0)
        return code


def demo(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "demos" / f"{name}.py", *arguments],
        env={key: value for key, value in ENVIRONMENT.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def module(name: str) -> ModuleType:
    """A demo as a module."""
    spec = importlib.util.spec_from_file_location(f"demo_{name}", ROOT / "demos" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "people.avi"
    picture = cv2.imread(str(ROOT / "demos" / "people.jpg"))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (picture.shape[1], picture.shape[0]))
    for _ in range(FRAMES):
        writer.write(picture)
    writer.release()
    return path


@pytest.mark.parametrize("name", DEMOS)
def test_help_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo_here(name, "--help") == 0
    assert "usage:" in capsys.readouterr().out


def test_video(video: Path, tmp_path: Path) -> None:
    done = demo("video", video, tmp_path / "o.mp4")
    assert done.returncode == 0, done.stderr
    first, *people = done.stdout.splitlines()
    assert first.startswith(f"{FRAMES} frames in ")
    assert len(people) >= 3
    capture = cv2.VideoCapture(str(tmp_path / "o.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES


def test_export_dataset_is_read_by_pycocotools(video: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    done = demo("export_dataset", video, tmp_path / "set", "--every", "2")
    assert done.returncode == 0, done.stderr
    loaded = coco.COCO(str(tmp_path / "set" / "person_keypoints.json"))
    assert sorted(loaded.imgs) == [0, 2, 4]
    for image in loaded.imgs.values():
        picture = cv2.imread(str(tmp_path / "set" / "images" / image["file_name"]))
        assert picture.shape[:2] == (image["height"], image["width"])
    annotations = loaded.loadAnns(loaded.getAnnIds())
    assert len(annotations) >= 9
    for written in annotations:
        triples = np.array(written["keypoints"]).reshape(17, 3)
        seen = triples[:, 2] == 2
        assert seen.sum() == written["num_keypoints"] > 0
        x, y, _, height = written["bbox"]
        assert triples[seen, 0].min() == pytest.approx(x, abs=0.11)
        assert triples[seen, 1].max() == pytest.approx(y + height, abs=0.21)
        assert (triples[~seen] == 0).all()
    assert loaded.cats[1]["keypoints"][0] == "nose"
    assert json.loads((tmp_path / "set" / "person_keypoints.json").read_text()).keys() == {
        "images", "annotations", "categories"
    }  # fmt: skip


def test_count_people_in_zone_runs(video: Path, tmp_path: Path) -> None:
    done = demo("count_people_in_zone", video, "0,0.5", "1,0.5", "1,1", "0,1", "--out", tmp_path / "o.mp4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "0 entered, 0 left", "nobody moves in this video"
    assert cv2.VideoCapture(str(tmp_path / "o.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES


@pytest.mark.parametrize(
    ("inside", "crossings"),
    [
        ([0] * 9, []),
        ([1] * 9, []),
        ([0, 0, 1, 1, 1, 1], [4]),
        ([0, 1, 1, 0, 1, 1, 0, 0], []),  # flickers on the line
        ([0, 1, 1, 1, 0, 0, 0, 1, 1, 1], [3, 6, 9]),
        ([1, 1, 0, 0, 0], [4]),
    ],
)
def test_a_crossing_counts_once_and_flicker_doesn_t(inside: list[int], crossings: list[int]) -> None:
    crosses = module("count_people_in_zone").crosses
    sides: dict[int, tuple[bool, int]] = {}
    assert [i for i, now in enumerate(inside) if crosses(sides, 7, bool(now))] == crossings


def test_a_person_is_where_the_feet_are() -> None:
    feet = module("count_people_in_zone").feet
    keypoints = person(50, 10, 80)
    scores = np.full(17, 0.9)
    assert feet(Poses([keypoints], [scores], [0.9], COCO17)) == pytest.approx((50, 10 + 0.98 * 80), abs=0.01)
    scores[[15, 16]] = 0.0
    x, y = feet(Poses([keypoints], [scores], [0.9], COCO17))
    assert (x, y) == pytest.approx((50, keypoints[:, 1].max()), abs=0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_browser_shows_the_page_until_it_is_stopped(video: Path) -> None:
    command = [sys.executable, str(ROOT / "demos" / "browser.py"), str(video), "--port", "0", "--repeat"]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.match(r"open (http://127\.0\.0\.1:\d+/) ", process.stdout.readline())
            assert found is not None
            with urllib.request.urlopen(found[1] + "events", timeout=60) as events:  # noqa: S310 - of this machine
                while True:
                    line = events.readline()
                    if line.startswith(b"data: "):
                        sources = json.loads(line[6:])["sources"]
                        if sources and sources[0]["people"] >= 3:
                            break
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130


@pytest.mark.parametrize(
    ("name", "arguments", "code", "message"),
    [
        ("video", ["no.mp4", "o.mp4"], 1, "no.mp4 doesn't exist"),
        ("video", ["no.mp4", "o.gif"], 1, "must end in .mp4"),
        ("video", [], 2, "usage:"),
        ("webcam", [], 1, "no display"),
        ("rtsp", ["ftp://me:canary@h/x"], 1, "rtsp"),
        ("browser", ["--port", "99999"], 1, "expected 0 to 65535"),
        ("count_people_in_zone", ["a.mp4", "0,0", "1,1"], 2, "at least three corners"),
        ("count_people_in_zone", ["a.mp4", "0,0", "1,1", "x,1"], 2, "a corner is X,Y"),
        ("export_dataset", ["no.mp4", "d", "--every", "0"], 2, "whole number from 1"),
    ],
)
def test_what_goes_wrong_is_said(
    name: str,
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert demo_here(name, *arguments) == code
    said = "".join(capsys.readouterr())
    assert message in said
    assert "canary" not in said
    assert list(tmp_path.iterdir()) == []
