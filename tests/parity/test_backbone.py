"""The backbone, tap by tap, against the authors' code (SPEC-model M2.1)."""

from __future__ import annotations

import numpy as np
import pytest

from boir_sdk.skeleton import get_skeleton
from boir_train.inference import normalise
from boir_train.model.boir import BoIR
from tests.parity.cases import cases, recipe
from tests.parity.recipe_support import assert_sums, assert_within, fill, preset_and_skeleton, torch


def taps(backbone, x):
    """The tensors that the fixtures name, in [C, h, w]."""
    found = {}

    def keep(name):
        def hook(module, inputs, output):
            if isinstance(output, list):
                found.update({f"{name}_{branch}": y[0].numpy().copy() for branch, y in enumerate(output)})
            else:
                found[name] = output[0].numpy().copy()

        return hook

    named = {"bn1": "bn1_before_relu", "bn2": "bn2_before_relu"}
    for part in ("bn1", "bn2", "layer1", "stage2", "stage3", "stage4"):
        getattr(backbone, part).register_forward_hook(keep(named.get(part, part)))
    with torch.inference_mode():
        found["features"] = backbone(torch.from_numpy(x)[None])[0].numpy()
    return found


@pytest.mark.parametrize("case", cases("backbone"))
def test_taps(case):
    record, want = case.record, case.arrays()
    preset, skeleton = preset_and_skeleton(record["config"])
    model = BoIR(preset, get_skeleton(skeleton)).eval()
    fill(model.backbone, record["weights_salt"], record["weight_names_prefix"])
    x = normalise(
        recipe().recipe_image(record["image_height"], record["image_width"], record["image_salt"]), model.settings
    )
    found = taps(model.backbone, x)

    step = tuple(round(full / kept) for full, kept in zip(x.shape, want["input_sample"].shape, strict=True))
    assert_within(x[:: step[0], :: step[1], :: step[2]], want["input_sample"], 1e-6)
    assert sorted(found) == sorted(want["stat_names"].tolist())
    for name, row in zip(want["stat_names"].tolist(), want["stats"], strict=True):
        y = found[name].astype(np.float64)
        corner = want[f"{name}_slice"]
        assert_within(found[name][tuple(slice(side) for side in corner.shape)], corner, 5e-4)
        assert_sums(y.sum(axis=(1, 2)), want[f"{name}_channel_sum"], y[0].size)
        assert_sums(np.array([y.sum(), np.abs(y).sum(), np.square(y).sum()]), row[:3], y.size)
        assert_within(np.array([y.min(), y.max()]), row[3:5], 5e-4)
        assert y.size == row[5]
    assert_within(found["features"][:, -1, -1], want["features_corner"], 5e-4)
    assert_within(found["stage4_3"], want["stage4_3"], 5e-4)
