"""`nano`: the start's figures, the person head that begins at nothing, and the flip test's mirror."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from boir_sdk.errors import CheckpointError
from boir_sdk.skeleton import COCO17
from boir_train import build_model, checkpoint
from boir_train.inference import infer
from boir_train.model.nano import PosePrior, mirror_offset
from boir_train.model.nano_start import load_start


@pytest.fixture(scope="module")
def start(shared):
    """The public start weights and what the original graph makes of a picture."""
    folder = shared / "data" / "backbones" / "movenet-multipose-lightning"
    with np.load(folder / "fixture.npz", allow_pickle=False) as arrays:
        return folder / "movenet_multipose_lightning.safetensors", {name: arrays[name] for name in arrays.files}


def network_input(picture):
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_start_gives_the_original_graphs_maps(start):
    path, expected = start
    model = build_model("nano", "coco17")
    report = load_start(model, path)
    assert report.filled == sum(name.startswith(("backbone.", "multihead.")) for name in model.state_dict())
    with torch.inference_mode():
        maps = model.dense(network_input(expected["image"]))
    for ours, theirs in (
        ("fine", "p2"),
        ("center_logits", "center"),
        ("keypoint_logits", "kpt_heatmap"),
        ("regress", "kpt_regress"),
        ("offset", "kpt_offset"),
    ):
        assert np.abs(maps[ours].numpy() - expected[theirs]).max() <= 5e-4, ours


def test_person_head_begins_at_nothing(start):
    """Right after the start is laid in, whatever the person head holds, people are what the prior alone says."""
    path, expected = start
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = build_model("nano", "coco17")
        load_start(model, path)
        found.append(infer(model, expected["image"], flip_test=False, protocol="coco"))
    assert len(found[0]["scores"]) > 0
    np.testing.assert_array_equal(found[0]["poses_net"], found[1]["poses_net"])


def test_start_for_another_skeleton_takes_keypoints_by_name(start):
    path, _ = start
    coco, crowd = build_model("nano", "coco17"), build_model("nano", "crowdpose14", training=True)
    load_start(coco, path)
    head_before = crowd.multihead.buk_head.out.weight[12].clone()
    load_start(crowd, path)
    wrist_here, wrist_there = 4, COCO17.keypoints.index("left_wrist")
    torch.testing.assert_close(
        crowd.multihead.buk_head.out.weight[wrist_here], coco.multihead.buk_head.out.weight[wrist_there]
    )
    regress = slice(2 * wrist_there, 2 * wrist_there + 2)
    torch.testing.assert_close(
        crowd.multihead.regress_head.out.bias[2 * wrist_here : 2 * wrist_here + 2],
        coco.multihead.regress_head.out.bias[regress],
    )
    torch.testing.assert_close(crowd.multihead.buk_head.out.weight[12], head_before)


def test_start_refuses_another_file(start, tmp_path):
    model = build_model("nano", "coco17")
    checkpoint.save(tmp_path / "own.safetensors", model.state_dict())
    with pytest.raises(CheckpointError, match="not a start"):
        load_start(model, tmp_path / "own.safetensors")
    part = {name: tensor for name, tensor in checkpoint.read(start[0]).items() if "fpn2" not in name}
    checkpoint.save(tmp_path / "part.safetensors", part)
    with pytest.raises(CheckpointError, match="missing"):
        load_start(model, tmp_path / "part.safetensors")


def test_prior_prefers_the_regressed_cell_and_is_bounded():
    prior = PosePrior(2)
    regressed = torch.tensor([[[3.0, 5.0], [0.0, 0.0]]])
    logits = prior(torch.zeros(1, 2, 8, 12), regressed)[0].detach()
    assert [divmod(int(index), 12) for index in logits.flatten(1).argmax(1)] == [(3, 5), (0, 0)]
    assert logits.max() == 0
    far = prior(torch.zeros(1, 2, 8, 12), regressed + 1000)
    assert far.min() >= -prior.bound


def test_prior_is_wider_for_bigger_people():
    prior = PosePrior(2)
    small, big = torch.tensor([[[4.0, 4.0], [5.0, 5.0]]]), torch.tensor([[[4.0, 4.0], [40.0, 40.0]]])
    at_ten_cells = [prior(torch.zeros(1, 2, 48, 48), person)[0, 0, 14, 4].item() for person in (small, big)]
    assert at_ten_cells[1] > at_ten_cells[0]


@pytest.mark.parametrize("preset", ["nano", "small"])
def test_training_form_trains_every_part(preset):
    torch.manual_seed(0)
    model = build_model(preset, "coco17", training=True)
    out = model(torch.rand(2, 3, 64, 96) * 2 - 1, torch.tensor([0, 1, 1]), torch.tensor([[3, 4], [5, 6], [15, 23]]))
    assert out["person_logits"].shape == (3, 17, 16, 24)
    assert out["embedding"].shape == (2, 128, 16, 24)
    torch.nn.init.normal_(model.kpt_head.heatmap_conv.weight)
    torch.nn.init.normal_(model.multihead.bbox_head.out.weight)
    out = model(torch.rand(2, 3, 64, 96) * 2 - 1, torch.tensor([0, 1, 1]), torch.tensor([[3, 4], [5, 6], [15, 23]]))
    sum(value.square().mean() for value in out.values()).backward()
    # biases in front of an instance norm have no effect, so no gradient but noise
    silent = [name for name, p in model.named_parameters() if p.grad is None]
    assert silent == []


def test_mirrored_offsets_undo_themselves():
    offset = torch.rand(3, 34, 5, 7)
    there = mirror_offset(offset, COCO17)
    torch.testing.assert_close(mirror_offset(there, COCO17), offset)
    nose_x = there[:, 1]
    torch.testing.assert_close(nose_x, 1 - offset[:, 1].flip(-1))
    left_eye_y, right_eye_y = there[:, 2], offset[:, 4].flip(-1)
    torch.testing.assert_close(left_eye_y, right_eye_y)


def test_flip_test_of_a_symmetric_picture_is_symmetric(start):
    """A picture that is its own mirror image: the flip test's centre map is too, to rounding."""
    path, expected = start
    model = build_model("nano", "coco17")
    load_start(model, path)
    half = expected["image"][:, :80]
    picture = np.concatenate([half, half[:, ::-1]], axis=1)
    found = infer(model, picture, flip_test=True, protocol="coco", intermediates=True)
    np.testing.assert_allclose(found["center_map"], found["center_map"][:, ::-1], atol=1e-5)


@pytest.mark.parametrize("preset", ["nano", "nano-pure", "small"])
def test_heatmaps_have_the_maps_size_whatever_the_heads_cells(preset):
    """Without a prior a person's heatmaps are the person head's own, in its cells' size."""
    torch.manual_seed(0)
    model = build_model(preset, "coco17")
    torch.nn.init.normal_(model.kpt_head.heatmap_conv.weight, std=0.05)
    with torch.inference_mode():
        encoded = model.encode(torch.rand(1, 3, 64, 96) * 2 - 1)
        maps = encoded["g"].expand(2, -1, -1, -1)
        yx = torch.tensor([[3, 4], [15, 23]])
        logits = model.person_logits(encoded, maps, torch.zeros(2, dtype=torch.int64), yx)
        assert logits.shape == (2, 17, 16, 24)
        step = {"nano": 2, "nano-pure": 1, "small": 2}[preset]
        assert encoded["g"].shape[2:] == (16 // step, 24 // step)
        if model.prior is not None:  # what is left is the head's, the same in all cells of a block
            regress = encoded["regress"][0][:, yx[:, 0], yx[:, 1]].T.unflatten(1, (-1, 2)) + yx[:, None]
            logits = logits - model.prior(encoded["keypoint_logits"].expand(2, -1, -1, -1), regress)
        blocks = logits.unflatten(3, (-1, step)).unflatten(2, (-1, step))
        torch.testing.assert_close(blocks, blocks[:, :, :, :1, :, :1].expand_as(blocks), atol=1e-4, rtol=0)
        assert blocks.std() > 0.01


def test_a_person_in_the_mirror_has_mirrored_places_in_the_heads_cells():
    """Two map cells make one of the head: a centre's place among them must mirror as the map does."""
    model = build_model("nano", "coco17")
    seen = []
    logits = model.kpt_head.logits
    model.kpt_head.logits = lambda maps, vectors, yx: seen.append(yx) or logits(maps, vectors, yx)
    with torch.inference_mode():
        encoded = model.encode(torch.rand(2, 3, 64, 96))
        model.person_heatmaps(encoded, torch.tensor([[3, 4], [15, 23]]))
    there, mirrored = seen
    torch.testing.assert_close(there[:, 1] + mirrored[:, 1], torch.tensor([11.0, 11.0]))  # 12 cells a row
    torch.testing.assert_close(there, torch.tensor([[1.25, 1.75], [7.25, 11.25]]))
