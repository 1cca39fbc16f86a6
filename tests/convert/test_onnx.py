"""`boir-convert onnx`: one file whose people in onnxruntime are PyTorch's, or no file."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

from boir_convert import onnx_check, onnx_export
from boir_convert.cli.main import main
from boir_convert.onnx_check import Agreement
from boir_convert.onnx_export import Request, export
from boir_sdk.errors import CheckpointError, ConfigError, InferenceError, InputError
from boir_sdk.skeleton import COCO17
from boir_train import build_model, checkpoint
from boir_train.inference import get_protocol, infer
from boir_train.subject import sha256_of
from tests.parity.recipe_support import recipe_model
from tests.parity.test_bundle import check_people
from tests.parity.test_inference import CASES, network_picture
from tests.support.small_bundle import WEIGHTS

SHAPE = (96, 128)


@pytest.fixture(scope="module")
def nano():
    model = build_model("nano", "coco17")
    checkpoint.load(model, WEIGHTS)
    return model.eval()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The committed weights as a file, and the agreement that the command measured."""
    out = tmp_path_factory.mktemp("onnx") / "nano.onnx"
    return out, export(Request(WEIGHTS, out, shape=SHAPE, score_threshold=0.13))


def test_nano_agrees(made):
    out, agreement = made
    assert out.is_file()
    assert agreement.pictures == 2
    assert agreement.people >= 2
    assert agreement.score <= onnx_check.SCORE_TOLERANCE
    assert agreement.pixels <= onnx_check.PIXEL_TOLERANCE
    assert agreement.ties <= onnx_check.MOST_TIES


def test_it_is_one_graph_without_training_heads(made):
    graph = onnx.load(made[0])
    onnx.checker.check_model(graph, full_check=True)
    (picture,) = graph.graph.input
    assert picture.name == "picture"
    assert picture.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [dim.dim_value for dim in picture.type.tensor_type.shape.dim] == [1, *SHAPE, 3]
    shapes = {out.name: [dim.dim_value for dim in out.type.tensor_type.shape.dim] for out in graph.graph.output}
    assert shapes == {"centers": [30, 3], "keypoints": [30, 17, 3], "scores": [30]}
    assert made[0].stat().st_size < 1.1 * sum(4 * p.numel() for p in build_model("nano", "coco17").parameters())
    assert not [name for name in (w.name for w in graph.graph.initializer) if "emb_head" in name or "bbox_head" in name]


def test_metadata(made):
    said = {entry.key: entry.value for entry in onnx.load(made[0]).metadata_props}
    expected = {
        "boir.preset": "nano",
        "boir.part": "whole",
        "boir.keypoints": " ".join(COCO17.keypoints),
        "boir.stride": "4",
        "boir.height": "96",
        "boir.width": "128",
        "boir.score_threshold": "0.13",
        "boir.center_threshold": "0.01",
        "boir.sha256_of_source": sha256_of(WEIGHTS),
    }
    assert {key: said[key] for key in expected} == expected


def test_places_that_nobody_takes_score_nothing(made, nano):
    session = onnx_check.open_session(made[0].read_bytes())
    grey = np.full((*SHAPE, 3), 127, np.uint8)
    found = onnx_check.run(session, grey)
    people = len(infer(nano, grey, flip_test=False, protocol="coco")["scores"])
    assert int((found["scores"] > 0).sum()) == people < 30
    assert (found["scores"][people:] == 0).all()


@pytest.mark.parametrize(("preset", "flip"), [("nano", True), ("w32", True)])
def test_other_networks_agree(nano, preset, flip):
    """With the flip test: `nano`, and the paper's network with weights that find people anywhere."""
    model, shape = nano, SHAPE
    if preset == "w32":
        torch.manual_seed(3)
        model, shape = build_model("w32", "coco17").eval(), (64, 128)
        torch.nn.init.normal_(model.kpt_head.heatmap_conv.weight, std=0.3)
        torch.nn.init.constant_(model.multihead.center_head.head[1].bias, -1.0)
    graph = onnx_export.simplified(onnx_export.to_onnx(model, 3, shape, flip, free_size=preset == "w32"))
    for size in (shape, shape[::-1])[: 1 + (preset == "w32")]:
        assert onnx_check.check(graph.SerializeToString(), model, size, flip, "coco").people > 0


def test_one_file_of_free_size_agrees_at_every_size(tmp_path, nano):
    """Also at a panorama, where people are searched for in larger windows (SPEC-model M4.5)."""
    out = tmp_path / "any.onnx"
    agreement = export(Request(WEIGHTS, out, shape=SHAPE, free_size=True))
    assert (agreement.pictures, agreement.score < onnx_check.SCORE_TOLERANCE) == (6, True)
    graph = onnx.load(out)
    (picture,) = graph.graph.input
    assert [dim.dim_param or dim.dim_value for dim in picture.type.tensor_type.shape.dim] == [1, "height", "width", 3]
    said = {entry.key: entry.value for entry in graph.metadata_props}
    assert (said["boir.height"], said["boir.width"]) == ("free", "free")
    data = out.read_bytes()
    for shape in ((64, 64), (192, 256), (64, 1600)):
        agreement = onnx_check.check(data, nano, shape, False, "coco")
        assert agreement.people > 0
        assert agreement.score <= onnx_check.SCORE_TOLERANCE


def smallest_fixture():
    """The fixture with the fewest network pixels of one view with people; all of them take minutes."""
    wanted = [c for c in CASES if c.values[0] and c.values[0].record["people"] and not c.values[0].record["flip"]]
    return sorted(wanted, key=lambda c: c.values[0].record["resized_width"] * c.values[0].record["resized_height"])[:1]


@pytest.mark.parametrize("case", smallest_fixture() or CASES[:1])
def test_fixture(case):
    """The authors' people, scores and keypoints, with the tolerances of the bundle's parity test."""
    record, want = case.record, case.arrays()
    _, picture = network_picture(record, want)
    model = recipe_model(record["preset"], record["skeleton"], record["weights_salt"])
    kernel = get_protocol(record["protocol"]).pool_kernel or model.settings.pool_kernel
    graph = onnx_export.simplified(onnx_export.to_onnx(model, kernel, picture.shape[:2], record["flip"]))
    found = onnx_check.run(onnx_check.open_session(graph.SerializeToString()), picture)
    count = int((found["scores"] > 0).sum())
    centers, keypoints = found["centers"][:count], found["keypoints"][:count].copy()
    keypoints[:, :, 2] /= centers[:, :1]  # the fixture has peaks
    check_people(
        SimpleNamespace(centers_yx=centers[:, 1:].astype(int), center_scores=centers[:, 0], keypoints=keypoints), want
    )


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch):
    """A weight changes between tracing and the check, as a defect of an exporter would."""
    honest = onnx_export.simplified

    def damaged(graph):
        graph = honest(graph)
        largest = max(graph.graph.initializer, key=lambda weight: len(weight.raw_data))
        values = onnx.numpy_helper.to_array(largest)
        largest.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(1.2), largest.name))
        return graph

    monkeypatch.setattr(onnx_export, "simplified", damaged)
    with pytest.raises(InferenceError, match=r"disagree|only one of"):
        export(Request(WEIGHTS, tmp_path / "x.onnx", shape=SHAPE))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def pair(made, nano):
    """One picture's people in both."""
    picture, _ = onnx_check.pictures(*SHAPE)
    ours = onnx_check.run(onnx_check.open_session(made[0].read_bytes()), picture)
    return ours, infer(nano, picture, flip_test=False, protocol="coco", intermediates=True)


def test_compare_measures_differences(pair):
    ours, reference = pair
    same = onnx_check.compare(ours, reference)
    assert same.people >= 2
    assert same.unmatched == 0
    moved = {**ours, "keypoints": ours["keypoints"] + np.array([0, 5, 0], np.float32)}
    assert onnx_check.compare(moved, reference).pixels == pytest.approx(5, abs=0.01)
    louder = {**ours, "scores": ours["scores"] * np.float32(1.5)}
    assert onnx_check.compare(louder, reference).score > 0.05


def test_compare_refuses_other_people(pair):
    ours, reference = pair
    elsewhere = {**ours, "centers": ours["centers"] + np.array([0, 0, 3], np.float32)}
    with pytest.raises(InferenceError, match="only one of"):
        onnx_check.compare(elsewhere, reference)


def test_merged():
    one, two = Agreement(1, 2, 0, 0.1, 0.0, 0.5), Agreement(1, 6, 1, 0.0, 3.0, 0.1)
    assert onnx_check.merged([one, two]) == Agreement(2, 8, 1, 0.1, 3.0, pytest.approx(0.2))
    with pytest.raises(ConfigError):
        onnx_check.merged([])


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"shape": (100, 128)}, ConfigError, "multiples of 32"),
        ({"shape": (0, 128)}, ConfigError, "multiples of 32"),
        ({"shape": (4096, 128)}, ConfigError, "up to 2048"),
        ({"preset": "w32"}, CheckpointError, "preset nano, not of w32"),
        ({"protocol": "coco2"}, ConfigError, "coco2"),
    ],
)
def test_impossible_requests(tmp_path, changes, error, says):
    with pytest.raises(error, match=says):
        export(dataclasses.replace(Request(WEIGHTS, tmp_path / "x.onnx", shape=SHAPE), **changes))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_kept(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"mine")
    for place, overwrite in ((tmp_path / "x.onnx", False), (tmp_path, True)):
        with pytest.raises(InputError, match="exists"):
            export(Request(tmp_path / "nowhere.pt", place, overwrite=overwrite))
    assert (tmp_path / "x.onnx").read_bytes() == b"mine"


def test_command_line(tmp_path, capsys):
    out = tmp_path / "nano.onnx"
    arguments = ["onnx", "--checkpoint", str(WEIGHTS), "--out", str(out), "--size", "64", "96", "--json"]
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["bytes"] == out.stat().st_size
    assert said["agreement"]["score"] <= 1e-4
    assert main(arguments) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "input"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["onnx", "--help"], 0),
        (["onnx"], 2),
        (["onnx", "--checkpoint", "nowhere.pt", "--out", "x.onnx"], 1),
        (["onnx", "--checkpoint", "nowhere.pt", "--out", "x.onnx", "--size", "1", "2", "3"], 1),
        (["onnx", "--checkpoint", "nowhere.pt", "--out", "x.onnx", "--size", "big"], 2),
    ],
)
def test_exit_codes(arguments, code, capsys):
    assert main(arguments) == code
    said = capsys.readouterr()
    assert (said.err if code else said.out).strip()
