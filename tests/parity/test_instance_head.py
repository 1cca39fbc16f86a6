"""The person head, tensor by tensor, and its decode, against the authors' code (SPEC-model M2.4, M4.7)."""

from __future__ import annotations

import numpy as np
import pytest

from boir_sdk import decode
from boir_sdk.skeleton import get_skeleton
from boir_train.inference import merge_views
from boir_train.losses.focal import probability
from boir_train.model.person_head import PersonHead, feature_vectors
from tests.parity.agreement import assert_close
from tests.parity.cases import cases
from tests.parity.recipe_support import assert_sums, assert_within, features, fill, torch

TIE = 2e-4  # peaks closer than this may fall on either cell (SPEC-model M6.2)


def steps(head, maps, image_index, yx):
    """Every tensor between the feature map and the heatmaps, by the fixtures' names."""
    found = {}

    def keep(name):
        return lambda module, inputs, output: found.update({name: output.clone(), f"{name}_input": inputs[0].clone()})

    watched = {
        "g": head.conv_down,
        "channel_vector": head.c_attn,
        "spatial_vector": head.s_attn.atn,
        "spatial_conv": head.s_attn.conv,
        "mask": head.s_attn,
        "fuse_conv": head.fuse_attn[0],
        "fuse_norm": head.fuse_attn[1],
    }
    for name, module in watched.items():
        module.register_forward_hook(keep(name))
    with torch.inference_mode():
        found["logits"] = head(maps, image_index, yx)
        found["heatmaps"] = probability(found["logits"])
        found["params"] = feature_vectors(maps, image_index, yx)
    found["spatial_in"] = found["spatial_conv_input"]
    return {name: tensor.numpy() for name, tensor in found.items()}


@pytest.mark.parametrize("case", cases("instance_head"))
def test_person_head(case):
    record, want = case.record, case.arrays()
    skeleton = get_skeleton(record["skeleton"])
    head = PersonHead(record["in_channels"], record["channels"], record["keypoints"]).eval()
    fill(head, record["weights_salt"], record["weight_names_prefix"])
    shapes = {record["weight_names_prefix"] + name: list(t.shape) for name, t in head.state_dict().items()}
    assert shapes == record["weight_shapes"]
    maps = features(record)
    people = len(want["people_yx"])
    views = 2 if record["flip"] else 1
    yx = torch.from_numpy(want["people_yx"].astype(np.int64)).repeat(views, 1)
    found = steps(head, torch.from_numpy(maps), torch.arange(views).repeat_interleave(people), yx)

    assert_sums(maps.sum(axis=(2, 3), dtype=np.float64), want["features_sum"], maps[0, 0].size)
    np.testing.assert_array_equal(found["params"][:, ::8], want["params_sample"])
    assert_close(found["g"][1] if record["flip"] else found["g"], want["g"], relative=1e-5)
    cells = maps[0, 0].size
    fuse = found["fuse_conv"].astype(np.float64)
    assert_sums(fuse.sum(axis=(2, 3)), want["fuse_conv_sum"], cells)
    assert_sums(np.square(fuse).sum(axis=(2, 3)), want["fuse_conv_sumsq"], cells)
    for name, value in {
        "channel_vector": found["channel_vector"],
        "spatial_vector": found["spatial_vector"],
        "spatial_in": found["spatial_in"],
        "spatial_conv": found["spatial_conv"][:, 0],
        "mask": found["mask"][:, 0],
        "fuse_conv_person0": found["fuse_conv"][0],
        "fuse_norm_person0": found["fuse_norm"][0],
        "fuse_norm_last_person_sample": found["fuse_norm"][-1, ::4],
        "logits": found["logits"],
        "heatmaps": found["heatmaps"],
    }.items():
        assert_close(value, want[name], relative=1e-5, what=name)

    heat = found["heatmaps"].reshape(views, people, *found["heatmaps"].shape[1:])
    merged = merge_views(torch.from_numpy(heat), skeleton.flip_index).numpy()
    assert_close(merged, want["heatmaps_merged"], relative=1e-5)
    kernels = [int(name.removeprefix("poses_kernel")) for name in want if name.startswith("poses_kernel")]
    for kernel in kernels:
        check_decode(merged, want, kernel)


def check_decode(merged, want, kernel):
    poses = decode.keypoints(merged, kernel=kernel)
    poses[..., 2] *= want["instance_score"][:, None]
    smoothed = decode.smooth(merged, kernel)
    assert_sums(smoothed.sum(axis=(2, 3), dtype=np.float64), want[f"smoothed_sum_kernel{kernel}"], smoothed[0, 0].size)
    clear = want[f"argmax_gap_kernel{kernel}"] > TIE
    assert clear.mean() > 0.9  # so few keypoints, so flat maps: not the 3 % of whole pictures
    expected = want[f"poses_kernel{kernel}"]
    assert_within(poses[..., 2], expected[..., 2], 5e-5)
    assert_within(poses[..., 2].mean(axis=1), want[f"scores_kernel{kernel}"], 5e-5)
    # a neighbour pair that is almost level may tip the quarter shift by two pixels, which is no more than a rare event
    off = np.abs(poses[..., :2] - expected[..., :2]).max(axis=2)[clear]
    assert off.max() <= 2 + 1e-3
    assert (off > 1e-3).mean() <= 0.03
