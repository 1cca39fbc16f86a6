"""`boir-convert build`: the bundle's poses are the network's, and a failure leaves nothing behind."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from boir_convert import card, writer
from boir_convert.build import Request, build
from boir_convert.cli.main import main
from boir_sdk import PoseEstimator, bundle, image, warp
from boir_sdk.errors import BoirError, CheckpointError, ConfigError, InferenceError, InputError
from boir_sdk.runtime import Options, Runtime
from boir_train import build_model, checkpoint
from boir_train.inference import infer
from tests.conftest import ROOT


def random_weights(preset, folder):
    """A `nano` whose person head says something, with centres that find people anywhere."""
    torch.manual_seed(3)
    model = build_model(preset, "coco17")
    torch.nn.init.normal_(model.kpt_head.heatmap_conv.weight, std=0.05)
    for head in model.multihead.children():
        head.out.weight.data *= 0.03  # outputs of a plausible size: saturated heatmaps have many equal peaks
    torch.nn.init.constant_(model.multihead.center_head.out.bias, -1.0)
    path = folder / f"{preset}.safetensors"
    checkpoint.save(path, model.state_dict())
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return random_weights("nano", tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def made(weights, tmp_path_factory):
    """Its bundle, in both precisions."""
    out = tmp_path_factory.mktemp("bundle") / "nano"
    build(Request(checkpoint=weights, out=out, precisions=("fp16", "fp32")))
    return out


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("people", [1, 3, 6, 30])
def test_poses_are_the_networks(weights, made, flip, people):
    """From one person to the most there can be (the batches of `w32` and `w48` are in tests/parity/test_bundle.py)."""
    assert_poses_are_the_networks("nano", weights, made, flip, people)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("preset", ["nano-pure", "small"])
def test_poses_of_the_other_presets(tmp_path, preset, flip):
    """`nano-pure`: no prior, and a person head in full detail; `small`: a second trunk."""
    weights = random_weights(preset, tmp_path)
    build(Request(checkpoint=weights, out=tmp_path / "bundle", precisions=("fp32",)))
    assert_poses_are_the_networks(preset, weights, tmp_path / "bundle", flip, people=6)


def assert_poses_are_the_networks(preset, weights, made, flip, people):
    picture = warp_demo(256)
    model = build_model(preset, "coco17")
    checkpoint.load(model, weights)
    expected = infer(model, picture, flip_test=flip, protocol="coco")
    assert len(expected["scores"]) == 30
    views = picture[None, :, :, ::-1]
    views = np.ascontiguousarray(np.concatenate([views, views[:, :, ::-1]]) if flip else views)
    runtime = Runtime(bundle.read(made), Options("CPU", "fp32", 2, None, len(views)))
    found = runtime.infer(views, max_people=people, threshold=0.01)
    cells = {tuple(cell): i for i, cell in enumerate(expected["instance_coord_yx"].tolist())}
    order = [cells[tuple(cell)] for cell in found.centers_yx.tolist()]
    assert len(order) == people
    np.testing.assert_allclose(found.center_scores, expected["instance_score"][order], atol=1e-4)
    scores = found.keypoints[:, :, 2] * found.center_scores[:, None]
    np.testing.assert_allclose(scores, expected["poses_net"][order, :, 2], atol=1e-4)
    off = np.abs(found.keypoints[:, :, :2] - expected["poses_net"][order, :, :2]).max(axis=2)
    assert np.mean(off > 1e-2) < 0.01  # rounding may choose between two almost equal peaks


def warp_demo(size):
    picture = image.read(ROOT / "demos" / "people.jpg")
    fit = warp.fit(*picture.shape[:2], size, rule="long", multiple=32, resample="area")
    return np.ascontiguousarray(warp.apply(picture, fit)[:, :, ::-1])


def test_the_public_start_builds_a_bundle_twice_the_same(shared, tmp_path):
    """`nano` before any training, straight from the public file."""
    start = shared / "data/backbones/movenet-multipose-lightning/movenet_multipose_lightning.safetensors"
    made = [build(Request(checkpoint=start, out=tmp_path / name, preset="nano")) for name in ("one", "two")]
    assert made[0].files["fp16/dense.bin"] == made[1].files["fp16/dense.bin"]
    assert made[0].files["fp16/person.bin"] == made[1].files["fp16/person.bin"]
    with PoseEstimator(tmp_path / "one") as estimator:
        assert len(estimator(ROOT / "demos" / "people.jpg")) >= 2


def test_bf16_is_used_or_refused_by_name(made):
    try:
        with PoseEstimator(made, size=256, precision="bf16") as estimator:
            estimator(ROOT / "demos" / "people.jpg")
            assert estimator.info["precision"]["effective"] == "bf16"
    except InferenceError as error:
        assert "bfloat16" in str(error)


def test_manifest_tells_where_it_comes_from(weights, made):
    manifest = bundle.read(made).manifest
    assert manifest.preset == "nano"
    assert manifest.precisions == ("fp16", "fp32")
    assert manifest.default_precision == "fp32"
    assert manifest.provenance["checkpoint"] == weights.name
    assert len(manifest.provenance["checkpoint_sha256"]) == 64
    assert manifest.files["fp16/dense.bin"].size < 0.6 * manifest.files["fp32/dense.bin"].size


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"preset": "w32"}, CheckpointError, "preset nano, not of w32"),
        ({"skeleton": "crowdpose14"}, CheckpointError, "skeleton coco17"),
        ({"protocol": "coco2"}, ConfigError, "coco2"),
        ({"precisions": ("fp64",)}, ConfigError, "fp64"),
        ({"precisions": ()}, ConfigError, "none"),
        ({"default_size": 300}, ConfigError, "300"),
        ({"calibration": ROOT / "demos"}, ConfigError, "isn't asked for"),
        ({"calibration": ROOT / "demos", "calibration_count": 0, "precisions": ("int8",)}, ConfigError, "at least one"),
    ],
)
def test_impossible_requests(weights, tmp_path, changes, error, says):
    with pytest.raises(error, match=says):
        build(Request(checkpoint=weights, out=tmp_path / "out", **changes))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick_builds")
def test_an_existing_bundle_is_kept_unless_told(weights, tmp_path):
    out = tmp_path / "out"
    build(Request(checkpoint=weights, out=out, version="old"))
    with pytest.raises(InputError, match="--overwrite"):
        build(Request(checkpoint=weights, out=out, version="new"))
    assert bundle.read(out).manifest.version == "old"
    build(Request(checkpoint=weights, out=out, version="new", overwrite=True))
    assert bundle.read(out).manifest.version == "new"
    assert list(tmp_path.iterdir()) == [out]


def test_a_place_that_is_taken_is_refused_before_any_work(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="--overwrite"):
        build(Request(checkpoint=tmp_path / "nowhere.safetensors", out=tmp_path / "out"))


def test_calibration_leaves_the_float_graphs_of_the_same_bundle_alone(tmp_path, monkeypatch):
    """Centring changed weights that the graphs exported before shared, and not all of them: g and h were wrong."""
    monkeypatch.setattr("boir_convert.build.quantise", lambda dense, *_: dense)
    torch.manual_seed(4)
    model = build_model("nano", "coco17")
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)  # OpenVINO leaves out biases that are zero
    weights = tmp_path / "nano.safetensors"
    checkpoint.save(weights, model.state_dict())
    request = Request(checkpoint=weights, out=tmp_path / "fp16")
    alone = build(request).files
    request = dataclasses.replace(
        request, out=tmp_path / "both", precisions=("fp16", "int8"), calibration=ROOT / "demos"
    )
    files = build(request).files
    assert files["fp16/dense.bin"] == alone["fp16/dense.bin"]
    assert files["int8/dense.bin"] != files["fp16/dense.bin"]


def test_a_folder_that_is_no_bundle_is_never_replaced(weights, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="not a bundle"):
        build(Request(checkpoint=weights, out=tmp_path, overwrite=True))
    assert (tmp_path / "mine.txt").read_text() == "precious"


@pytest.mark.usefixtures("quick_builds")
def test_a_failure_while_writing_leaves_the_old_bundle(weights, tmp_path, monkeypatch):
    out = tmp_path / "out"
    build(Request(checkpoint=weights, out=out, version="old"))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.ov, "save_model", full)
    with pytest.raises(InputError, match="No space left"):
        build(Request(checkpoint=weights, out=out, version="new", overwrite=True))
    assert bundle.read(out).manifest.version == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_command_line(weights, tmp_path):
    facts = tmp_path / "facts.json"
    facts.write_text(json.dumps({"trained_on": "nothing", "licence": "mit"}))
    command = [sys.executable, "-m", "boir_convert.cli.main", "build", "--checkpoint", str(weights), "--json"]
    command += ["--out", str(tmp_path / "out"), "--provenance", str(facts), "--score-threshold", "0.25"]
    path = os.pathsep.join(str(ROOT / part) for part in ("sdk", "train", "convert"))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "boir-nano-coco17"
    made = bundle.read(tmp_path / "out")
    assert made.manifest.score_threshold == 0.25
    assert "nothing" in (made.path / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["build", "--help"], 0),
        ([], 2),
        (["build"], 2),
        (["build", "--checkpoint", "nowhere.pt", "--out", "x"], 1),
        (["build", "--checkpoint", __file__, "--out", "x"], 1),
        (["bake"], 2),
    ],
)
def test_exit_codes(arguments, code, capsys):
    assert main(arguments) == code
    said = capsys.readouterr()
    assert (said.err if code else said.out).strip()


def test_bad_provenance_file(weights, tmp_path, capsys):
    for content in ("{", "[]"):
        facts = tmp_path / "facts.json"
        facts.write_text(content)
        arguments = ["build", "--checkpoint", str(weights), "--out", str(tmp_path / "o"), "--provenance", str(facts)]
        assert main(arguments) == 1
        assert "provenance" in capsys.readouterr().err


def test_card_has_front_matter_and_all_facts(made):
    manifest = bundle.read(made).manifest
    text = card.write(manifest)
    assert text.startswith("---\n")
    assert "pipeline_tag: keypoint-detection" in text
    assert manifest.provenance["checkpoint_sha256"] in text


@pytest.mark.usefixtures("quick_builds")
def test_errors_are_ours(weights, tmp_path):
    with pytest.raises(BoirError, match="does not exist"):
        build(Request(checkpoint=weights, out=tmp_path / "no" / "where"))
