"""Two looks at one picture become one set of people."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boir_sdk import looks, oks
from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17


def person(x: float, y: float, height: float, *, shift: float = 0.0) -> np.ndarray:
    """A standing figure [17, 2] whose keypoints span `height` pixels."""
    rng = np.random.default_rng(3)
    figure = np.stack([rng.uniform(0, 0.4, 17), np.linspace(0, 1, 17)], axis=1) * height
    return figure + np.array([x + shift, y])


def people(*figures: tuple[np.ndarray, float]) -> Poses:
    if not figures:
        return Poses.empty(COCO17)
    keypoints = np.stack([figure for figure, _ in figures])
    scores = np.array([score for _, score in figures])
    return Poses(keypoints, np.repeat(scores[:, None], 17, axis=1), scores, COCO17)


@pytest.mark.parametrize(
    ("full", "half", "scores"),
    [
        pytest.param([], [], [], id="nobody"),
        pytest.param([(0, 0, 50, 0.5)], [], [0.5], id="first-look-only"),
        pytest.param([], [(0, 0, 300, 0.5)], [0.5], id="second-look-only"),
        pytest.param([], [(0, 0, 99, 0.5)], [], id="too-small-for-the-second-look"),
        pytest.param([], [(0, 0, 101, 0.5)], [0.5], id="just-large-enough"),
        pytest.param([(0, 0, 300, 0.4)], [(1, 1, 300, 0.6)], [0.6], id="same-person-better-in-half-size"),
        pytest.param([(0, 0, 300, 0.6)], [(1, 1, 300, 0.4)], [0.6], id="same-person-better-in-full-size"),
        pytest.param([(0, 0, 300, 0.6)], [(900, 0, 300, 0.7)], [0.7, 0.6], id="two-people"),
        pytest.param([(0, 0, 300, 0.6), (1, 1, 300, 0.5)], [], [0.6, 0.5], id="alike-in-one-look-both-stay"),
        pytest.param([(0, 0, 300, 0.6), (1, 1, 300, 0.5)], [(0, 0, 300, 0.9)], [0.9], id="both-go-for-a-better-one"),
        pytest.param([(0, 0, 300, 0.6)], [(1, 1, 300, 0.5), (2, 2, 300, 0.4)], [0.6], id="one-of-the-first-for-two"),
    ],
)
def test_join(full: list, half: list, scores: list) -> None:
    first = people(*[(person(x, y, height), score) for x, y, height, score in full])
    second = people(*[(person(x, y, height), score) for x, y, height, score in half])
    assert looks.join(first, second, 100).scores.tolist() == pytest.approx(scores)


def test_of_equals_the_first_look_stays() -> None:
    first, second = people((person(0, 0, 300), 0.5)), people((person(2, 0, 300), 0.5))
    assert np.array_equal(looks.join(first, second, 100).keypoints, first.keypoints)


def test_without_anyone_of_the_second_look_nothing_changes() -> None:
    first = people((person(0, 0, 300), 0.4), (person(500, 0, 40), 0.9))
    assert looks.join(first, people((person(0, 0, 50), 1.0)), 100) is first


places = st.tuples(st.integers(0, 5), st.integers(20, 400), st.floats(0.01, 1))


@given(st.lists(places, max_size=6), st.lists(places, max_size=6))
def test_everyone_is_given_once_and_nobody_is_lost(full: list, half: list) -> None:
    first = people(*[(person(90 * place, 0, height), score) for place, height, score in full])
    second = people(*[(person(90 * place + 0.25, 0, height), score) for place, height, score in half])
    joined = looks.join(first, second, 100)
    if joined is first:
        return
    assert (np.diff(joined.scores) <= 0).all()
    own = {row.tobytes() for row in first.keypoints}
    from_first = [row.tobytes() in own for row in joined.keypoints]
    alike = oks.similarity(joined.keypoints, joined.keypoints, COCO17.sigmas) > looks.SAME_PERSON
    assert not (alike & np.not_equal.outer(from_first, from_first)).any()
    for poses in (first, second[(second.boxes[:, 3] - second.boxes[:, 1]) >= 100]):
        for lost in poses:
            near = oks.similarity(lost.keypoints, joined.keypoints, COCO17.sigmas)[0] > looks.SAME_PERSON
            same = (joined.keypoints == lost.keypoints).all(axis=(1, 2))
            assert (same | (near & (joined.scores >= lost.scores))).any()
