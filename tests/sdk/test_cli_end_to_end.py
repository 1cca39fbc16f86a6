"""`boir` with the embedded model, in a process of its own, on the demo picture."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from boir_sdk.poses import Poses
from tests.conftest import ROOT

PICTURE = ROOT / "demos" / "people.jpg"
NOSES_XY = [(76, 162), (135, 137), (238, 139), (307, 166)]
"""Where the four noses of the demo picture are, read by eye off an eightfold enlargement, px."""
COMMAND = [sys.executable, "-m", "boir_sdk.cli.main"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "sdk"), "PYTHONUNBUFFERED": "1"}


def boir(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, timeout=200, check=False
    )


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder with all kinds of results of the demo picture, and what was printed."""
    folder = tmp_path_factory.mktemp("predict")
    outputs = ("--overlay", "o.png", "--jsonl", "r.jsonl", "--coco", "c.json")
    return folder, boir("predict", PICTURE, *outputs, folder=folder)


def test_the_people_of_the_demo_picture_are_found(result: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = result
    assert done.returncode == 0, done.stderr
    poses = Poses.from_dict(json.loads((folder / "r.jsonl").read_text()))
    noses_xy = poses.keypoints[:, poses.skeleton.keypoints.index("nose")]
    distance_px = np.linalg.norm(noses_xy[:, None] - np.array(NOSES_XY), axis=2)  # [N, 4]
    assert (distance_px.min(axis=0) < 8).all(), f"a nose was not found: {distance_px.min(axis=0)}"
    assert sorted(distance_px.argmin(axis=0).tolist()) == list(range(len(poses))), "each nose is another person's"


def test_all_results_tell_the_same(result: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = result
    record: dict[str, Any] = json.loads((folder / "r.jsonl").read_text())
    count = len(record["people"])
    assert done.stdout.splitlines()[0] == f"{PICTURE}  480x270  {count} people"
    assert len(done.stdout.splitlines()) == 1 + count
    coco = json.loads((folder / "c.json").read_text())
    assert [person["score"] for person in coco] == [person["score"] for person in record["people"]]
    before, after = cv2.imread(str(PICTURE)), cv2.imread(str(folder / "o.png"))
    assert before.shape == after.shape
    assert (np.abs(before.astype(int) - after).max(axis=2) > 30).mean() > 0.005


def test_many_pictures_from_several_threads_give_what_one_gives(
    result: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    for number in range(6):
        shutil.copy(PICTURE, tmp_path / f"{number}.jpg")
    done = boir("predict", ".", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    people = [json.loads(line)["people"] for line in done.stdout.splitlines()]
    alone = json.loads((result[0] / "r.jsonl").read_text())["people"]
    assert people == [alone] * 6


def test_info_of_the_embedded_model(tmp_path: Path) -> None:
    done = boir("info", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nano" in done.stdout
    assert "coco17" in done.stdout
    everything = json.loads(boir("info", "default", "--json", folder=tmp_path).stdout)
    assert "nano" in json.dumps(everything)


def test_a_model_that_is_none_is_an_error_line(tmp_path: Path) -> None:
    done = boir("predict", PICTURE, "--model", tmp_path, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("boir: error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_130_whole_lines_and_a_summary(tmp_path: Path, number: signal.Signals) -> None:
    copies = [tmp_path / f"{index:03}.jpg" for index in range(300)]
    for path in copies:
        shutil.copy(PICTURE, path)
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(
            [*COMMAND, "predict", *map(str, copies), "--jsonl", "r.jsonl", "--json"],
            cwd=tmp_path,
            env=environment(),
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None and not (tmp_path / "out").read_text():
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    printed = (tmp_path / "out").read_text().splitlines()
    assert 1 <= len(printed) < len(copies)
    kept = (tmp_path / "r.jsonl").read_text().splitlines()
    assert list(map(json.loads, kept)) == list(map(json.loads, printed))
    assert f"stopped after {len(printed)} of {len(copies)} pictures" in err


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break differently")
def test_a_reader_that_leaves_is_no_traceback(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "predict", PICTURE, "--keypoints"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert err == ""
