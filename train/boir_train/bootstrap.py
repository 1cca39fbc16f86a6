"""How sure an average precision is: a bootstrap over pictures, from matches that are already made.

A resample of pictures is a weight per picture. Weighting each detection by its picture's weight gives exactly what
evaluating the resampled set gives: copies of a detection stand side by side in the order of scores, and the
interpolated precision does not see the points between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True)
class Matches:
    """What became of each counted detection, so that AP of any resample of pictures costs no new matching.

    Attributes:
        scores: float64 [D], falling (equal scores in the order of pictures).
        picture: int64 [D], index of the picture among the evaluated ones.
        hit: bool [T, D], matched to a person who counts, per OKS threshold.
        miss: bool [T, D], a false positive; neither hit nor miss means ignored.
        people: int64 [P], people who count in each picture.
    """

    scores: np.ndarray
    picture: np.ndarray
    hit: np.ndarray
    miss: np.ndarray
    people: np.ndarray


def average_precision(matches: Matches, weights: np.ndarray | None = None) -> float:
    """AP over all OKS thresholds and areas, with each picture counted `weights` times.

    Args:
        matches: of D detections.
        weights: int64 or float64 [P], one per picture; all 1 if None, which gives pycocotools' AP.

    Returns:
        0..1, or -1 when nobody is there.
    """
    weights = np.ones(len(matches.people)) if weights is None else weights.astype(np.float64)
    people = float(weights @ matches.people)
    if people == 0:
        return -1.0
    each = weights[matches.picture]
    hits = np.cumsum(matches.hit * each, axis=1)  # [T, D]
    misses = np.cumsum(matches.miss * each, axis=1)
    recall = hits / people
    precision = hits / (hits + misses + np.spacing(1))
    # Interpolated: the best precision at this recall or beyond. A last column of 0 answers recalls never reached.
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    read = [row[np.searchsorted(reached, RECALLS, side="left")] for row, reached in zip(best, recall, strict=True)]
    return float(np.mean(read))


def interval(matches: Matches, *, level: float = 0.95, resamples: int = 500, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of AP over pictures drawn with replacement.

    It speaks of the choice of pictures only, not of the training run. Resamples without people are left out.

    Args:
        matches: from an evaluation.
        level: share of resamples inside the interval, 0..1.
        resamples: how many; at least 200 for a 95 % interval.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        Lower and upper bound of AP, 0..1; (-1, -1) when there are no people at all.
    """
    pictures = len(matches.people)
    draws = np.random.default_rng(seed).multinomial(pictures, np.full(pictures, 1 / pictures), size=resamples)
    values = [value for value in (average_precision(matches, draw) for draw in draws) if value >= 0]
    if not values:
        return -1.0, -1.0
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
