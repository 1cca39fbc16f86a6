"""Bbox Mask Loss and its building block (SPEC-training T1.4 to T1.6; paper Eqs. 1-4, 7-9).

One loop remains, over the pictures of a batch: people per picture differ widely, so padding would cost more than the
loop. Inside it a picture's cells are the columns of E [D, HW], its people the rows of P [N, D] and of 0/1 masks
M [N, HW]; each sum over cells is a matrix product, and no [N, D, HW] array ever exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from boir_train.losses.cells import Count, alone, full_precision

EmbeddingForm = Literal["paper", "published-0", "published-1"]
EmbeddingAnchor = Literal["box", "instance"]
SimilarityDistance = Literal["mean", "sum"]

LEAST_SIMILARITY = 1e-5  # published level 0: below this total a person has no soft mean


@dataclass(frozen=True, slots=True)
class Regions:
    """Where each person's box lies on the map.

    Attributes:
        bounds: int64 [N, 4] x1, y1, x2, y2, half-open cells.
        yx: int64 [N, 2], the anchor cell whose embedding stands for the person.
    """

    bounds: Tensor
    yx: Tensor

    def masks(self, height: int, width: int, dtype: torch.dtype) -> Tensor:
        """0/1 masks [N, H * W]: the outer AND of a row test and a column test."""
        x1, y1, x2, y2 = (side.unsqueeze(1) for side in self.bounds.unbind(1))
        rows = torch.arange(height, device=self.bounds.device)
        columns = torch.arange(width, device=self.bounds.device)
        in_rows = (rows >= y1) & (rows < y2)
        in_columns = (columns >= x1) & (columns < x2)
        return (in_rows.unsqueeze(2) & in_columns.unsqueeze(1)).flatten(1).to(dtype)

    def keep(self, chosen: Tensor) -> Regions:
        """The people for which `chosen`, bool [N], holds."""
        return Regions(self.bounds[chosen], self.yx[chosen])


def paper_regions(boxes: Tensor, height: int, width: int) -> Regions:
    """Rasterise boxes and find their centres as T1.5 fixes it; no box is empty, none is dropped.

    Args:
        boxes: [N, 4] x, y, w, h in cells.
        height: H of the map.
        width: W of the map.
    """
    x, y, w, h = boxes.double().unbind(1)
    x1 = x.floor().clamp(0, width - 1)
    y1 = y.floor().clamp(0, height - 1)
    x2 = torch.minimum((x + w).ceil(), torch.full_like(x, width)).maximum(x1 + 1)
    y2 = torch.minimum((y + h).ceil(), torch.full_like(y, height)).maximum(y1 + 1)
    cx = (x + w / 2).floor().clamp(0, width - 1)
    cy = (y + h / 2).floor().clamp(0, height - 1)
    return Regions(torch.stack([x1, y1, x2, y2], 1).long(), torch.stack([cy, cx], 1).long())


def published_regions(boxes: Tensor, height: int, width: int) -> Regions:
    """Boxes and anchors as the public code reads them (T1.6): one cell wider, the last row and column never inside.

    Boxes with a rounded side under two cells are left out. Arguments as in `paper_regions`.
    """
    x, y, w, h = boxes.double().unbind(1)
    x1 = (x.trunc() - 1).clamp(0, width - 1)
    y1 = (y.trunc() - 1).clamp(0, height - 1)
    x2 = ((x + w).trunc() + 1).clamp(0, width - 1)
    y2 = ((y + h).trunc() + 1).clamp(0, height - 1)
    cx = ((x + w) / 2).floor().clamp(0, width - 1)
    cy = ((y + h) / 2).floor().clamp(0, height - 1)
    every = Regions(torch.stack([x1, y1, x2, y2], 1).long(), torch.stack([cy, cx], 1).long())
    return every.keep((x2 - x1 >= 2) & (y2 - y1 >= 2))


def squared_distances(rows: Tensor, columns: Tensor) -> Tensor:
    """|a - b|^2 of every row [N, D] with every column [D, M], as [N, M], through one matrix product."""
    squares = rows.square().sum(1, keepdim=True) + columns.square().sum(0)
    return (squares - 2 * rows @ columns).clamp(min=0)


def _pair_push(vectors: Tensor, beta: float) -> Tensor:
    """The push of T1.4 on vectors [n, D]: all ordered pairs, the diagonal's constant included; 0 for one vector."""
    n, depth = vectors.shape
    if n < 2:
        return vectors.sum() * 0
    return torch.exp(-beta / depth * squared_distances(vectors, vectors.T)).sum() / (2 * (n - 1))


def ae_loss(
    features: Tensor,
    *,
    group_sizes: Tensor | None = None,
    beta: float = 10.0,
    pull_factor: float = 1.0,
    push_factor: float = 1.0,
) -> Tensor:
    """Pull towards group means and push means apart, in the manner of associative embedding (T1.4).

    Args:
        features: [n, D], the rows of all groups one after the other.
        group_sizes: int64 [G] rows per group, each at least 1; without it every row is a vector of its own and
            nothing is pulled.
        beta: steepness of the push.
        pull_factor: weight of the pull.
        push_factor: weight of the push.

    Returns:
        Scalar, not divided by the number of people.

    Raises:
        ValueError: there are no rows.
    """
    if len(features) == 0:
        raise ValueError("ae_loss needs at least one vector, got none")
    features = full_precision(features)
    if group_sizes is None:
        return push_factor * _pair_push(features, beta)
    group = torch.repeat_interleave(torch.arange(len(group_sizes), device=features.device), group_sizes)
    sums = features.new_zeros(len(group_sizes), features.shape[1]).index_add(0, group, features)
    means = sums / group_sizes.unsqueeze(1)
    pull = (features - means[group]).square().sum() / features.shape[1]
    return pull_factor * pull + push_factor * _pair_push(means, beta)


def paper_terms(
    cells: Tensor,
    masks: Tensor,
    anchors: Tensor,
    *,
    beta: float,
    detach_similarity: bool = True,
    similarity_distance: SimilarityDistance = "mean",
) -> Tensor:
    """The three terms of one picture with at least one person (T1.5, steps 3 to 7).

    Args:
        cells: unit embeddings E, [D, HW].
        masks: M, [N, HW], the insides of the picture's N boxes.
        anchors: P, [N, D].
        beta: steepness of every exponential.
        detach_similarity: treat the soft mask of Eq. 1 as a constant.
        similarity_distance: Eq. 1 with the channel mean (as in Eqs. 7-9) or the channel sum.

    Returns:
        [3]: pull_in, push_out, push_inst (Eqs. 2-4 with 7-9).
    """
    depth, area = cells.shape
    people = len(anchors)
    with torch.set_grad_enabled(torch.is_grad_enabled() and not detach_similarity):
        scale = beta / depth if similarity_distance == "mean" else beta
        soft = torch.exp(-scale * squared_distances(anchors, cells)) * masks
    soft_sums, sums = (torch.cat([soft, masks]) @ cells.T).split(people)  # [N, D] each
    pull_in = (anchors - soft_sums / soft.sum(1, keepdim=True)).square().mean()

    outside = area - masks.sum(1)  # [N]; 0 where the box covers the map
    background = (cells.sum(1) - sums) / outside.clamp(min=1).unsqueeze(1)
    push_out = (torch.exp(-beta * (anchors - background).square().mean(1)) * (outside > 0)).mean()

    pairs = torch.exp(-beta / depth * squared_distances(anchors, anchors.T)).triu(1)
    push_inst = pairs.sum() * 2 / max(people * (people - 1), 1)
    return torch.stack([pull_in, push_out, push_inst])


def _published_0(cells: Tensor, masks: Tensor, anchors: Tensor, beta: float) -> Tensor:
    """Level 0 of T1.6 for one picture with n >= 1 kept people: a background per person."""
    depth, area = cells.shape
    with torch.no_grad():
        soft = torch.exp(-beta * squared_distances(anchors, cells)) * masks  # the channel sum, not the mean
        total = soft.sum(1, keepdim=True)
    soft_sums, sums = (torch.cat([soft, masks]) @ cells.T).split(len(anchors))
    mean = torch.where(total < LEAST_SIMILARITY, anchors, soft_sums / total.clamp(min=LEAST_SIMILARITY))
    background = (cells.sum(1) - sums) / (area - masks.sum(1, keepdim=True))
    pull = (anchors - mean).square().sum(1) / (2 * depth)
    push = torch.exp(-beta * ((anchors + mean) / 2 - background).square().mean(1))
    return (pull + 1 + push).sum() + _pair_push(anchors, beta)


def _published_1(cells: Tensor, masks: Tensor, anchors: Tensor, beta: float) -> Tensor:
    """Level 1 of T1.6 for one picture with n >= 1 kept people: one background, pairs only, no pull."""
    outside = 1 - masks.amax(0)  # [HW], never empty: the last row and column are in no box
    background = cells @ outside / outside.sum()
    return _pair_push(torch.cat([anchors, background.unsqueeze(0)]), beta)


def bbox_mask_loss(
    emb: Tensor,
    boxes: Tensor,
    counts: Tensor,
    *,
    form: EmbeddingForm = "paper",
    beta: float = 10.0,
    detach_similarity: bool = True,
    similarity_distance: SimilarityDistance = "mean",
    anchors_yx: Tensor | None = None,
    count: Count = alone,
) -> Tensor:
    """Bbox Mask Loss over a batch (T1.5, T1.6), before the division by the number of pictures.

    Args:
        emb: raw embedding map [B, D, H, W].
        boxes: [N, 4] x, y, w, h in cells, pictures in order.
        counts: int64 [B], boxes per picture.
        form: "paper" (sum over pictures of the three terms), or the public code's forms with a background per person
            ("published-0") or per picture ("published-1"): sum over pictures divided by all N people, also those whose
            box is skipped.
        beta: steepness of the exponentials.
        detach_similarity: paper form only, see `paper_terms`.
        similarity_distance: paper form only, see `paper_terms`.
        anchors_yx: paper form only: int64 [N, 2], cells to read a person's embedding at instead of the box centre.
        count: published forms only: turns the number of people into the divisor.

    Returns:
        Scalar; 0 (with a graph) when nobody is there.
    """
    height, width = emb.shape[-2:]
    unit = normalize(full_precision(emb), dim=1, eps=1e-12).flatten(2)  # [B, D, HW]
    per_picture = [int(count) for count in counts]
    given = anchors_yx.split(per_picture) if anchors_yx is not None else [None] * len(per_picture)
    total = unit.sum() * 0
    for cells, own, own_yx in zip(unit, boxes.split(per_picture), given, strict=True):
        regions = (paper_regions if form == "paper" else published_regions)(own, height, width)
        if len(regions.yx) == 0:
            continue
        yx = regions.yx if own_yx is None else own_yx
        masks = regions.masks(height, width, cells.dtype)
        anchors = cells[:, yx[:, 0] * width + yx[:, 1]].T  # [n, D]
        if form == "paper":
            total = (
                total
                + paper_terms(
                    cells,
                    masks,
                    anchors,
                    beta=beta,
                    detach_similarity=detach_similarity,
                    similarity_distance=similarity_distance,
                ).sum()
            )
        elif form == "published-0":
            total = total + _published_0(cells, masks, anchors, beta)
        else:
            total = total + _published_1(cells, masks, anchors, beta)
    if form == "paper":
        return total
    return total / count(torch.tensor(len(boxes), device=emb.device)).clamp(min=1)
