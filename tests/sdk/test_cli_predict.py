"""`boir predict` around an estimator that needs no model."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from boir_sdk.cli import main, predict
from boir_sdk.errors import BoirError, ConfigError, DataError, InferenceError, InputError
from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17
from tests.support.fake_estimator import FakeEstimator


@pytest.fixture(autouse=True)
def fresh() -> None:
    FakeEstimator.made.clear()


@pytest.fixture
def shots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures 0.png to 4.png with 0 to 4 people in `shots`, the current folder above it."""
    monkeypatch.chdir(tmp_path)
    Path("shots").mkdir()
    for people in range(5):
        cv2.imwrite(f"shots/{people}.png", np.full((48, 64 + people, 3), people, np.uint8))
    return tmp_path


def run(*arguments: str, estimator: Any = FakeEstimator) -> int:
    args = main.parser().parse_args(["predict", *arguments])
    return predict.run(args, estimator_factory=estimator)


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_a_line_a_picture_and_a_line_a_person(shots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("shots/2.png") == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "shots/2.png  66x48  2 people",
        "  person 1   score 0.90  box 7,5 to 59,43  15 of 17 keypoints seen",
        "  person 2   score 0.50  box 6,4 to 53,39  15 of 17 keypoints seen",
    ]
    assert err == ""


def test_the_model_s_threshold_says_which_keypoints_are_seen_and_drawn(
    shots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Strict(FakeEstimator):
        info = {"thresholds": {"keypoint": 1.1}}  # noqa: RUF012

    assert run("shots/1.png", "--overlay", "o.png", estimator=Strict) == 0
    assert "0 of 17 keypoints seen" in capsys.readouterr().out
    np.testing.assert_array_equal(cv2.imread("o.png"), cv2.imread("shots/1.png"))


def test_keypoints_are_printed_when_asked_for(shots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("shots/1.png", "--keypoints") == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[0] for row in rows] == list(COCO17.keypoints)
    assert rows[-1].split()[1:] == ["58.5", "43.2", "1.00"]


def test_options_reach_the_estimator(shots: Path) -> None:
    options = "--model m --device GPU --size 320 --precision f32 --threshold 0.2 --max-people 5 --threads 3 --flip"
    assert run("shots/1.png", *options.split(), "--no-second-look") == 0
    (made,) = FakeEstimator.made
    assert made.model == "m"
    assert made.options == {
        "device": "GPU",
        "size": 320,
        "precision": "f32",
        "score_threshold": 0.2,
        "max_people": 5,
        "threads": 3,
        "flip_test": True,
        "second_look": False,
    }
    assert made.closed


def test_json_lines_read_back_as_poses(shots: Path) -> None:
    assert run("shots", "--jsonl", "out/r.jsonl", "--quiet") == 0
    records = lines("out/r.jsonl")
    assert [(r["path"], r["width"], r["height"]) for r in records] == [(f"shots/{n}.png", 64 + n, 48) for n in range(5)]
    for people, record in enumerate(records):
        expected = FakeEstimator()(np.full((48, 64 + people, 3), people, np.uint8))
        read = Poses.from_dict(record)
        np.testing.assert_array_equal(read.keypoints, expected.keypoints)
        np.testing.assert_array_equal(read.scores, expected.scores)


def test_json_prints_the_same_lines(shots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("shots", "--jsonl", "r.jsonl", "--json") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == lines("r.jsonl")


def test_resume_does_the_rest_only(shots: Path) -> None:
    whole = ("shots", "--jsonl", "r.jsonl", "--coco", "c.json", "--quiet")
    assert run(*whole) == 0
    expected_lines, expected_coco = lines("r.jsonl"), json.loads(Path("c.json").read_text())
    text = Path("r.jsonl").read_text().splitlines(keepends=True)
    Path("r.jsonl").write_text("".join(text[:2]) + text[2][:40])
    FakeEstimator.made.clear()
    assert run(*whole, "--resume") == 0
    assert FakeEstimator.made[0].seen == 3
    assert lines("r.jsonl") == expected_lines
    key = lambda record: (record["image_id"], -record["score"])  # noqa: E731
    assert sorted(json.loads(Path("c.json").read_text()), key=key) == sorted(expected_coco, key=key)


def test_resume_of_a_finished_run_makes_no_estimator(shots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("shots", "--jsonl", "r.jsonl", "--quiet") == 0
    FakeEstimator.made.clear()
    assert run("shots", "--jsonl", "r.jsonl", "--resume") == 0
    assert FakeEstimator.made == []
    assert "5 done before" in capsys.readouterr().err


def test_a_bad_picture_is_reported_and_the_others_done(shots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("shots/1.png").write_bytes(b"not a picture")
    assert run("shots", "--jsonl", "r.jsonl") == 1
    err = capsys.readouterr().err
    assert [r["path"] for r in lines("r.jsonl")] == [f"shots/{n}.png" for n in (0, 2, 3, 4)]
    assert err.count("boir: error:") == 1
    assert "shots/1.png" in err
    assert "1 failed" in err


def test_a_bad_picture_in_json(shots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("shots/1.png").write_bytes(b"")
    assert run("shots/1.png", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["path"], report["code"]) == ("shots/1.png", "input")
    assert "1.png" in report["message"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("shots/1.png", "--overlay", "one.jpg"), ["one.jpg"]),
        (("shots/1.png", "--overlay", "folder"), ["folder/1.png"]),
        (("shots/1.png", "shots/2.png", "--overlay", "new/folder"), ["new/folder/1.png", "new/folder/2.png"]),
        (("shots/1.png", "more/1.png", "--overlay", "o"), ["o/1-2.png", "o/1.png"]),
        (("more", "--recursive", "--overlay", "o"), ["o/1.png", "o/deep/1.png"]),
        (("shots/plain", "--overlay", "o"), ["o/plain.jpg"]),
    ],
)
def test_overlays(shots: Path, arguments: tuple[str, ...], expected: list[str]) -> None:
    Path("more/deep").mkdir(parents=True)
    for copy in ("more/1.png", "more/deep/1.png", "shots/plain"):
        Path(copy).write_bytes(Path("shots/1.png").read_bytes())
    before = {p for p in shots.rglob("*") if p.is_file()}
    assert run(*arguments) == 0
    made = sorted(p.relative_to(shots).as_posix() for p in shots.rglob("*") if p.is_file() and p not in before)
    assert made == expected
    picture = cv2.imread(made[0])
    assert picture.shape == (48, 65, 3)
    assert picture.max() > 50, "somebody is drawn on the dark picture"


@pytest.mark.parametrize("overlay", ["shots", "shots/1.png"])
def test_an_overlay_never_replaces_its_picture(shots: Path, overlay: str) -> None:
    before = Path("shots/1.png").read_bytes()
    with pytest.raises(ConfigError, match="would replace a picture"):
        run("shots/1.png", "--overlay", overlay)
    assert Path("shots/1.png").read_bytes() == before


def test_coco_numbers_pictures_itself_and_says_how(shots: Path) -> None:
    assert run("shots", "--coco", "out/c.json") == 0
    people = json.loads(Path("out/c.json").read_text())
    images = {image["id"]: image for image in json.loads(Path("out/c.images.json").read_text())["images"]}
    assert {i: image["file_name"] for i, image in images.items()} == {n + 1: f"shots/{n}.png" for n in range(5)}
    assert images[3] == {"id": 3, "file_name": "shots/2.png", "width": 66, "height": 48}
    assert [sum(p["image_id"] == i for p in people) for i in range(1, 6)] == [0, 1, 2, 3, 4]
    assert all(p["category_id"] == 1 and len(p["keypoints"]) == 51 for p in people)


def test_shards_together_are_the_whole(shots: Path) -> None:
    assert run("shots", "--coco", "all.json", "--quiet") == 0
    for number in (1, 2):
        assert run("shots", "--coco", f"{number}.json", "--shard", f"{number}/2", "--quiet") == 0
    parts = [person for number in (1, 2) for person in json.loads(Path(f"{number}.json").read_text())]
    key = lambda record: (record["image_id"], -record["score"])  # noqa: E731
    assert sorted(parts, key=key) == sorted(json.loads(Path("all.json").read_text()), key=key)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1.png", "2.png"], {1: 101, 2: 102}),
        (["train/1.png", "val/2.png"], {1: 101, 2: 102}),
        (["1.png", "x/1.png", "2.png"], {1: 101, 2: 103}),
    ],
)
def test_coco_takes_ids_from_annotations(shots: Path, names: list[str], expected: dict[int, int]) -> None:
    images = [{"file_name": name, "id": 101 + i} for i, name in enumerate(names)]
    Path("a.json").write_text(json.dumps({"images": images}))
    assert run("shots/1.png", "shots/2.png", "--coco", "c.json", "--annotations", "a.json") == 0
    people = json.loads(Path("c.json").read_text())
    counts = {i: sum(p["image_id"] == i for p in people) for i in {p["image_id"] for p in people}}
    assert counts == {image_id: people for people, image_id in expected.items()}
    assert not Path("c.images.json").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("shots/1.png", "--resume"), ConfigError, "--resume needs --jsonl"),
        (("shots/1.png", "--annotations", "a.json"), ConfigError, "give --coco too"),
        (("shots", "--overlay", "one.jpg"), ConfigError, "one file but there are 5 pictures"),
        (("none.png",), InputError, "none.png doesn't exist"),
        (("shots/1.png", "--coco", "c.json", "--annotations", "no.json"), InputError, "can't read no.json"),
        (("shots/1.png", "--coco", "c.json", "--annotations", "list.json"), DataError, "no COCO annotation file"),
        (("shots/1.png", "--coco", "c.json", "--annotations", "a.json"), DataError, "no picture called 1.png"),
        (("shots/1.png", "--coco", "c.json", "--annotations", "two.json"), DataError, "2 pictures called 1.png"),
        (("shots/1.png", "--jsonl", "shots"), InputError, "can't write shots"),
        (("shots/1.png", "--coco", "shots/1.png/c.json"), InputError, "can't write shots/1.png/c"),
        (("shots/1.png", "--jsonl", "bad.jsonl", "--resume"), DataError, "bad.jsonl, line 1"),
    ],
)
def test_what_cannot_be_done_is_said(
    shots: Path, arguments: tuple[str, ...], error: type[BoirError], message: str
) -> None:
    Path("list.json").write_text("[]")
    Path("a.json").write_text('{"images": []}')
    Path("two.json").write_text('{"images": [{"file_name": "a/1.png", "id": 1}, {"file_name": "b/1.png", "id": 2}]}')
    Path("bad.jsonl").write_text("nonsense\n{}\n")
    with pytest.raises(error, match=message):
        run(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("x.jpg", "--size", "0"),
        ("x.jpg", "--size", "big"),
        ("x.jpg", "--threshold", "1.5"),
        ("x.jpg", "--threshold", "nan"),
        ("x.jpg", "--max-people", "-1"),
        ("x.jpg", "--shard", "3/2"),
        ("x.jpg", "--unknown"),
    ],
)
def test_wrong_usage_is_code_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["predict", *arguments])
    assert caught.value.code == 2
    assert "usage: boir" in capsys.readouterr().err


class StoppedAtThird(FakeEstimator):
    """Sends its own process the signal of a Ctrl-C at the third picture."""

    number = signal.SIGINT

    def __call__(self, image_bgr: Any) -> Poses:
        if int(image_bgr[0, 0, 0]) == 2:
            os.kill(os.getpid(), self.number)
        return super().__call__(image_bgr)


class TerminatedAtThird(StoppedAtThird):
    number = signal.SIGTERM


@pytest.mark.parametrize("estimator", [StoppedAtThird, TerminatedAtThird])
def test_a_signal_finishes_the_pictures_at_hand_and_keeps_all_results(
    shots: Path, capsys: pytest.CaptureFixture[str], estimator: type[FakeEstimator]
) -> None:
    for people in range(5, 30):
        cv2.imwrite(f"shots/{people:02}x.png", np.full((48, 64, 3), 3, np.uint8))
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert run("shots", "--jsonl", "r.jsonl", "--coco", "c.json", estimator=estimator) == 130
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    done = [record["path"] for record in lines("r.jsonl")]
    assert 1 <= len(done) < 30
    assert len(done) == FakeEstimator.made[0].seen, "what was worked on was kept"
    assert sum(len(r["people"]) for r in lines("r.jsonl")) == len(json.loads(Path("c.json").read_text()))
    assert f"stopped after {len(done)} of 30 pictures" in capsys.readouterr().err
    assert FakeEstimator.made[0].closed


class BrokenDevice(FakeEstimator):
    def __call__(self, image_bgr: Any) -> Poses:
        if int(image_bgr[0, 0, 0]) == 3:
            raise InferenceError("no request became free in 30 s")
        return super().__call__(image_bgr)


def test_a_device_that_fails_ends_the_run_but_keeps_what_was_done(shots: Path) -> None:
    with pytest.raises(InferenceError):
        run("shots", "--jsonl", "r.jsonl", estimator=BrokenDevice)
    assert [r["path"] for r in lines("r.jsonl")] == [f"shots/{n}.png" for n in (0, 1, 2)]
    assert FakeEstimator.made[0].closed


def test_a_picture_that_no_network_shape_fits_is_a_bad_picture(shots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Picky(FakeEstimator):
        def __call__(self, image_bgr: Any) -> Poses:
            raise InputError("3 x 1000 is too elongated")

    assert run("shots/1.png", estimator=Picky) == 1
    assert "boir: error: shots/1.png: 3 x 1000 is too elongated" in capsys.readouterr().err
