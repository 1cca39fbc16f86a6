"""INT8: centring and levelling change nothing, what must stay float does, the result is close to the float network."""

from __future__ import annotations

import copy
import hashlib
import json
import logging

import numpy as np
import openvino as ov
import pytest
import torch

from boir_convert import calibration
from boir_convert.build import Request, build, load
from boir_convert.centring import centred
from boir_convert.cli.main import main
from boir_convert.export import export
from boir_convert.levelling import LARGEST, levelled
from boir_convert.quantize import ISLANDS, Islands, float_operations, quantise
from boir_sdk import PoseEstimator, image, warp
from boir_sdk.errors import BoirError, ConfigError
from boir_train import build_model, checkpoint
from tests.conftest import ROOT

DEMO = ROOT / "demos"


@pytest.fixture(scope="module")
def model():
    """A random `nano` whose blocks have channels around means of their own."""
    torch.manual_seed(5)
    made = build_model("nano", "coco17")
    for block in made.backbone.blocks:
        torch.nn.init.normal_(block.project.bias, std=3.0)
    return made


@pytest.fixture(scope="module")
def dense(model):
    """Its dense graph, which no test may change."""
    return export(model, 3)[0]


@pytest.fixture(scope="module")
def pictures(model):
    return list(calibration.pictures(calibration.choose(DEMO, 1, (96,)), model.settings)) * 2


def block_means(model, pictures):
    found = []
    handles = [
        block.register_forward_hook(lambda _, __, output: found.append(output.mean(dim=(0, 2, 3)).abs().max().item()))
        for block in model.backbone.blocks
    ]
    x = torch.from_numpy(np.ascontiguousarray(pictures[0][..., ::-1])).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        maps = model.dense(x)
    for handle in handles:
        handle.remove()
    return found, maps


def test_centring_takes_the_means_off_and_changes_nothing(model, dense, pictures):
    constants = [node.data.copy() for node in dense.get_ordered_ops() if node.get_type_name() == "Constant"]
    other = centred(model, pictures)
    before, maps = block_means(model, pictures)
    after, same = block_means(other, pictures)
    # A graph that was exported before shares memory with the weights: neither may change.
    left = [node.data for node in dense.get_ordered_ops() if node.get_type_name() == "Constant"]
    assert all(np.array_equal(a, b) for a, b in zip(constants, left, strict=True))
    assert min(before) > 1
    assert max(after) < 1e-3 * max(before)
    for name, value in maps.items():
        error = (same[name] - value).square().mean().sqrt()
        assert error < 1e-4 * value.square().mean().sqrt(), name


def filter_sizes(model):
    return [block.depthwise.weight.abs().amax(dim=(1, 2, 3)) for block in model.backbone.blocks]


@torch.no_grad()
def with_huge_filters(model, channels):
    """A copy in which some channels hardly ever fire and have huge depthwise filters, as folded norms leave them."""
    other = copy.deepcopy(model)
    trunk = other.backbone
    for block in trunk.blocks:
        before = trunk.stem if block.expand is None else block.expand
        for channel, size in channels.items():
            before.weight[channel] /= 10 * size
            before.bias[channel] = 0.1 / size
            block.depthwise.weight[channel] *= size
    return other


def test_levelling_shrinks_huge_filters_and_changes_nothing(model, pictures):
    huge = with_huge_filters(model, {3: 100.0, 20: 1000.0})
    before = [weight.clone() for weight in huge.state_dict().values()]
    other = levelled(huge, pictures)
    assert all(torch.equal(a, b) for a, b in zip(before, huge.state_dict().values(), strict=True))
    for untouched, shrunk in zip(filter_sizes(huge), filter_sizes(other), strict=True):
        assert untouched.max() > 50 * untouched.median()
        assert shrunk.max() < 1.01 * LARGEST * untouched.median()
    _, maps = block_means(huge, pictures)
    _, same = block_means(other, pictures)
    for name, value in maps.items():
        error = (same[name] - value).square().mean().sqrt()
        assert error < 1e-4 * value.square().mean().sqrt(), name


def test_levelling_leaves_room_below_the_cut_of_the_activation(model, pictures):
    """A channel that fires as strongly as can be keeps its filter, however large."""
    loud = copy.deepcopy(model)
    with torch.no_grad():
        block = loud.backbone.blocks[4]
        block.expand.bias[7] = 100.0
        block.depthwise.weight[7] *= 1000
    assert torch.equal(levelled(loud, pictures).backbone.blocks[4].depthwise.weight[7], block.depthwise.weight[7])


def test_levelling_takes_filters_of_nothing(model, pictures):
    pruned = copy.deepcopy(model)
    with torch.no_grad():
        for block in pruned.backbone.blocks:
            block.depthwise.weight[: len(block.depthwise.weight) * 3 // 4] = 0
    assert all(value.isfinite().all() for value in levelled(pruned, pictures).state_dict().values())


def quantisable(name):
    """All of the trunk up to the pyramid: the stem, 17 blocks and the tail."""
    return any(part in name for part in (".backbone.stem/", ".backbone.blocks.", ".backbone.tail/"))


def test_what_stays_in_float_is_found_in_the_graph(dense):
    names = float_operations(dense, ISLANDS["nano"])
    kinds = {node.get_friendly_name(): node.get_type_name() for node in dense.get_ordered_ops()}
    convolutions = {name for name, kind in kinds.items() if kind in ("Convolution", "GroupConvolution")}
    left = convolutions - names
    assert left == {name for name in convolutions if quantisable(name)}
    assert {"Add", "Interpolate"} <= {kinds[name] for name in names}  # the pyramid's sums and enlargements too
    for islands in (Islands(start=("no such part",)), Islands(first=1000)):
        with pytest.raises(ConfigError, match=r"no such part|1000"):
            float_operations(dense, islands)


def test_the_graph_is_quantised_where_it_should_be_and_takes_any_size(dense, pictures, caplog):
    quantised = quantise(dense, pictures, ISLANDS["nano"])
    logging.getLogger("somebody.else").warning("still heard")
    assert "still heard" in caplog.text
    fake = [node for node in quantised.get_ordered_ops() if node.get_type_name() == "FakeQuantize"]
    assert len(fake) > 50  # one in front of each of the convolutions but the first
    assert not [node for node in dense.get_ordered_ops() if node.get_type_name() == "FakeQuantize"]
    for node in quantised.get_ordered_ops():
        if node.get_type_name() in ("Convolution", "GroupConvolution"):
            name = node.get_friendly_name()
            fed = node.input_value(0).get_node().get_type_name() == "FakeQuantize"
            if ".stem/" in name:  # reads the picture, which is in 8 bits as it is
                fed = node.input_value(1).get_node().get_type_name() == "Multiply"
            assert fed == quantisable(name), name
    for shape in ([1, 64, 96, 3], [2, 128, 64, 3]):
        static = quantised.clone()
        static.reshape({"picture": shape})
        assert static.output("keypoint_logits").shape[1:3] == [shape[1] // 4, shape[2] // 4]
        assert static.output("g").shape[1:3] == [shape[1] // 8, shape[2] // 8]


def test_int8_is_close_to_the_float_network(shared, tmp_path):
    """The public start: the errors of its dense maps, and the people of the demo picture."""
    start = shared / "data/backbones/movenet-multipose-lightning/movenet_multipose_lightning.safetensors"
    float_model = load(start, None, None)
    chosen = calibration.choose(shared / "data" / "negatives", 12, (320,))
    seen = list(calibration.pictures(chosen, float_model.settings))
    dense, _ = export(float_model, 3)
    quantised = quantise(export(levelled(centred(float_model, seen), seen), 3)[0], seen, ISLANDS["nano"])
    picture_bgr = image.read(DEMO / "people.jpg")
    fit = warp.fit(*picture_bgr.shape[:2], 320, rule="long", multiple=32, resample="area")
    network = warp.apply(picture_bgr, fit)[None]
    maps = []
    for graph in (dense, quantised):
        graph.reshape({"picture": network.shape})
        result = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(network)
        maps.append({port.get_any_name(): value for port, value in result.items()})
    for name in ("g", "h", "keypoint_logits", "offset_hidden"):
        exact, rough = maps[0][name], maps[1][name]
        places = (1, 2)  # of a map [V, H, W, channels]
        noise = np.square(rough - exact).sum() / np.square(exact - exact.mean(places, keepdims=True)).sum()
        assert 0 < noise < 0.1, name  # 10 dB; 16 on many pictures
    strong = maps[0]["people"][:, 0] > 0.3
    np.testing.assert_allclose(maps[1]["people"][strong, 0], maps[0]["people"][strong, 0], atol=0.15)


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    checkpoint.save(path, model.state_dict())
    return path


def test_the_command_makes_a_bundle_of_both_precisions(weights, tmp_path, capsys):
    out = tmp_path / "bundle"
    command = ["build", "--checkpoint", str(weights), "--precision", "int8", "fp16", "--out", str(out), "--json"]
    assert main([*command, "--calibration", str(DEMO), "--calibration-size", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 11
    for precision in ("int8", "fp16"):
        with PoseEstimator(out, size=192, precision=precision, score_threshold=0.0) as estimator:
            estimator(DEMO / "people.jpg")
            used = estimator.info["precision"]
            assert used["asked"] == used["weights"] == precision
            assert used["effective"] == {"int8": "int8+f32", "fp16": "f32"}[precision]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["provenance"]["calibration"]["pictures"] == 1
    assert manifest["provenance"]["calibration"]["sizes"] == [448, 512, 576]
    assert manifest["provenance"]["calibration"]["in_float"] == ISLANDS["nano"].described()
    listed = (out / "calibration.txt").read_bytes()
    assert listed == b"people.jpg"
    assert manifest["provenance"]["calibration"]["sha256_of_names"] == hashlib.sha256(listed).hexdigest()
    sizes = {name: entry["size"] for name, entry in manifest["files"].items()}
    assert sizes["int8/dense.bin"] < 0.65 * sizes["fp16/dense.bin"]


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [("nano", {}, "--calibration"), ("nano", {"calibration": ROOT / "nowhere"}, "no calibration pictures")],
)
def test_int8_without_pictures_is_refused_and_leaves_nothing(weights, tmp_path, preset, changes, message):
    out = tmp_path / "bundle"
    request = Request(checkpoint=weights, out=out, preset=preset, precisions=("int8",), **changes)
    with pytest.raises(BoirError, match=message):
        build(request)
    assert list(tmp_path.iterdir()) == []


def test_the_papers_dense_graph_is_quantised_but_for_its_ends():
    torch.manual_seed(7)
    paper = build_model("w32", "coco17")
    dense, _ = export(paper, 3)
    picture = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3), dtype=np.uint8)
    quantised = quantise(dense, [picture], ISLANDS["w32"])
    convolutions = [node for node in quantised.get_ordered_ops() if node.get_type_name() == "Convolution"]
    # by their weights: a tensor that several convolutions read may be quantised further up
    in_float = [node for node in convolutions if node.input_value(1).get_node().get_type_name() == "Constant"]
    assert len(convolutions) > 300
    stem, rest = in_float[:2], {node.get_friendly_name() for node in in_float[2:]}
    assert [node.get_friendly_name() for node in stem] == [node.get_friendly_name() for node in convolutions[:2]]
    assert all("center_head.head.1" in name or "shared" in name for name in rest)
    assert len(rest) == 2
    assert ISLANDS["w48"] == ISLANDS["w32"]
    quantised.reshape({"picture": [2, 128, 64, 3]})
    assert quantised.output("people").shape == [30, 3]
