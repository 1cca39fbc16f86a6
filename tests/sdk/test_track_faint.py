"""People too faint to be believed in one picture, who were there before."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest

from boir_sdk import PoseEstimator, Poses
from boir_sdk.errors import InputError
from boir_sdk.estimator import FAINT
from boir_sdk.skeleton import COCO17
from boir_sdk.track import Tracker
from tests.conftest import ROOT
from tests.support.synthetic_people import Walker, seen

BELIEVED = 0.2
CLEAR, FAINT_SCORE = 0.5, 0.1


def scored(walkers: list[Walker], scores: list[float], time_s: float) -> Poses:
    poses = seen(walkers, time_s, np.random.default_rng(0), noise=0.0)
    return replace(poses, scores=np.array(scores, np.float32))


def update(tracker: Tracker, walkers: list[Walker], scores: list[float], time_s: float) -> list[int]:
    ids = tracker.update(scored(walkers, scores, time_s), time_s).ids
    assert ids is not None
    return ids.tolist()


@pytest.mark.parametrize(("sightings", "kept"), [(1, False), (2, False), (3, True), (10, True)])
def test_who_was_found_three_times_stays_when_faint(sightings: int, kept: bool) -> None:
    tracker, walker = Tracker(COCO17, new_score=BELIEVED), Walker((300, 300), (50, 0))
    for picture in range(sightings):
        assert update(tracker, [walker], [CLEAR], picture / 10) == [1]
    for picture in range(sightings, sightings + 30):
        assert update(tracker, [walker], [FAINT_SCORE], picture / 10) == ([1] if kept else [])


def test_faint_strangers_get_no_id_however_often_they_are_seen() -> None:
    tracker, walker = Tracker(COCO17, new_score=BELIEVED), Walker((300, 300))
    assert all(update(tracker, [walker], [FAINT_SCORE], t / 10) == [] for t in range(20))
    assert update(tracker, [walker], [BELIEVED], 2.0) == [1]


def test_the_others_keep_their_order_and_scores() -> None:
    walkers = [Walker((300 * i, 300)) for i in range(4)]
    tracker = Tracker(COCO17, new_score=BELIEVED)
    for time_s in (0.0, 0.1, 0.2):
        update(tracker, walkers[:2] + walkers[3:], [CLEAR] * 3, time_s)
    poses = scored(walkers, [CLEAR, FAINT_SCORE, FAINT_SCORE, CLEAR], 0.3)
    followed = tracker.update(poses, 0.3)
    assert followed.ids is not None and followed.ids.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(followed.keypoints, poses.keypoints[[0, 1, 3]])
    np.testing.assert_array_equal(followed.scores, poses.scores[[0, 1, 3]])


@pytest.mark.parametrize("faint_first", [False, True])
def test_a_believable_person_goes_before_a_faint_one_who_fits_better(faint_first: bool) -> None:
    tracker, walker = Tracker(COCO17, new_score=BELIEVED), Walker((300, 300))
    for time_s in (0.0, 0.1, 0.2):
        update(tracker, [walker], [CLEAR], time_s)
    beside = Walker((300 + 0.1 * walker.size, 300))
    pair = [(walker, FAINT_SCORE), (beside, CLEAR)]
    people, scores = zip(*(pair if faint_first else pair[::-1]), strict=True)
    poses = scored(list(people), list(scores), 0.3)
    followed = tracker.update(poses, 0.3)
    assert followed.ids is not None and followed.ids.tolist() == [1] and followed.scores[0] == np.float32(CLEAR)


def test_without_a_limit_everybody_is_somebody() -> None:
    assert update(Tracker(COCO17), [Walker((300, 300)), Walker((900, 300))], [0.0, 0.9], 0.0) == [1, 2]


@pytest.mark.parametrize("new_score", [-0.1, 1.1, float("nan")])
def test_a_limit_that_is_no_score_is_refused(new_score: float) -> None:
    with pytest.raises(InputError, match=r"new_score is .*, expected"):
        Tracker(COCO17, new_score=new_score)


def test_streams_follow_below_the_threshold_and_pictures_do_not() -> None:
    """Somebody scored above the threshold at first and below it later, as when another one steps before him."""
    picture = cv2.imread(str(ROOT / "demos" / "people.jpg"))
    with PoseEstimator(size=256, threads=1, score_threshold=0.0) as estimator:
        scores = np.sort(estimator(picture).scores)[::-1]
        dimmed = (picture * 0.25).astype(np.uint8)
        dim = np.sort(estimator(dimmed).scores)[::-1]
    threshold = float((scores[0] + dim[0]) / 2)
    assert dim[0] > threshold * FAINT  # else this picture shows nothing
    frames = [picture] * 3 + [dimmed] * 3
    with PoseEstimator(size=256, threads=1, score_threshold=threshold) as estimator:
        assert estimator.info["thresholds"]["followed"] == pytest.approx(threshold * FAINT)

        def counts(**how: bool) -> list[int]:
            with estimator.stream(iter(frames), **how) as stream:
                return [len(result.poses) for result in stream]

        strict = [len(estimator(frame)) for frame in frames]
        assert strict[0] >= 1 and strict[3] == 0
        assert counts() == counts(smooth=True) == strict
        followed = counts(track=True)
        assert followed[:3] == strict[:3] and min(followed[3:]) >= 1
        # who is above the threshold is the same person whatever else is let through
        all_of_them = estimator._people(picture, threshold * FAINT)
        np.testing.assert_array_equal(all_of_them[: strict[0]].keypoints, estimator(picture).keypoints)


def test_a_real_clip_shows_who_is_half_hidden(shared) -> None:
    """A woman reaches into a shelf; another one, seen from behind, steps before her."""
    path = str(shared / "data" / "videos" / "store-aisle-detection.mp4")

    def people(**how: bool) -> tuple[list[int], set[int]]:
        ids: set[int] = set()
        with estimator.stream(path, **how) as stream:
            counts = []
            for result in stream:
                counts.append(len(result.poses))
                ids |= set() if result.poses.ids is None else set(result.poses.ids.tolist())
        return counts, ids

    with PoseEstimator(size=512, threads=1) as estimator:
        alone, _ = people()
        followed, ids = people(track=True)
    assert len(alone) == len(followed) == 63
    # the second woman's trunk is in the picture from about frame 30 on
    assert Counter(alone[34:])[3] < 5 and Counter(followed[34:])[3] > 0.9 * 29
    assert min(followed) == 2 and ids == {1, 2, 3}
