"""Networks and feature maps made by the fixtures' recipe, and two kinds of tolerance (SPEC-model M6.2)."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch

from boir_train import build_model
from tests.conftest import FIXTURES, SHARED
from tests.parity.cases import recipe


def fill(module: torch.nn.Module, salt: str, prefix: str = "") -> None:
    """Give a network, or the part of one called `prefix`, the recipe weights of `salt`."""
    shapes = {prefix + name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    weights = recipe().recipe_weights(shapes, salt)
    module.load_state_dict({name.removeprefix(prefix): torch.from_numpy(value) for name, value in weights.items()})


@functools.lru_cache(maxsize=1)
def recipe_model(preset: str, skeleton: str, salt: str) -> torch.nn.Module:
    """A whole network; neighbouring cases share it, and only one is kept because w48 has 280 MB."""
    model = build_model(preset, skeleton)
    fill(model, salt)
    return model


def features(record: dict[str, Any]) -> np.ndarray:
    """The made-up feature map of a case, by the formula in its record."""
    scale = np.float32(record.get("features_scale", 20))
    stream = recipe().recipe_weights({"features": tuple(record["features_shape"])}, record["features_salt"])["features"]
    return np.maximum(np.float32(0), scale * stream)


def preset_and_skeleton(config: str) -> tuple[str, str]:
    """From the name of an experiment, such as `crowdpose_w48_finetune`."""
    data, preset = config.split("_")[:2]
    return preset, "crowdpose14" if data == "crowdpose" else "coco17"


def reference_file(name: str) -> Any:
    """A file beside the fixtures folder, or else in the shared reference folder."""
    beside = FIXTURES.parent / name
    return beside if beside.is_file() else SHARED / "reference" / name


def assert_sums(actual: np.ndarray, expected: np.ndarray, cells: int) -> None:
    """Sums over a map agree within 1e-5 a cell and 1e-5 of the value."""
    assert actual.shape == expected.shape
    excess = np.abs(actual - expected) - 1e-5 * cells - 1e-5 * np.abs(expected)
    assert excess.max() <= 0, f"a sum is {excess.max():.3g} over its tolerance"


def assert_within(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Every value agrees within `tolerance`, absolute."""
    assert actual.shape == expected.shape
    worst = np.abs(actual.astype(np.float64) - expected).max(initial=0)
    assert worst <= tolerance, f"off by {worst:.3g}, at most {tolerance:.3g} is allowed"
