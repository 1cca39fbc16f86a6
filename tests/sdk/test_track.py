from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from boir_sdk import PoseEstimator, Poses, track
from boir_sdk.errors import InputError
from boir_sdk.skeleton import COCO17, CROWDPOSE14
from boir_sdk.track import Tracker
from tests.support.synthetic_people import Walker, seen

SIZE = Walker((0, 0)).size  # pixels


def follow(
    walkers: Sequence[Walker],
    times_s: Iterable[float],
    *,
    missing: Sequence[Collection[int]] = (),
    seed: int = 0,
    noise: float = 0.01,
    tracker: Tracker | None = None,
) -> list[dict[int, int]]:
    """Who had which id in each picture. `missing[w]` are the pictures that walker w isn't found in."""
    rng = np.random.default_rng(seed)
    tracker = tracker or Tracker(COCO17)
    given_out = []
    for picture, time_s in enumerate(times_s):
        there = [w for w in range(len(walkers)) if w >= len(missing) or picture not in missing[w]]
        poses = seen([walkers[w] for w in there], time_s, rng, noise=noise)
        ids = tracker.update(poses, time_s).ids
        order = [] if poses.ids is None else poses.ids.tolist()
        given_out.append({there[w]: int(i) for w, i in zip(order, ids, strict=True)})
    return given_out


def ids_of(walker: int, pictures: list[dict[int, int]]) -> set[int]:
    return {ids[walker] for ids in pictures if walker in ids}


def at_rate(fps: float, seconds: float) -> list[float]:
    return [i / fps for i in range(round(fps * seconds))]


@pytest.mark.parametrize("hidden", ["nobody", "one", "both"])
@pytest.mark.parametrize("speed", [0.3, 1.5, 3.0])  # sizes a second; a walk is about 1.5
@pytest.mark.parametrize("fps", [10, 30])
def test_two_who_cross_keep_their_ids_through_ten_hidden_frames(hidden: str, speed: float, fps: int) -> None:
    for seed, higher in [(0, 0.03), (1, 0.1), (2, 0.3)]:  # at exactly one place nobody could tell them apart
        pace = speed * SIZE
        walkers = [Walker((500 - 2 * pace, 400), (pace, 0)), Walker((500 + 2 * pace, 400 - higher * SIZE), (-pace, 0))]
        gap = range(fps - 5, fps + 5)  # they meet at 2 s, a second after the first picture
        missing = {"nobody": [], "one": [(), gap], "both": [gap, gap]}[hidden]
        pictures = follow(walkers, [1 + time_s for time_s in at_rate(fps, 2)], missing=missing, seed=seed)
        assert ids_of(0, pictures) == {pictures[0][0]}
        assert ids_of(1, pictures) == {pictures[0][1]}


def test_everybody_gets_an_id_at_once_in_the_order_given() -> None:
    walkers = [Walker((150.0 * i, 300)) for i in range(5)]
    poses = seen(walkers, 0, np.random.default_rng(0))
    result = Tracker(COCO17).update(poses, 0.0)
    assert result.ids is not None and result.ids.dtype == np.int64
    assert sorted(result.ids.tolist()) == [1, 2, 3, 4, 5]
    for name in ("keypoints", "keypoint_scores", "scores", "boxes"):
        assert (getattr(result, name) == getattr(poses, name)).all()
    assert result.skeleton == poses.skeleton


def test_ids_that_poses_bring_along_are_not_read() -> None:
    tracker, rng = Tracker(COCO17), np.random.default_rng(0)
    poses = seen([Walker((0, 0)), Walker((500, 0))], 0, rng)
    first = tracker.update(replace(poses, ids=np.array([70, 70])), 0.0)
    assert first.ids.tolist() == tracker.update(replace(poses, ids=None), 0.1).ids.tolist() == [1, 2]


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_resolution_does_not_matter(scale: float) -> None:
    rng = np.random.default_rng(0)
    walkers = [Walker((200 * i, 300 + 20 * i), ((-1) ** i * 150, 0), 180 + 10 * i) for i in range(6)]
    one, other = Tracker(COCO17), Tracker(COCO17)
    for time_s in at_rate(12, 3):
        poses = seen(walkers, time_s, rng)
        scaled = replace(poses, keypoints=poses.keypoints * np.float32(scale))
        assert one.update(poses, time_s).ids.tolist() == other.update(scaled, time_s).ids.tolist()


def test_turning_sideways_is_no_new_person() -> None:
    """Seen from the side, keypoints stand in a line and their box has hardly an area."""
    walkers = [Walker((300, 300), (50, 0)), Walker((300, 300), (50, 0), slim=0.02)]
    tracker, rng, ids = Tracker(COCO17), np.random.default_rng(0), set()
    for picture, time_s in enumerate(at_rate(10, 4)):
        ids |= set(tracker.update(seen([walkers[picture // 7 % 2]], time_s, rng), time_s).ids.tolist())
    assert ids == {1}


def test_time_steps_are_real() -> None:
    """A walker in pictures that come anyhow: from 5 ms to half a second apart."""
    times_s = np.cumsum(np.random.default_rng(3).choice([0.005, 0.03, 0.1, 0.5], size=80)).tolist()
    pace = 1.5 * SIZE
    pictures = follow([Walker((0, 300), (pace, 0)), Walker((3000, 300), (-pace, 0))], times_s)
    assert ids_of(0, pictures) == {pictures[0][0]} and ids_of(1, pictures) == {pictures[0][1]}


@pytest.mark.parametrize(
    ("known_for", "gone_s", "kept"),
    [(10, 1.8, True), (10, 2.5, False), (1, 0.8, True), (1, 1.3, False)],
    ids=["sure, within the memory", "sure, beyond", "seen once, within half of it", "seen once, beyond half"],
)
def test_memory_is_in_seconds_and_shorter_for_who_was_hardly_seen(known_for: int, gone_s: float, kept: bool) -> None:
    times_s = at_rate(10, known_for / 10)
    times_s.append(times_s[-1] + gone_s)
    pictures = follow([Walker((300, 300))], times_s, tracker=Tracker(COCO17, memory_s=2.0))
    assert (pictures[-1][0] == pictures[0][0]) is kept


@pytest.mark.parametrize(
    ("away_s", "sizes"), [(0.1, 0.5), (0.1, 3.0), (1.9, 2.0)], ids=["just beside", "far off", "off, after a long time"]
)
def test_someone_elsewhere_is_someone_new(away_s: float, sizes: float) -> None:
    tracker, rng = Tracker(COCO17), np.random.default_rng(0)
    for time_s in at_rate(10, 1):
        tracker.update(seen([Walker((300, 300))], time_s, rng), time_s)
    time_s = 0.9 + away_s
    assert tracker.update(seen([Walker((300 + sizes * SIZE, 300))], time_s, rng), time_s).ids.tolist() == [2]


@pytest.mark.parametrize("fps", [3, 5, 10])
def test_someone_seen_from_the_side_may_step_further_than_the_box_is_wide(fps: int) -> None:
    pictures = follow([Walker((0, 300), (1.5 * SIZE, 0), slim=0.02)], at_rate(fps, 20 / fps))
    assert ids_of(0, pictures) == {1}


def test_a_second_look_at_a_person_does_not_take_the_id() -> None:
    """A rough double of a person in one picture gets an id of its own; then the person is again who it was."""
    tracker, rng = Tracker(COCO17), np.random.default_rng(0)
    for time_s in at_rate(15, 1):
        tracker.update(seen([Walker((300, 300))], time_s, rng), time_s)
    person, double = seen([Walker((300, 300))], 1, rng), seen([Walker((310, 300), height=180)], 1, rng, noise=0.05)
    both = Poses(
        np.concatenate([double.keypoints, person.keypoints]),
        np.concatenate([double.keypoint_scores, person.keypoint_scores]),
        np.concatenate([double.scores, person.scores]),
        COCO17,
    )
    assert tracker.update(both, 1.0).ids.tolist() == [2, 1]
    assert tracker.update(seen([Walker((300, 300))], 1.1, rng), 1.1).ids.tolist() == [1]


def test_reset_forgets_people_and_goes_on_counting() -> None:
    tracker = Tracker(COCO17)
    walkers = [Walker((0, 300)), Walker((500, 300))]
    before = follow(walkers, at_rate(10, 1), tracker=tracker)
    tracker.reset()
    after = follow(walkers, at_rate(10, 1), tracker=tracker)
    assert set(before[-1].values()) == {1, 2} and set(after[0].values()) == set(after[-1].values()) == {3, 4}


def test_people_come_and_go_and_no_id_comes_back_for_another() -> None:
    rng, tracker = np.random.default_rng(5), Tracker(COCO17)
    walkers = [Walker((400.0 * w, 300), (rng.uniform(-15, 15), 0)) for w in range(30)]
    visits = [(start, start + int(rng.integers(10, 60))) for start in rng.integers(0, 150, size=30).tolist()]
    owner: dict[int, int] = {}
    for picture, time_s in enumerate(at_rate(15, 14)):
        there = [w for w, (start, end) in enumerate(visits) if start <= picture < end]
        poses = seen([walkers[w] for w in there], time_s, rng)
        ids = tracker.update(poses, time_s).ids.tolist()
        assert len(set(ids)) == len(ids) == len(there)
        for place, i in zip([] if poses.ids is None else poses.ids.tolist(), ids, strict=True):
            assert owner.setdefault(i, there[place]) == there[place]
    assert sorted(owner) == list(range(1, 31))


def test_thirty_people_keep_their_ids() -> None:
    """In three rows, those with odd numbers pass behind those with even ones."""
    walkers = [
        Walker((120.0 * (i % 10), 300 + 250 * (i // 10) - 10 * (i % 2)), ((-1) ** i * 40, 0), 200 - 10 * (i % 2))
        for i in range(30)
    ]
    pictures = follow(walkers, at_rate(15, 3))
    assert all(ids == pictures[0] for ids in pictures) and len(set(pictures[0].values())) == 30


@pytest.mark.parametrize(
    ("step_s", "kept"),
    [(0.0, True), (-0.05, True), (-1.9, True), (-3.0, False), (-3600.0, False), (3600.0, False), (1e300, False)],
)
def test_any_time_may_come_next(step_s: float, kept: bool) -> None:
    tracker, walkers = Tracker(COCO17), [Walker((0, 300)), Walker((500, 300))]
    before = follow(walkers, at_rate(10, 1), tracker=tracker)
    after = follow(walkers, [0.9 + step_s + i / 10 for i in range(30)], tracker=tracker)
    assert set(before[-1].values()) == {1, 2}
    assert all(ids == (after[0]) for ids in after)
    assert set(after[0].values()) == ({1, 2} if kept else {3, 4})


EXTREME = st.one_of(
    st.floats(-2000, 4000, width=32), st.floats(-(2.0**127), 2.0**127, width=32), st.sampled_from([0.0, 1e38, -1e38])
)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_comes_ids_are_whole_and_single_and_nothing_turns_nan(data: st.DataObject) -> None:
    skeleton = data.draw(st.sampled_from([COCO17, CROWDPOSE14]))
    tracker, given_out = Tracker(skeleton, memory_s=data.draw(st.sampled_from([1e-9, 2.0, 60.0]))), 0
    times_s = st.one_of(st.floats(-1e300, 1e300), st.floats(0, 10), st.sampled_from([0.0, 1e-300, 1.0]))
    for _ in range(data.draw(st.integers(1, 6))):
        count = data.draw(st.integers(0, 4))
        keypoints = data.draw(hnp.arrays(np.float32, (count, len(skeleton), 2), elements=EXTREME))
        scores = data.draw(st.sampled_from([0.0, 0.3, 1.0]))
        poses = Poses(keypoints, np.full((count, len(skeleton)), scores), np.full(count, scores), skeleton)
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            ids = tracker.update(poses, data.draw(times_s)).ids
        assert len(set(ids.tolist())) == count
        assert set(range(given_out + 1, int(max(ids, default=0)) + 1)) <= set(ids.tolist())  # counts without holes
        given_out = max(given_out, int(max(ids, default=0)))


def test_a_crowd_that_is_never_found_again_does_not_pile_up() -> None:
    tracker, rng = Tracker(COCO17, memory_s=60.0), np.random.default_rng(0)
    for time_s in at_rate(30, 0.5):
        tracker.update(seen([Walker((x, y)) for x, y in rng.uniform(-1e5, 1e5, (30, 2))], time_s, rng), time_s)
    assert len(tracker._tracks) == 330  # the last picture's and the most that are remembered


@pytest.mark.parametrize("memory_s", [0.0, -1.0, 61.0, float("nan"), float("inf")])
def test_a_memory_that_makes_no_sense_is_refused(memory_s: float) -> None:
    with pytest.raises(InputError, match="memory_s"):
        Tracker(COCO17, memory_s=memory_s)


@pytest.mark.parametrize("time_s", [float("nan"), float("inf"), float("-inf")])
def test_a_time_that_is_no_time_is_refused(time_s: float) -> None:
    with pytest.raises(InputError, match="time_s"):
        Tracker(COCO17).update(Poses.empty(COCO17), time_s)


def test_another_skeleton_is_refused() -> None:
    with pytest.raises(InputError, match=r"crowdpose14.*coco17"):
        Tracker(COCO17).update(Poses.empty(CROWDPOSE14), 0.0)


def test_a_call_during_another_is_refused_and_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, refused = Tracker(COCO17), []
    poses, assign = seen([Walker((0, 0))], 0, np.random.default_rng(0)), track.assign

    def meanwhile(*arguments: object) -> object:
        with pytest.raises(InputError, match="one tracker for each stream"):
            tracker.update(poses, 0.0)
        refused.append(True)
        return assign(*arguments)

    monkeypatch.setattr(track, "assign", meanwhile)
    assert tracker.update(poses, 0.0).ids.tolist() == tracker.update(poses, 0.1).ids.tolist() == [1]
    assert refused == [True, True]


@pytest.mark.parametrize(("clip", "people"), [("classroom", 4), ("face-demographics-walking", 2)])
def test_people_of_a_real_clip_keep_their_ids(shared, clip: str, people: int) -> None:
    capture = cv2.VideoCapture(str(shared / "data" / "videos" / f"{clip}.mp4"))
    fps, tracker, pictures = capture.get(cv2.CAP_PROP_FPS), Tracker(COCO17), 0
    given_out: set[int] = set()
    with PoseEstimator(size=384, threads=1) as estimator:
        while capture.grab():
            if pictures % 3 == 0:  # every third picture is enough, and harder
                given_out |= set(tracker.update(estimator(capture.retrieve()[1]), pictures / fps).ids.tolist())
            pictures += 1
    assert pictures > 30
    assert given_out == set(range(1, people + 1))
