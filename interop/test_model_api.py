"""The IR is read by OpenVINO Model API once `boir_sdk.model_api` was imported; people are PoseEstimator's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_api.adapters import OpenvinoAdapter, create_core
from model_api.models import Model
from model_api.models.model import WrapperError
from model_api.models.result import DetectedKeypoints
from numpy.typing import NDArray

import boir_sdk.model_api
from boir_sdk import PoseEstimator, Poses, bundle

GRAPH = str(bundle.read("default").graph("int8", "dense"))


@pytest.fixture(scope="module")
def model() -> Any:
    return Model.create_model(GRAPH, device="CPU")


@pytest.fixture(scope="module")
def one_look() -> Iterator[PoseEstimator]:
    with PoseEstimator(second_look=False) as made:
        yield made


def assert_same(found: Sequence[DetectedKeypoints], expected: Poses) -> None:
    assert len(found) == len(expected)
    for person, keypoints, scores in zip(found, expected.keypoints, expected.keypoint_scores, strict=True):
        np.testing.assert_allclose(person.keypoints, keypoints, atol=1e-2)
        np.testing.assert_allclose(person.scores, scores, atol=1e-4)


def test_the_graph_names_its_wrapper(model: Any) -> None:
    assert type(model) is boir_sdk.model_api.BoIR
    assert "BoIR" in Model.available_wrappers()
    manifest = bundle.read("default").manifest
    assert model.params.confidence_threshold == pytest.approx(manifest.score_threshold)
    assert list(model.params.labels) == ["person"]


def test_without_the_import_model_api_says_what_it_lacks() -> None:
    code = f"from model_api.models import Model; Model.create_model({GRAPH!r}, device='CPU')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "no model with name BoIR" in done.stderr


def test_people_are_the_estimators(model: Any, one_look: PoseEstimator, picture: NDArray[np.uint8]) -> None:
    expected = one_look(picture)
    assert len(expected) == 4
    assert_same(model(picture), expected)


def test_pictures_of_several_shapes_in_flight(model: Any, one_look: PoseEstimator, picture: NDArray[np.uint8]) -> None:
    pictures = [picture, picture[:, :270], picture, picture[:200], np.zeros((64, 64, 3), np.uint8)]
    found = model.infer_batch(pictures)
    assert len(found[1]) and not found[-1]
    for people, one in zip(found, pictures, strict=True):
        assert_same(people, one_look(one))


def test_configuration(picture: NDArray[np.uint8]) -> None:
    chosen = {"size": 256, "confidence_threshold": 0.2}
    small = Model.create_model(GRAPH, device="AUTO", configuration=chosen)
    with PoseEstimator(size=256, score_threshold=0.2, second_look=False) as made:
        expected = made(picture)
    assert len(expected)
    assert_same(small(picture), expected)


@pytest.mark.parametrize(
    ("graph", "configuration", "says"),
    [
        (GRAPH.replace("dense.xml", "person.xml"), {}, "not the dense graph"),
        (GRAPH, {"size": 100}, "size 100 is not offered"),
        (GRAPH, {"confidence_threshold": "high"}, "Incorrect user configuration"),
    ],
)
def test_what_is_refused(graph: str, configuration: dict[str, Any], says: str) -> None:
    with pytest.raises(WrapperError, match=says):
        Model.create_model(graph, device="CPU", configuration=configuration)


def test_a_graph_outside_a_bundle_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "int8"
    place.mkdir()
    for name in ("dense.xml", "dense.bin"):
        (place / name).write_bytes(Path(GRAPH).with_name(name).read_bytes())
    with pytest.raises(WrapperError, match=r"is not a bundle: it has no manifest\.json"):
        Model.create_model(str(place / "dense.xml"), device="CPU")


def test_a_graph_in_memory_is_refused() -> None:
    xml, weights = Path(GRAPH).read_bytes(), Path(GRAPH).with_suffix(".bin").read_bytes()
    adapter = OpenvinoAdapter(create_core(), xml, weights, device="CPU")
    with pytest.raises(WrapperError, match="give the path"):
        Model.create_model(adapter)
