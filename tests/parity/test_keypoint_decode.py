"""Given heatmaps to keypoints (SPEC-model M4.7), and whole fixtures through warp and suppression (M4.3, M4.9; M6.2)."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from boir_sdk import decode, oks, warp
from boir_sdk.skeleton import get_skeleton
from tests.parity.cases import Case, cases, recipe


@pytest.mark.parametrize("case", cases("instance_head"))
def test_keypoints_of_given_heatmaps(case: Case) -> None:
    data = case.arrays()
    kernels = [int(name.removeprefix("poses_kernel")) for name in data if name.startswith("poses_kernel")]
    if not kernels:
        pytest.skip("this case's maps are too flat to decode; it carries no poses")
    heat = data["heatmaps_merged"] if "heatmaps_merged" in data else data["heatmaps"]
    for kernel in kernels:
        want = data[f"poses_kernel{kernel}"]
        got = decode.keypoints(heat, kernel=kernel)
        got[..., 2] *= data["instance_score"][:, None]
        assert np.abs(got[..., 2] - want[..., 2]).max() <= 1e-6
        assert np.abs(got[..., 2].mean(axis=1) - data[f"scores_kernel{kernel}"]).max() <= 1e-6
        stable = data[f"argmax_gap_kernel{kernel}"] > 1e-6
        error = np.abs(got[..., :2] - want[..., :2]).max(axis=-1)[stable]
        # The same heatmaps went in, so only a tie in the last bit may turn a shift round.
        assert stable.mean() > 0.97 and error.max() <= 2 and (error <= 1e-3).mean() > 0.97


@pytest.mark.parametrize("case", cases("inference"))
def test_given_poses_are_taken_back_and_suppressed_alike(case: Case) -> None:
    data, record = case.arrays(), case.record
    fit = warp.fit(record["image_height"], record["image_width"], record["input_size"])
    assert (fit.width, fit.height) == (record["resized_width"], record["resized_height"])
    if "poses_net" not in data:
        pytest.skip("this case has nobody in it")
    image_xy, want = warp.back(data["poses_net"][..., :2], fit), data["poses_img"]
    assert (np.abs(image_xy - want[..., :2]) <= 1e-3 + 1e-6 * np.abs(want[..., :2])).all()
    kept = oks.suppress(want, data["scores"], get_skeleton(record["skeleton"]).sigmas, record["oks_threshold"])
    assert kept.tolist() == data["kept"].tolist()


@pytest.mark.parametrize("case", cases("inference"))
def test_network_pictures_are_the_reference_ones(case: Case) -> None:
    record = case.record
    image = recipe().recipe_image(record["image_height"], record["image_width"], record["image_salt"])
    fit = warp.fit(record["image_height"], record["image_width"], record["input_size"])
    net = warp.apply(image, fit)
    same = hashlib.sha256(net.tobytes()).hexdigest() == record["resized_sha256"]
    if record["identity_warp"]:
        assert same
    elif not same:  # another OpenCV or other vector instructions (M6.2)
        sample = case.arrays()["resized_sample"].astype(int)
        difference = np.abs(net[::16, ::16].astype(int) - sample)
        assert difference.max() <= 1 and difference.mean() < 0.01
