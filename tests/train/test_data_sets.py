"""The paper's data sets: what is missing of one, how much is in it, CrowdPose's trainval from its two files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from boir_train.cli import main as cli
from boir_train.data import known
from tests.train.test_data_check import PERSON, picture, write_set


def write_crowdpose(root: Path, swapped: bool = False) -> None:
    """CrowdPose's folder with a picture in each part; `swapped` exchanges width and height as the old files do."""
    (root / "annotations").mkdir(parents=True)
    (root / "images").mkdir()
    for number, part in enumerate(("train", "val", "test"), start=1):
        name = f"{number:06d}.jpg"
        cv2.imwrite(str(root / "images" / name), picture(number))
        height, width = (120, 90) if swapped else (90, 120)
        image = {"id": number, "file_name": name, "height": height, "width": width, "crowdIndex": 0.1}
        person = {
            "id": number,
            "image_id": number,
            "keypoints": PERSON[: 3 * 14],
            "num_keypoints": 12,
            "iscrowd": 0,
            "bbox": [60, 10, 50, 50],
        }
        (root / "annotations" / f"crowdpose_{part}.json").write_text(
            json.dumps({"images": [image], "annotations": [person], "categories": [{"id": 1, "name": "person"}]})
        )


def test_what_is_missing_of_a_data_set_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "check", "--dataset", "crowdpose", "--root", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    for line, name in zip(lines[1:], ("crowdpose_trainval.json", "images", "crowdpose_test.json"), strict=True):
        assert str(tmp_path) in line
        assert name in line
        assert "; fetch" in line
    assert "boir-train data merge" in lines[1]


@pytest.mark.parametrize("swapped", [False, True])
def test_crowdpose_from_what_is_shipped(swapped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_crowdpose(tmp_path, swapped)
    files = [str(tmp_path / "annotations" / f"crowdpose_{part}.json") for part in ("train", "val", "trainval")]
    merge = ["data", "merge", "--annotations", files[0], "--annotations", files[1], "--out", files[2]]
    assert cli.main(merge) == 0
    assert "2 pictures, 2 annotations" in capsys.readouterr().out

    check_it = ["data", "check", "--dataset", "crowdpose", "--root", str(tmp_path), "--json"]
    assert cli.main(check_it) == 0
    report = json.loads(capsys.readouterr().out)
    assert [entry["role"] for entry in report["sets"]] == ["training", "evaluation"]
    assert [len(entry["swapped"]) for entry in report["sets"]] == ([2, 1] if swapped else [0, 0])
    assert [entry["skeleton"] for entry in report["sets"]] == ["crowdpose14"] * 2
    assert len(report["comparisons"]) == 1
    assert [(entry["expected_pictures"], entry["agrees"]) for entry in report["counts"]] == [
        (12_000, False),
        (8_000, False),
    ]
    assert cli.main([*check_it[:-1], "--whole"]) == 1
    assert (
        "the whole has 12,000 pictures and 43,350 to 43,450 people with joints, not as here" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("name", "pictures", "people", "agrees"),
    [
        ("person_keypoints_val2017.json", 5_000, 6_352, True),
        ("x/coco_train.json", 118_287, 149_813, True),
        ("coco_train.json", 118_287, 149_812, False),
        ("crowdpose_trainval.json", 12_000, 43_400, True),
        ("crowdpose_test.json", 7_999, 29_000, False),
        ("ochuman_test.json", 2_231, 3_819, True),
    ],
)
def test_counts_beside_the_paper(name: str, pictures: int, people: int, agrees: bool) -> None:
    counted = known.count(name, pictures, people)
    assert counted is not None
    assert counted.agrees is agrees
    assert known.count("mine.json", pictures, people) is None


def test_files_that_share_an_id_are_not_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_set(tmp_path / "a", {1: picture(1), 2: picture(2)})
    two = write_set(tmp_path / "b", {2: picture(3)})
    out = tmp_path / "c.json"
    arguments = ["data", "merge", "--annotations", str(one), "--annotations", str(two), "--out", str(out)]
    assert cli.main(arguments) == 1
    assert "id 2 of 'images'" in capsys.readouterr().err
    assert not out.exists()
    assert cli.main(arguments[:4]) == 1
    assert "merge needs two" in capsys.readouterr().err
