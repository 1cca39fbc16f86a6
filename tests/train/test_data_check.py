"""`boir-train data check`: whole sets pass, damaged and overlapping ones are named."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from boir_train.cli import main as cli
from boir_train.data import check
from boir_train.data.perceptual import BITS, NEAR, distances, perceptual_hash
from tests.conftest import SHARED

DATA_README = SHARED / "data" / "README.md"

PERSON = [30.0, 30.0, 2.0] * 17


def picture(seed: int, height: int = 90, width: int = 120) -> np.ndarray:
    """A smooth random picture, as real ones are."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def write_set(folder: Path, pictures: dict[int, np.ndarray], sizes: dict[int, tuple[int, int]] | None = None) -> Path:
    """A set with one person a picture; `sizes` are annotated (height, width) that differ from the real ones."""
    folder.mkdir()
    images, people = [], []
    for image_id, pixels in pictures.items():
        height, width = (sizes or {}).get(image_id, pixels.shape[:2])
        name = f"{image_id:04d}.png"
        cv2.imwrite(str(folder / name), pixels)
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        person = {"id": image_id, "image_id": image_id, "keypoints": PERSON, "num_keypoints": 17, "iscrowd": 0}
        people.append({**person, "bbox": [10, 10, 50, 50]})
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
    code, report = run(capsys, train, write_set(tmp_path / "b", {11: picture(11), 12: picture(12)}))
    assert code == 0
    assert report["well"] is True
    assert report["sets"][str(train)] == {
        **{"pictures": 3, "people": 3, "keypoints": 51},
        **{"problems": [], "remarks": []},
    }
    assert report["smallest_distance"][f"{train} - {tmp_path / 'b' / 'set.json'}"] > NEAR


def recompressed(pixels: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)


COPIES = {
    "same": lambda pixels: pixels,
    "jpeg": recompressed,
    "half size": lambda pixels: cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "enlarged": lambda pixels: cv2.resize(pixels, None, fx=1.7, fy=1.7),
    "mirrored": lambda pixels: np.ascontiguousarray(pixels[:, ::-1]),
    "mirrored jpeg": lambda pixels: recompressed(np.ascontiguousarray(pixels[:, ::-1])),
    "brighter": lambda pixels: np.clip(pixels.astype(np.int32) + 25, 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_training_picture_is_found(how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_set(tmp_path / "a", {1: picture(1), 2: picture(2)})
    code, report = run(capsys, train, write_set(tmp_path / "b", {11: picture(11), 12: COPIES[how](picture(2))}))
    assert code == 1
    assert [(leak["train"], leak["evaluation"], leak["same_id"]) for leak in report["shared"]] == [
        ("0002.png", "0012.png", False)
    ]


def test_a_shared_id_is_found_even_if_the_pictures_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_set(tmp_path / "a", {1: picture(1), 2: picture(2)})
    code, report = run(capsys, train, write_set(tmp_path / "b", {2: picture(12)}))
    assert code == 1
    assert [leak["same_id"] for leak in report["shared"]] == [True]


def test_what_is_wrong_with_a_set_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {2: (120, 90), 3: (77, 120)}  # exchanged, and wrong
    train = write_set(tmp_path / "a", {n: picture(n) for n in range(1, 6)}, sizes)
    (train.parent / "0004.png").unlink()
    (train.parent / "0005.png").write_bytes(b"no picture")
    code, report = run(capsys, train)
    found = report["sets"][str(train)]
    assert code == 1
    assert [text.split(" ")[1] for text in found["problems"]] == ["0003.png", "0004.png", "0005.png"]
    assert "120 x 90 pixels, but annotated as 120 x 77" in found["problems"][0]
    assert "missing" in found["problems"][1]
    assert "decoded" in found["problems"][2]
    assert "1 pictures are exchanged" in found["remarks"][0]


def test_strangers_and_doubles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_set(tmp_path / "a", {1: picture(1), 2: picture(2)})
    content = json.loads(train.read_text())
    content["images"].append(content["images"][0])
    content["annotations"][1]["image_id"] = 99
    train.write_text(json.dumps(content))
    problems = run(capsys, train)[1]["sets"][str(train)]["problems"]
    assert problems == ["image id 1 occurs twice", "1 annotations name images that aren't in the file"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--annotations", "a.json"], "--annotations and --images"),
        (["--config", "nano", "--annotations", "a.json", "--images", "a"], "or by --config"),
        (["--annotations", "nowhere.json", "--images", "a"], "nowhere.json"),
    ],
)
def test_unusable_input(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "check", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_configuration_names_its_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_set(tmp_path / "a", {1: picture(1)})
    other = write_set(tmp_path / "b", {1: picture(2)})
    file = tmp_path / "run.yaml"
    file.write_text(f"data:\n  root: {tmp_path}\n  train:\n  - {{annotations: a/set.json, images: a}}\n")
    assert cli.main(["data", "check", "--config", str(file), "--against", str(other), str(other.parent)]) == 1
    assert "SHARED: 0001.png and 0001.png (same id" in capsys.readouterr().out
    assert train.is_file()


def test_unrelated_pictures_are_far_apart_and_copies_near() -> None:
    hashes = [perceptual_hash(cv2.cvtColor(picture(seed), cv2.COLOR_BGR2GRAY)) for seed in range(60)]
    apart = distances(hashes, hashes)[np.triu_indices(60, 1)]
    assert apart.min() > NEAR
    assert abs(apart.mean() - BITS / 2) < 3
    again = [perceptual_hash(cv2.cvtColor(recompressed(picture(seed)), cv2.COLOR_BGR2GRAY)) for seed in range(60)]
    assert np.diag(distances(hashes, again)).max() < NEAR


def _training_pictures(data: Path) -> list[check.Fingerprint]:
    """Every picture that training may use, out of the archives."""
    ids = {
        Path(record["file_name"]).name: record["id"]
        for name in ("train", "train2", "val2017rest")
        for record in json.loads((data / f"coco/person_keypoints_{name}.json").read_text())["images"]
    }
    found = []
    for archive in sorted((data / "coco").glob("*.tar")):
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                if not member.isfile() or name not in ids:
                    continue
                pixels = np.frombuffer(io.BytesIO(tar.extractfile(member).read()).getvalue(), np.uint8)  # type: ignore[union-attr]
                bgr = cv2.imdecode(pixels, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
                found.append(check.fingerprint(ids.pop(name), name, cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)))
    assert not ids, f"{len(ids)} training pictures are in no archive"
    return found


@pytest.mark.skipif(not DATA_README.is_file(), reason=f"needs the shared data, not found at {SHARED} (set BOIR_SHARED)")
def test_no_evaluation_picture_is_a_training_picture() -> None:
    """The sets that the committed weights were trained and judged on."""
    data = DATA_README.parent
    train = _training_pictures(data)
    assert len(train) == 2434
    for name, pictures in (("val", 112), ("crowded", 48)):
        own = check.check(check.Source(f"coco/person_keypoints_{name}.json", f"coco/{name}"), str(data))
        assert (own.pictures, own.problems) == (pictures, ())
        found, smallest = check.leaks(train, own.fingerprints)
        assert found == ()
        assert smallest > NEAR
