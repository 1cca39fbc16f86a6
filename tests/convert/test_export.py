"""What the graphs of a bundle say of themselves, and files that are added to a bundle later."""

from __future__ import annotations

import json
import shutil

import openvino as ov
import pytest

from boir_convert import facts, writer
from boir_sdk import PoseEstimator, bundle, signal_stack
from boir_sdk.errors import BundleError, InputError
from boir_sdk.skeleton import COCO17
from boir_train.subject import sha256_of
from tests.conftest import ROOT
from tests.support.small_bundle import WEIGHTS, small_bundle


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return small_bundle(tmp_path_factory)


@pytest.fixture
def copy(built, tmp_path):
    return shutil.copytree(built, tmp_path / "bundle")


def graph(folder, precision, part):
    with signal_stack.preserved():
        return ov.Core().read_model(folder / precision / f"{part}.xml")


def said(model, block, key):
    return model.get_rt_info([block, key]).astype(str)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("part", ["dense", "person"])
def test_own_block(built, precision, part):
    model = graph(built, precision, part)
    expected = {
        "schema": str(facts.SCHEMA),
        "preset": "nano",
        "part": part,
        "precision": precision,
        "skeleton": "coco17",
        "keypoints": " ".join(COCO17.keypoints),
        "flip_index": " ".join(map(str, COCO17.flip_index)),
        "stride": "4",
        "buckets": "192 256 320 384 448 512 576 640",
        "score_threshold": "0.13",
        "sha256_of_source": sha256_of(WEIGHTS),
    }
    assert {key: said(model, "boir", key) for key in expected} == expected
    assert [float(sigma) for sigma in said(model, "boir", "sigmas").split()] == list(COCO17.sigmas)


def test_model_apis_block(built):
    expected = {
        "model_type": "BoIR",
        "labels": "person",
        "confidence_threshold": "0.13",
        "resize_type": "fit_to_window",
        "input_dtype": "u8",
        "reverse_input_channels": "False",
        "mean_values": "0 0 0",
        "scale_values": "1 1 1",
        "embedded_processing": "False",
    }
    dense, person = graph(built, "fp16", "dense"), graph(built, "fp16", "person")
    assert {key: said(dense, "model_info", key) for key in expected} == expected
    assert said(person, "model_info", "model_type") == "BoIR"
    assert not person.has_rt_info(["model_info", "resize_type"])  # it takes no pictures


def test_files_are_added(copy):
    before = bundle.read(copy)
    first = {"parity.json": b'{"ap": 40.7}', "parity/README.md": b"# page", "parity/worst-1.jpg": b"one"}
    writer.extend(copy, first)
    made = writer.extend(copy, {"parity.json": b'{"ap": 40.8}', "parity/README.md": b"# page", "README.md": b"card"})
    after = bundle.read(copy)
    assert after.manifest == made
    assert after.describe()["parity"] == {"ap": 40.8}
    assert after.manifest.files.keys() == before.manifest.files.keys() | {"parity.json", "parity/README.md"}
    assert after.manifest.files["fp16/dense.bin"] == before.manifest.files["fp16/dense.bin"]
    with PoseEstimator(copy, size=192) as estimator:
        assert len(estimator(ROOT / "demos" / "people.jpg")) >= 2
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/b/c", "manifest.json", "fp16/dense.bin", "fp32/extra.txt", ".hidden", ""]
)
def test_names_that_can_not_be_added(copy, name):
    before = bundle.read(copy).manifest
    with pytest.raises(BundleError, match="can't be added"):
        writer.extend(copy, {"good.txt": b"x", name: b"x"})
    assert bundle.read(copy).manifest == before


def test_a_failure_while_adding_leaves_the_bundle(copy, monkeypatch):
    before = bundle.read(copy).manifest

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.shutil, "copytree", full)
    with pytest.raises(InputError, match="No space left"):
        writer.extend(copy, {"parity.json": b"{}"})
    assert bundle.read(copy).manifest == before
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


def test_too_many_files_are_refused(copy):
    with pytest.raises(BundleError, match="over the limit"):
        writer.extend(copy, {f"many/{number}.txt": b"x" for number in range(100)})
    assert "many/1.txt" not in bundle.read(copy).manifest.files


def test_description_tells_of_the_self_test(built):
    assert json.loads(json.dumps(bundle.read(built).describe()))["selftest"] is True
