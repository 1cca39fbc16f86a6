"""What a preset costs: counted against the paper and by hand, and a timing that plants the people it counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from boir_train import build_model, complexity, inference
from boir_train.tables import paper


@pytest.mark.parametrize("backbone", ["HRNet-W32", "HRNet-W48"])
def test_parameters_are_the_papers(backbone: str) -> None:
    (row,) = [row for row in paper()["5"]["rows"] if row["method"] == "BoIR" and row["backbone"] == backbone]
    cost = complexity.count(backbone[-3:].lower())
    assert round(cost.parameters / 1e6, 1) == row["params_M"]
    assert cost.parameters_training > cost.parameters


def test_multiply_adds_of_w32_are_those_of_the_specification() -> None:
    cost = complexity.count("w32", (512, 512), 512)
    assert cost.network == (512, 512)
    assert round(cost.macs_dense / 1e9, 1) == 80.4  # SPEC-model M7


def test_multiply_adds_grow_with_the_map_and_count_a_convolution_right() -> None:
    small, large = complexity.count("nano", (128, 128), 128), complexity.count("nano", (256, 256), 256)
    assert large.macs_dense / small.macs_dense == pytest.approx(4, rel=0.01)
    assert small.parameters == large.parameters == sum(p.numel() for p in build_model("nano", "coco17").parameters())
    conv = nn.Conv2d(3, 5, 3, padding=1)
    assert complexity._macs(lambda: conv(torch.zeros(1, 3, 8, 6))) == 5 * 3 * 9 * 8 * 6


@pytest.mark.parametrize(("people", "flip_test"), [(1, False), (3, True), (5, False)])
def test_the_planted_people_are_looked_at(people: int, flip_test: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = complexity.Planted.person_heatmaps

    def spy(self: complexity.Planted, encoded: dict, yx: torch.Tensor) -> torch.Tensor:
        seen.append((len(encoded["g"]), len(yx)))
        return real(self, encoded, yx)

    monkeypatch.setattr(complexity.Planted, "person_heatmaps", spy)
    speed = complexity.measure(
        "nano", torch.device("cpu"), picture=(96, 128), size=128, people=people, flip_test=flip_test, repeats=2
    )
    assert seen == [(1 + flip_test, people)] * 3  # once more than is counted
    assert (speed.people, speed.flip_test, speed.repeats) == (people, flip_test, 2)
    assert 0 < speed.fastest_ms <= speed.median_ms
    assert speed.cpu_ms > 0


def test_planting_changes_the_centre_map_only() -> None:
    model = build_model("nano", "coco17")
    picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    views = torch.from_numpy(inference.normalise(picture, model.settings))[None]
    with torch.inference_mode():
        own, planted = model.encode(views), complexity.Planted(model, 2).encode(views)
    assert own.keys() == planted.keys()
    assert [name for name in own if not torch.equal(own[name], planted[name])] == ["center_logits"]
