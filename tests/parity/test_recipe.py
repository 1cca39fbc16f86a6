"""The recipe makes the same weights and pictures here as where the fixtures were made."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np
import pytest

from boir_train import build_model
from tests.parity.cases import cases, recipe
from tests.parity.recipe_support import preset_and_skeleton


@pytest.mark.parametrize("case", cases("recipe"))
def test_tensors(case):
    by_salt = defaultdict(list)
    for entry in case.json()["tensors"]:
        by_salt[entry["salt"]].append(entry)
    for salt, entries in by_salt.items():
        weights = recipe().recipe_weights({entry["name"]: tuple(entry["shape"]) for entry in entries}, salt)
        for entry in entries:
            value = weights[entry["name"]]
            assert recipe().checksum(value) == entry["checksum"], entry["name"]
            assert value.dtype.name == entry["dtype"]


@pytest.mark.parametrize("case", cases("recipe"))
def test_pictures(case):
    for entry in case.json()["images"]:
        picture = recipe().recipe_image(entry["height"], entry["width"], entry["salt"])
        assert recipe().checksum(picture) == entry["checksum"]
        assert picture.astype(np.int64).sum(axis=(0, 1)).tolist() == entry["channel_sums"]


@pytest.mark.parametrize("case", cases("recipe"))
def test_whole_models(case):
    for entry in case.json()["state_dicts"]:
        model = build_model(*preset_and_skeleton(entry["config"]))
        shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        weights = recipe().recipe_weights(shapes, entry["salt"])
        lines = "".join(f"{name}={recipe().checksum(weights[name])}\n" for name in sorted(weights))
        assert len(weights) == entry["tensors"]
        assert hashlib.sha256(lines.encode()).hexdigest() == entry["checksum_of_sorted_lines"]
