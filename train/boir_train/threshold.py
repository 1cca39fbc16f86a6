"""The score below which people are better left out: where precision and recall are best balanced.

AP asks for every detection, a user for the right ones. A bundle takes the score of highest F0.5 (precision
weighs more than recall: a false person is worse than a missed one) at an OKS of 0.5, on pictures held out from
training.
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


def best_threshold(matches: Matches, beta: float = 1.0) -> Threshold | None:
    """Return the score threshold with the highest F-beta at OKS 0.5 (of equals the highest), or None where nobody is.

    A detection counts when its score is at least the threshold. Ignored detections count for nothing.

    Args:
        matches: of an evaluation.
        beta: how much more recall weighs than precision: 1 is F1, 0.5 prefers few false people.
    """
    people = int(matches.people.sum())
    hits, misses = np.cumsum(matches.hit[OKS_050]), np.cumsum(matches.miss[OKS_050])
    if people == 0 or not len(hits) or hits[-1] == 0:
        return None
    balance = (1 + beta**2) * hits / (hits + misses + beta**2 * people)
    # only after the last of several equal scores have all of them passed the threshold
    balance[:-1][matches.scores[:-1] == matches.scores[1:]] = -1
    best = int(balance.argmax())
    return Threshold(
        score=float(matches.scores[best]),
        precision=float(hits[best] / (hits[best] + misses[best])),
        recall=float(hits[best] / people),
        f1=float(2 * hits[best] / (hits[best] + misses[best] + people)),
    )
