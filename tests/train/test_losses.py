"""Losses where the fixtures don't look: corners of the input, half precision, what reaches a gradient, cost."""

from __future__ import annotations

import math

import pytest
import torch

from boir_train.losses.box import box_loss, ciou_loss
from boir_train.losses.cells import image_index, neighbourhood, read
from boir_train.losses.embedding import ae_loss, bbox_mask_loss, paper_regions, published_regions
from boir_train.losses.focal import FLOOR, focal_loss, probability
from boir_train.losses.offset import offset_loss


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# cells


def test_image_index_counts_people_in_order() -> None:
    assert image_index(torch.tensor([2, 0, 3])).tolist() == [0, 0, 2, 2, 2]


def test_read_takes_one_or_many_cells_of_the_right_picture() -> None:
    maps = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).half()
    one = read(maps, torch.tensor([1, 0]), torch.tensor([[2, 3], [0, 4]]))
    assert one.dtype == torch.float32
    assert one.tolist() == [maps[1, :, 2, 3].tolist(), maps[0, :, 0, 4].tolist()]
    many = read(maps, torch.tensor([1]), torch.tensor([[[2, 3], [0, 0]]]))
    assert many.tolist() == [[maps[1, :, 2, 3].tolist(), maps[1, :, 0, 0].tolist()]]


@pytest.mark.parametrize(
    ("centre", "cells"),
    [((2, 2), 9), ((0, 2), 6), ((4, 6), 4), ((-1, 3), 3), ((20, 20), 0)],
)
def test_neighbourhood_knows_the_border(centre: tuple[int, int], cells: int) -> None:
    yx, inside = neighbourhood(torch.tensor([centre]), 1, 5, 7)
    assert int(inside.sum()) == cells
    assert yx.shape == (1, 9, 2)
    assert (yx >= 0).all()
    assert (yx <= torch.tensor([4, 6])).all()
    assert len({tuple(cell) for cell in yx[inside].tolist()}) == cells


# focal


def test_probability_is_clamped_and_a_clamped_cell_learns_nothing() -> None:
    logits = torch.tensor([-50.0, 0.0, 50.0], requires_grad=True)
    prob = probability(logits)
    assert prob.tolist() == pytest.approx([FLOOR, 0.5, 1 - FLOOR])
    prob.sum().backward()
    assert logits.grad.tolist() == pytest.approx([0.0, 0.25, 0.0])


def test_probability_of_half_precision_is_float32() -> None:
    assert probability(torch.zeros(2, dtype=torch.bfloat16)).dtype == torch.float32


def test_focal_loss_of_one_positive_by_hand() -> None:
    prob = torch.tensor([0.7, 0.2], dtype=torch.float64)
    loss = focal_loss(prob, torch.tensor([1.0, 0.5]))
    by_hand = -(0.3**2 * math.log(0.7) + 0.5**4 * 0.2**2 * math.log(0.8))
    assert loss.item() == pytest.approx(by_hand, rel=1e-12)


def test_focal_loss_near_one_is_no_positive() -> None:
    prob = torch.tensor([0.5])
    near = focal_loss(prob, torch.tensor([1 - 1e-3]))
    assert near.item() < 1e-9


# box


def test_ciou_of_equal_boxes_in_float32_is_finite_and_nearly_zero() -> None:
    boxes = torch.rand(500, 4, generator=_rng()) * 100 + 0.1
    predicted = boxes.clone().requires_grad_()
    loss = ciou_loss(predicted, boxes)
    loss.sum().backward()
    assert float(loss.detach().abs().max()) < 1e-4
    assert torch.isfinite(predicted.grad).all()


def test_box_loss_prefers_its_anchor_order() -> None:
    """A person at row 2, column 6: distances that are right for (x, y) are wrong for (y, x)."""
    maps = torch.zeros(1, 4, 10, 10)
    target = torch.tensor([[5.0, 1.0, 3.0, 2.0]])
    yx, _ = neighbourhood(torch.tensor([[2, 6]]), 1, 10, 10)
    for y, x in yx[0].tolist():
        maps[0, :, y, x] = torch.tensor([x - 5.0, y - 1.0, 8.0 - x, 3.0 - y])
    cell, counts = torch.tensor([[2, 6]]), torch.tensor([1])
    assert float(box_loss(maps, cell, target, counts, anchor="xy")) == pytest.approx(0, abs=1e-5)
    assert float(box_loss(maps, cell, target, counts, anchor="yx")) > 0.5


def test_box_loss_without_people_is_zero() -> None:
    maps = torch.zeros(2, 4, 8, 8, requires_grad=True)
    nobody = torch.zeros(0, 2, dtype=torch.int64)
    loss = box_loss(maps, nobody, torch.zeros(0, 4), torch.tensor([0, 0]))
    loss.backward()
    assert loss.item() == 0
    assert not maps.grad.any()


def test_box_loss_of_a_placeholder_dilutes_but_adds_nothing() -> None:
    maps = torch.rand(2, 4, 8, 8, generator=_rng())
    person, box = torch.tensor([[4, 4]]), torch.tensor([[2.0, 2.0, 3.0, 3.0]])
    alone = box_loss(maps[:1], person, box, torch.tensor([1]))
    both = box_loss(
        maps,
        torch.cat([person, torch.zeros(1, 2, dtype=torch.int64)]),
        torch.cat([box, torch.zeros(1, 4)]),
        torch.tensor([1, 1]),
    )
    assert both.item() == pytest.approx(alone.item() * 9 / 13, rel=1e-6)


# embedding

FORMS = ("paper", "published-0", "published-1")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("boxes", "counts"),
    [
        ([], [0, 0]),
        ([[3, 3, 5, 6]], [0, 1]),
        ([[0, 0, 16, 12]], [1, 0]),
        ([[15, 11, 0.2, 0.2]], [1, 0]),
        ([[0, 0, 0, 0], [2, 2, 4, 4]], [1, 1]),
    ],
    ids=["nobody", "one", "whole map", "tiny corner", "placeholder"],
)
def test_bbox_mask_loss_is_finite_in_corners(form: str, boxes: list[list[float]], counts: list[int]) -> None:
    emb = torch.randn(2, 8, 12, 16, generator=_rng(), requires_grad=True)
    loss = bbox_mask_loss(emb, torch.tensor(boxes).reshape(-1, 4), torch.tensor(counts), form=form)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(emb.grad).all()
    if not boxes:
        assert loss.item() == 0


@pytest.mark.parametrize("form", FORMS)
def test_bbox_mask_loss_of_a_zero_map_is_finite(form: str) -> None:
    emb = torch.zeros(1, 8, 12, 16, requires_grad=True)
    loss = bbox_mask_loss(emb, torch.tensor([[2.0, 2.0, 5.0, 5.0]]), torch.tensor([1]), form=form)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(emb.grad).all()


@pytest.mark.parametrize("form", FORMS)
def test_bbox_mask_loss_bears_a_crowd(form: str) -> None:
    corner = torch.rand(230, 2, generator=_rng(1)) * 40
    boxes = torch.cat([corner, torch.rand(230, 2, generator=_rng(2)) * 20 + 1], dim=1)
    emb = torch.randn(1, 32, 64, 64, generator=_rng(), requires_grad=True)
    loss = bbox_mask_loss(emb, boxes, torch.tensor([230]), form=form)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(emb.grad).all()
    assert emb.grad.abs().max() > 0


def test_descending_the_paper_form_separates_people() -> None:
    """What the loss is for: after some steps two people's cells differ, and each resembles its own box."""
    emb = (torch.ones(1, 4, 12, 24) + 0.1 * torch.randn(1, 4, 12, 24, generator=_rng())).requires_grad_()
    boxes, counts = torch.tensor([[2.0, 2.0, 6.0, 8.0], [15.0, 2.0, 6.0, 8.0]]), torch.tensor([2])

    def alike() -> float:
        unit = torch.nn.functional.normalize(emb.detach(), dim=1)[0]
        return float(unit[:, 6, 5] @ unit[:, 6, 18])

    before = alike()
    optimizer = torch.optim.Adam([emb], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        bbox_mask_loss(emb, boxes, counts).backward()
        optimizer.step()
    unit = torch.nn.functional.normalize(emb.detach(), dim=1)[0]
    assert before > 0.9
    assert alike() < 0.0
    assert float(unit[:, 6, 5] @ unit[:, 4, 4]) > 0.9


def test_similarity_distance_changes_only_the_pull() -> None:
    emb = torch.randn(1, 16, 12, 12, generator=_rng())
    boxes, counts = torch.tensor([[2.0, 2.0, 6.0, 6.0]]), torch.tensor([1])
    mean = bbox_mask_loss(emb, boxes, counts, similarity_distance="mean")
    whole = bbox_mask_loss(emb, boxes, counts, similarity_distance="sum")
    assert whole.item() < mean.item()  # the sharper mask is nearer to the anchor itself


def test_anchor_cells_may_be_given() -> None:
    emb = torch.randn(1, 16, 12, 12, generator=_rng())
    boxes, counts = torch.tensor([[2.0, 2.0, 6.0, 6.0]]), torch.tensor([1])
    centre = bbox_mask_loss(emb, boxes, counts)
    same = bbox_mask_loss(emb, boxes, counts, anchors_yx=torch.tensor([[5, 5]]))
    other = bbox_mask_loss(emb, boxes, counts, anchors_yx=torch.tensor([[3, 4]]))
    assert same.item() == centre.item()
    assert other.item() != centre.item()


@pytest.mark.parametrize(
    ("box", "bounds", "yx"),
    [
        ([2.0, 3.0, 4.0, 5.0], [2, 3, 6, 8], [5, 4]),
        ([2.4, 3.4, 4.0, 5.0], [2, 3, 7, 9], [5, 4]),
        ([0.0, 0.0, 0.0, 0.0], [0, 0, 1, 1], [0, 0]),
        ([15.0, 11.0, 9.0, 9.0], [15, 11, 16, 12], [11, 15]),
    ],
)
def test_paper_regions_are_half_open_and_never_empty(box: list[float], bounds: list[int], yx: list[int]) -> None:
    regions = paper_regions(torch.tensor([box]), 12, 16)
    assert regions.bounds.tolist() == [bounds]
    assert regions.yx.tolist() == [yx]
    inside = regions.masks(12, 16, torch.float32).reshape(12, 16)
    x1, y1, x2, y2 = bounds
    assert inside.sum() == (x2 - x1) * (y2 - y1)
    assert inside[y1:y2, x1:x2].all()


def test_published_regions_skip_small_boxes() -> None:
    regions = published_regions(torch.tensor([[15.0, 11.0, 0.2, 0.2], [2.0, 3.0, 4.0, 5.0]]), 12, 16)
    assert regions.bounds.tolist() == [[1, 2, 7, 9]]


def test_ae_loss_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ae_loss(torch.zeros(0, 8))


# offset


def _true_offsets(keypoints: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """A map whose every cell points at the keypoint of the only person."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    maps = [keypoints[0, k, 1 - axis] - (rows, columns)[axis] for k in range(keypoints.shape[1]) for axis in (0, 1)]
    return torch.stack(maps)[None]


def test_offset_loss_of_true_offsets_is_zero() -> None:
    keypoints = torch.tensor([[[3.3, 5.8, 2.0], [9.5, 0.1, 1.0], [-0.7, 4.2, 2.0]]])
    offset = _true_offsets(keypoints, 8, 10).requires_grad_()
    assert offset_loss(offset, keypoints, torch.tensor([0])).item() == pytest.approx(0, abs=1e-10)


def test_offset_loss_by_a_plain_loop() -> None:
    generator = _rng(3)
    offset = torch.randn(2, 6, 9, 11, generator=generator, dtype=torch.float64)
    keypoints = torch.rand(5, 3, 3, generator=generator, dtype=torch.float64) * torch.tensor([14.0, 12.0, 1.0]) - 1.5
    keypoints[..., 2] = torch.tensor([2.0, 0.0, 1.0])
    picture = torch.tensor([0, 0, 1, 1, 1])
    terms = []
    for n in range(5):
        for k in (0, 2):  # joint 1 isn't annotated
            x, y = keypoints[n, k, :2].tolist()
            for row in range(9):
                for column in range(11):
                    if math.hypot(row - y, column - x) <= 2.5:
                        for axis, error in ((0, y - row), (1, x - column)):
                            distance = abs(float(offset[picture[n], 2 * k + axis, row, column]) - error)
                            terms.append(0.5 * distance**2 if distance < 1 else distance - 0.5)
    assert terms
    loss = offset_loss(offset, keypoints, picture)
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-12)


@pytest.mark.parametrize("case", ["nobody", "unannotated", "outside"])
def test_offset_loss_without_a_cell_is_zero(case: str) -> None:
    offset = torch.randn(1, 4, 8, 8, generator=_rng(), requires_grad=True)
    people = 0 if case == "nobody" else 1
    keypoints = torch.full((people, 2, 3), 50.0 if case == "outside" else 4.0)
    keypoints[..., 2] = 0.0 if case == "unannotated" else 2.0
    loss = offset_loss(offset, keypoints, torch.zeros(people, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert not offset.grad.any()
