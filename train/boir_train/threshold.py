"""The score below which people are better left out: where precision and recall are best balanced.

AP asks for every detection, a user for the right ones. The threshold of a bundle is the score of highest F1 on pictures
that were trained on by nobody, people matched at an OKS of 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boir_train.bootstrap import Matches

OKS_050 = 0  # row of the lowest OKS threshold in `Matches`


@dataclass(frozen=True, slots=True)
class Threshold:
    """A score threshold and what it gives: precision, recall and their harmonic mean, 0..1."""

    score: float
    precision: float
    recall: float
    f1: float


def best_threshold(matches: Matches) -> Threshold | None:
    """Return the score threshold with the highest F1 at OKS 0.5 (of equals the highest), or None where nobody is.

    A detection counts when its score is at least the threshold. Ignored detections count for nothing.
    """
    people = int(matches.people.sum())
    hits, misses = np.cumsum(matches.hit[OKS_050]), np.cumsum(matches.miss[OKS_050])
    if people == 0 or not len(hits) or hits[-1] == 0:
        return None
    f1 = 2 * hits / (hits + misses + people)
    # only after the last of several equal scores have all of them passed the threshold
    f1[:-1][matches.scores[:-1] == matches.scores[1:]] = -1
    best = int(f1.argmax())
    return Threshold(
        score=float(matches.scores[best]),
        precision=float(hits[best] / (hits[best] + misses[best])),
        recall=float(hits[best] / people),
        f1=float(f1[best]),
    )
