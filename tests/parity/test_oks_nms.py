"""OKS suppression of given poses: kept lists must be equal (SPEC-model M4.9)."""

from __future__ import annotations

import numpy as np
import pytest

from boir_sdk import oks
from boir_sdk.skeleton import SKELETONS
from tests.parity.cases import Case, cases

SIGMAS = {len(skeleton): skeleton.sigmas for skeleton in SKELETONS.values()}


@pytest.mark.parametrize("case", cases("oks_nms"))
def test_kept_lists_equal_the_reference(case: Case) -> None:
    data = case.arrays()
    sets = len(data["threshold"])
    assert sets == case.record["sets"] and sets > 0
    begin = 0
    for i in range(sets):
        people = slice(data["people_offset"][i], data["people_offset"][i + 1])
        kept = slice(data["kept_offset"][i], data["kept_offset"][i + 1])
        joints = int(data["keypoints"][i])
        count = people.stop - people.start
        poses = data["poses_flat"][begin : begin + count * joints * 3].reshape(count, joints, 3)
        begin += count * joints * 3
        got = oks.suppress(poses, data["scores"][people], SIGMAS[joints], float(data["threshold"][i]))
        assert got.dtype == np.int64
        assert got.tolist() == data["kept"][kept].tolist(), (i, str(data["tag"][i])[:80])
    assert begin == len(data["poses_flat"])
