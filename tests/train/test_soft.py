"""Soft targets: what a teacher's heatmaps ask for, and where they come from."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from boir_sdk.errors import CheckpointError, ConfigError
from boir_sdk.skeleton import COCO17
from boir_train import build_model, checkpoint, config, fit
from boir_train.losses.focal import probability
from boir_train.losses.soft import Lesson, mirrored_back, soft_distance, soft_loss
from boir_train.losses.total import LossSettings, total_loss
from boir_train.teacher import Teacher
from tests.train.test_total_loss import _batch, _outputs

CPU = torch.device("cpu")


def test_agreement_costs_nothing_and_pulls_nowhere() -> None:
    logits = torch.linspace(-6, 6, 24).view(1, 2, 3, 4).requires_grad_()
    loss = soft_loss(logits, probability(logits).detach(), torch.zeros(1, 2, 3, 4), torch.ones(1, 1, 3, 4))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6


def test_by_hand_cell_by_cell() -> None:
    logits = torch.tensor([[0.3, -1.0], [2.0, 0.5]]).view(1, 1, 2, 2)
    soft = torch.tensor([[0.9, 0.2], [0.6, 0.5]]).view(1, 1, 2, 2)
    mask = torch.tensor([[1.0, 1.0], [0.0, 1.0]]).view(1, 1, 2, 2)
    target = torch.tensor([[1.0, 0.5], [1.0, 1.0]]).view(1, 1, 2, 2)  # two positives that count, the third is masked

    def divergence(logit: float, p: float) -> float:
        q = 1 / (1 + math.exp(-logit))
        return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))

    # What a mask hides from annotations is learned from the other network all the same.
    expected = (divergence(0.3, 0.9) + divergence(-1, 0.2) + divergence(2, 0.6) + divergence(0.5, 0.5)) / 2
    assert soft_loss(logits, soft, target, mask).item() == pytest.approx(expected, rel=1e-5)
    assert soft_loss(logits, soft, 0 * target, mask).item() == pytest.approx(2 * expected, rel=1e-5)  # at least one


@pytest.mark.parametrize("focus", [1.0, 2.0])
def test_focus_counts_cells_by_how_much_the_two_disagree(focus) -> None:
    probability_here, soft = torch.tensor([0.2, 0.5, 0.001]), torch.tensor([0.8, 0.4, 0.003])
    logits = torch.logit(probability_here).view(1, 1, 1, 3).requires_grad_()
    nothing, everywhere = torch.zeros(1, 1, 1, 3), torch.ones(1, 1, 1, 3)
    cells = [
        soft_loss(logits[..., i : i + 1], soft[i].view(1, 1, 1, 1), nothing[..., :1], everywhere[..., :1]).item()
        for i in range(3)
    ]
    expected = sum(c * d**focus for c, d in zip(cells, [0.6, 0.1, 0.002], strict=True))
    loss = soft_loss(logits, soft.view(1, 1, 1, 3), nothing, everywhere, focus=focus)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    same = soft_loss(logits, logits.detach().sigmoid(), nothing, everywhere, focus=focus)
    same.backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6


def test_a_focus_without_a_gradient_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss.soft_focus is 0.5: 0 or from 1 up"):
        LossSettings(soft=1, soft_focus=0.5)


def test_distance_counts_where_the_teacher_sees_something() -> None:
    values, taught = torch.zeros(1, 4, 1, 3), torch.zeros(1, 4, 1, 3)  # two keypoints, three cells
    values[0, :, 0, 0] = torch.tensor([1.0, -3.0, 5.0, 5.0])  # first cell: 2 off, 5 off in the mean of y and x
    values[0, :, 0, 1] = torch.tensor([0.5, 0.5, 0.0, 1.0])
    sure = torch.tensor([[0.8, 0.2, 0.0], [0.0, 1.0, 0.0]]).view(1, 2, 1, 3)
    expected = (0.8 * 2 + 0.2 * 0.5 + 1.0 * 0.5) / 2
    assert soft_distance(values, taught, sure).item() == pytest.approx(expected)
    person = torch.tensor([0.25, 0.0, 0.75]).view(1, 1, 1, 3)  # one weight for all keypoints
    assert soft_distance(values, taught, person).item() == pytest.approx(0.25 * (2 + 5) / 2)
    assert soft_distance(values, taught, torch.zeros(1, 1, 1, 3)).item() == 0


def test_mirrored_maps_come_back() -> None:
    maps = torch.rand(2, len(COCO17) + 1, 4, 6)
    channels = [*COCO17.flip_index, len(COCO17)]
    seen = maps[:, channels].flip(-1)  # what the mirrored picture shows
    torch.testing.assert_close(mirrored_back(seen, COCO17.flip_index), maps, rtol=0, atol=0)


def test_the_total_has_the_terms_only_with_a_teacher() -> None:
    batch = _batch()
    outputs = _outputs(batch)
    outputs["regress"] = torch.randn(outputs["offset"].shape, generator=torch.Generator().manual_seed(0))
    lesson = Lesson(
        torch.full_like(batch.multi_heatmap, 0.25), outputs["regress"].detach() + 2, outputs["offset"].detach() - 0.5
    )
    weights = {"soft": 0.5, "soft_offset": 3.0, "soft_regress": 0.25}
    with_weights = dataclasses.replace(LossSettings(), **weights)
    assert not weights.keys() & total_loss(outputs, batch, LossSettings(), lesson=lesson).keys()
    assert not weights.keys() & total_loss(outputs, batch, with_weights).keys()
    terms = total_loss(outputs, batch, with_weights, lesson=lesson)
    once = total_loss(outputs, batch, dataclasses.replace(with_weights, soft=1.0), lesson=lesson)
    assert terms["soft"] > 0
    torch.testing.assert_close(once["soft"], 2 * terms["soft"])
    pictures = len(batch.images)
    assert terms["soft_offset"].item() == pytest.approx(3 * 0.5 / pictures)
    assert terms["soft_regress"].item() == pytest.approx(0.25 * 2 / pictures)
    own = [value for name, value in terms.items() if name != "total"]
    torch.testing.assert_close(terms["total"], torch.stack(own).sum())


def test_a_teacher_answers_with_the_mean_over_the_mirror_and_never_learns() -> None:
    torch.manual_seed(0)
    model = build_model("nano", "coco17", training=False)
    teacher = Teacher(model, CPU)
    images = torch.rand(1, 3, 64, 64)
    answer, mirrored = teacher(images).heatmaps, teacher(images.flip(-1)).heatmaps
    assert answer.shape == (1, len(COCO17) + 1, 16, 16)
    torch.testing.assert_close(mirrored_back(mirrored, COCO17.flip_index), answer)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    with torch.no_grad():
        maps = model.dense(images)
    straight = probability(torch.cat([maps["keypoint_logits"], maps["center_logits"]], dim=1))
    assert (straight - answer).abs().max() > 1e-6  # the mirrored picture has its share


@pytest.mark.parametrize("preset", ["nano", "small"])
def test_a_teacher_that_looks_once_answers_with_all_it_sees(preset) -> None:
    torch.manual_seed(0)
    model = build_model(preset, "coco17", training=False)
    images = torch.randn(2, 3, 64, 64)
    answer = Teacher(model, CPU, mirror=False)(images)
    with torch.no_grad():
        maps = model.dense(images)
    expected = probability(torch.cat([maps["keypoint_logits"], maps["center_logits"]], dim=1))
    for got, wanted in (
        (answer.heatmaps, expected),
        (answer.regress, maps["regress"]),
        (answer.offset, maps["offset"]),
    ):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_a_run_finds_its_teacher(tmp_path) -> None:
    settings = config.load("nano", ["data.root=x", f"model.teacher={tmp_path}/t.safetensors", "loss.soft=1"])
    with pytest.raises(CheckpointError, match="no weights of a teacher"):
        fit.make_teacher(settings, CPU)
    checkpoint.save(tmp_path / "t.safetensors", build_model("nano", "coco17", training=True).state_dict())
    teacher = fit.make_teacher(settings, CPU)
    assert teacher is not None
    checkpoint.save(tmp_path / "t.safetensors", build_model("small", "coco17").state_dict())
    other = fit.make_teacher(settings, CPU)  # of another preset
    assert other is not None
    assert other(torch.zeros(1, 3, 32, 32)).heatmaps.shape == (1, 18, 8, 8)
    checkpoint.save(tmp_path / "t.safetensors", build_model("nano", "crowdpose14").state_dict())
    with pytest.raises(ConfigError, match="knows crowdpose14, the network that learns coco17"):
        fit.make_teacher(settings, CPU)
    assert fit.make_teacher(config.load("nano", ["data.root=x"]), CPU) is None
    with pytest.raises(ConfigError, match="mirrors features"):
        Teacher(build_model("w32", "coco17", training=False), CPU)


@pytest.mark.parametrize(
    "half", ["loss.soft=1", "loss.soft_offset=1", "loss.soft_regress=1", "model.teacher=t.safetensors"]
)
def test_teacher_and_weight_go_together(half) -> None:
    with pytest.raises(ConfigError, match="go together"):
        config.load("nano", ["data.root=x", half])
