"""The weighted sum that training minimises (SPEC-training T1.8, T3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from boir_sdk.errors import ConfigError
from boir_train.losses.box import BoxAnchor, box_loss
from boir_train.losses.cells import Count, alone, full_precision
from boir_train.losses.embedding import EmbeddingAnchor, EmbeddingForm, SimilarityDistance, bbox_mask_loss
from boir_train.losses.focal import focal_loss, probability
from boir_train.losses.offset import offset_loss
from boir_train.losses.regress import regress_loss
from boir_train.losses.soft import Lesson, soft_distance, soft_loss

Normalise = Literal["rank", "all"]


@dataclass(frozen=True, slots=True)
class LossSettings:
    """Weights and forms of the loss terms; the defaults are those of T1.3 with the recommended forms.

    Attributes:
        multi_heatmap: weight of the bottom-up and centre heatmaps' focal loss.
        single_heatmap: weight of the person head's focal loss.
        bbox_mask: weight of the Bbox Mask Loss.
        bbox: weight of the box loss.
        offset: weight of the offset loss, for models that have that output.
        regress: weight of the regression loss, for models that have that output.
        soft: weight of the soft heatmaps, for runs with a teacher (`model.teacher`).
        soft_focus: how much more cells count on which the two disagree (`soft_loss`): an exponent, 0 or from 1 up.
        soft_offset: weight of the distance from the teacher's offsets.
        soft_regress: weight of the distance from the teacher's regressed keypoints.
        beta: steepness of the Bbox Mask Loss.
        embedding_loss: its form, `paper`, `published-0` or `published-1`.
        embedding_channels: how many of the embedding head's channels are used, the first ones (the paper's D); 0 is
            all. The others get no gradient, as if they weren't there.
        embedding_anchor: paper form: a person's embedding is read at the `box` centre or at the `instance` cell.
        detach_similarity: paper form: no gradient through the soft mask.
        similarity_distance: paper form: `mean` or `sum` over channels in the soft mask.
        box_anchor: `xy` (paper) or `yx` (published).
        offset_radius: cells round a keypoint that learn its offset.
        normalise: over how many processes a term's normaliser is counted: `rank`, each its own (published, T3.3), or
            `all`, so that any number of processes learn as one with the joined batch.
    """

    multi_heatmap: float = 1.0
    single_heatmap: float = 4.0
    bbox_mask: float = 0.25
    bbox: float = 0.25
    offset: float = 0.0
    regress: float = 0.0
    soft: float = 0.0
    soft_focus: float = 0.0
    soft_offset: float = 0.0
    soft_regress: float = 0.0
    beta: float = 10.0
    embedding_loss: EmbeddingForm = "paper"
    embedding_channels: int = 0
    embedding_anchor: EmbeddingAnchor = "box"
    detach_similarity: bool = True
    similarity_distance: SimilarityDistance = "mean"
    box_anchor: BoxAnchor = "xy"
    offset_radius: float = 2.5
    normalise: Normalise = "rank"

    @property
    def taught(self) -> float:
        """The weight of all that a teacher teaches."""
        return self.soft + self.soft_offset + self.soft_regress

    def __post_init__(self) -> None:
        """Refuse what would train silently wrong.

        Raises:
            ConfigError: a weight is negative or not finite, or a form's name is unknown.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"loss.{field.name} is {value}: must be a finite number that is not negative")
        if 0 < self.soft_focus < 1:
            raise ConfigError(
                f"loss.soft_focus is {self.soft_focus}: 0 or from 1 up, or cells that agree have no gradient"
            )
        for name, choices in (
            ("embedding_loss", EmbeddingForm),
            ("embedding_anchor", EmbeddingAnchor),
            ("similarity_distance", SimilarityDistance),
            ("box_anchor", BoxAnchor),
            ("normalise", Normalise),
        ):
            value = getattr(self, name)
            if value not in get_args(choices):
                raise ConfigError(f"loss.{name} is {value!r}: known are {', '.join(get_args(choices))}")


class Targets(Protocol):
    """What `total_loss` reads of a batch; shapes as in boir_train.data.loader.Batch."""

    @property
    def images(self) -> Tensor: ...  # noqa: D102
    @property
    def multi_heatmap(self) -> Tensor: ...  # noqa: D102
    @property
    def multi_mask(self) -> Tensor: ...  # noqa: D102
    @property
    def instance_coord(self) -> Tensor: ...  # noqa: D102
    @property
    def image_index(self) -> Tensor: ...  # noqa: D102
    @property
    def instance_heatmap(self) -> Tensor: ...  # noqa: D102
    @property
    def instance_mask(self) -> Tensor: ...  # noqa: D102
    @property
    def keypoints(self) -> Tensor: ...  # noqa: D102
    @property
    def boxes(self) -> Tensor: ...  # noqa: D102
    @property
    def counts(self) -> Tensor: ...  # noqa: D102
    @property
    def num_inst(self) -> Tensor: ...  # noqa: D102


def _shared_maps(outputs: Mapping[str, Tensor], batch: Targets) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, target and mask of bottom-up and centre heatmaps; of the centre alone without the bottom-up head."""
    heads = [outputs[name] for name in ("keypoint_logits", "center_logits") if name in outputs]
    logits = torch.cat([full_precision(head) for head in heads], dim=1)
    target, mask = (maps[:, -logits.shape[1] :] for maps in (batch.multi_heatmap, batch.multi_mask))
    return logits, target, mask


def _bbox_mask(outputs: Mapping[str, Tensor], batch: Targets, settings: LossSettings, count: Count) -> Tensor:
    boxes, counts, yx = batch.boxes, batch.counts, batch.instance_coord
    if settings.embedding_loss == "paper":  # the published forms count placeholders as people, the paper's doesn't
        real = batch.num_inst[batch.image_index] > 0
        boxes, counts, yx = boxes[real], batch.num_inst, yx[real]
    embedding = outputs["embedding"]
    if settings.embedding_channels > embedding.shape[1]:
        raise ConfigError(
            f"loss.embedding_channels is {settings.embedding_channels}, but the head has {embedding.shape[1]}"
        )
    return bbox_mask_loss(
        embedding[:, : settings.embedding_channels or None],
        boxes,
        counts,
        form=settings.embedding_loss,
        beta=settings.beta,
        detach_similarity=settings.detach_similarity,
        similarity_distance=settings.similarity_distance,
        anchors_yx=yx if settings.embedding_anchor == "instance" else None,
        count=count,
    )


def _soft(
    outputs: Mapping[str, Tensor], batch: Targets, settings: LossSettings, lesson: Lesson, count: Count
) -> dict[str, Tensor]:
    terms = {}
    if settings.soft:
        logits, target, mask = _shared_maps(outputs, batch)
        soft = lesson.heatmaps[:, -logits.shape[1] :]
        terms["soft"] = settings.soft * soft_loss(logits, soft, target, mask, focus=settings.soft_focus, count=count)
    keypoints, centres = lesson.heatmaps[:, :-1], lesson.heatmaps[:, -1:]
    if settings.soft_offset and "offset" in outputs:
        distance = soft_distance(outputs["offset"], lesson.offset, keypoints)
        terms["soft_offset"] = settings.soft_offset * distance
    if settings.soft_regress and "regress" in outputs:
        distance = soft_distance(outputs["regress"], lesson.regress, centres)
        terms["soft_regress"] = settings.soft_regress * distance
    return terms


def total_loss(
    outputs: Mapping[str, Tensor],
    batch: Targets,
    settings: LossSettings,
    *,
    people: Tensor | None = None,
    lesson: Lesson | None = None,
    count: Count = alone,
) -> dict[str, Tensor]:
    """All loss terms of one batch and their sum.

    Runs outside autocast whatever surrounds it (T3.5): the embedding loss is made of matrix products.

    Args:
        outputs: the training form's maps: center_logits, and where the model has them keypoint_logits, embedding, box,
            offset, regress; person_logits [P, K, R, R].
        batch: the targets.
        settings: weights and forms.
        people: int64 [P], which people of the batch `person_logits` holds, when that is not all of them (T2.10).
        lesson: what a teacher sees in the batch.
        count: turns what a term is normalised by, as counted here, into what it is divided by.

    Returns:
        Scalars by name, each weighted and divided by the number of pictures, and `total`. A term with weight 0 or
        without its output is left out.
    """
    terms: dict[str, Tensor] = {}
    pictures = len(batch.images)
    with torch.autocast(batch.images.device.type, enabled=False):
        if settings.multi_heatmap:
            logits, target, mask = _shared_maps(outputs, batch)
            terms["multi_heatmap"] = settings.multi_heatmap * focal_loss(probability(logits), target, mask, count=count)
        if lesson is not None:
            terms.update(_soft(outputs, batch, settings, lesson, count))
        if settings.single_heatmap and "person_logits" in outputs:
            heatmap, mask = batch.instance_heatmap, batch.instance_mask
            if people is not None:
                heatmap, mask = heatmap[people], mask[people]
            terms["single_heatmap"] = settings.single_heatmap * focal_loss(
                probability(outputs["person_logits"]), heatmap, mask, count=count
            )
        if settings.bbox_mask and "embedding" in outputs:
            terms["bbox_mask"] = settings.bbox_mask * _bbox_mask(outputs, batch, settings, count)
        if settings.bbox and "box" in outputs:
            terms["bbox"] = settings.bbox * box_loss(
                outputs["box"],
                batch.instance_coord,
                batch.boxes,
                batch.counts,
                anchor=settings.box_anchor,
                count=count,
            )
        if settings.offset and "offset" in outputs:
            terms["offset"] = settings.offset * offset_loss(
                outputs["offset"], batch.keypoints, batch.image_index, radius=settings.offset_radius, count=count
            )
        if settings.regress and "regress" in outputs:
            terms["regress"] = settings.regress * regress_loss(
                outputs["regress"],
                batch.keypoints,
                batch.boxes,
                batch.image_index,
                batch.instance_coord,
                count=count,
            )
        terms = {name: value / pictures for name, value in terms.items()}
        terms["total"] = torch.stack(list(terms.values())).sum()
    return terms
