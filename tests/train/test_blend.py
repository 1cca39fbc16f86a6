"""Blends of a run's weights with its start's."""

from __future__ import annotations

import pytest
import torch

from boir_sdk.errors import ConfigError
from boir_train.blend import Blend

START = {"trunk.a": torch.zeros(3), "trunk.b": torch.zeros(3), "head": torch.zeros(3), "count": torch.tensor(0)}
LATER = {"trunk.a": torch.ones(3), "trunk.b": torch.ones(3), "head": torch.ones(3), "count": torch.tensor(7)}


@pytest.mark.parametrize(
    ("shares", "a", "b", "head"),
    [
        ({"trunk": 0.25}, 0.75, 0.75, 1.0),
        ({"trunk": 0.25, "trunk.b": 1.0}, 0.75, 0.0, 1.0),  # the longest prefix counts
        ({"trunk": 0.5, "head": 0.0}, 0.5, 0.5, 1.0),
        ({"": 0.5}, None, None, None),
        ({"tru": 0.5}, None, None, None),  # prefixes are whole names
        ({"trunk": 1.5}, None, None, None),
    ],
)
def test_the_start_has_its_share(shares: dict[str, float], a: float | None, b: float, head: float) -> None:
    if a is None:
        with pytest.raises(ConfigError, match=r"optim\.blend"):
            Blend(START, shares)
        return
    mixed = Blend(START, shares).mix(LATER)
    assert mixed["trunk.a"].tolist() == [a] * 3
    assert mixed["trunk.b"].tolist() == [b] * 3
    assert mixed["head"].tolist() == [head] * 3
    assert mixed["count"].item() == 7
    assert LATER["trunk.a"].tolist() == [1, 1, 1]


def test_a_run_that_goes_on_has_the_same_start() -> None:
    start = {"trunk.a": torch.full((3,), 2.0)}
    whole = Blend(start, {"trunk": 0.5})
    start["trunk.a"].zero_()  # it keeps a copy of its own
    resumed = Blend({"trunk.a": torch.full((3,), 9.0)}, {"trunk": 0.5})
    resumed.load_state_dict(whole.state_dict())
    assert resumed.mix({"trunk.a": torch.zeros(3)})["trunk.a"].tolist() == [1, 1, 1]
