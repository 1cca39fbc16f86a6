"""Learning a few real pictures by heart, for both skeletons; the full-size figures are `boir-train overfit`'s."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from boir_sdk.errors import ConfigError, DataError
from boir_sdk.skeleton import COCO17, CROWDPOSE14
from boir_train import config, fit, overfit
from boir_train.cli.main import main
from boir_train.data.datasets import Source
from boir_train.data.relabel import crowd_index, relabel
from tests.support.tiny_training import build_tiny, person, write_data_set


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Annotations of the training set, a folder with the pictures that are chosen of it, and the start weights."""
    coco = shared / "data" / "coco"
    annotations, archive = coco / "person_keypoints_train.json", coco / "train-00.tar"
    start = next((shared / "data" / "backbones").rglob("movenet_multipose_lightning.safetensors"), None)
    if not annotations.is_file() or not archive.is_file() or start is None:
        pytest.skip(f"needs training pictures and start weights in {shared}/data")
    chosen = overfit.choose(json.loads(annotations.read_text()), 3)
    names = {record["file_name"] for record in chosen["images"]}
    folder = tmp_path_factory.mktemp("pictures")
    with tarfile.open(archive) as tar:
        for member in tar:
            if Path(member.name).name in names:
                (folder / Path(member.name).name).write_bytes(tar.extractfile(member).read())  # type: ignore[union-attr]
    assert {path.name for path in folder.iterdir()} == names
    return annotations, folder, start


@pytest.mark.parametrize("skeleton", ["coco17", "crowdpose14"])
def test_nano_learns_real_pictures_by_heart(skeleton: str, real: tuple[Path, Path, Path], tmp_path: Path) -> None:
    annotations, images, start = real
    arguments = ["overfit", "--skeleton", skeleton, "--annotations", str(annotations), "--images", str(images)]
    arguments += ["--pictures", "3", "--size", "128", "--steps", "50", "--out", str(tmp_path / "run")]
    code = main([*arguments, "--set", f"model.weights={start}", "train.threads=1"])
    report = json.loads((tmp_path / "run" / "overfit.json").read_text())
    assert report["before"]["AP"] < 0.8  # else it would prove nothing
    assert report["after"]["AP"] > 0.9
    assert ("AP_hard" in report["after"]) == (skeleton == "crowdpose14")
    assert code == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    terms = {"multi_heatmap", "single_heatmap", "bbox_mask", "bbox", "offset", "regress"}
    assert terms <= set(lines[-1])
    assert all(lines[-1][name] > 0 for name in terms)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(fit, "build_model", build_tiny)
    data = write_data_set(tmp_path / "set", 4)
    arguments = ["overfit", "--annotations", str(data / "people.json"), "--images", str(data / "images")]
    arguments += ["--out", str(tmp_path / "run"), "--pictures", "2", "--size", "64", "--steps", "4", "--json"]
    return [*arguments, "--set", "model.preset=w32", "model.start=scratch", "model.weights=null", "optim.relative=[]"]


def test_below_the_goal_is_said_and_an_error(tiny: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    tiny += ["optim.lr_scale={}", "train.threads=1"]
    assert main(tiny) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["reached"] is False
    assert report["steps"] == 4
    assert report["pictures"] == [1, 2]
    assert report["people"] == 3
    # Started again it is done already, with other arguments it is another run.
    assert main(tiny) == 1
    assert json.loads(capsys.readouterr().out)["after"] == report["after"]
    assert main([*tiny, "optim.lr=0.5"]) == 1
    assert "another configuration" in capsys.readouterr().err


def picture(people: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    image = {"id": 1, "file_name": "1.png", "width": 100, "height": 100, **changes}
    return {"images": [image], "annotations": people}


@pytest.mark.parametrize(
    ("people", "changes"),
    [
        ([], {}),
        ([person(1, i, (0, 0, 50, 50)) for i in range(5)], {}),
        ([person(1, 1, (0, 0, 50, 50)), person(1, 2, (0, 0, 50, 50), iscrowd=1)], {}),
        ([person(1, 1, (0, 0, 50, 50)), person(1, 2, (0, 0, 14, 50))], {}),
        ([person(1, 1, (0, 0, 50, 50), num_keypoints=7)], {}),
        ([person(1, 1, (0, 0, 50, 50))], {"annotation_source": "labels_only"}),
    ],
    ids=["nobody", "many", "crowd", "small", "few joints", "incomplete"],
)
def test_pictures_that_do_not_suit_are_not_chosen(people: list[dict[str, Any]], changes: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="only 0 of 1 pictures"):
        overfit.choose(picture(people, **changes), 1)
    assert overfit.choose(picture([person(1, 1, (0, 0, 50, 50))]), 1)["annotations"]


def test_joints_of_the_same_name_are_kept_and_the_others_unannotated() -> None:
    one = person(1, 1, (10, 20, 34, 51))
    made = relabel(picture([one]), COCO17, CROWDPOSE14)["annotations"][0]
    old = dict(zip(COCO17.keypoints, zip(*[iter(one["keypoints"])] * 3, strict=True), strict=True))
    new = dict(zip(CROWDPOSE14.keypoints, zip(*[iter(made["keypoints"])] * 3, strict=True), strict=True))
    assert {name: joint for name, joint in new.items() if name in old} == {
        name: joint for name, joint in old.items() if name in new
    }
    assert {name for name in new if name not in old} == {"head", "neck"}
    assert new["head"] == new["neck"] == (0, 0, 0)
    assert made["num_keypoints"] == 12
    assert made["bbox"] == one["bbox"]


def test_a_person_without_a_limb_is_nobody_in_crowdpose() -> None:
    face = [5.0, 5.0, 2.0] * 5 + [0.0, 0.0, 0.0] * 12
    one = person(1, 1, (0, 0, 50, 50), keypoints=face, num_keypoints=5)
    assert relabel(picture([one]), COCO17, CROWDPOSE14)["annotations"][0]["num_keypoints"] == 0


def test_the_crowd_index_counts_other_peoples_joints() -> None:
    def with_joints(box: tuple[float, float, float, float], at: list[tuple[float, float]]) -> dict[str, Any]:
        return person(1, 1, box, keypoints=[v for x, y in at for v in (x, y, 2)], num_keypoints=len(at))

    a = with_joints((0, 0, 10, 10), [(1, 1), (2, 2), (3, 3), (4, 4)])
    b = with_joints((8, 8, 20, 20), [(9, 9), (25, 25)])
    assert crowd_index([]) == 0
    assert crowd_index([a]) == 0
    assert crowd_index([a, b]) == 0.12  # 1 of a's 4, 0 of b's 2; Python rounds the half to the even digit
    crowd = {**b, "iscrowd": 1}
    assert crowd_index([a, crowd]) == 0


def test_a_set_for_another_skeleton_masks_what_it_lacks(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "set", 2)
    source = Source(str(data / "people.json"), str(data / "images"))
    base = config.load("nano", ["model.skeleton=crowdpose14"])
    file = overfit.prepare(source, tmp_path / "run", "crowdpose14", 2)
    settings = overfit.settings_for(base, file, source.images, count=2, size=64, steps=5)
    assert settings.data.absent == ("head", "neck")
    assert settings.eval.protocol == "crowdpose"
    assert settings.optim.freeze == ()
    with pytest.raises(ConfigError, match="'tail' is no keypoint"):
        config.load("nano", ["data.absent=[tail]"])
