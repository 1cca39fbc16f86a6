"""Targets and augmentation against the published code's numbers (SPEC-training T2, tolerances T6)."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from boir_sdk.skeleton import COCO17, CROWDPOSE14
from boir_train.data import augment as aug
from boir_train.data import targets as tgt
from boir_train.data.datasets import Source, load, read_picture, valid_mask
from boir_train.data.loader import normalise
from tests.conftest import FIXTURES_TRAIN
from tests.parity.cases import Case, cases
from tests.support.scripted_draws import ScriptedDraws

SKELETONS = {"coco": COCO17, "crowdpose": CROWDPOSE14}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ALL = cases("targets", FIXTURES_TRAIN)
PICTURES = [p for p in ALL if p.values[0] is None or "image_hw" in p.values[0].record["params"]]
TABLES = [p for p in ALL if p.values[0] is None or "image_hw" not in p.values[0].record["params"]]


@pytest.mark.parametrize("case", PICTURES)
def test_a_picture_and_its_targets(case: Case, tmp_path: Path) -> None:
    want, params = case.arrays(), case.record["params"]
    skeleton, rules = SKELETONS[params["dataset"]], params["dataset"]
    source = _as_files(want, tmp_path)

    (picture,) = load([source], skeleton, rules)
    image = read_picture(picture)
    valid = valid_mask(picture)
    np.testing.assert_array_equal(image, want["image"])
    expected_valid = np.unpackbits(want["valid_mask_in"])[: valid.size].reshape(valid.shape)
    np.testing.assert_array_equal(valid, expected_valid.astype(bool))

    settings = aug.AugmentSettings(
        min_scale=params["min_scale"],
        max_scale=params["max_scale"],
        max_rotation=params["max_rotation"],
        max_translate=params["max_translate"],
        flip=params["flip_prob"],
    )
    draws = ScriptedDraws(
        [float(want["u_scale"]), float(want["u_rot"]), float(want["u_flip"])],
        [int(want["dx"]), int(want["dy"]), *want["jitter_xy"].astype(int).ravel().tolist()],
    )
    size, side = params["input_size"], params["output_size"]
    got = aug.augment(image, valid, picture.keypoints, picture.boxes, size, skeleton, settings, draws)

    # cv2.warpAffine changed between OpenCV versions; T6 bounds the difference.
    off = np.abs(got.image_rgb.astype(int) - want["image_u8"].astype(int))
    assert off.max() <= 8
    assert (off > 0).mean() <= 0.1
    assert (got.valid != want["multi_mask"][0].astype(bool)).sum() <= 4
    np.testing.assert_allclose(got.keypoints, want["keypoints"], atol=1e-9)
    np.testing.assert_allclose(got.corners, want["corners"], atol=1e-9)
    np.testing.assert_allclose(got.area, want["area"].ravel(), rtol=1e-9)
    step = size // want["image_norm_sample"].shape[1]
    sample = normalise(want["image_u8"], IMAGENET_MEAN, IMAGENET_STD)[:, ::step, ::step]
    np.testing.assert_allclose(sample, want["image_norm_sample"], atol=1e-6)

    min_area = 1024 if rules == "coco" else 0
    made = tgt.build(got.keypoints, got.corners, got.area, side, draws, min_area=min_area)
    assert not draws.uniforms
    assert not draws.integers
    low, high = params["translate_range"][0]
    assert draws.ranges[:2] == [(low, high - 1)] * 2
    np.testing.assert_allclose(made.multi_heatmap, want["multi_heatmap"], atol=1e-6)
    np.testing.assert_allclose(made.instance_heatmap, want["instance_heatmap"], atol=1e-6)
    np.testing.assert_array_equal(made.instance_coord, want["instance_coord"])
    np.testing.assert_array_equal(made.instance_mask, want["instance_mask"])
    np.testing.assert_allclose(made.boxes, want["bbox"], atol=1e-9)
    assert made.num_inst == int(want["num_inst"][0])


@pytest.mark.parametrize("case", TABLES)
def test_radius_table(case: Case) -> None:
    want = case.arrays()
    overlap = case.record["params"]["min_overlap"]
    radii = [tgt.gaussian_radius(int(h), int(w), overlap) for h, w in want["height_width"]]
    np.testing.assert_allclose(radii, want["radius"], rtol=1e-12, atol=1e-12)
    assert [max(0, int(radius)) for radius in radii] == want["radius_int"].tolist()
    kernels = [name for name in want if name.startswith("kernel_r")]
    assert kernels
    for name in kernels:
        np.testing.assert_allclose(tgt.gaussian(int(name.removeprefix("kernel_r"))), want[name], atol=1e-12)


def _as_files(want: dict[str, np.ndarray], folder: Path) -> Source:
    """Write a fixture's picture and annotations the way a data set has them."""
    height, width = want["image"].shape[:2]
    annotations = json.loads(str(want["annotations_json"]))
    image_id = annotations[0]["image_id"]
    cv2.imwrite(str(folder / "picture.png"), cv2.cvtColor(want["image"], cv2.COLOR_RGB2BGR))
    images = [{"id": image_id, "file_name": "picture.png", "height": height, "width": width}]
    (folder / "people.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return Source(str(folder / "people.json"), str(folder))
