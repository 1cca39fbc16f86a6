"""The paper's figures: maps where they belong, features alike in colour, files that can be looked at."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from boir_sdk.errors import ConfigError, InputError
from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17
from boir_train import build_model, visualize
from boir_train.cli.main import main
from boir_train.visualize import View
from tests.conftest import ROOT

WEIGHTS = ROOT / "weights" / "nano.safetensors"
PEOPLE = ROOT / "demos" / "people.jpg"


def _view(height: int = 96, width: int = 128, people: int = 2) -> View:
    """A picture whose left half has one feature and whose right half another, with a person in each."""
    h, w = height // 4, width // 4
    features = np.zeros((5, h, w), np.float32)
    features[0, :, : w // 2], features[1, :, w // 2 :] = 1, 1
    features[2] = 0.2
    centers = np.array([[h // 2, w // 4], [h // 2, 3 * w // 4]])[:people]
    center_map = np.full((h, w), 0.01, np.float32)
    center_map[tuple(centers.T)] = 0.4
    xy = np.repeat(4.0 * centers[:, None, ::-1], 17, axis=1).astype(np.float32)
    poses = Poses(xy, np.ones((people, 17), np.float32), np.full(people, 0.5, np.float32), COCO17)
    return View(np.full((height, width, 3), 128, np.uint8), center_map, features, centers, poses)


def test_similarity_is_the_cosine_with_one_cell() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(7, 4, 6)).astype(np.float32)
    features[:, 3, 5] = 0  # a dead cell is like nothing
    found = visualize.similarity(features, (1, 2))
    assert found.shape == (4, 6)
    assert found[1, 2] == pytest.approx(1)
    assert found[3, 5] == 0
    a, b = features[:, 1, 2], features[:, 0, 3]
    assert found[0, 3] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)


def test_a_similarity_figure_is_red_where_the_person_is_and_blue_elsewhere() -> None:
    view = _view()
    first, second = visualize.similarity_figures(view, 5)
    assert first.shape == view.image_bgr.shape
    for figure, own, other in ((first, 5, 123), (second, 123, 5)):  # far from the rings
        blue, _, red = figure[10, own].astype(int)
        assert red > blue + 50
        blue, _, red = figure[10, other].astype(int)
        assert blue > red + 50
    assert len(visualize.similarity_figures(view, 1)) == 1


def test_the_centre_map_is_scaled_to_its_largest_value_and_rings_the_people() -> None:
    view = _view()
    figure = visualize.center_figure(view)
    y, x = (4 * view.centers_yx[0] + 2).tolist()
    assert int(figure[y, x, 2]) > int(figure[y, x, 0])  # red inside of the ring, though the value is 0.4 only
    assert int(figure[5, 5, 0]) > int(figure[5, 5, 2])
    nobody = _view(people=0)
    assert np.ptp(visualize.center_figure(nobody).reshape(-1, 3), axis=0).tolist() == [0, 0, 0]  # a flat map


@pytest.mark.parametrize("projection", ["pca", "tsne"])
def test_cells_that_are_alike_have_like_colours(projection: visualize.Projection) -> None:
    if projection == "tsne":
        pytest.importorskip("sklearn")
    generator = np.random.default_rng(0)
    features = _view(64, 96).features + generator.normal(0, 0.02, (5, 16, 24)).astype(np.float32)
    rgb = visualize.project(features, projection).astype(float)
    assert rgb.shape == (16, 24, 3)
    left, right = rgb[:, :12].reshape(-1, 3), rgb[:, 12:].reshape(-1, 3)
    between = np.linalg.norm(left.mean(axis=0) - right.mean(axis=0))
    assert between > 100
    assert np.array_equal(visualize.project(features, projection), rgb.astype(np.uint8))  # the same again


def test_pca_does_not_depend_on_the_order_of_channels_and_takes_few() -> None:
    features = np.random.default_rng(1).normal(size=(5, 24, 32)).astype(np.float32)
    once, again = (visualize.project(some, "pca").astype(int) for some in (features, features[[2, 1, 0, 4, 3]]))
    assert np.abs(once - again).max() <= 1
    two = visualize.project(features[:2], "pca")
    assert two.shape == (24, 32, 3)
    assert np.ptp(two[..., 2]) == 0  # no third channel, no blue


def test_what_varies_by_rounding_only_has_no_colour() -> None:
    features = _view().features
    features[0] += np.random.default_rng(0).normal(0, 1e-7, features[0].shape)
    assert np.ptp(visualize.project(features, "pca")[..., 1:], axis=(0, 1)).max() <= 1


def test_a_large_map_is_averaged_before_tsne(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    seen = []
    monkeypatch.setattr(visualize, "_tsne", lambda points, seed: seen.append(points.shape) or points[:, :3])
    features = np.random.default_rng(0).normal(size=(60, 101, 160)).astype(np.float32)
    assert visualize.project(features, "tsne").shape == (33, 53, 3)  # 3 x 3 cells each, so that 4,000 suffice
    assert seen == [(33 * 53, 50)]
    assert visualize._averaged(features, 3)[4, 2, 1] == pytest.approx(features[4, 6:9, 3:6].mean(), abs=1e-6)


def test_a_map_too_small_for_tsne_and_a_missing_library_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    with pytest.raises(InputError, match="too few for t-SNE"):
        visualize.project(np.zeros((5, 6, 6), np.float32), "tsne")
    monkeypatch.setattr(visualize.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install scikit-learn, or take --projection pca"):
        visualize.project(np.zeros((5, 60, 60), np.float32), "tsne")


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 3, 1), (3, 3, 1), (4, 3, 2), (7, 2, 4)])
def test_a_panel_holds_every_figure_whole(count: int, columns: int, rows: int) -> None:
    figures = {f"figure {n}": np.full((40, 60, 3), 10 * n, np.uint8) for n in range(count)}
    made = visualize.panel(figures, columns)
    assert made.shape[1] == columns * 68 + 8
    assert made.shape[0] == rows * (40 + 24 + 8) + 8
    for n in range(1, count):
        assert (made == 10 * n).all(axis=2).sum() >= 40 * 60


def test_what_is_looked_at_is_what_the_reference_finds() -> None:
    if not WEIGHTS.is_file():
        pytest.skip(f"needs {WEIGHTS}")
    from boir_train import checkpoint, inference

    model = build_model("nano", "coco17")
    checkpoint.load(model, WEIGHTS)
    image_bgr = cv2.imread(str(PEOPLE))
    every = visualize.look(model, image_bgr, size=256)
    poses = inference.predict(model, image_bgr, size=256, flip_test=False, protocol="coco")
    assert len(every.poses) == len(poses) > 0
    assert np.array_equal(every.poses.scores, poses.scores)
    scale = 256 / max(image_bgr.shape[:2])
    assert every.poses.keypoints == pytest.approx(poses.keypoints * scale, abs=0.1)
    assert every.center_map.shape == every.features.shape[1:]
    some = visualize.look(model, image_bgr, size=256, score_threshold=0.1)
    assert 0 < len(some.poses) < len(every.poses)
    assert len(some.centers_yx) == len(some.poses)
    # A person's centre lies within the keypoints' box.
    for (y, x), (x1, y1, x2, y2) in zip(some.centers_yx, some.poses.boxes, strict=True):
        assert x1 - 8 <= 4 * x + 2 <= x2 + 8
        assert y1 - 8 <= 4 * y + 2 <= y2 + 8


def test_the_command_writes_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not WEIGHTS.is_file():
        pytest.skip(f"needs {WEIGHTS}")
    out = tmp_path / "figures"
    arguments = ["visualize", str(PEOPLE), "--checkpoint", str(WEIGHTS), "--size", "256", "--projection", "pca"]
    assert main([*arguments, "--people", "2", "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    names = ["poses", "center", "features", "similarity-1", "similarity-2", "panel"]
    assert report["files"] == [str(out / f"{name}.png") for name in names]
    assert report["people"] == sorted(report["people"], reverse=True)
    assert min(report["people"]) >= 0.1
    assert sorted(path.name for path in out.iterdir()) == sorted(f"{name}.png" for name in names)
    shapes = {cv2.imread(file).shape for file in report["files"][:-1]}
    assert shapes == {(160, 256, 3)}
    drawn, plain = cv2.imread(str(out / "poses.png")), cv2.resize(cv2.imread(str(PEOPLE)), (256, 144))
    assert np.abs(drawn[:144].astype(int) - plain).max() > 100  # somebody is drawn


@pytest.mark.parametrize(
    ("picture", "checkpoint", "more", "message"),
    [
        ("nothing.jpg", None, [], "nothing.jpg"),
        (None, "nothing.safetensors", [], "no checkpoint at"),
        (None, "runs/coco_w32/final.safetensors", [], "boir-train fit --config coco_w32"),
        (None, "model/imagenet/hrnet_w32-36af842e.pth", [], "fetch HRNet-W32 trained on ImageNet"),
        (None, None, ["--dataset", "crowdpose"], "doesn't fit the model"),
        (None, None, ["--device", "cuda:77"], "--device cuda:77"),
    ],
)
def test_what_the_user_can_mend(
    picture: str | None,
    checkpoint: str | None,
    more: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["visualize", picture or str(PEOPLE), "--checkpoint", checkpoint or str(WEIGHTS)]
    assert main([*arguments, "--projection", "pca", *more]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
