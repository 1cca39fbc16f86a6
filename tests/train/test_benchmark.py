"""`boir-train benchmark`: fair turns, honest verdicts, files that can be read again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from boir_sdk.errors import DataError
from boir_train import benchmark, peers
from boir_train.benchmark import Entrant, Point
from boir_train.cli import main as cli
from tests.conftest import ROOT

RUNNER = """
import numpy as np
MODELS = {"fake": "none.xml"}
class Peer:
    def __init__(self, name, size, threads):
        self.size = size
    def __call__(self, image_bgr):
        height, width = image_bgr.shape[:2]
        return np.full((1, 17, 3), [width / 2, height / 2, 0.5], np.float32), np.array([0.5])
"""


def point(model: str, size: int, ms: float, ap: float) -> Point:
    return Point(model, size, "f32", {"val": ap}, {"val": (ap, ap)}, ms, ms, 1.0)


LINE = [point("rival", 256, 10.0, 0.2), point("rival", 384, 20.0, 0.4), point("rival", 512, 40.0, 0.3)]


@pytest.mark.parametrize(
    ("ms", "expected"), [(10, 0.2), (15, 0.3), (20, 0.4), (30, 0.4), (40, 0.4), (9.9, None), (40.1, None)]
)
def test_a_line_gives_the_best_within_a_time_and_nothing_outside(ms: float, expected: float | None) -> None:
    found = benchmark.ap_at(LINE, "val", ms)
    assert found is None if expected is None else found == pytest.approx(expected)


def test_verdicts_compare_at_equal_time() -> None:
    own = [point("own", 320, 15.0, 0.35), point("own", 640, 50.0, 0.5)]
    near, far = benchmark.verdicts([*own, *LINE], "own", "val")
    assert near["ahead"] == pytest.approx(0.05)
    assert far["ahead"] is None


def test_everybody_has_every_turn_equally_often() -> None:
    seen: list[str] = []

    def entrant(name: str) -> Entrant:
        def detect(picture: np.ndarray) -> list[dict[str, object]]:
            seen.append(name)
            time.sleep(0.001)
            return []

        return Entrant(name, 1, detect, lambda: "f32")

    pictures = [np.zeros((4, 6, 3), np.uint8), np.zeros((6, 4, 3), np.uint8)]
    taken = benchmark.measure_times([entrant("a"), entrant("b")], pictures, 3)
    assert seen[:4] == ["a", "a", "b", "b"]  # each shape once before anything is measured
    assert "".join(seen[4:]) == "abba" * 3
    assert [len(times) for times in taken] == [6, 6]
    assert min(map(min, taken)) >= 1.0


@pytest.fixture
def small_set(tmp_path: Path) -> tuple[str, str, str]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    image_bgr = cv2.resize(cv2.imread(str(ROOT / "demos" / "people.jpg")), (192, 128), interpolation=cv2.INTER_AREA)
    images, people = [], []
    for number in (1, 2):
        cv2.imwrite(str(folder / f"{number}.png"), image_bgr)
        images.append({"id": number, "file_name": f"{number}.png", "height": 128, "width": 192})
        person = {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "num_keypoints": 17}
        people.append({**person, "keypoints": [96, 64, 2] * 17, "bbox": [40, 10, 100, 100], "area": 9000})
    file = tmp_path / "set.json"
    file.write_text(json.dumps({"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}))
    return "tiny", str(file), str(folder)


def test_a_run_writes_its_results_and_keeps_what_it_measured(
    tmp_path: Path, small_set: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / peers.RUNNER).write_text(RUNNER)
    out = tmp_path / "out"
    command = ["benchmark", "--bundle", "default", "--sizes", "192", "--set", *small_set, "--out", str(out)]
    command += ["--peers", str(tmp_path / "peers"), "--pictures", "1", "--repeats", "2", "--threads", "1"]
    assert cli.main(command) == 0
    table = capsys.readouterr().out
    report = json.loads((out / "benchmark.json").read_text())
    assert [one["size"] for one in report["points"]] == [192, 192]
    assert report["points"][1]["model"] == "fake"
    assert report["points"][1]["ap"]["tiny"] == pytest.approx(1.0)  # it guesses where the truth is
    assert report["points"][0]["precision"] == "f32"
    assert report["points"][0]["ratio"] == 1.0
    assert "fake" in table
    assert (out / "benchmark.md").read_text() == table
    assert cv2.imread(str(out / "ap_against_ms.png")) is not None

    # What was measured before is taken from the partial results.
    known = json.loads((out / "partial.json").read_text())
    assert len(known) == 2
    changed = {key: [0.125, 0.1, 0.2] if ":fake:" in key else value for key, value in known.items()}
    (out / "partial.json").write_text(json.dumps(changed))
    assert cli.main([*command, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["points"][1]["ap"]["tiny"] == 0.125
    assert again["points"][0]["ap"] == report["points"][0]["ap"]


@pytest.mark.parametrize(("runner", "message"), [(None, "no run_peer.py"), ("MODELS = {}", "has no Peer")])
def test_a_folder_without_peers_is_refused(tmp_path: Path, runner: str | None, message: str) -> None:
    if runner is not None:
        (tmp_path / peers.RUNNER).write_text(runner)
    with pytest.raises(DataError, match=message):
        peers.load_runner(tmp_path)
