"""Inference on a made-up network whose maps are known, so that every step can be told apart."""

from __future__ import annotations

import numpy as np
import pytest

from boir_sdk import oks
from boir_sdk.errors import ConfigError, InputError
from boir_sdk.skeleton import COCO17
from boir_train import build_model
from boir_train.inference import PROTOCOLS, infer, normalise, predict
from boir_train.model.settings import IMAGENET_MEAN, IMAGENET_STD, ModelSettings
from tests.parity.recipe_support import torch


class Painted(torch.nn.Module):
    """People at given cells; keypoint k of each lies k % 5 cells right of and k // 5 below its centre.

    Heatmaps hold binary fractions: sums are exact and the quarter shift sees equal neighbours.
    """

    def __init__(self, people, *, kernel=3, offset=None, rule="short"):
        super().__init__()
        self.settings = ModelSettings(
            preset="painted",
            skeleton=COCO17,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            multiple=32,
            fit_rule=rule,
            resample="bilinear",
            default_size=128,
            pool_kernel=kernel,
            flip="outputs",
        )
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.people, self.offset = people, offset
        self.modes = []

    def encode(self, x):
        self.modes.append(self.training)
        self.seen = x
        views, _, height, width = x.shape
        logits = torch.full((views, 1, height // 4, width // 4), -9.0)
        for y, x, logit in self.people:
            logits[:, 0, y, x] = logit
        encoded = {"center_logits": logits}
        return encoded if self.offset is None else encoded | {"offset": self.offset}

    def person_heatmaps(self, encoded, yx):
        views, _, height, width = encoded["center_logits"].shape
        heat = torch.full((views, len(yx), len(COCO17), height, width), 2.0**-10)
        flip = COCO17.flip_index
        for view in range(views):
            for person, (y, x) in enumerate(yx.tolist()):
                for k in range(len(COCO17)):
                    channel = flip[k] if view else k
                    heat[view, person, channel, y + k // 5, x + k % 5] = 0.75
        return heat


def picture(height=128, width=160):
    return np.zeros((height, width, 3), np.uint8)


PEOPLE = [(20, 9, 3.0), (5, 25, 2.0)]


@pytest.mark.parametrize("flip", [False, True])
def test_known_people(flip):
    model = Painted(PEOPLE)
    found = infer(model, picture(), flip_test=flip, protocol="coco", intermediates=True)
    assert len(model.seen) == (2 if flip else 1)
    assert found["instance_coord_yx"].tolist() == [[20, 9], [5, 25]]
    k = np.arange(17)
    for person, (y, x, _) in enumerate(PEOPLE):
        np.testing.assert_allclose(found["poses_net"][person, :, 0], (x + k % 5) * 4 + 2, atol=1e-4)
        np.testing.assert_allclose(found["poses_net"][person, :, 1], (y + k // 5) * 4 + 2, atol=1e-4)
    prob = 1 / (1 + np.exp(-np.array([3.0, 2.0])))
    floor = 1 / (1 + np.exp(9.0))
    np.testing.assert_allclose(found["instance_score"], (prob + (prob + 8 * floor) / 9) / 2, rtol=1e-5)
    np.testing.assert_allclose(found["poses_net"][..., 2], found["peak"] * found["instance_score"][:, None], rtol=1e-6)
    np.testing.assert_allclose(found["scores"], found["poses_net"][..., 2].mean(axis=1), rtol=1e-6)
    assert found["center_prob"].max() > found["center_map"].max()
    assert all(value.dtype in (np.float32, np.int64) for value in found.values())


def test_the_second_view_is_the_mirrored_normalised_picture():
    model = Painted([(5, 9, 3.0)])
    net_input = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    infer(model, net_input, flip_test=True, protocol="coco")
    expected = normalise(net_input, model.settings)
    np.testing.assert_array_equal(model.seen[0].numpy(), expected)
    np.testing.assert_array_equal(model.seen[1].numpy(), expected[:, :, ::-1])
    red = (net_input[0, 0, 0] / 255 - IMAGENET_MEAN[0]) / IMAGENET_STD[0]
    assert expected[0, 0, 0] == pytest.approx(red, rel=1e-5)


@pytest.mark.parametrize("flip", [False, True])
def test_nobody(flip):
    found = infer(Painted([]), picture(), flip_test=flip, protocol="crowdpose", intermediates=True)
    shapes = {name: found[name].shape for name in ("poses_net", "scores", "instance_coord_yx", "instance_score")}
    assert shapes == {
        "poses_net": (0, 17, 3),
        "scores": (0,),
        "instance_coord_yx": (0, 2),
        "instance_score": (0,),
    }
    assert found["heatmaps"].shape == found["heatmaps_smoothed"].shape == (0, 17, 32, 40)
    assert found["peak"].shape == (0, 17) and found["peak_yx"].shape == (0, 17, 2)
    assert len(predict(Painted([]), picture(), flip_test=flip, protocol="coco")) == 0


def test_offsets_take_the_place_of_the_quarter_shift():
    offset = torch.zeros(34, 32, 40)
    offset[0::2], offset[1::2] = 0.75, 0.25
    found = infer(Painted(PEOPLE, offset=offset), picture(), flip_test=False, protocol="coco")
    k = np.arange(17)
    np.testing.assert_allclose(found["poses_net"][0, :, 0], (9 + k % 5 + 0.25) * 4)
    np.testing.assert_allclose(found["poses_net"][0, :, 1], (20 + k // 5 + 0.75) * 4)


@pytest.mark.parametrize(
    ("protocol", "own", "kernel"), [("coco", 1, 1), ("coco", 3, 3), ("crowdpose", 3, 3), ("ochuman", 3, 11)]
)
def test_smoothing_kernel(protocol, own, kernel):
    found = infer(Painted([(16, 20, 5.0)], kernel=own), picture(), flip_test=False, protocol=protocol)
    peak, floor = 1 / (1 + np.exp(-5.0)), 1 / (1 + np.exp(9.0))
    cells = kernel * kernel
    expected = (peak + (peak + (cells - 1) * floor) / cells) / 2
    assert found["instance_score"][0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("protocol", "threshold"), [("coco", 0.8), ("crowdpose", 0.8), ("ochuman", 0.7)])
def test_suppression_threshold(protocol, threshold):
    assert PROTOCOLS[protocol].oks_threshold == threshold


def test_predict_gives_picture_pixels_and_suppresses():
    people = [(20, 9, 3.0), (20, 13, 2.5), (5, 25, 2.0)]
    found = infer(Painted(people), picture(), flip_test=False, protocol="coco")
    xy = found["poses_net"][..., :2] / 2  # the picture is half the network's size
    keep = oks.suppress(xy, found["scores"], COCO17.sigmas, 0.8)
    poses = predict(Painted(people), picture(64, 80), flip_test=False, protocol="coco", size=128)
    np.testing.assert_allclose(poses.keypoints, xy[keep], atol=1e-3)
    np.testing.assert_allclose(poses.scores, found["scores"][keep], rtol=1e-6)
    np.testing.assert_allclose(poses.keypoint_scores, found["poses_net"][keep][..., 2], rtol=1e-6)
    assert poses.skeleton is COCO17


def test_predict_drops_a_double():
    class Twice(Painted):
        def person_heatmaps(self, encoded, yx):
            return super().person_heatmaps(encoded, yx[:1].expand_as(yx))

    people = [(20, 9, 3.0), (5, 25, 2.0)]
    assert len(predict(Painted(people), picture(), flip_test=False, protocol="coco")) == 2
    poses = predict(Twice(people), picture(), flip_test=False, protocol="coco")
    best = infer(Painted(people), picture(), flip_test=False, protocol="coco")["scores"][0]
    assert poses.scores.tolist() == [pytest.approx(best)]


def test_predict_takes_bgr():
    model = Painted([])
    image = np.zeros((128, 128, 3), np.uint8)
    image[..., 2] = 255
    predict(model, image, flip_test=False, protocol="coco")
    assert model.seen[0, 0].min() > 2 and model.seen[0, 2].max() < 0


@pytest.mark.parametrize("training", [False, True])
def test_evaluates_in_evaluation_mode_and_leaves_the_mode_alone(training):
    model = Painted(PEOPLE).train(training)
    infer(model, picture(), flip_test=False, protocol="coco")
    assert model.modes == [False]
    assert model.training is training


@pytest.mark.parametrize(
    ("net_input", "named"),
    [
        (np.zeros((64, 64, 3), np.float32), "uint8"),
        (np.zeros((64, 64), np.uint8), "uint8"),
        (np.zeros((64, 64, 4), np.uint8), "uint8"),
        (np.zeros((64, 70, 3), np.uint8), "multiples of 32"),
        (np.zeros((0, 64, 3), np.uint8), "multiples of 32"),
    ],
)
def test_wrong_input_is_named(net_input, named):
    with pytest.raises(InputError, match=named):
        infer(Painted([]), net_input, flip_test=False, protocol="coco")


def test_unknown_protocol_is_named():
    with pytest.raises(ConfigError, match="lvis"):
        infer(Painted([]), picture(), flip_test=False, protocol="lvis")


def test_a_real_network_gives_the_same_with_and_without_intermediates():
    torch.manual_seed(0)
    model = build_model("w32", "crowdpose14")
    net_input = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    plain = infer(model, net_input, flip_test=True, protocol="crowdpose")
    full = infer(model, net_input, flip_test=True, protocol="crowdpose", intermediates=True)
    for name, value in plain.items():
        np.testing.assert_array_equal(value, full[name])
    assert set(plain) == {"poses_net", "scores", "instance_coord_yx", "instance_score"}
    assert len(plain["scores"]) > 0
    assert full["features"].shape == (2, 480, 16, 24)
    assert full["instance_param"].shape == (2 * len(plain["scores"]), 480)
