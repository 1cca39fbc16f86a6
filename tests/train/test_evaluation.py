"""Evaluation and its interval where the fixtures don't look: checks at the door, empty results, ids, resampling."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from boir_sdk.errors import ConfigError, DataError
from boir_train import config
from boir_train.bootstrap import average_precision, interval
from boir_train.downloads import hint
from boir_train.evaluation import (
    COCO_NAMES,
    CROWDPOSE_NAMES,
    Evaluation,
    evaluate,
    load_annotations,
    picture_files,
)
from tests.conftest import SHARED

KNOWN = SHARED / "data" / "coco" / "evaluator_known_answers.json"


def _world(joints: int = 17, pictures: int = 12, seed: int = 0) -> tuple[dict, list[dict]]:
    """Annotated pictures and detections: some exact, some off, some invented."""
    generator = np.random.default_rng(seed)
    truth: dict = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    detections = []
    for picture in range(pictures):
        image_id = 100 + 7 * picture
        truth["images"].append(
            {"id": image_id, "file_name": f"{image_id}.png", "width": 640, "height": 480, "crowdIndex": picture / 12}
        )
        for _ in range(1 + picture % 4):
            xy = generator.uniform(0, 90, (joints, 2)) + generator.uniform(0, 380, 2)
            visible = np.full((joints, 1), 2.0)
            box = [*xy.min(0).tolist(), *np.ptp(xy, axis=0).tolist()]
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "iscrowd": 0,
                    "num_keypoints": joints,
                    "bbox": box,
                    "area": box[2] * box[3] * 0.6,
                    "keypoints": np.hstack([xy, visible]).ravel().tolist(),
                }
            )
            for error in (generator.choice([0.0, 3.0, 8.0, 60.0]),):
                found = xy + generator.normal(0, error + 1e-9, xy.shape)
                detections.append(
                    {
                        "image_id": image_id,
                        "category_id": 1,
                        "keypoints": np.hstack([found, np.ones((joints, 1))]).ravel().tolist(),
                        "score": float(generator.uniform()),
                    }
                )
    return truth, detections


@pytest.mark.parametrize("protocol", ["coco", "ochuman", "crowdpose"])
def test_no_detections_give_zeros(protocol: str) -> None:
    truth, _ = _world(14 if protocol == "crowdpose" else 17)
    result = evaluate(truth, [], protocol)
    assert tuple(result.stats) == (CROWDPOSE_NAMES if protocol == "crowdpose" else COCO_NAMES)
    for name, value in result.stats.items():
        assert value in (0.0, -1.0), name
    assert result.stats["AP"] == 0.0
    assert interval(result.matches) == (0.0, 0.0)


def test_no_people_give_minus_one() -> None:
    truth, detections = _world()
    truth["annotations"] = []
    result = evaluate(truth, detections, "coco")
    assert set(result.stats.values()) == {-1.0}
    assert interval(result.matches) == (-1.0, -1.0)


def test_exact_detections_are_perfect_whatever_the_ids() -> None:
    """pycocotools counts a match with annotation id 0 as a miss, and keeps one of two equal ids."""
    truth, _ = _world()
    for number, person in enumerate(truth["annotations"]):
        person["id"] = number // 2
    exact = [
        {"image_id": p["image_id"], "category_id": 1, "keypoints": p["keypoints"], "score": 0.9}
        for p in truth["annotations"]
    ]
    result = evaluate(truth, exact, "coco")
    assert result.stats["AP"] == pytest.approx(1.0)
    assert result.stats["AR"] == pytest.approx(1.0)
    assert result.people == len(truth["annotations"])


def test_inputs_are_left_alone() -> None:
    truth, detections = _world(14)
    before = copy.deepcopy((truth, detections))
    evaluate(truth, detections, "crowdpose")
    assert (truth, detections) == before


def test_other_categories_are_not_people() -> None:
    truth, detections = _world()
    plain = evaluate(truth, detections, "coco").stats
    truth["categories"] = [{"id": 1, "name": "person"}, {"id": 2, "name": "horse"}]
    truth["annotations"].append({**truth["annotations"][0], "id": 999, "category_id": 2})
    assert evaluate(truth, detections, "coco").stats == plain


def test_chosen_pictures_equal_a_smaller_file() -> None:
    truth, detections = _world()
    some = [image["id"] for image in truth["images"][:5]]
    part = {
        **truth,
        "images": truth["images"][:5],
        "annotations": [p for p in truth["annotations"] if p["image_id"] in some],
    }
    of_part = evaluate(part, [d for d in detections if d["image_id"] in some], "coco")
    chosen = evaluate(truth, detections, "coco", image_ids=some)
    assert chosen.stats == of_part.stats
    assert chosen.images == 5


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.pop("images"), "no list 'images'"),
        (lambda t: t["images"][3].pop("id"), "no id"),
        (lambda t: t["annotations"][2].pop("area"), "annotation 3: no area"),
        (lambda t: t["annotations"][2].pop("num_keypoints"), "no num_keypoints"),
        (lambda t: t["annotations"][0].update(keypoints=[1, 2, 2]), "keypoints has 3 numbers, coco needs 51"),
        (lambda t: t["annotations"][0].update(image_id=5), "image_id 5"),
        (lambda t: t.update(categories=[{"id": 4, "name": "cat"}, {"id": 5, "name": "dog"}]), "'person'"),
        (lambda t: t.update(images=[], annotations=[]), "no picture"),
    ],
)
def test_damaged_annotations_are_named(damage, message: str, tmp_path: Path) -> None:
    truth, detections = _world()
    damage(truth)
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(truth))
    with pytest.raises(DataError, match=message) as caught:
        evaluate(path, detections, "coco")
    assert "damaged.json" in str(caught.value)


def test_crowdpose_needs_the_crowd_index() -> None:
    truth, detections = _world(14)
    del truth["images"][0]["crowdIndex"]
    with pytest.raises(DataError, match="crowdIndex"):
        evaluate(truth, detections, "crowdpose")


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_unreadable_file_is_named(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=r"truth\.json"):
        evaluate(path, [], "coco")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d[1].pop("score"), "detection 2: no score"),
        (lambda d: d[1].update(image_id=3), "detection 2: image_id 3"),
        (lambda d: d[0]["keypoints"].pop(), "detection 1: keypoints has 50 numbers"),
        (lambda d: d[0].update(score=float("nan")), "detection 1: .* finite"),
    ],
)
def test_damaged_detections_are_named(damage, message: str) -> None:
    truth, detections = _world()
    damage(detections)
    with pytest.raises(DataError, match=message):
        evaluate(truth, detections, "coco")


def test_unknown_protocol_is_refused() -> None:
    with pytest.raises(ConfigError, match="halpe"):
        evaluate(_world()[0], [], "halpe")


def test_known_answers_on_real_annotations() -> None:
    if not KNOWN.is_file():
        pytest.skip(f"needs {KNOWN}")
    known = json.loads(KNOWN.read_text())
    truth = json.loads((KNOWN.parent / "person_keypoints_val.json").read_text())
    assert known["cases"]
    for case in known["cases"]:
        result = evaluate(truth, case["detections"], "coco", image_ids=known["image_ids"])
        np.testing.assert_allclose(list(result.stats.values()), case["stats"], rtol=0, atol=1e-6)  # six digits


# interval


def _evaluated(seed: int = 0) -> tuple[dict, list[dict], Evaluation]:
    truth, detections = _world(seed=seed)
    return truth, detections, evaluate(truth, detections, "coco")


def test_weights_equal_an_evaluation_of_copied_pictures() -> None:
    truth, detections, result = _evaluated()
    weights = np.random.default_rng(4).integers(0, 4, result.images)
    copied: dict = {"images": [], "annotations": [], "categories": truth["categories"]}
    records = []
    for index, image in enumerate(sorted(truth["images"], key=lambda record: record["id"])):
        for _ in range(weights[index]):
            new = len(copied["images"]) + 1
            copied["images"].append({"id": new})
            copied["annotations"] += [
                {**p, "image_id": new} for p in truth["annotations"] if p["image_id"] == image["id"]
            ]
            records += [{**d, "image_id": new} for d in detections if d["image_id"] == image["id"]]
    expected = evaluate(copied, records, "coco").stats["AP"]
    assert 0 < expected < 1
    assert average_precision(result.matches, weights) == pytest.approx(expected, abs=1e-12)


def test_interval_is_repeatable_and_holds_the_value() -> None:
    *_, result = _evaluated()
    low, high = interval(result.matches, resamples=300)
    assert (low, high) == interval(result.matches, resamples=300)
    assert (low, high) != interval(result.matches, resamples=300, seed=1)
    assert low < result.stats["AP"] < high


def test_interval_narrows_with_more_pictures() -> None:
    widths = []
    for pictures in (12, 120):
        truth, detections = _world(pictures=pictures)
        low, high = interval(evaluate(truth, detections, "coco").matches, resamples=300)
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_interval_of_perfect_detections_is_a_point() -> None:
    truth, _ = _world()
    exact = [{"image_id": p["image_id"], "keypoints": p["keypoints"], "score": 0.5} for p in truth["annotations"]]
    assert interval(evaluate(truth, exact, "coco").matches, resamples=200) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("data/coco/annotations/coco_val.json", "fetch annotations_trainval2017.zip"),
        ("anywhere/person_keypoints_val2017.json", "put person_keypoints_val2017.json into data/coco/annotations"),
        ("data/coco/images/test2017", "fetch test2017.zip"),
        ("data/crowdpose/annotations/crowdpose_trainval.json", "join their `images` and `annotations`"),
        ("data/crowdpose/images", "fetch images.zip from the CrowdPose project"),
        ("data/ochuman/images", "fetch images.zip from the OCHuman project"),
        ("data/ochuman/annotations/ochuman_test.json", "the OCHuman project"),
        ("my/images", ""),
        ("my.json", ""),
    ],
)
def test_a_missing_file_says_what_to_fetch(path: str, words: str) -> None:
    found = hint(path)
    assert words in found
    assert bool(found) == bool(words)


def test_every_set_that_a_configuration_names_can_be_fetched() -> None:
    for name in config.names():
        read = config.load(name)
        if name in ("nano", "small"):  # made of COCO by this project, see docs/models.md
            assert hint(read.model.weights or ""), name
            continue
        sources = [(source.annotations, source.images) for source in read.data.train]
        if read.eval.annotations and read.eval.images:
            sources.append((read.eval.annotations, read.eval.images))
        for file, images in sources:
            assert hint(Path(read.data.root, file)), (name, file)
            assert hint(Path(read.data.root, images)), (name, images)
        assert hint(read.model.weights or ""), name


def test_missing_annotations_and_pictures_say_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fetch annotations_trainval2017"):
        load_annotations(tmp_path / "coco_val.json", "coco")
    with pytest.raises(DataError, match="fetch val2017"):
        picture_files([{"id": 1, "file_name": "1.jpg"}], tmp_path / "val2017")
