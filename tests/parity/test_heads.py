"""Neck and dense heads against the authors' code (SPEC-model M2.2, M2.3)."""

from __future__ import annotations

import numpy as np
import pytest

from boir_sdk.skeleton import get_skeleton
from boir_train.losses.focal import probability
from boir_train.model.heads import MultiHead
from tests.parity.agreement import assert_close
from tests.parity.cases import cases
from tests.parity.recipe_support import assert_sums, features, fill, preset_and_skeleton, torch

AUXILIARY = {"buk_logits": "keypoint_logits", "emb_sample": "embedding", "bbox": "box"}


def parts(heads, x):
    """Neck branches, neck, the centre head's block, its logits and its probability."""
    found = {}

    def keep(name):
        return lambda module, inputs, output: found.update({name: output.clone()})

    for i, branch in enumerate(heads.neck[0].convs):
        branch.register_forward_hook(keep(f"branch{i}"))
    heads.center_head.head[0].register_forward_hook(keep("center_block"))
    with torch.inference_mode():
        found["neck"] = heads.neck(x)
        found["center_logits"] = heads.center_head(found["neck"])
        found["center_prob"] = probability(found["center_logits"])
    found["branch4"] = found["branch4"].expand_as(found["branch0"])  # one cell enlarged to the map
    return {name: tensor.numpy() for name, tensor in found.items()}


@pytest.mark.parametrize("case", cases("heads"))
def test_heads(case):
    record, want = case.record, case.arrays()
    preset, skeleton = preset_and_skeleton(record["config"])
    x = torch.from_numpy(features(record))
    direct = "buk_logits" in want  # the four heads without the neck, all in the training form
    channels = {"w32": 480, "w48": 720}[preset]
    heads = MultiHead(channels, len(get_skeleton(skeleton)), auxiliary=direct).eval()
    fill(heads, record["weights_salt"], record["weight_names_prefix"])

    if direct:
        with torch.inference_mode():
            outputs = heads.auxiliary(x)
            found = {name: outputs[key].numpy() for name, key in AUXILIARY.items()}
            found["center_logits"] = heads.center_head(x).numpy()
        found["emb_sample"] = found["emb_sample"][:, ::8]
        assert sorted(found) == sorted(want)
        for name, value in want.items():
            assert_close(found[name], value, relative=1e-5, what=name)
        return

    assert channels == record["in_channels"]
    found = parts(heads, x)
    checked = set()
    for name, y in found.items():
        if f"{name}_sum" in want:
            cells = y[0, 0].size
            assert_close(y[:, ::16, ::2, ::2], want[f"{name}_sample"], relative=2e-5, what=name)
            assert_sums(y.sum(axis=(2, 3), dtype=np.float64), want[f"{name}_sum"], cells)
            assert_sums(np.square(y.astype(np.float64)).sum(axis=(2, 3)), want[f"{name}_sumsq"], cells)
            checked |= {f"{name}_sample", f"{name}_sum", f"{name}_sumsq"}
        else:
            assert_close(y, want[name], relative=2e-5, what=name)
            checked.add(name)
    assert checked == set(want)
