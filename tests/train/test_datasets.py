"""Annotation files: which pictures and people count, what is ignored, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from boir_sdk.errors import ConfigError, DataError
from boir_sdk.skeleton import COCO17, CROWDPOSE14
from boir_train.data.datasets import Source, agree, decode_region, find_annotations, load, read_picture, valid_mask
from boir_train.data.split import ground_truth, hold_out
from tests.support.tiny_training import person, write_data_set, write_people

BOX = (10.0, 10.0, 40.0, 60.0)
NOBODY = {"num_keypoints": 0, "keypoints": [0] * 51}


def one_picture(
    folder: Path, annotations: list[dict[str, Any]], width: int = 128, height: int = 96, **image: Any
) -> Source:
    cv2.imwrite(str(folder / "1.png"), np.zeros((height, width, 3), np.uint8))
    write_people(
        folder / "people.json",
        [{"id": 1, "file_name": "1.png", "height": height, "width": width, **image}],
        annotations,
    )
    return Source(str(folder / "people.json"), str(folder))


def crowdpose(annotation: dict[str, Any]) -> dict[str, Any]:
    return {**annotation, "keypoints": annotation["keypoints"][:42]}


@pytest.mark.parametrize(
    ("rules", "annotations", "people"),
    [
        ("coco", [person(1, 1, BOX)], 1),
        ("coco", [person(1, 1, BOX), person(1, 2, BOX, iscrowd=1), person(1, 3, BOX, **NOBODY)], 1),
        ("coco", [person(1, 1, BOX, iscrowd=1)], None),
        ("coco", [person(1, 1, BOX, **NOBODY)], None),
        ("coco", [], None),
        ("crowdpose", [crowdpose(person(1, 1, BOX))], 1),
        ("crowdpose", [crowdpose(person(1, 1, BOX, num_keypoints=0))], 0),
        ("crowdpose", [crowdpose(person(1, 1, BOX, iscrowd=1))], 0),
        ("crowdpose", [], None),
    ],
)
def test_which_pictures_and_people_count(
    tmp_path: Path, rules: Any, annotations: list[dict[str, Any]], people: int | None
) -> None:
    source = one_picture(tmp_path, annotations)
    skeleton = COCO17 if rules == "coco" else CROWDPOSE14
    if people is None:
        with pytest.raises(DataError, match="no picture with a usable person"):
            load([source], skeleton, rules)
    else:
        (picture,) = load([source], skeleton, rules)
        assert len(picture.boxes) == people
        assert picture.keypoints.shape == (people, len(skeleton), 3)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.pop("images"), "no list 'images'"),
        (lambda d: d["annotations"][0].pop("bbox"), "annotation 1 has no 'bbox'"),
        (lambda d: d["annotations"][0].pop("keypoints"), "annotation 1 has no 'keypoints'"),
        (lambda d: d["annotations"][0].update(keypoints=[1, 2, 2]), "list of 51 numbers"),
        (lambda d: d["annotations"][0].update(bbox=[0, 0, "a", 1]), "finite number"),
        (lambda d: d["annotations"][0].update(bbox=[0, 0, float("nan"), 1]), "finite number"),
        (lambda d: d["annotations"][0].update(image_id=7), "image id 7, which isn't among its images"),
        (lambda d: d["images"][0].pop("height"), "image 1 has no 'height'"),
        (lambda d: d["images"][0].update(file_name="gone.png"), "gone.png of image id 1"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, spoil: Any, message: str) -> None:
    source = one_picture(tmp_path, [person(1, 1, BOX)])
    path = Path(source.annotations)
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as error:
        load([source], COCO17, "coco")
    assert "people.json" in str(error.value)


def test_a_file_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "people.json").write_text("{")
    with pytest.raises(DataError, match="can't be read as JSON"):
        load([Source("people.json", ".")], COCO17, "coco", str(tmp_path))


def test_the_original_name_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "person_keypoints_val2017.json").write_text("{}")
    assert find_annotations(tmp_path / "coco_val.json").name == "person_keypoints_val2017.json"
    with pytest.raises(DataError, match="no annotation file"):
        find_annotations(tmp_path / "coco_train.json")


def test_several_sources_are_joined_in_order(tmp_path: Path) -> None:
    write_data_set(tmp_path / "a", 3)
    write_data_set(tmp_path / "b", 2)
    sources = [Source(f"{name}/people.json", f"{name}/images") for name in "ba"]
    pictures = load(sources, COCO17, "coco", str(tmp_path))
    assert [picture.path.parts[-3] for picture in pictures] == ["b", "b", "a", "a", "a"]


@pytest.mark.parametrize("segmentation", [[[20.0, 20.0, 60.0, 20.0, 60.0, 50.0, 20.0, 50.0]], None])
def test_people_without_keypoints_are_ignored_by_polygon_or_box(tmp_path: Path, segmentation: Any) -> None:
    nobody = person(1, 2, (20.0, 20.0, 40.0, 30.0), **NOBODY, segmentation=segmentation)
    (picture,) = load([one_picture(tmp_path, [person(1, 1, BOX), nobody])], COCO17, "coco")
    valid = valid_mask(picture)
    assert not valid[22:48, 22:58].any()
    assert valid[:18].all()
    assert valid[:, 63:].all()


def test_outlines_are_kept_only_if_asked_for(tmp_path: Path) -> None:
    """Those of all of COCO would take hundreds of megabytes in every loader process."""
    triangle = [[1.0, 1.0, 50.0, 1.0, 25.0, 60.0]]
    people = [
        person(1, 1, BOX, segmentation=triangle),
        person(1, 2, BOX, segmentation=[[1.0, 2.0, 3.0]]),
        person(1, 3, BOX, segmentation=[]),
    ]
    source = one_picture(tmp_path, people)
    (with_them,) = load([source], COCO17, "coco", outlines=True)
    assert with_them.outlines == (triangle, None, None)  # what can't be used is as if it weren't there
    (without,) = load([source], COCO17, "coco")
    assert without.outlines == ()


@pytest.mark.parametrize("compressed", [False, True])
def test_crowd_run_lengths_in_both_forms(compressed: bool) -> None:
    from pycocotools import mask

    inside = np.zeros((20, 30), np.uint8)
    inside[5:9, 3:20] = 1
    region: dict[str, Any] = mask.encode(np.asfortranarray(inside))
    region = {"size": region["size"], "counts": region["counts"].decode()}
    if not compressed:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.ravel(order="F"), [0]])))
        region["counts"] = np.diff(np.concatenate([[0], edges, [inside.size]])).tolist()
    np.testing.assert_array_equal(decode_region(region, 20, 30), inside)


@pytest.mark.parametrize(
    ("source", "asked", "outside_judged"),
    [("labels_only", True, False), ("labels_only", False, True), ("official_json", True, True)],
)
def test_ignore_unlabelled_judges_only_near_annotated_people(
    tmp_path: Path, source: str, asked: bool, outside_judged: bool
) -> None:
    files = one_picture(tmp_path, [person(1, 1, BOX)], annotation_source=source)
    (picture,) = load([files], COCO17, "coco")
    valid = valid_mask(picture, ignore_unlabelled=asked)
    assert valid[12:68, 12:48].all()
    assert valid[10, 8]  # the margin round the box
    assert bool(valid[:, 60:].all()) is outside_judged
    assert bool(valid[80:, :].any()) is outside_judged


def test_swapped_width_and_height_are_found_by_the_boxes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = one_picture(tmp_path, [crowdpose(person(1, 1, (5, 5, 120, 80)))])
    content = json.loads(Path(source.annotations).read_text())
    content["images"][0].update(width=96, height=128)
    Path(source.annotations).write_text(json.dumps(content))
    (picture,) = load([source], CROWDPOSE14, "crowdpose")
    assert (picture.width, picture.height) == (128, 96)
    assert "were swapped" in caplog.text


def test_swapped_width_and_height_are_found_by_the_picture(tmp_path: Path) -> None:
    (picture,) = load([one_picture(tmp_path, [person(1, 1, BOX)])], COCO17, "coco")
    assert agree(picture, 96, 128) is picture
    turned = agree(picture, 128, 96)
    assert (turned.height, turned.width) == (128, 96)
    with pytest.raises(DataError, match=r"1\.png \(image id 1\) is 50 x 40"):
        agree(picture, 40, 50)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (picture,) = load([one_picture(tmp_path, [person(1, 1, BOX)])], COCO17, "coco")
    picture.path.write_bytes(b"not a picture")
    with pytest.raises(DataError, match="image id 1"):
        read_picture(picture)


def test_pictures_are_rgb(tmp_path: Path) -> None:
    (picture,) = load([one_picture(tmp_path, [person(1, 1, BOX)])], COCO17, "coco")
    cv2.imwrite(str(picture.path), np.full((96, 128, 3), (10, 20, 30), np.uint8))
    assert read_picture(picture)[0, 0].tolist() == [30, 20, 10]


def test_hold_out_is_stable_and_only_takes_complete_pictures(tmp_path: Path) -> None:
    write_data_set(tmp_path, 12)
    path = tmp_path / "people.json"
    content = json.loads(path.read_text())
    for record in content["images"][:6]:
        record["annotation_source"] = "labels_only"
    path.write_text(json.dumps(content))
    sources = [Source("people.json", "images")]
    pictures = load(sources, COCO17, "coco", str(tmp_path))
    training, held = hold_out(pictures, 3)
    assert len(held) == 3
    assert all(picture.complete for picture in held)
    assert {p.image_id for p in training} | {p.image_id for p in held} == set(range(1, 13))
    assert {p.image_id for p in hold_out(pictures[::-1], 3)[1]} == {p.image_id for p in held}
    truth = ground_truth(held, sources, str(tmp_path))
    assert {record["id"] for record in truth["images"]} == {p.image_id for p in held}
    assert {record["image_id"] for record in truth["annotations"]} == {p.image_id for p in held}
    with pytest.raises(ConfigError, match="can be held out"):
        hold_out(pictures, 7)
    with pytest.raises(DataError, match="unique"):
        hold_out([*pictures, pictures[0]], 3)
