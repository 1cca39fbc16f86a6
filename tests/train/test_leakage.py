"""No evaluation picture was trained on: the sets of the shared folder, by image id and by perceptual hash."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from boir_train import config
from boir_train.data.check import Checked, Fingerprint, check, decode_grey, leaks, read_grey
from boir_train.data.datasets import Source
from boir_train.data.perceptual import BITS, NEAR, distances, mirrored, perceptual_hash
from tests.conftest import ROOT, SHARED

DATA = SHARED / "data"
RUNS = sorted((ROOT / "weights" / "runs").glob("*.yaml"))
TRAINING = ("train", "train2", "val2017rest")  # files that unpack.py merges to `trainall`
KNOWN = {f"person_keypoints_{name}.json" for name in (*TRAINING, "trainall")}
EVALUATION = {"val": 112, "crowded": 48}  # pictures

needs_data = pytest.mark.skipif(
    not (DATA / "README.md").is_file(), reason=f"needs the shared data, not found at {SHARED} (set BOIR_SHARED)"
)


@pytest.fixture(scope="module")
def training() -> list[Fingerprint]:
    """Every picture that training may use, read out of the archives."""
    records = [
        record
        for name in TRAINING
        for record in json.loads((DATA / f"coco/person_keypoints_{name}.json").read_text())["images"]
    ]
    ids = {record["file_name"]: record["id"] for record in records}
    assert len(ids) == len(records) == 2434
    found = []
    for archive in sorted((DATA / "coco").glob("*.tar")):
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None and member.name in ids:
                    grey = decode_grey(file.read())
                    assert grey is not None, f"{member.name} in {archive.name} is damaged"
                    found.append(Fingerprint(ids.pop(member.name), member.name, perceptual_hash(grey)))
    assert not ids, f"{len(ids)} training pictures are in no archive"
    return found


@pytest.fixture(scope="module")
def evaluation() -> dict[str, Checked]:
    return {name: check(Source(f"coco/person_keypoints_{name}.json", f"coco/{name}"), str(DATA)) for name in EVALUATION}


@pytest.mark.parametrize("run", RUNS, ids=lambda path: path.stem)
def test_runs_trained_on_the_sets_that_are_looked_at_here(run: Path) -> None:
    """Another training file must be added to this test before a run that used it is committed."""
    sources = config.load(str(run)).data.train
    assert sources
    assert {Path(source.annotations).name for source in sources} <= KNOWN


@needs_data
@pytest.mark.parametrize("name", EVALUATION)
def test_evaluation_sets_are_whole(name: str, evaluation: dict[str, Checked]) -> None:
    assert evaluation[name].problems == ()
    assert evaluation[name].pictures == len(evaluation[name].fingerprints) == EVALUATION[name]


@needs_data
@pytest.mark.parametrize("name", EVALUATION)
def test_no_evaluation_picture_is_a_training_picture(
    name: str, training: list[Fingerprint], evaluation: dict[str, Checked]
) -> None:
    found, smallest = leaks(training, evaluation[name].fingerprints)
    assert found == ()
    assert smallest is not None
    assert smallest > NEAR


@needs_data
def test_a_planted_copy_is_found_among_them(training: list[Fingerprint], evaluation: dict[str, Checked]) -> None:
    """A picture of each evaluation set in another size, as WebP and under another id, mirrored for one of them."""
    for name, turn in zip(EVALUATION, (False, True), strict=True):
        original = evaluation[name].fingerprints[-1]
        pixels = cv2.imread(str(DATA / "coco" / name / original.name))
        copy = np.ascontiguousarray(cv2.resize(pixels[:, ::-1] if turn else pixels, None, fx=0.6, fy=0.6))
        webp = cv2.imencode(".webp", copy, [cv2.IMWRITE_WEBP_QUALITY, 52])[1].tobytes()
        grey = decode_grey(webp)
        assert grey is not None
        planted = Fingerprint(1, "planted.webp", perceptual_hash(grey))
        found, _ = leaks([*training, planted], evaluation[name].fingerprints)
        assert [(leak.training, leak.evaluation, leak.mirrored) for leak in found] == [
            ("planted.webp", original.name, turn)
        ]


def copies(grey: np.ndarray) -> list[np.ndarray]:
    """The picture as other people's tools hand it on."""
    jpeg = cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_GRAYSCALE)
    quarter = cv2.resize(grey, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    webp = cv2.imdecode(cv2.imencode(".webp", quarter, [cv2.IMWRITE_WEBP_QUALITY, 52])[1], cv2.IMREAD_GRAYSCALE)
    enlarged = cv2.resize(grey, None, fx=1.5, fy=1.5)
    square = cv2.resize(grey, (256, 256))
    return [jpeg, quarter, webp, enlarged, square, np.ascontiguousarray(grey[:, ::-1])]


@needs_data
def test_the_limit_lies_between_copies_and_unrelated_pictures(
    training: list[Fingerprint], evaluation: dict[str, Checked]
) -> None:
    """Copies differ in at most half of `NEAR` bits, unrelated pictures in more than `NEAR`, nearly all in far more."""
    prints = {name: one.fingerprints[::4] for name, one in evaluation.items()}
    near = []
    for name, some in prints.items():
        for one in some:
            grey = read_grey(DATA / "coco" / name / one.name)
            hashes = np.array([perceptual_hash(copy) for copy in copies(grey)])
            bits = np.array([one.bits])
            near.append(np.minimum(distances(bits, hashes), distances(bits, mirrored(hashes))))
    assert len(near) == 40
    assert np.concatenate(near).max() <= NEAR // 2

    plain = np.array([one.bits for checked in evaluation.values() for one in checked.fingerprints])
    hashes = np.array([one.bits for one in training])
    straight, turned = distances(hashes, plain), distances(hashes, mirrored(plain))
    assert straight.shape == (2434, 160)
    assert min(straight.min(), turned.min()) > NEAR
    for apart in (straight, turned):
        assert abs(apart.mean() - BITS / 2) < 1
        assert np.quantile(apart, 0.001) > 2 * NEAR - 2
