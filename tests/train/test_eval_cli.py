"""`boir-eval`: what it writes and says, with an oracle for a model; and real models end to end in a subprocess."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

import boir_sdk
from boir_sdk.errors import BoirError, ConfigError, InputError
from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17, CROWDPOSE14
from boir_train import subject
from boir_train.cli import eval as command

PICTURES = 6
DEFAULT_BUNDLE = Path(boir_sdk.__file__).parent / "models" / "default" / "manifest.json"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder with six small pictures, one person each, and their annotations for coco."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    truth: dict = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    for number in range(PICTURES):
        name = f"{number:03}.png"
        cv2.imwrite(str(folder / name), np.full((96, 96, 3), number, np.uint8))
        xy = generator.uniform(10, 80, (17, 2)).round(1)
        truth["images"].append({"id": 50 + number, "file_name": f"val2017/{name}", "width": 96, "height": 96})
        truth["annotations"].append(
            {
                "id": number + 1,
                "image_id": 50 + number,
                "category_id": 1,
                "iscrowd": 0,
                "num_keypoints": 17,
                "area": 3000.0,
                "bbox": [10, 10, 70, 70],
                "keypoints": np.hstack([xy, np.full((17, 1), 2.0)]).ravel().tolist(),
            }
        )
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    return tmp_path


def _oracle(world: Path, *, wrong: int = 0, interrupt_after: int | None = None):
    """A stand-in for `subject.opened` that finds everyone, except in the last `wrong` pictures.

    Each picture's grey level is its number, so a picture read in the wrong order is found out.
    """
    people = json.loads((world / "truth.json").read_text())["annotations"]

    @contextmanager
    def opened(model: str, options: subject.Options) -> Iterator[subject.Subject]:
        def poses_of(images: Iterable[np.ndarray]) -> Iterator[Poses]:
            for done, picture in enumerate(images, start=1):
                number = int(picture[0, 0, 0])
                xy = np.array(people[number]["keypoints"], np.float32).reshape(1, 17, 3)[..., :2]
                if number >= PICTURES - wrong:
                    xy = xy + 500
                if done == interrupt_after:
                    os.kill(os.getpid(), signal.SIGINT)
                yield Poses(xy, np.ones((1, 17), np.float32), np.full(1, 0.5, np.float32), COCO17)

        def settings() -> dict:
            return {"size": options.size, "flip_test": options.flip}

        yield subject.Subject(poses_of, options.dataset or "coco", {"kind": "oracle", "path": model}, settings)

    return opened


def _arguments(world: Path, *more: str) -> list[str]:
    return [
        *("--model", "oracle", "--annotations", str(world / "truth.json"), "--images", str(world / "pictures")),
        *("--json", str(world / "out" / "numbers.json"), *more),
    ]


def test_report_holds_the_numbers_and_what_repeats_them(world, monkeypatch, capsys) -> None:
    monkeypatch.setattr(subject, "opened", _oracle(world, wrong=2))
    assert command.main(_arguments(world, "--flip", "--size", "96")) == 0
    report = json.loads((world / "out" / "numbers.json").read_text())
    assert report["unit"] == "fraction"
    assert report["AP"] == pytest.approx(4 / 6, abs=0.01)
    assert report["AR"] == pytest.approx(4 / 6)
    assert report["AP_L"] == -1
    low, high = report["interval_95"]
    assert 0 <= low < report["AP"] < high <= 1
    assert (report["images"], report["people"], report["detections"]) == (PICTURES, PICTURES, PICTURES)
    assert report["protocol"]["dataset"] == "coco"
    assert report["protocol"]["flip_test"] is True
    assert report["protocol"]["size"] == 96
    assert report["protocol"]["annotations_sha256"] == subject.sha256_of(world / "truth.json")
    assert report["model"]["path"] == "oracle"
    assert {"python", "numpy", "pycocotools"} <= set(report["versions"])
    assert not list((world / "out").glob("*.tmp"))
    shown = capsys.readouterr()
    assert "AP50" in shown.out
    assert "6 pictures" in shown.out
    assert "picture" in shown.err  # progress


def test_limit_takes_the_first_pictures_of_the_file(world, monkeypatch) -> None:
    monkeypatch.setattr(subject, "opened", _oracle(world, wrong=2))
    assert command.main(_arguments(world, "--limit", "3")) == 0
    report = json.loads((world / "out" / "numbers.json").read_text())
    assert report["images"] == 3
    assert report["AP"] == pytest.approx(1.0)
    assert report["protocol"]["limit"] == 3


def test_detections_are_coco_results(world, monkeypatch) -> None:
    monkeypatch.setattr(subject, "opened", _oracle(world))
    found = world / "found.json"
    assert command.main(_arguments(world, "--detections", str(found))) == 0
    records = json.loads(found.read_text())
    assert [record["image_id"] for record in records] == list(range(50, 50 + PICTURES))
    assert all(len(record["keypoints"]) == 51 and record["category_id"] == 1 for record in records)


def test_interrupt_writes_nothing(world, monkeypatch, capsys) -> None:
    monkeypatch.setattr(subject, "opened", _oracle(world, interrupt_after=2))
    assert command.main(_arguments(world)) == 130
    assert not (world / "out").exists()
    assert "interrupted after 2 of 6" in capsys.readouterr().err


def _without_truth(world: Path) -> None:
    """Make the annotation file what COCO's test-dev file is: pictures, and nothing about the people in them."""
    content = json.loads((world / "truth.json").read_text())
    del content["annotations"]
    (world / "truth.json").write_text(json.dumps(content))


def test_pictures_without_annotations_give_a_result_file_and_no_figures(world, monkeypatch, capsys) -> None:
    monkeypatch.setattr(subject, "opened", _oracle(world, wrong=6))  # the oracle reads the truth before it goes
    _without_truth(world)
    found = world / "keypoints_cocotestdev_results.json"
    assert command.main(_arguments(world, "--flip", "--detections", str(found))) == 0
    records = json.loads(found.read_text())
    assert [record["image_id"] for record in records] == list(range(50, 50 + PICTURES))
    assert all(record.keys() == {"image_id", "category_id", "keypoints", "score"} for record in records)
    report = json.loads((world / "out" / "numbers.json").read_text())
    assert not [name for name in report if name.startswith(("AP", "AR", "interval", "people"))]
    assert (report["unit"], report["images"], report["detections"]) == ("fraction", PICTURES, PICTURES)
    assert report["protocol"]["flip_test"] is True
    assert f"submit {found}" in capsys.readouterr().out


def test_pictures_without_annotations_need_a_place_for_the_results(world, monkeypatch, capsys) -> None:
    monkeypatch.setattr(subject, "opened", _oracle(world))
    _without_truth(world)
    assert command.main(_arguments(world)) == 1
    assert "write the results by --detections" in capsys.readouterr().err
    assert not (world / "out").exists()


def test_annotations_are_found_under_the_name_they_are_downloaded_by(world, monkeypatch) -> None:
    monkeypatch.setattr(subject, "opened", _oracle(world))
    original = (world / "truth.json").rename(world / "person_keypoints_val2017.json")
    arguments = _arguments(world)
    arguments[arguments.index(str(world / "truth.json"))] = str(world / "coco_val.json")
    assert command.main(arguments) == 0
    report = json.loads((world / "out" / "numbers.json").read_text())
    assert report["protocol"]["annotations_sha256"] == subject.sha256_of(original)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: (w / "truth.json").unlink(), "truth.json"),
        (lambda w: (w / "pictures" / "004.png").unlink(), "1 of 6 pictures"),
        (lambda w: (w / "pictures" / "004.png").write_bytes(b"no picture"), "004.png"),
        (lambda w: (w / "truth.json").write_text('{"images": [{"file_name": "x"}]}'), "image None: no id"),
        (lambda w: (w / "truth.json").write_text("{}"), "no list 'images'"),
        (lambda w: (w / "out" / "numbers.json").mkdir(parents=True), "numbers.json"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_1(world, monkeypatch, capsys, damage, message) -> None:
    monkeypatch.setattr(subject, "opened", _oracle(world))
    damage(world)
    assert command.main(_arguments(world)) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("boir-eval: error: ")
    assert message in error


@pytest.mark.parametrize("more", [["--size", "0"], ["--limit", "few"], ["--dataset", "halpe"], ["--nonsense"]])
def test_wrong_usage_is_exit_2(world, more: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(_arguments(world, *more))
    assert caught.value.code == 2


def test_help_teaches_with_an_example(capsys) -> None:
    parser = argparse.ArgumentParser(prog="boir-train eval")  # mounted by another command
    command.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert "--annotations person_keypoints_val2017.json" in shown


# subject


def test_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing-here"), subject.opened(str(tmp_path / "nothing-here"), _options()):
        pass


def _options(**changes) -> subject.Options:
    return subject.Options(**changes)


@pytest.mark.parametrize(
    ("asked", "skeleton", "expected"),
    [
        (None, COCO17, "coco"),
        (None, CROWDPOSE14, "crowdpose"),
        ("ochuman", COCO17, "ochuman"),
        ("coco", COCO17, "coco"),
        ("crowdpose", COCO17, None),
        ("coco", CROWDPOSE14, None),
    ],
)
def test_dataset_must_fit_the_skeleton(asked, skeleton, expected) -> None:
    if expected is None:
        with pytest.raises(ConfigError, match=asked):
            subject._dataset(asked, skeleton)
    else:
        assert subject._dataset(asked, skeleton) == expected


@pytest.mark.parametrize(
    ("model", "fetch"),
    [
        ("runs/coco_w48/final.safetensors", "train it first: boir-train fit --config coco_w48 --out runs/coco_w48"),
        ("model/imagenet/hrnetv2_w48_imagenet_pretrained.pth", "fetch HRNet-W48 trained on ImageNet"),
    ],
)
def test_a_missing_model_says_where_it_comes_from(model: str, fetch: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=fetch), subject.opened(model, _options()):
        pass


@pytest.mark.parametrize("name", ["quantum", "cuda:99", ""])
def test_a_device_that_isnt_there_is_a_configuration_error(name: str) -> None:
    with pytest.raises(ConfigError, match="--device"):
        subject.torch_device(name)


def test_the_device_is_recorded_and_given_to_the_bundle(world: Path) -> None:
    if not DEFAULT_BUNDLE.is_file():
        pytest.skip(f"no default bundle at {DEFAULT_BUNDLE}")
    with subject.opened("default", _options(device="CPU", size=192)) as measured:
        assert measured.settings()["device"] == "CPU"
    with pytest.raises(BoirError, match="NPU9"), subject.opened("default", _options(device="NPU9")) as measured:
        next(measured.poses_of([np.zeros((64, 64, 3), np.uint8)]))


def _boir_eval(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "boir_train.cli.eval", *arguments], capture_output=True, text=True, timeout=300
    )


def test_checkpoint_end_to_end(world: Path) -> None:
    """Random weights: the numbers mean nothing, but every step from file to report is the real one."""
    import torch

    from boir_train import build_model, checkpoint

    torch.manual_seed(0)
    weights = world / "w32.safetensors"
    checkpoint.save(weights, build_model("w32", "coco17").state_dict())
    more = ("--size", "64", "--limit", "2", "--threads", "1")
    arguments = _arguments(world, *more)
    arguments[arguments.index("oracle")] = str(weights)
    done = _boir_eval(*arguments)
    assert done.returncode == 0, done.stderr
    report = json.loads((world / "out" / "numbers.json").read_text())
    assert report["model"]["preset"] == "w32"
    assert report["model"]["sha256"] == subject.sha256_of(weights)
    assert report["protocol"]["size"] == 64
    assert report["protocol"]["device"] == "cpu"
    assert report["protocol"]["oks_threshold"] == 0.8
    assert report["protocol"]["precision"] == {"asked": None, "effective": "f32"}
    assert report["images"] == 2

    refused = _boir_eval(*arguments, "--precision", "INT8")
    assert refused.returncode == 1
    assert "for bundles" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_default_bundle_end_to_end(world: Path) -> None:
    if not DEFAULT_BUNDLE.is_file():
        pytest.skip(f"no default bundle at {DEFAULT_BUNDLE}")
    arguments = _arguments(world, "--limit", "3")
    arguments[arguments.index("oracle")] = "default"
    done = _boir_eval(*arguments)
    assert done.returncode == 0, done.stderr
    report = json.loads((world / "out" / "numbers.json").read_text())
    assert report["model"]["kind"] == "bundle"
    assert report["protocol"]["precision"]["effective"] is not None
    assert report["protocol"]["score_threshold"] == 0
    assert report["images"] == 3
    assert 0 <= report["AP"] <= 1
