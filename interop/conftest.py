"""What the tests of interoperation share: the demo picture and its poses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from boir_sdk import PoseEstimator, Poses

ROOT = Path(__file__).resolve().parent.parent
PEOPLE = 4


@pytest.fixture(scope="session")
def picture() -> NDArray[np.uint8]:
    """The demo picture, BGR [270, 480, 3]."""
    image = cv2.imread(str(ROOT / "demos" / "people.jpg"))
    assert image is not None
    return np.asarray(image, dtype=np.uint8)


@pytest.fixture(scope="session")
def estimator() -> Iterator[PoseEstimator]:
    with PoseEstimator() as made:
        yield made


@pytest.fixture(scope="session")
def poses(estimator: PoseEstimator, picture: NDArray[np.uint8]) -> Poses:
    found = estimator(picture)
    assert len(found) == PEOPLE
    return found
