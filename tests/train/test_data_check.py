"""`boir-train data check`: whole sets pass, damaged and overlapping ones are named."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from boir_train.cli import main as cli
from boir_train.data import check
from boir_train.data.check import Fingerprint, decode_grey, leaks
from boir_train.data.perceptual import BITS, NEAR, distances, mirrored, perceptual_hash

PERSON = [30.0, 30.0, 2.0] * 17


def picture(seed: int, height: int = 90, width: int = 120) -> np.ndarray:
    """A smooth random picture, as real ones are."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def grey(seed: int) -> np.ndarray:
    return cv2.cvtColor(picture(seed), cv2.COLOR_BGR2GRAY)


def write_set(
    folder: Path,
    pictures: dict[int, np.ndarray],
    sizes: dict[int, tuple[int, int]] | None = None,
    box: tuple[float, ...] = (10, 10, 50, 50),
) -> Path:
    """A set with one person a picture; `sizes` are annotated (height, width) that differ from the real ones."""
    folder.mkdir()
    images, people = [], []
    for image_id, pixels in pictures.items():
        height, width = (sizes or {}).get(image_id, pixels.shape[:2])
        name = f"{image_id:04d}.png"
        cv2.imwrite(str(folder / name), pixels)
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        person = {"id": image_id, "image_id": image_id, "keypoints": PERSON, "num_keypoints": 17, "iscrowd": 0}
        people.append({**person, "bbox": list(box)})
    path = folder / "set.json"
    path.write_text(json.dumps({"images": images, "annotations": people}))
    return path


def run(capsys: pytest.CaptureFixture[str], file: Path, *against: Path) -> tuple[int, dict[str, Any]]:
    arguments = ["data", "check", "--annotations", str(file), "--images", str(file.parent), "--json"]
    for other in against:
        arguments += ["--against", str(other), str(other.parent)]
    code = cli.main(arguments)
    return code, json.loads(capsys.readouterr().out)


def test_whole_and_separate_sets_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_set(tmp_path / "a", {1: picture(1), 2: picture(2), 3: picture(3)})
    other = write_set(tmp_path / "b", {11: picture(11), 12: picture(12)})
    code, report = run(capsys, train, other)
    assert code == 0
    assert report["well"] is True
    assert report["sets"][0] == {
        **{"role": "training", "annotations": str(train), "images": str(train.parent), "skeleton": "coco17"},
        **{"pictures": 3, "people": 3, "keypoints": 51, "problems": [], "swapped": []},
    }
    assert [(one["role"], one["pictures"]) for one in report["sets"][1:]] == [("evaluation", 2)]
    (comparison,) = report["comparisons"]
    assert (comparison["training"], comparison["evaluation"], comparison["leaks"]) == (str(train), str(other), [])
    assert comparison["smallest_distance"] > NEAR


def encoded(pixels: np.ndarray, form: str, quality: int, option: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(form, pixels, [option, quality])[1], cv2.IMREAD_COLOR)


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "same": lambda pixels: pixels,
    "jpeg": lambda pixels: encoded(pixels, ".jpg", 40, cv2.IMWRITE_JPEG_QUALITY),
    "webp": lambda pixels: encoded(pixels, ".webp", 40, cv2.IMWRITE_WEBP_QUALITY),
    "half size": lambda pixels: cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "enlarged": lambda pixels: cv2.resize(pixels, None, fx=1.7, fy=1.7),
    "another aspect": lambda pixels: cv2.resize(pixels, (100, 100)),
    "mirrored": lambda pixels: np.ascontiguousarray(pixels[:, ::-1]),
    "mirrored, half, jpeg": lambda pixels: encoded(
        cv2.resize(pixels[:, ::-1], None, fx=0.5, fy=0.5), ".jpg", 40, cv2.IMWRITE_JPEG_QUALITY
    ),
    "brighter": lambda pixels: np.clip(pixels.astype(np.int32) + 25, 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_training_picture_is_found(how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_set(tmp_path / "a", {1: picture(1), 2: picture(2)})
    code, report = run(capsys, train, write_set(tmp_path / "b", {11: picture(11), 12: COPIES[how](picture(2))}))
    assert code == 1
    assert report["well"] is False
    (leak,) = report["comparisons"][0]["leaks"]
    assert (leak["training"], leak["evaluation"], leak["same_id"]) == ("0002.png", "0012.png", False)
    assert leak["mirrored"] is how.startswith("mirrored")
    assert leak["distance"] == report["comparisons"][0]["smallest_distance"] <= NEAR


@pytest.mark.parametrize("readable", [True, False])
def test_a_shared_id_is_found_whatever_the_pictures_are(
    readable: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write_set(tmp_path / "a", {1: picture(1), 2: picture(2)})
    other = write_set(tmp_path / "b", {2: picture(12)})
    if not readable:
        (other.parent / "0002.png").unlink()
    code, report = run(capsys, train, other)
    assert code == 1
    (leak,) = report["comparisons"][0]["leaks"]
    assert leak["same_id"] is True
    assert (leak["distance"] is not None) == readable


def test_what_is_wrong_with_pictures_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {2: (120, 90), 3: (77, 120)}  # exchanged, and wrong
    train = write_set(tmp_path / "a", {n: picture(n) for n in range(1, 8)}, sizes)
    jpeg = cv2.imencode(".jpg", picture(7))[1].tobytes()
    (train.parent / "0004.png").unlink()
    (train.parent / "0005.png").write_bytes(b"no picture")
    (train.parent / "0006.png").write_bytes(b"")
    (train.parent / "0007.png").write_bytes(jpeg[: len(jpeg) * 9 // 10])
    code, report = run(capsys, train)
    (found,) = report["sets"]
    expected = {
        "0003.png": "is 120 x 90 pixels, but annotated as 120 x 77",
        "0004.png": "missing",
        **dict.fromkeys(("0005.png", "0006.png", "0007.png"), "can't be decoded"),
    }
    assert code == 1
    assert len(found["problems"]) == len(expected)
    for (name, what), problem in zip(expected.items(), found["problems"], strict=True):
        assert name in problem
        assert what in problem
    assert found["swapped"] == ["0002.png"]


def test_exchanged_sizes_are_said_and_harmless(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_set(tmp_path / "a", {1: picture(1), 2: picture(2)}, {2: (120, 90)})
    assert cli.main(["data", "check", "--annotations", str(train), "--images", str(train.parent)]) == 0
    out = capsys.readouterr().out
    assert "width and height of 1 pictures are exchanged" in out
    assert "0002.png" in out


def test_a_picture_on_its_side_is_not_taken_for_exchanged_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box = (10, 60, 40, 55)  # inside 90 x 120, not inside 120 x 90
    train = write_set(tmp_path / "a", {1: picture(1)}, {1: (120, 90)}, box)
    code, report = run(capsys, train)
    assert code == 1
    assert report["sets"][0]["swapped"] == []
    assert "turn the picture" in report["sets"][0]["problems"][0]


def change(path: Path, key: str, number: int, **values: Any) -> None:
    content = json.loads(path.read_text())
    content[key][number].update(values)
    path.write_text(json.dumps(content))


MALFORMED: dict[str, tuple[str, dict[str, Any], str]] = {
    "image id twice": ("images", {"id": 1}, "image id 1 occurs 2 times"),
    "file twice": ("images", {"file_name": "0001.png"}, "image file_name 0001.png occurs 2 times"),
    "id is text": ("images", {"id": "two"}, "image two must have whole id"),
    "no file name": ("images", {"file_name": None}, "and a file_name"),
    "width is text": ("images", {"width": "120"}, "must have whole id, width"),
    "annotation id twice": ("annotations", {"id": 1}, "annotation id 1 occurs 2 times"),
    "stranger": ("annotations", {"image_id": 99}, "annotation 2 names image id 99"),
    "image id is a list": ("annotations", {"image_id": [2]}, "annotation 2 names image id [2]"),
    "too few keypoints": ("annotations", {"keypoints": [1, 1, 2] * 14}, "must be a list of 51 numbers"),
    "not a number": ("annotations", {"bbox": [1, 2, 3, float("nan")]}, "isn't a finite number"),
    "visibility": ("annotations", {"keypoints": [1, 1, 3] * 17}, "v isn't 0, 1 or 2"),
    "negative box": ("annotations", {"bbox": [10, 10, -5, 5]}, "negative size"),
    "count is text": ("annotations", {"num_keypoints": "17"}, "whole num_keypoints"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_annotations_are_named(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, values, message = MALFORMED[what]
    train = write_set(tmp_path / "a", {n: picture(n) for n in range(1, 5)})
    change(train, key, 1, **values)
    code, report = run(capsys, train)
    assert code == 1
    assert any(message in problem for problem in report["sets"][0]["problems"])


def test_entries_that_are_no_objects_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_set(tmp_path / "a", {1: picture(1)})
    content = json.loads(train.read_text())
    train.write_text(
        json.dumps({"images": [*content["images"], 7], "annotations": [*content["annotations"], "x", {"id": 5}]})
    )
    code, report = run(capsys, train)
    (found,) = report["sets"]
    assert code == 1
    assert (len(found["problems"]), found["people"]) == (3, 1)


@pytest.mark.parametrize("count", [14, 5])
def test_the_skeleton_is_that_of_the_annotations(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write_set(tmp_path / "a", {1: picture(1)})
    change(train, "annotations", 0, keypoints=[1, 1, 2] * count)
    code, report = run(capsys, train)
    (found,) = report["sets"]
    if count == 14:
        assert (code, found["skeleton"], found["keypoints"]) == (0, "crowdpose14", 14)
    else:
        assert (code, found["skeleton"]) == (1, None)
        assert "17 (coco17), 14 (crowdpose14)" in found["problems"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "or by --config"),
        (["--annotations", "a.json"], "its --images DIR"),
        (["--config", "nano", "--annotations", "a.json", "--images", "a"], "or by --config"),
        (["--config", "ochuman_w32"], "data.train is empty"),
        (["--annotations", "nowhere.json", "--images", "a"], "nowhere.json"),
        (["--annotations", "a.json", "--images", "a", "--against", "b.json"], "--against FILE needs one folder"),
        (["--annotations", "a.json", "--images", "a", "--against", "b.json", "b", "c"], "needs one folder"),
        (["--annotations", "a.json", "--images", "a", "--against-images", "b"], "needs one folder"),
        (["--dataset", "coco", "--config", "nano"], "by --dataset, or by --config"),
        (["--annotations", "annotations/coco_val.json", "--images", "a"], "fetch annotations_trainval2017.zip"),
    ],
)
def test_unusable_input(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "check", *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["data"], ["data", "mend"], ["data", "check", "--unknown"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert cli.main(arguments) == 2


def test_a_configuration_names_its_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_set(tmp_path / "a", {1: picture(1)})
    write_set(tmp_path / "c", {3: picture(3)})
    other = write_set(tmp_path / "b", {1: picture(2)})
    file = tmp_path / "run.yaml"
    file.write_text(
        f"data:\n  root: {tmp_path}\n  train:\n"
        "  - {annotations: a/set.json, images: a}\n  - {annotations: c/set.json, images: c}\n"
    )
    assert cli.main(["data", "check", "--config", str(file), "--against", str(other), str(other.parent)]) == 1
    out = capsys.readouterr().out
    assert "SHARED: 0001.png and 0001.png (same id" in out
    assert "c/set.json (training): 1 pictures" in out


def test_a_configuration_also_says_the_skeleton(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_set(tmp_path / "a", {1: picture(1)})
    file = tmp_path / "run.yaml"
    file.write_text(
        f"model: {{skeleton: crowdpose14}}\ndata: {{root: {tmp_path}, train: [{{annotations: a/set.json, images: a}}]}}"
    )
    assert cli.main(["data", "check", "--config", str(file)]) == 1
    assert "must be a list of 42 numbers" in capsys.readouterr().out


def test_many_sets_and_a_report_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = [write_set(tmp_path / name, {n: picture(n)}) for n, name in enumerate("ab", start=1)]
    others = [write_set(tmp_path / name, {n: picture(n % 10)}) for n, name in ((12, "c"), (15, "d"))]
    out = tmp_path / "reports" / "check.json"
    arguments = ["data", "check", "--json", str(out)]
    for file in own:
        arguments += ["--annotations", str(file), "--images", str(file.parent)]
    for file in others:
        arguments += ["--against", str(file), "--against-images", str(file.parent)]
    assert cli.main(arguments) == 1
    assert "NOT well" in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert [one["annotations"] for one in report["sets"]] == [str(file) for file in (*own, *others)]
    assert [len(one["leaks"]) for one in report["comparisons"]] == [0, 0, 1, 0]  # b's picture 2 is c's 12


def test_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_set(tmp_path / "a", {n: picture(n) for n in range(1, 6)})
    out, read = tmp_path / "check.json", []

    def interrupted(data: bytes) -> np.ndarray | None:
        read.append(data)
        if len(read) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return decode_grey(data)

    monkeypatch.setattr(check, "decode_grey", interrupted)
    arguments = ["--annotations", str(train), "--images", str(train.parent), "--json", str(out)]
    assert cli.main(["data", "check", *arguments]) == 130
    assert len(read) == 2
    assert not out.exists()
    assert "Traceback" not in capsys.readouterr().err


def test_unrelated_pictures_are_far_apart_and_copies_near() -> None:
    hashes = np.array([perceptual_hash(grey(seed)) for seed in range(60)])
    assert hashes.shape == (60, BITS)
    for others in (hashes, mirrored(hashes)):
        apart = distances(hashes, others)[np.triu_indices(60, 1)]
        assert apart.min() > NEAR
        assert abs(apart.mean() - BITS / 2) < 3
    copies = np.array([perceptual_hash(cv2.resize(grey(seed), None, fx=0.5, fy=0.5)) for seed in range(60)])
    assert np.diag(distances(hashes, copies)).max() <= NEAR


@pytest.mark.parametrize("size", [(90, 120), (91, 121), (32, 32), (7, 5)])
def test_the_hash_of_a_mirror_image_follows_from_the_hash(size: tuple[int, int]) -> None:
    for seed in range(20):
        pixels = cv2.resize(grey(seed), size[::-1])
        turned = perceptual_hash(np.ascontiguousarray(pixels[:, ::-1]))
        # A frequency that is all but absent may get either sign.
        assert np.count_nonzero(turned ^ mirrored(perceptual_hash(pixels))) <= 1


def test_large_sets_are_compared_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "BLOCK", 7)
    bits = np.random.default_rng(0).integers(0, 2, (50, BITS)).astype(bool)
    train = [Fingerprint(n, f"t{n}", bits[n] if n != 3 else None) for n in range(50)]
    other = [Fingerprint(100 + n, f"e{n}", bits[n]) for n in (3, 4, 29, 49)]
    found, smallest = leaks(train, other, near=0)
    assert [(leak.training, leak.evaluation) for leak in found] == [("t4", "e4"), ("t29", "e29"), ("t49", "e49")]
    assert smallest == 0
    assert leaks(train, []) == ((), None)


def with_thumbnail(jpeg: bytes) -> bytes:
    """A JPEG whose application segment holds a small JPEG, as cameras write them."""
    small = cv2.imencode(".jpg", picture(0, 20, 30))[1].tobytes()
    return jpeg[:2] + b"\xff\xe1" + (2 + len(small)).to_bytes(2, "big") + small + jpeg[2:]


@pytest.mark.parametrize("form", [".jpg", "thumbnail", "progressive", ".png", ".webp"])
def test_cut_pictures_are_not_decoded(form: str) -> None:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1] if form == "progressive" else []
    whole = cv2.imencode(form if form.startswith(".") else ".jpg", picture(1), options)[1].tobytes()
    if form == "thumbnail":
        whole = with_thumbnail(whole)
    assert decode_grey(whole) is not None
    assert decode_grey(whole + b"\xff\xda trailing bytes") is not None
    for share in (0.3, 0.6, 0.9):
        assert decode_grey(whole[: int(share * len(whole))]) is None
