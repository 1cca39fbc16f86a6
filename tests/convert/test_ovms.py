"""`boir-convert ovms`: a server of these models gives, through the client in the folder, the estimator's poses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import openvino as ov
import pytest

from boir_convert import ovms, ovms_client
from boir_convert.cli.main import main
from boir_convert.ovms import Request, pack
from boir_sdk import PoseEstimator, Poses, image, signal_stack
from boir_sdk.errors import BundleError, ConfigError, InferenceError, InputError
from tests.conftest import ROOT
from tests.support.fake_model_server import serving
from tests.support.small_bundle import small_bundle

PICTURE = ROOT / "demos" / "people.jpg"  # 480 x 270
SIZE = 256


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return small_bundle(tmp_path_factory)


@pytest.fixture(scope="module")
def folder(built, tmp_path_factory):
    out = tmp_path_factory.mktemp("ovms") / "server"
    pack(Request(built, out, name="boir", size=SIZE, picture=(480, 270), people=3, precision="fp16"))
    return out


@pytest.fixture(scope="module")
def facts(folder):
    return json.loads((folder / "boir.json").read_text())


@pytest.fixture(scope="module")
def url(folder):
    with serving(folder / "config.json") as address:
        yield address


@pytest.fixture(scope="module")
def estimator(built):
    with PoseEstimator(built, size=SIZE, precision="fp16") as made:
        yield made


def assert_same(found, expected):
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=1e-2)
    np.testing.assert_allclose(found.keypoint_scores, expected.keypoint_scores, atol=1e-4)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


def test_layout(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    models = {f"models/boir-{part}/1/model.{kind}" for part in ("dense", "person") for kind in ("xml", "bin")}
    assert names == models | {"config.json", "boir.json", "client.py", "README.md"}
    ovms.validate(folder)


def test_every_shape_is_static_and_named(folder, facts):
    with signal_stack.preserved():
        core = ov.Core()
        dense, person = (core.read_model(folder / f"models/boir-{part}/1/model.xml") for part in ("dense", "person"))
    assert dense.input("picture").shape == [1, facts["height"], facts["width"], 3]
    assert person.input("center_yx").shape == [3, 2]
    assert person.output("keypoints").partial_shape.is_static
    rest = {port.get_any_name() for port in dense.outputs} - {"people"}
    assert {port.get_any_name() for port in person.inputs} == rest | {"center_yx"}


@pytest.mark.parametrize("threshold", [0.13, 0.0])
def test_the_clients_poses_are_the_estimators(url, facts, built, threshold):
    """Four people in calls of three, and with no threshold everybody the network finds."""
    with PoseEstimator(built, size=SIZE, precision="fp16", score_threshold=threshold) as made:
        expected = made(PICTURE)
    found = ovms_client.find_people(image.read(PICTURE), url, {**facts, "score_threshold": threshold})
    assert len(found) > (3 if threshold else 4)
    assert_same(found, expected)


@pytest.mark.parametrize("shape", [(270, 300), (200, 480)])
def test_other_shapes_get_a_border(url, facts, estimator, shape):
    """Poses lie where the estimator's do as far as a smaller network picture allows."""
    picture = image.read(PICTURE)[: shape[0], : shape[1]]
    network, fit = ovms_client.network_picture(picture, facts)
    assert network.shape == (facts["height"], facts["width"], 3)
    assert fit.height <= facts["height"] and fit.width <= facts["width"]
    found = ovms_client.find_people(picture, url, facts)
    best = estimator(picture)
    assert len(best) and len(found)
    distance = np.abs(found.keypoints[:, None] - best.keypoints[0]).max(axis=-1)
    assert np.median(distance, axis=-1).min() < 0.05 * max(shape)


def test_too_elongated(facts):
    short = {"fit_rule": "short", "resample": "bilinear", "multiple": 64, "size": 128, "height": 128, "width": 192}
    network, _ = ovms_client.network_picture(np.zeros((90, 135, 3), np.uint8), {**facts, **short})
    assert network.shape == (128, 192, 3)
    with pytest.raises(InputError, match="elongated"):
        ovms_client.network_picture(np.zeros((4000, 20, 3), np.uint8), {**facts, **short})


def test_answers_as_json_numbers(folder, facts, estimator):
    with serving(folder / "config.json", binary=False) as address:
        assert_same(ovms_client.find_people(image.read(PICTURE), address, facts), estimator(PICTURE))


def test_the_script_as_a_user_runs_it(folder, url, estimator):
    command = [sys.executable, str(folder / "client.py"), str(PICTURE), "--url", url]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT / "sdk")}
    )
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert line.pop("picture") == str(PICTURE)
    assert_same(Poses.from_dict(line), estimator(PICTURE))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dense": "nobody"}, "no model at"),
        ({"people": 2}, "invalid shape"),
        ({"height": 64}, "invalid shape"),
    ],
)
def test_a_server_that_refuses(url, facts, changes, says):
    with pytest.raises(InferenceError, match=says):
        ovms_client.find_people(image.read(PICTURE), url, {**facts, **changes})


def test_no_server(facts, tmp_path, capsys):
    (tmp_path / "boir.json").write_text(json.dumps(facts))
    arguments = [str(PICTURE), "--url", "http://127.0.0.1:9", "--facts", str(tmp_path / "boir.json")]
    assert ovms_client.main(arguments) == 1
    assert "is the server running" in capsys.readouterr().err


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"outputs": [{"name": "x"}]}', b'{"outputs": [{"datatype": "FP99"}]}']
)
def test_answers_that_are_none(body):
    with pytest.raises((ValueError, KeyError, TypeError)):
        ovms_client.outputs(body, None)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"precision": "int8"}, ConfigError, "has no precision 'int8'"),
        ({"size": 250}, ConfigError, "250 is not offered"),
        ({"name": "a/b"}, ConfigError, "part of an address"),
        ({"name": "é"}, ConfigError, "part of an address"),
        ({"version": 0}, ConfigError, "version is 0"),
        ({"people": 0}, ConfigError, "people is 0"),
        ({"people": 31}, ConfigError, "people is 31"),
        ({"picture": (0, 480)}, ConfigError, "impossible"),
        ({"bundle": "nowhere"}, BundleError, "does not exist"),
    ],
)
def test_impossible_requests(built, tmp_path, changes, error, says):
    with pytest.raises(error, match=says):
        pack(Request(**{"bundle": built, "out": tmp_path / "out", **changes}))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken(built, folder, tmp_path):
    (tmp_path / "mine").mkdir()
    request = {"bundle": built, "size": 192, "people": 1}
    with pytest.raises(InputError, match="--overwrite"):
        pack(Request(out=tmp_path / "mine", **request))
    with pytest.raises(InputError, match="not a folder made by"):
        pack(Request(out=tmp_path / "mine", overwrite=True, **request))
    with pytest.raises(InputError, match="does not exist"):
        pack(Request(out=tmp_path / "no" / "where", **request))
    out = shutil.copytree(folder, tmp_path / "server")
    assert pack(Request(out=out, overwrite=True, version=7, **request))["size"] == 192
    assert (out / "models/boir-nano-coco17-dense/7/model.xml").is_file()
    assert not (out / "models/boir-dense").exists()


def damaged(folder, how):
    config = json.loads((folder / "config.json").read_text())
    entry = config["model_config_list"][0]["config"]
    if how == "key":
        entry["precision"] = "f32"
    elif how == "twice":
        config["model_config_list"] *= 2
    elif how == "path":
        entry["base_path"] = "elsewhere"
    elif how == "more":
        config["pipelines"] = []
    elif how == "none":
        config["model_config_list"] = []
    elif how == "version":
        (folder / "models/boir-dense/1").rename(folder / "models/boir-dense/v1")
    elif how == "bin":
        (folder / "models/boir-dense/1/model.bin").unlink()
    (folder / "config.json").write_text("{" if how == "text" else json.dumps(config))


@pytest.mark.parametrize("how", ["key", "twice", "path", "more", "none", "version", "bin", "text"])
def test_folders_that_no_server_takes(folder, tmp_path, how):
    copy = shutil.copytree(folder, tmp_path / "server")
    damaged(copy, how)
    with pytest.raises(ConfigError):
        ovms.validate(copy)


def test_free_shapes_are_no_folder(folder, built, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "server")
    for kind in ("xml", "bin"):
        shutil.copy(built / "fp16" / f"dense.{kind}", copy / f"models/boir-dense/1/model.{kind}")
    with pytest.raises(ConfigError, match="picture has a free dimension"):
        ovms.validate(copy)


def test_command_line(built, tmp_path, capsys):
    out = tmp_path / "server"
    arguments = ["ovms", str(built), "--out", str(out), "--size", "192", "--picture", "320x240", "--json"]
    assert main(arguments) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["width"], made["height"], made["size"]) == (192, 160, 192)
    assert made["folder"] == str(out)
    assert main(arguments) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "input"
    assert main(["ovms", "--help"]) == 0
    for wrong in (["--picture", "320"], ["--picture", "0x10"], ["--people", "x"]):
        assert main(["ovms", str(built), "--out", str(out), *wrong]) == 2
