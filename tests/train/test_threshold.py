"""The threshold of highest F1, against a search over all thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from boir_train.bootstrap import Matches
from boir_train.threshold import best_threshold


def matches(scores, hit, people):
    scores, hit = np.array(scores, float), np.array(hit, bool)
    order = np.argsort(-scores, kind="stable")
    return Matches(scores[order], np.zeros(len(scores), int), hit[order][None], ~hit[order][None], np.array([people]))


def test_separable_scores():
    best = best_threshold(matches([0.9, 0.8, 0.3, 0.2], [1, 1, 0, 0], people=2))
    assert (best.score, best.precision, best.recall, best.f1) == (0.8, 1.0, 1.0, 1.0)


def test_equal_scores_pass_together():
    best = best_threshold(matches([0.5, 0.5, 0.5], [1, 0, 0], people=1))
    assert best.precision == pytest.approx(1 / 3)


@pytest.mark.parametrize("seed", range(20))
def test_against_a_search(seed):
    rng = np.random.default_rng(seed)
    scores, hit = np.round(rng.random(40), 1), rng.random(40) < 0.5
    people = int(hit.sum()) + 5
    f1 = {s: 2 * hit[scores >= s].sum() / ((scores >= s).sum() + people) for s in set(scores.tolist())}
    best = best_threshold(matches(scores, hit, people))
    assert best.f1 == pytest.approx(max(f1.values()))
    assert f1[best.score] == pytest.approx(best.f1)


def test_caution_asks_for_precision():
    made = matches([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 0, 1], people=3)
    assert best_threshold(made).score == 0.8
    everybody = matches([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 1], people=3)
    assert (best_threshold(everybody).score, best_threshold(everybody, 0.3).score) == (0.6, 0.9)


@pytest.mark.parametrize(("scores", "hit", "people"), [([], [], 3), ([0.5], [0], 3), ([0.5], [0], 0)])
def test_nobody(scores, hit, people):
    assert best_threshold(matches(scores, hit, people)) is None
