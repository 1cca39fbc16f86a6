"""Two looks at one picture: in full size for small people, in half size for people too large for the network's reach.

A network sees about as far as it was taught to: a person who fills the picture at a large size is seen limb by limb,
the same person in half size as a whole. The second look costs a quarter of the first.
"""

from __future__ import annotations

import numpy as np

from boir_sdk import oks
from boir_sdk.poses import Poses

SAME_PERSON = 0.6  # OKS above which two poses of different looks are of one person; docs/models.md has the choice


def by_default(second_look_px: int, second_look_from: int, size: int) -> bool:
    """Tell whether a model looks twice at network size `size`, pixels, if the user says nothing.

    Args:
        second_look_px: as in `boir_sdk.manifest.Manifest`.
        second_look_from: as there.
        size: of the first look.
    """
    return second_look_px > 0 and size >= second_look_from


def join(full: Poses, half: Poses, min_extent: float) -> Poses:
    """Make one set of people of two.

    People of the second look count if they are large enough to be its business. Of two who are the same person, one in
    each look, the one with the higher score stays (of equals the one of the first look).

    Args:
        full: people of the look in full size.
        half: people of the look in half size, in pixels of the same picture.
        min_extent: the longer side of the box round a person's keypoints that the second look must reach, in pixels of
            the picture.

    Returns:
        People in falling order of score, without identities.
    """
    extent = (half.boxes[:, 2:] - half.boxes[:, :2]).max(axis=1, initial=0.0)
    half = half[extent >= min_extent]
    if not len(half):
        return full
    keypoints = np.concatenate([full.keypoints, half.keypoints])
    keypoint_scores = np.concatenate([full.keypoint_scores, half.keypoint_scores])
    scores = np.concatenate([full.scores, half.scores])
    alike = oks.similarity(keypoints, keypoints, full.skeleton.sigmas) > SAME_PERSON
    second = np.arange(len(scores)) >= len(full)
    twins = alike & (second[:, None] != second[None, :])  # alike in one look are two people to it
    kept: list[int] = []
    for person in np.argsort(-scores, kind="stable"):
        if not twins[person, kept].any():
            kept.append(int(person))
    return Poses(keypoints[kept], keypoint_scores[kept], scores[kept], full.skeleton)
