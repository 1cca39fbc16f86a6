"""COCO files of every wrong kind: `boir-train data check` names file, entry and reason; training refuses to start."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from fuzz.annotations import HEIGHT, WIDTH, good_set
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask

from boir_sdk.errors import DataError
from boir_sdk.skeleton import COCO17
from boir_train.data import check, datasets, regions
from boir_train.data.datasets import Source

SOURCE = Source("set.json", ".")
CELLS = HEIGHT * WIDTH


@pytest.fixture
def content(tmp_path):
    return good_set(tmp_path)


def problems(content, folder):
    (folder / "set.json").write_text(json.dumps(content))
    return check.check(SOURCE, str(folder)).problems


def test_the_set_that_is_damaged_here_is_sound(content, tmp_path):
    assert problems(content, tmp_path) == ()
    pictures = datasets.load([SOURCE], COCO17, "coco", str(tmp_path))
    assert [len(picture.ignore) for picture in pictures] == [2, 2, 2]
    assert all(datasets.valid_mask(picture).any() for picture in pictures)


def person(**values):
    return lambda content: content["annotations"][0].update(values)


def crowd(**values):
    return lambda content: content["annotations"][2].update(values)


def without(key):
    return lambda content: content["annotations"][0].pop(key)


def image(**values):
    return lambda content: content["images"][0].update(values)


def region(counts, size=(HEIGHT, WIDTH)):
    return crowd(segmentation={"size": list(size), "counts": counts})


# what is changed, what the check says of it, and whether training, which reads less, refuses it too
DAMAGE = {
    "no keypoints": (without("keypoints"), "annotation 10 has no 'keypoints'", True),
    "no box": (without("bbox"), "annotation 10 has no 'bbox'", True),
    "no image id": (without("image_id"), "annotation 10 has no 'image_id'", True),
    "empty keypoints": (person(keypoints=[]), "'keypoints' of annotation 10 must be a list of 51", True),
    "NaN": (person(bbox=[1, 2, float("nan"), 4]), "'bbox' of annotation 10 holds something that isn't a finite", True),
    "infinity": (person(bbox=[1, 2, float("inf"), 4]), "isn't a finite", True),
    "400 digits": (person(bbox=[1, 2, 10**400, 4]), "isn't a finite", True),
    "negative box": (person(bbox=[1, 2, -3, 4]), "annotation 10 has a box of negative size", False),
    "text": (person(num_keypoints="17"), "annotation 10 must have a whole num_keypoints", True),
    "image id is a list": (person(image_id=[1]), "annotation 10 names image id [1]", True),
    "image id is an object": (person(image_id={"a": 1}), "annotation 10 names image id", True),
    "id twice": (person(id=20), "annotation id 20 occurs 2 times", False),
    "stranger": (person(image_id=77), "names image id 77", True),
    "id is a kilobyte": (person(id="x" * 1000, bbox=None), "annotation xxx", True),
    "id steers a terminal": (person(id="\x1b[2J", bbox=None), "annotation '\\x1b[2J'", True),
    "width is text": (image(width="60"), "image 1 must have whole id, width", True),
    "width is NaN": (image(width=float("nan")), "image 1 must have whole id, width", True),
    "image id is an object too": (image(id={}), "must have whole id", True),
    "file name is a number": (
        image(file_name=5),
        "image 1 must have whole id, width and height, and a file_name",
        True,
    ),
    "file name with NUL": (image(file_name="a\0b"), "and a file_name", True),
    "file name of 5000 letters": (image(file_name="x" * 5000), "and a file_name", True),
    "missing picture": (image(file_name="none.png"), "none.png is missing", True),
    "a device as picture": (image(file_name="/dev/zero"), "/dev/zero isn't a file", True),
    "a folder as picture": (image(file_name="."), "isn't a file", True),
    "run lengths too long": (region([CELLS, 1]), "annotation 12 has run lengths for 2401 pixels", True),
    "run lengths too short": (region([5, 5]), "annotation 12 has run lengths for 10 pixels", True),
    "run lengths of 4 billion": (region([1 << 32, 5]), "annotation 12 has run lengths for", True),
    "negative run length": (region([-5, CELLS + 5]), "annotation 12 has no run lengths, or something else", True),
    "run lengths in text": (region(["1", "2"]), "annotation 12 has no run lengths, or something else", True),
    "of another size": (region([CELLS], (HEIGHT, WIDTH + 1)), "annotation 12 is of a picture of [40, 61]", True),
    "of a huge size": (region([10**12], (10**6, 10**6)), "annotation 12 is of a picture of [1000000, 1000000]", True),
    "cut compressed": (region("oooooo"), "annotation 12 has damaged run lengths", True),
    "foreign compressed": (region("\x01\xff"), "annotation 12 has damaged run lengths", True),
    "compressed for more": (region("0PPPPPPP0"), "annotation 12 has", True),
    "no counts": (crowd(segmentation={"size": [HEIGHT, WIDTH]}), "annotation 12 has no run lengths", True),
    "a text as segmentation": (crowd(segmentation="everything"), "annotation 12 is a str", True),
    "polygon of NaN": (crowd(segmentation=[[float("nan")] * 6]), "annotation 12 holds a polygon that lies far", True),
    "polygon to the moon": (
        crowd(segmentation=[[1, 1, 1e8, 1, 1, 1e8]]),
        "annotation 12 holds a polygon that lies",
        True,
    ),
    "polygon of odd length": (
        crowd(segmentation=[[1, 2, 3, 4, 5, 6, 7]]),
        "annotation 12 holds a polygon that isn't",
        True,
    ),
    "polygon of texts": (crowd(segmentation=[["a"] * 6]), "annotation 12 holds a polygon that lies far outside", True),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_with_its_file_and_entry(case, content, tmp_path):
    change, says, refused = DAMAGE[case]
    change(content)
    found = problems(content, tmp_path)
    named = [problem for problem in found if says in problem]
    assert named, found
    assert any("set.json" in problem for problem in found) and all(len(problem) < 1500 for problem in found)
    if refused:
        with pytest.raises(DataError) as caught:
            datasets.load([SOURCE], COCO17, "coco", str(tmp_path))
        assert str(tmp_path) in str(caught.value) and len(str(caught.value)) < 1500
    else:
        datasets.load([SOURCE], COCO17, "coco", str(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[]",
        "{}",
        '{"images": 3, "annotations": []}',
        "[" * 100_000,
        '{"images": [], "annotations": null}',
        "\ufeff{}",
    ],
)
def test_what_is_no_annotation_file(text, tmp_path):
    (tmp_path / "set.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"set\.json"):
        check.check(SOURCE, str(tmp_path))
    with pytest.raises(DataError, match=r"set\.json"):
        datasets.load([SOURCE], COCO17, "coco", str(tmp_path))


def test_a_picture_of_more_pixels_than_memory_is_not_decoded(content, tmp_path):
    (tmp_path / "1.png").write_bytes(b"P6\n40000 40000\n255\n" + bytes(100))
    assert any("1.png can't be decoded" in problem for problem in problems(content, tmp_path))


def test_a_pipe_is_not_waited_for(content, tmp_path):
    (tmp_path / "1.png").unlink()
    os.mkfifo(tmp_path / "1.png")
    assert any("1.png isn't a file" in problem for problem in problems(content, tmp_path))


@settings(max_examples=100, derandomize=True)
@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_run_lengths_are_read_as_pycocotools_writes_them(height, width, data):
    cells = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    encoded = mask.encode(np.asfortranarray(np.array(cells, np.uint8).reshape(height, width)))
    text = encoded["counts"].decode()
    assert sum(regions.decoded(text)) == height * width
    assert regions.problem({"size": [height, width], "counts": text}, height, width) is None
    plain = regions.decoded(text)
    again = mask.frPyObjects({"size": [height, width], "counts": plain}, height, width)["counts"].decode()
    assert again == text


@settings(max_examples=150, derandomize=True)
@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
def test_whatever_passes_is_safe_to_decode(text):
    """Any text: either a reason why not, or pycocotools decodes it to the size that it claims."""
    found = {"size": [4, 5], "counts": text}
    if regions.problem(found, 4, 5) is None:
        assert datasets.decode_region(found, 4, 5).shape == (4, 5)
