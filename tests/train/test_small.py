"""`small`: the second trunk is the public graph, the fusion a mean of logits, and the start is `nano` in all else."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from boir_sdk.errors import CheckpointError
from boir_sdk.quiet_openvino import ov
from boir_sdk.skeleton import COCO17, CROWDPOSE14
from boir_train import build_model, checkpoint, config, fit
from boir_train.cli.main import main
from boir_train.inference import infer, normalise
from boir_train.model import light_openpose, small_start
from boir_train.model.light_openpose import KeypointFusion, LightOpenPose
from tests.conftest import ROOT

NANO = ROOT / "weights" / "nano.safetensors"


@pytest.fixture(scope="module")
def assembled(second_graph):
    return small_start.assemble(NANO, second_graph)


def picture(height, width):
    """Smooth, so that something is seen, and the same everywhere."""
    noise = np.random.default_rng(0).random((1, 3, height // 16, width // 16), np.float32)
    big = torch.nn.functional.interpolate(torch.from_numpy(noise), size=(height, width), mode="bicubic")
    return (big.clamp(0, 1) * 255).round().byte()[0].permute(1, 2, 0).numpy()  # RGB


def without_rounding(path):
    """The graph as its authors trained it, with eight-bit weights: activations keep what they are."""
    model = ov.Core().read_model(str(path))
    for node in model.get_ordered_ops():
        source = node.input(0).get_source_output() if node.get_type_name() == "FakeQuantize" else None
        if source is not None and source.get_node().get_type_name() not in ("Constant", "Convert"):
            node.output(0).replace(source)
    return model


def test_the_second_trunk_is_the_public_graph(second_graph):
    rgb = picture(160, 224)
    model = without_rounding(second_graph)
    model.reshape([1, 3, 160, 224])
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    theirs = compiled(rgb[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32))
    trunk = LightOpenPose(light_openpose.HEATMAPS).eval()
    trunk.load_state_dict(small_start.read_graph(second_graph))
    settings = build_model("small", "coco17").settings
    with torch.inference_mode():
        features, heatmaps = trunk(torch.from_numpy(normalise(rgb, settings))[None])
    assert heatmaps.std() > 0.05
    for ours, name in ((heatmaps, "Mconv7_stage2_L2"), (features[:, light_openpose.CHANNELS :], "Mconv7_stage2_L1")):
        # At the border they pad with their 128, we with our 127.5.
        np.testing.assert_allclose(ours.numpy(), theirs[name], atol=5e-3)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_fusion_is_a_mean_of_logits(share):
    fusion = KeypointFusion(2)
    fusion.share.data.fill_(share)
    own, heatmaps = torch.randn(1, 2, 8, 12), torch.full((1, 2, 4, 6), 0.8)
    expected = (1 - share) * own + share * np.log(0.8 / 0.2)
    torch.testing.assert_close(fusion(own, heatmaps), expected)


@pytest.mark.parametrize(("seen", "probability"), [(-0.3, 0.01), (0.0, 0.01), (1.0, 0.99), (1.7, 0.99)])
def test_heatmaps_outside_0_to_1_stay_finite(seen, probability):
    fusion = KeypointFusion(1)
    fusion.share.data.fill_(1)
    fused = fusion(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 2, 2), seen))
    torch.testing.assert_close(torch.sigmoid(fused), torch.full((1, 1, 4, 4), probability))


def test_a_peak_of_the_second_trunk_stays_where_it_is():
    """Its cell 5 spans the map's cells 10 and 11: their common border is the cell's middle."""
    fusion = KeypointFusion(1)
    fusion.share.data.fill_(1)
    heatmaps = torch.zeros(1, 1, 8, 8)
    heatmaps[0, 0, 3, 5] = 0.9
    fused = torch.sigmoid(fusion(torch.zeros(1, 1, 16, 16), heatmaps))[0, 0]
    top = fused.flatten().topk(4).indices
    assert {divmod(int(i), 16) for i in top} == {(6, 10), (6, 11), (7, 10), (7, 11)}


def test_without_its_share_the_start_is_nano(assembled):
    """What is new reads with weights of 0, so `small` says what `nano` says when the second trunk has no share."""
    small = build_model("small", "coco17")
    small.load_state_dict(assembled.state_dict())
    small.second.fusion.share.data.zero_()
    nano = build_model("nano", "coco17")
    checkpoint.load(nano, NANO)
    rgb = picture(192, 256)
    ours, theirs = (infer(model, rgb, flip_test=False, protocol="coco") for model in (small, nano))
    assert len(theirs["scores"]) > 0
    np.testing.assert_allclose(ours["poses_net"], theirs["poses_net"], atol=1e-3)
    with_share = infer(assembled, rgb, flip_test=False, protocol="coco")
    assert len(with_share["scores"]) != len(ours["scores"]) or not np.allclose(
        with_share["poses_net"], ours["poses_net"], atol=1e-2
    )


def test_the_person_head_can_learn_to_read_the_second_trunk(assembled):
    """Weights of 0 are a start, no dead end: they get gradients."""
    model = build_model("small", "coco17", training=True)
    model.load_state_dict(assembled.state_dict(), strict=False)
    index, yx = torch.tensor([0, 0]), torch.tensor([[3, 4], [10, 12]])
    model(torch.rand(1, 3, 64, 96) * 2 - 1, index, yx)["person_logits"].square().mean().backward()
    for name in small_start._READERS:
        gradient = model.get_parameter(name).grad
        assert gradient[:, -light_openpose.FEATURE_CHANNELS :].abs().max() > 0, name
    assert model.second.fusion.share.grad.abs().min() > 0


def test_keypoints_of_another_skeleton_go_by_name():
    rows = torch.arange(light_openpose.HEATMAPS, dtype=torch.float32) + 1
    made = small_start._for_skeleton({"heatmaps.out.bias": rows}, CROWDPOSE14.keypoints)["heatmaps.out.bias"]
    found = dict(zip(CROWDPOSE14.keypoints, made.tolist(), strict=True))
    assert (found["left_shoulder"], found["right_ankle"]) == (6, 11)  # OpenPose's places 5 and 10
    assert {found[name] for name in found if name not in COCO17.keypoints} == {0}
    coco = small_start._for_skeleton({"heatmaps.out.bias": rows}, COCO17.keypoints)["heatmaps.out.bias"]
    assert coco.tolist()[:3] == [1, 16, 15]  # nose, left eye, right eye


def test_a_file_that_is_no_start_is_refused(tmp_path, second_graph, shared):
    pure = tmp_path / "pure.safetensors"
    checkpoint.save(pure, build_model("nano-pure", "coco17").state_dict())
    with pytest.raises(CheckpointError, match="nano-pure: small starts from those of nano"):
        small_start.assemble(pure, second_graph)
    with pytest.raises(CheckpointError, match="no graph at"):
        small_start.assemble(NANO, tmp_path / "absent.xml")
    with pytest.raises(CheckpointError, match="no graph at"):
        small_start.assemble(NANO, NANO)
    with pytest.raises(CheckpointError, match=r"isn't human-pose-estimation-0001: .* 'stem.weight'"):
        small_start.assemble(NANO, shared / "peers" / "movenet-multipose.xml")
    (tmp_path / "broken.xml").write_text("<net")
    with pytest.raises(CheckpointError, match="can't be read as an OpenVINO graph"):
        small_start.assemble(NANO, tmp_path / "broken.xml")


def test_the_public_start_of_nano_is_not_enough_for_small(tmp_path, shared):
    """It would leave the second trunk as it was drawn, which only a bad AP would show."""
    start = shared / "data" / "backbones" / "movenet-multipose-lightning" / "movenet_multipose_lightning.safetensors"
    settings = config.load("small", ["data.root=x", "model.start=backbone", f"model.weights={start}"])
    with pytest.raises(CheckpointError, match="boir-train start"):
        fit.make_model(settings)


def test_the_command_writes_a_start_that_training_takes(tmp_path, second_graph, capsys):
    out = tmp_path / "start.safetensors"
    command = ["start", "--nano", str(NANO), "--second", str(second_graph), "--out", str(out), "--json"]
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["tensors"] == len(checkpoint.read(out))
    assert checkpoint.identify(checkpoint.read(out)) == ("small", "coco17")
    model = fit.make_model(config.load("small", ["data.root=x", f"model.weights={out}"]))
    assert model.second is not None
    assert main(command) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
