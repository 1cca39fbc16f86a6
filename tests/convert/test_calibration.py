"""Which pictures int8 is calibrated with, and how they reach the network."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import pytest

from boir_convert import calibration
from boir_sdk.errors import ConfigError, DataError, InputError
from boir_train import build_model


@pytest.fixture
def folder(tmp_path):
    for number in range(7):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((40 + number, 60, 3), 30 * number, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


@pytest.mark.parametrize(("count", "names"), [(3, "0 2 4"), (7, "0 1 2 3 4 5 6"), (100, "0 1 2 3 4 5 6"), (1, "0")])
def test_pictures_are_chosen_evenly_and_always_the_same(folder, count, names):
    chosen = calibration.choose(folder, count, (64,))
    assert [path.stem for path in chosen.paths] == names.split()
    assert chosen == calibration.choose(folder, count, (64,))
    assert hashlib.sha256(calibration.listed(chosen).encode()).hexdigest() == chosen.sha256


def test_a_file_lists_them(folder, tmp_path):
    file = tmp_path / "list.json"
    file.write_text(json.dumps({"images": [{"file_name": "3.png"}, {"file_name": "1.png"}]}))
    assert [path.name for path in calibration.choose(file, 5, (64,)).paths] == ["3.png", "1.png"]
    elsewhere = tmp_path / "lists"
    elsewhere.mkdir()
    moved = file.rename(elsewhere / "list.json")
    assert [path.name for path in calibration.choose(moved, 5, (64,), folder).paths] == ["3.png", "1.png"]
    with pytest.raises(DataError, match=r"2 of 2 pictures.*3\.png"):
        calibration.choose(moved, 5, (64,))


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"images": 5}', '{"images": [{"file_name": 5}]}', "\xff"])
def test_a_malformed_list_is_refused(folder, content):
    (folder / "list.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"list\.json is not a COCO-style"):
        calibration.choose(folder / "list.json", 5, (64,))


def test_they_arrive_as_the_runtime_brings_them_sizes_in_turn(folder):
    settings = build_model("nano", "coco17").settings
    shapes = [one.shape for one in calibration.pictures(calibration.choose(folder, 3, (64, 96)), settings)]
    assert shapes == [(1, 64, 64, 3), (1, 96, 96, 3), (1, 64, 64, 3)]
    first = next(calibration.pictures(calibration.choose(folder, 7, (64,)), settings))
    assert first.dtype == np.uint8


@pytest.mark.parametrize(
    ("source", "count", "error", "message"),
    [
        ("", 0, ConfigError, "at least one"),
        ("nowhere", 5, DataError, "no calibration pictures"),
        ("empty", 5, DataError, "no picture to calibrate"),
        ("notes.txt", 5, DataError, "not a COCO-style"),
    ],
)
def test_what_cannot_be_used_is_refused(folder, source, count, error, message):
    (folder / "empty").mkdir()
    with pytest.raises(error, match=message):
        calibration.choose(folder / source, count, (64,))


def test_a_broken_picture_is_named(folder):
    (folder / "0.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"0\.png"):
        list(calibration.pictures(calibration.choose(folder, 1, (64,)), build_model("nano", "coco17").settings))
