from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from boir_sdk import Poses, smooth
from boir_sdk.errors import InputError
from boir_sdk.skeleton import COCO17, CROWDPOSE14
from boir_sdk.smooth import Smoother
from tests.support.synthetic_people import SEEN_NOISE, SEEN_SCORE, Walker, seen

STANDING = Walker((300, 400))
SIZE = STANDING.size  # pixels
RATES = pytest.mark.parametrize("fps", [10, 15, 30, 60])


def smoothed(
    walker: Walker, fps: float, *, seconds: float = 2, hidden: Collection[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints [T, 17, 2] as found, and smoothed."""
    rng, smoother, found, steady = np.random.default_rng(0), Smoother(COCO17), [], []
    for picture in range(round(fps * seconds)):
        poses = seen([walker], picture / fps, rng, noise=SEEN_NOISE, hidden=hidden)
        found.append(poses.keypoints[0])
        steady.append(smoother.update(poses, picture / fps).keypoints[0])
    return np.array(found, dtype=float), np.array(steady, dtype=float)


def jitter(keypoints: np.ndarray) -> np.ndarray:
    """Mean length of the second difference of each keypoint of [T, K, 2], [K]."""
    return np.linalg.norm(np.diff(keypoints, 2, axis=0), axis=-1).mean(axis=0)


def lag(walker: Walker, keypoints: np.ndarray, fps: float) -> float:
    """How many frames before did the walker stand like that: the shift that fits the truth best."""
    shifts = np.linspace(-1, 4, 51)
    pictures = np.arange(round(fps), len(keypoints))  # after a second of settling
    errors = [
        np.mean([np.linalg.norm(keypoints[p] - walker.at((p - shift) / fps), axis=-1).mean() for p in pictures])
        for shift in shifts
    ]
    return float(shifts[int(np.argmin(errors))])


@RATES
@pytest.mark.parametrize("hidden", [(), (13, 14, 15, 16)], ids=["all seen", "legs hidden"])
def test_jitter_of_someone_still_falls_to_a_third_and_below(fps: int, hidden: tuple[int, ...]) -> None:
    found, steady = smoothed(STANDING, fps, hidden=hidden)
    assert (jitter(found) > 3 * jitter(steady)).all()
    assert np.linalg.norm(steady[-1] - STANDING.at(0), axis=-1).max() < 0.1 * SIZE


@RATES
@pytest.mark.parametrize("speed", [0.3, 0.7, 1.5, 3.0])  # sizes a second; a walk is about 1.5
def test_someone_who_moves_is_less_than_two_frames_late(fps: int, speed: float) -> None:
    walker = Walker((300, 400), (speed * SIZE, 0))
    _, steady = smoothed(walker, fps)
    assert lag(walker, steady, fps) < 2


def test_lag_is_told_from_none() -> None:
    """The measure itself: what comes three frames late is three frames late."""
    walker = Walker((300, 400), (SIZE, 0))
    late = np.array([walker.at((picture - 3) / 30) for picture in range(60)])
    assert lag(walker, late, 30) == pytest.approx(3)


def test_resolution_does_not_matter() -> None:
    rng, one, other = np.random.default_rng(0), Smoother(COCO17), Smoother(COCO17)
    walker = Walker((300, 400), (SIZE, 0))
    for picture in range(30):
        poses = seen([walker], picture / 15, rng)
        scaled = replace(poses, keypoints=poses.keypoints * np.float32(8))
        steady, steady_scaled = one.update(poses, picture / 15), other.update(scaled, picture / 15)
        assert steady_scaled.keypoints / 8 == pytest.approx(steady.keypoints, rel=1e-5)


def test_time_steps_are_real() -> None:
    """The same movement in twice the pictures is as late in seconds, by and large."""
    walker = Walker((300, 400), (0.5 * SIZE, 0))
    late_s = []
    for fps in (20, 40):
        _, steady = smoothed(walker, fps)
        late_s.append(lag(walker, steady, fps) / fps)
    assert late_s[0] == pytest.approx(late_s[1], abs=0.02)
    assert late_s[0] > 0.01


@pytest.mark.parametrize("speed", [0.0, 1.0])
def test_a_keypoint_that_gets_lost_goes_with_the_body(speed: float) -> None:
    """A wrist that for six frames is found somewhere else with a low score; sure, it would be followed there."""
    walker, wrist, fps = Walker((300, 400), (speed * SIZE, 0)), 9, 30
    furthest = {}
    for score in (0.02, 0.27):
        rng, smoother, off = np.random.default_rng(0), Smoother(COCO17), []
        for picture in range(60):
            poses = seen([walker], picture / fps, rng)
            if picture >= 54:
                keypoints, scores = poses.keypoints.copy(), poses.keypoint_scores.copy()
                keypoints[0, wrist] += 0.5 * SIZE
                scores[0, wrist] = score
                poses = replace(poses, keypoints=keypoints, keypoint_scores=scores)
            steady = smoother.update(poses, picture / fps).keypoints[0]
            off.append(np.linalg.norm(steady[wrist] - walker.at(picture / fps)[wrist]) / SIZE)
        furthest[score] = max(off[54:])
    assert furthest[0.27] > 0.4
    assert furthest[0.02] < 0.25


def test_a_person_who_gets_blurred_is_steadier_than_one_as_noisy_but_sure() -> None:
    mean_off = {}
    for sure in (False, True):
        rng, smoother, off = np.random.default_rng(0), Smoother(COCO17), []
        for picture in range(66):
            poses = seen([STANDING], picture / 30, rng, hidden=range(17) if picture >= 60 else ())
            if sure:
                poses = replace(poses, keypoint_scores=np.full((1, 17), SEEN_SCORE))
            steady = smoother.update(poses, picture / 30).keypoints[0]
            off.append(np.linalg.norm(steady - STANDING.at(0), axis=-1).mean() / SIZE)
        mean_off[sure] = np.mean(off[60:])
    assert mean_off[False] < 0.6 * mean_off[True]


def test_a_keypoint_that_is_never_seen_well_still_follows_the_body() -> None:
    walker = Walker((300, 400), (1.5 * SIZE, 0))
    _, steady = smoothed(walker, 30, hidden=(15, 16))
    behind = np.array([walker.at(p / 30)[15:, 0] - steady[p, 15:, 0] for p in range(30, 60)]) / SIZE
    assert abs(behind.mean()) < 0.1


def test_the_first_look_is_given_as_it_is_and_all_but_keypoints_stays() -> None:
    rng, smoother = np.random.default_rng(0), Smoother(COCO17)
    walkers = [Walker((200 * i, 300)) for i in range(3)]
    first = seen(walkers, 0, rng)
    assert (smoother.update(first, 0.0).keypoints == first.keypoints).all()
    second = seen(walkers, 0.1, rng)
    steady = smoother.update(second, 0.1)
    for name in ("ids", "scores", "keypoint_scores"):
        assert (getattr(steady, name) == getattr(second, name)).all()
    assert (steady.keypoints != second.keypoints).mean() > 0.9
    assert (steady.boxes[:, :2] == steady.keypoints.min(axis=1)).all()


def test_states_go_by_id_in_whatever_order_people_come() -> None:
    """Three at once, shuffled, are each smoothed as if alone."""
    rng, together, alone = np.random.default_rng(0), Smoother(COCO17), [Smoother(COCO17) for _ in range(3)]
    walkers = [Walker((200 * i, 300), (100.0 * i, 0)) for i in range(3)]
    orders = set()
    for picture in range(20):
        poses = seen(walkers, picture / 20, rng)
        orders.add(tuple(poses.ids.tolist()))
        steady = together.update(poses, picture / 20)
        for place, i in enumerate(poses.ids.tolist()):
            own = alone[i].update(poses[place], picture / 20)
            assert (own.keypoints[0] == steady.keypoints[place]).all()
    assert len(orders) > 2


@pytest.mark.parametrize(
    ("away_s", "kept"),
    [(0.9, True), (1.1, False), (3600.0, False), (1e300, False), (-0.5, True), (-1.5, False), (-1e300, False)],
)
def test_someone_away_for_longer_than_the_memory_begins_anew(away_s: float, kept: bool) -> None:
    smoother = Smoother(COCO17, min_cutoff_hz=0.1, beta=0.0, memory_s=1.0)
    here = seen([STANDING], 0, np.random.default_rng(0), noise=0)
    for picture in range(10):
        smoother.update(here, picture / 10)
    there = replace(here, keypoints=here.keypoints + np.float32(50))
    steady = smoother.update(there, 0.9 + away_s)
    moved = float((steady.keypoints - here.keypoints).mean())
    assert (moved < 40) if kept else (moved == pytest.approx(50))


def test_a_second_picture_of_the_same_moment_moves_nothing() -> None:
    smoother, rng = Smoother(COCO17), np.random.default_rng(0)
    first = smoother.update(seen([STANDING], 0, rng), 0.5)
    again = smoother.update(seen([STANDING], 0, rng), 0.5)
    assert (first.keypoints == again.keypoints).all()


def test_reset_forgets_everybody() -> None:
    smoother, rng = Smoother(COCO17), np.random.default_rng(0)
    smoother.update(seen([STANDING], 0, rng), 0.0)
    smoother.reset()
    poses = seen([STANDING], 0, rng)
    assert (smoother.update(poses, 0.01).keypoints == poses.keypoints).all()


def test_people_out_of_sight_do_not_pile_up() -> None:
    smoother, rng = Smoother(COCO17), np.random.default_rng(0)
    for picture in range(50):
        poses = seen([Walker((150.0 * i, 300)) for i in range(30)], 0, rng)
        smoother.update(replace(poses, ids=poses.ids + 30 * picture), picture / 100)
    assert len(smoother._states.ids) == 330


EXTREME = st.one_of(
    st.floats(-2000, 4000, width=32), st.floats(-(2.0**127), 2.0**127, width=32), st.sampled_from([0.0, 3e38, -3e38])
)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_comes_nothing_turns_nan(data: st.DataObject) -> None:
    """`Poses` itself refuses what isn't finite, so an answer is finite."""
    skeleton = data.draw(st.sampled_from([COCO17, CROWDPOSE14]))
    smoother = Smoother(skeleton, memory_s=data.draw(st.sampled_from([1e-9, 1.0, 60.0])))
    times_s = st.one_of(st.floats(-1e300, 1e300), st.floats(0, 10), st.sampled_from([0.0, 1e-300, 1e-7, 1.0]))
    for _ in range(data.draw(st.integers(1, 6))):
        ids = data.draw(st.lists(st.integers(-5, 5), max_size=4, unique=True))
        keypoints = data.draw(hnp.arrays(np.float32, (len(ids), len(skeleton), 2), elements=EXTREME))
        scores = data.draw(st.sampled_from([0.0, 0.3, 1.0]))
        scored = np.full((len(ids), len(skeleton)), scores)
        poses = Poses(keypoints, scored, np.full(len(ids), scores), skeleton, np.array(ids, dtype=np.int64))
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            steady = smoother.update(poses, data.draw(times_s))
        assert steady.ids.tolist() == ids


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"min_cutoff_hz": 0.0}, "min_cutoff_hz"),
        ({"min_cutoff_hz": float("nan")}, "min_cutoff_hz"),
        ({"min_cutoff_hz": float("inf")}, "min_cutoff_hz"),
        ({"beta": -1.0}, "beta"),
        ({"beta": float("nan")}, "beta"),
        ({"memory_s": 0.0}, "memory_s"),
        ({"memory_s": float("inf")}, "memory_s"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Smoother(COCO17, **options)


@pytest.mark.parametrize(
    ("ids", "skeleton", "time_s", "says"),
    [
        (None, COCO17, 0.0, "no ids"),
        ([3, 3], COCO17, 0.0, "twice"),
        ([1, 2], CROWDPOSE14, 0.0, r"coco17.*crowdpose14"),
        ([1, 2], COCO17, float("nan"), "time_s"),
        ([1, 2], COCO17, float("inf"), "time_s"),
    ],
)
def test_what_can_not_be_smoothed_is_refused(ids, skeleton, time_s: float, says: str) -> None:
    poses = seen([Walker((0, 300)), Walker((400, 300))], 0, np.random.default_rng(0))
    poses = replace(poses, ids=None if ids is None else np.array(ids))
    with pytest.raises(InputError, match=says):
        Smoother(skeleton).update(poses, time_s)


def test_a_call_during_another_is_refused_and_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    smoother, refused, filtered = Smoother(COCO17), [], smooth._filtered
    poses = seen([STANDING], 0, np.random.default_rng(0))

    def meanwhile(*arguments: object) -> object:
        with pytest.raises(InputError, match="one for each stream"):
            smoother.update(poses, 0.0)
        refused.append(True)
        return filtered(*arguments)

    monkeypatch.setattr(smooth, "_filtered", meanwhile)
    assert (smoother.update(poses, 0.0).keypoints == smoother.update(poses, 0.1).keypoints).all()
    assert refused == [True, True]
