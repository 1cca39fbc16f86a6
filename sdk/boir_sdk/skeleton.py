"""Skeletons: names, limbs, left/right exchange and OKS sigmas of the two keypoint conventions (SPEC-model M1)."""

from __future__ import annotations

from dataclasses import dataclass

from boir_sdk.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Skeleton:
    """One keypoint convention.

    Attributes:
        name: the name used in manifests, configurations and `build_model`.
        keypoints: K names in channel order.
        limbs: pairs of keypoint indices that a drawing connects.
        flip_index: K indices; channel k of a mirrored picture shows keypoint `flip_index[k]`.
        sigmas: K OKS fall-off constants (already divided by 10).
    """

    name: str
    keypoints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    flip_index: tuple[int, ...]
    sigmas: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.keypoints)


def _tenths(*values: float) -> tuple[float, ...]:
    """OKS sigmas as the evaluators make them: the published numbers divided by 10 in float64, to the last bit."""
    return tuple(value / 10 for value in values)


COCO17 = Skeleton(
    name="coco17",
    keypoints=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    limbs=(
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 4),
        (5, 6),
        (5, 7),
        (7, 9),
        (6, 8),
        (8, 10),
        (5, 11),
        (6, 12),
        (11, 12),
        (11, 13),
        (13, 15),
        (12, 14),
        (14, 16),
    ),
    flip_index=(0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15),
    sigmas=_tenths(
        0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89
    ),
)
"""COCO's 17 keypoints, from the nose to the right ankle; those of the embedded model."""

CROWDPOSE14 = Skeleton(
    name="crowdpose14",
    keypoints=(
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
        "head",
        "neck",
    ),
    limbs=(
        (12, 13),
        (13, 0),
        (13, 1),
        (0, 2),
        (2, 4),
        (1, 3),
        (3, 5),
        (0, 6),
        (1, 7),
        (6, 7),
        (6, 8),
        (8, 10),
        (7, 9),
        (9, 11),
    ),
    flip_index=(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 12, 13),
    sigmas=_tenths(0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89, 0.79, 0.79),
)
"""CrowdPose's 14 keypoints: shoulders to ankles, then head and neck."""

SKELETONS = {skeleton.name: skeleton for skeleton in (COCO17, CROWDPOSE14)}


def get_skeleton(name: str) -> Skeleton:
    """Return the skeleton of a name.

    Args:
        name: `coco17` or `crowdpose14`.

    Raises:
        ConfigError: no skeleton has that name.
    """
    try:
        return SKELETONS[name]
    except KeyError:
        raise ConfigError(f"unknown skeleton {name!r}: known are {', '.join(SKELETONS)}") from None
