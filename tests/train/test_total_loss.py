"""The weighted sum that training minimises: its terms, whom they compare, and what they leave alone."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import get_args

import pytest
import torch

from boir_sdk.errors import ConfigError
from boir_train import build_model
from boir_train.losses.cells import image_index
from boir_train.losses.embedding import EmbeddingForm, bbox_mask_loss
from boir_train.losses.focal import focal_loss, probability
from boir_train.losses.total import LossSettings, total_loss

FORMS = get_args(EmbeddingForm)


def _batch(pictures: int = 2, people: int = 3, joints: int = 4, side: int = 8) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(5)
    counts = torch.tensor([people - 1, 1])[:pictures]
    index = image_index(counts)
    heat = torch.rand(people, joints, side, side, generator=generator) * 0.9
    heat[:, :, 3, 3] = 1
    return SimpleNamespace(
        images=torch.zeros(pictures, 3, 4 * side, 4 * side),
        multi_heatmap=torch.cat([heat[:pictures], heat[:pictures, :1]], dim=1),
        multi_mask=torch.ones(pictures, 1, side, side),
        instance_coord=torch.tensor([[3, 3], [5, 2], [4, 4]]),
        image_index=index,
        instance_heatmap=heat,
        instance_mask=torch.ones(people, joints, 1, 1),
        keypoints=torch.full((people, joints, 3), 3.0),
        boxes=torch.tensor([[1.0, 1, 4, 4], [2, 2, 3, 5], [0, 0, 6, 6]]).double(),
        counts=counts,
        num_inst=counts.clone(),
    )


def _outputs(batch: SimpleNamespace) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    pictures, channels, side, _ = batch.multi_heatmap.shape
    shapes = {
        "center_logits": (pictures, 1, side, side),
        "keypoint_logits": (pictures, channels - 1, side, side),
        "embedding": (pictures, 16, side, side),
        "box": (pictures, 4, side, side),
        "offset": (pictures, 2 * (channels - 1), side, side),
        "person_logits": (len(batch.boxes), channels - 1, side, side),
    }
    return {name: torch.randn(shape, generator=generator).requires_grad_() for name, shape in shapes.items()}


def test_total_is_the_sum_and_every_output_learns() -> None:
    batch = _batch()
    outputs = _outputs(batch)
    losses = total_loss(outputs, batch, LossSettings(offset=0.5))
    assert list(losses) == ["multi_heatmap", "single_heatmap", "bbox_mask", "bbox", "offset", "total"]
    assert losses["total"].item() == pytest.approx(sum(losses[name].item() for name in list(losses)[:-1]), rel=1e-6)
    losses["total"].backward()
    assert all(output.grad is not None and output.grad.abs().sum() > 0 for output in outputs.values())


def test_weights_scale_terms() -> None:
    batch = _batch()
    once = total_loss(_outputs(batch), batch, LossSettings())
    twice = total_loss(_outputs(batch), batch, LossSettings(single_heatmap=8.0))
    assert float(twice["single_heatmap"]) == pytest.approx(2 * float(once["single_heatmap"]), rel=1e-6)
    assert float(twice["bbox"]) == float(once["bbox"])


def test_absent_outputs_and_zero_weights_leave_no_term() -> None:
    batch = _batch()
    outputs = _outputs(batch)
    slim = {name: outputs[name] for name in ("center_logits", "person_logits", "offset")}
    assert list(total_loss(slim, batch, LossSettings())) == ["multi_heatmap", "single_heatmap", "total"]
    no_heat = total_loss(outputs, batch, LossSettings(multi_heatmap=0, bbox=0))
    assert list(no_heat) == ["single_heatmap", "bbox_mask", "total"]


def test_a_model_without_bottom_up_head_learns_the_centre_channel() -> None:
    batch = _batch()
    centre = _outputs(batch)["center_logits"]
    losses = total_loss({"center_logits": centre}, batch, LossSettings())
    by_hand = focal_loss(probability(centre), batch.multi_heatmap[:, -1:], batch.multi_mask) / 2
    assert float(losses["total"]) == pytest.approx(float(by_hand), rel=1e-6)


def test_chosen_people_are_compared_with_their_own_targets() -> None:
    batch = _batch()
    outputs = _outputs(batch)
    people = torch.tensor([2, 0])
    outputs["person_logits"] = outputs["person_logits"].detach()[people]
    chosen = total_loss(outputs, batch, LossSettings(), people=people)
    by_hand = focal_loss(probability(outputs["person_logits"]), batch.instance_heatmap[people])
    assert float(chosen["single_heatmap"]) == pytest.approx(4 * float(by_hand) / 2, rel=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_placeholders_count_as_people_in_the_published_forms_only(form: str) -> None:
    """A picture without people (T2.9) beside one with: the paper form mustn't see it, the published divide by it."""
    batch = _batch()
    outputs = _outputs(batch)
    settings = LossSettings(embedding_loss=form)
    batch.boxes[2] = 0
    batch.num_inst = torch.tensor([2, 0])
    with_placeholder = float(total_loss(outputs, batch, settings)["bbox_mask"])
    without = bbox_mask_loss(outputs["embedding"][:1], batch.boxes[:2], torch.tensor([2]), form=form)
    if form == "paper":
        assert with_placeholder == pytest.approx(0.25 * without.item() / 2, rel=1e-5)
    elif form == "published-1":  # its box is skipped, but it is one of three people
        assert with_placeholder == pytest.approx(0.25 * without.item() * 2 / 3 / 2, rel=1e-5)
    else:
        assert math.isfinite(with_placeholder)


def test_losses_run_in_float32_under_autocast() -> None:
    batch = _batch()
    plain = total_loss(_outputs(batch), batch, LossSettings(offset=1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = total_loss(_outputs(batch), batch, LossSettings(offset=1))
    assert {name: float(value) for name, value in inside.items()} == {name: float(plain[name]) for name in plain}
    assert inside["total"].dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"bbox": -1.0}, "loss.bbox "),
        ({"beta": math.nan}, "loss.beta"),
        ({"embedding_loss": "published"}, "published-0"),
        ({"box_anchor": "zz"}, "loss.box_anchor"),
        ({"similarity_distance": "l1"}, "loss.similarity_distance"),
        ({"embedding_anchor": "nose"}, "loss.embedding_anchor"),
    ],
)
def test_wrong_settings_are_refused(change: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        LossSettings(**change)


def test_auxiliary_heads_of_the_paper_network_learn_from_the_second_step() -> None:
    """The published start leaves the box head dead for ever (T1.9); ours wakes after one step."""
    torch.manual_seed(0)
    model = build_model("w32", "coco17", training=True)
    batch = _batch(joints=17, side=16)
    batch.images = torch.randn(2, 3, 64, 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        outputs = model(batch.images, batch.image_index, batch.instance_coord)
        total_loss(outputs, batch, LossSettings())["total"].backward()
        optimizer.step()
    for head in ("bbox_head", "emb_head"):
        gradients = {name: p.grad for name, p in getattr(model.multihead, head).named_parameters() if p.dim() == 4}
        assert gradients
        for name, gradient in gradients.items():
            assert gradient is not None, f"{head}.{name}"
            assert gradient.abs().max() > 0, f"{head}.{name}"


@pytest.mark.parametrize("form", FORMS)
def test_a_larger_count_divides_every_term_but_the_paper_form(form: str) -> None:
    batch = _batch()
    batch.keypoints[..., 2] = 2
    settings = LossSettings(offset=1, regress=1, embedding_loss=form)
    outputs = _outputs(batch)
    outputs["regress"] = torch.randn(outputs["offset"].shape, generator=torch.Generator().manual_seed(12))
    own = total_loss(outputs, batch, settings)
    shared = total_loss(outputs, batch, settings, count=lambda value: 4 * value)
    for name in ("multi_heatmap", "single_heatmap", "bbox", "offset", "regress"):
        assert float(shared[name]) == pytest.approx(float(own[name]) / 4, rel=1e-5), name
    # It is a sum over pictures, each normalised in itself.
    part = 1 if form == "paper" else 4
    assert float(shared["bbox_mask"]) == pytest.approx(float(own["bbox_mask"]) / part, rel=1e-5)


def test_only_the_first_embedding_channels_may_be_used() -> None:
    batch = _batch()
    outputs = _outputs(batch)
    few = total_loss(outputs, batch, LossSettings(embedding_channels=3, multi_heatmap=0, single_heatmap=0, bbox=0))
    alone = total_loss({**outputs, "embedding": outputs["embedding"][:, :3]}, batch, LossSettings())
    assert float(few["bbox_mask"]) == float(alone["bbox_mask"])
    few["total"].backward()
    gradient = outputs["embedding"].grad
    assert gradient is not None
    assert gradient[:, :3].any()
    assert not gradient[:, 3:].any()
    with pytest.raises(ConfigError, match="the head has 16"):
        total_loss(outputs, batch, LossSettings(embedding_channels=17))


def test_a_channel_that_is_judged_nowhere_learns_nothing() -> None:
    batch = _batch()
    outputs = _outputs(batch)
    mask = batch.multi_mask.repeat(1, batch.multi_heatmap.shape[1], 1, 1)
    mask[:, 1] = 0
    batch.multi_mask = mask
    total_loss(outputs, batch, LossSettings(single_heatmap=0))["total"].backward()
    assert not outputs["keypoint_logits"].grad[:, 1].any()
    assert all(outputs["keypoint_logits"].grad[:, k].any() for k in (0, 2, 3))
    assert outputs["center_logits"].grad.any()
