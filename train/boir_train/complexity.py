"""What a preset costs: parameters, multiply-adds, and time on the device at hand (the paper's Table 5).

The heavy part runs once a picture, the person part once a person, so costs are given apart and together for a number
of people. Counting needs no weights and computes nothing; neither does timing depend on weights, since the people are
planted into the centre map.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from boir_sdk import warp
from boir_train import build_model, inference
from boir_train.model.settings import ModelSettings

PEOPLE = 3  # a picture; COCO's mean without crowds is 2.6 (paper)
PICTURE = (480, 640)  # height, width: COCO's most frequent size
SURE, NEVER = 6.0, -12.0  # logits of a planted centre and of every other cell


@dataclass(frozen=True, slots=True)
class Cost:
    """Size of a preset.

    Attributes:
        preset: its name.
        size: network size, pixels.
        network: height and width of the network picture, pixels.
        parameters, parameters_training: of the inference form, and with the heads that only training uses.
        macs_dense: multiply-adds of convolutions and matrix products for one picture.
        macs_person: the same for one person.
    """

    preset: str
    size: int
    network: tuple[int, int]
    parameters: int
    parameters_training: int
    macs_dense: int
    macs_person: int


@dataclass(frozen=True, slots=True)
class Speed:
    """Milliseconds of a picture in memory to its poses, without reading the file.

    Attributes:
        people: people found in each.
        flip_test: whether the mirrored view was computed too.
        median_ms, fastest_ms: by the clock, over `repeats` calls.
        cpu_ms: median of the processor time that all threads took; what else the machine does hardly moves it.
        repeats: how many calls, after one that isn't counted.
    """

    people: int
    flip_test: bool
    median_ms: float
    fastest_ms: float
    cpu_ms: float
    repeats: int


def count(preset: str, picture: tuple[int, int] = PICTURE, size: int | None = None) -> Cost:
    """Count a preset's parameters and multiply-adds.

    Args:
        preset: as `build_model` takes it; the skeleton is that of COCO.
        picture: height and width of the picture, pixels.
        size: network size, pixels; the preset's own if None.

    Raises:
        ConfigError: the preset is unknown.
    """
    with torch.device("meta"):  # shapes without numbers: nothing is computed and nothing takes memory
        training = build_model(preset, "coco17", training=True)
        model = build_model(preset, "coco17")
    settings: ModelSettings = model.settings
    size = size or settings.default_size
    fit = _fit(settings, picture, size)
    views = torch.empty(1, 3, fit.height, fit.width, device="meta")
    with torch.inference_mode():
        encoded: dict[str, Tensor] = {}
        dense = _macs(lambda: encoded.update(model.encode(views)))
        # The shared maps are counted with the picture: `encode` gives them out.
        person = _macs(lambda: model.person_heatmaps(encoded, torch.zeros(1, 2, dtype=torch.int64, device="meta")))
    return Cost(
        preset=preset,
        size=size,
        network=(fit.height, fit.width),
        parameters=sum(value.numel() for value in model.parameters()),
        parameters_training=sum(value.numel() for value in training.parameters()),
        macs_dense=dense,
        macs_person=person,
    )


def _fit(settings: ModelSettings, picture: tuple[int, int], size: int) -> warp.Fit:
    return warp.fit(*picture, size, rule=settings.fit_rule, multiple=settings.multiple, resample=settings.resample)


def _macs(work: Callable[[], Any]) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return int(counter.get_total_flops()) // 2  # it counts multiplication and addition apart


class Planted(nn.Module):
    """A network whose centre map shows a given number of people, whatever its weights say."""

    def __init__(self, model: nn.Module, people: int) -> None:
        super().__init__()
        self.model, self.people = model, people
        self.settings: ModelSettings = model.settings

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        """As the network's own, with `people` peaks spread over `center_logits` [V, 1, h, w]."""
        encoded = dict(self.model.encode(x))
        logits = torch.full_like(encoded["center_logits"], NEVER)
        height, width = logits.shape[-2:]
        for number in range(self.people):
            logits[..., height // 2, (2 * number + 1) * width // (2 * self.people)] = SURE
        encoded["center_logits"] = logits
        return encoded

    def person_heatmaps(self, encoded: dict[str, Tensor], yx: Tensor) -> Tensor:
        """The network's own."""
        return self.model.person_heatmaps(encoded, yx)


def measure(
    preset: str,
    device: torch.device,
    *,
    picture: tuple[int, int] = PICTURE,
    size: int | None = None,
    people: int = PEOPLE,
    flip_test: bool = False,
    repeats: int = 10,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Speed:
    """Time a preset in PyTorch, one picture at a time.

    Args:
        preset: as in `count`.
        device: to compute on; the result always comes back to the CPU, which waits for it.
        picture: as in `count`.
        size: as in `count`.
        people: so many are planted.
        flip_test: compute the mirrored view too.
        repeats: calls that count, at least 1.
        progress: goes around the calls.

    Raises:
        ConfigError: the preset is unknown.
    """
    torch.manual_seed(0)
    model = Planted(build_model(preset, "coco17"), people).to(device).eval()
    image_bgr = np.random.default_rng(0).integers(0, 256, (*picture, 3), dtype=np.uint8)
    taken, processor = [], []
    for number in progress(range(repeats + 1)):
        start, start_cpu = time.perf_counter(), time.process_time()
        inference.predict(model, image_bgr, size=size, flip_test=flip_test, protocol="coco")
        if number:
            taken.append(1e3 * (time.perf_counter() - start))
            processor.append(1e3 * (time.process_time() - start_cpu))
    return Speed(people, flip_test, statistics.median(taken), min(taken), statistics.median(processor), repeats)
