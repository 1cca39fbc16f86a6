"""What `boir-train speed` measures: the arithmetic is counted right, the figures fit together."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from boir_train import fit, loss_speed, speed
from boir_train.cli.main import main
from tests.support.tiny_training import build_tiny, tiny_config, write_data_set


class OneConv(nn.Module):
    def __init__(self, groups: int, frozen: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 4 if groups == 1 else 8, 3, padding=1, groups=groups)
        self.conv.weight.requires_grad_(not frozen)

    def forward(self, x: Tensor, index: Any, yx: Any) -> dict[str, Tensor]:
        return {"out": self.conv(x)}


@pytest.mark.parametrize(
    ("groups", "frozen", "outputs", "inputs"), [(1, False, 4, 8), (8, False, 8, 1), (1, True, 4, 8)]
)
def test_work_is_counted_forward_and_backward(groups: int, frozen: bool, outputs: int, inputs: int) -> None:
    batch = SimpleNamespace(images=torch.zeros(2, 8, 16, 16), image_index=None, instance_coord=None)
    forward = 2 * 2 * 16 * 16 * outputs * inputs * 9
    # The picture needs no gradient; the weights' costs as much as the forward pass.
    assert speed.count_flops(OneConv(groups, frozen), batch) == forward * (1 if frozen else 2)


def test_a_step_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fit, "build_model", build_tiny)
    monkeypatch.setattr(speed, "FLOOR_SECONDS", 0.05)
    data = write_data_set(tmp_path / "set", 5)
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(tiny_config(data, optim={"accumulate": 2}, schedule={"epochs": 9})))
    out = tmp_path / "speed.json"
    arguments = [
        "speed",
        "step",
        "--config",
        str(file),
        "--size",
        "96",
        "--batch",
        "2",
        "--steps",
        "4",
        "--batches",
        "2",
    ]
    assert main([*arguments, "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert (report["side"], report["pictures_a_step"], report["threads"]) == (96, 2, 1)
    assert len(report["losses"]) == 1 + 4 + 1  # warm-up, measured, the last that is followed by writing
    assert report["losses"][-1] < report["losses"][0]  # the same batch again and again
    assert 0 <= report["loader_share"] <= 1
    assert report["both_pictures_per_s"] > 0
    assert report["floor_s"] == pytest.approx(report["step_gflop"] / report["floor_gflop_per_s"])
    assert report["times_the_floor"] == pytest.approx(report["step_s"] / report["floor_s"])
    assert report["memory_peak_mb"] >= report["memory_before_mb"] > 0
    assert "the loop waits for the loader" in capsys.readouterr().out


def test_losses_agree_with_their_loops() -> None:
    rows = loss_speed.measure(side=8, people=2)
    assert [row.name for row in rows] == ["focal", "Bbox Mask Loss", "box"]
    for row in rows:
        assert row.value_difference < 1e-4, row
        assert row.gradient_difference < 1e-4, row
        assert row.vectorised_s > 0
