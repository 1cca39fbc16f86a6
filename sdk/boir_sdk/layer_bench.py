"""The graphs of a bundle layer by layer, beside what this machine can do, all measured in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk import roofline, yardstick
from boir_sdk.errors import InputError
from boir_sdk.feeding import Setting, feed
from boir_sdk.roofline import Layer, Speeds, Sum


@dataclass(frozen=True, slots=True)
class Part:
    """One graph of a setting.

    Attributes:
        setting: that was asked for.
        part: `dense`, or `person` for one person.
        network: height and width of the network picture of the first look.
        speeds: of the machine, in the same run.
        layers: in falling order of time.
        kinds: the layers added up by kind and precision.
        whole: all of them; `bound_ms` over `milliseconds` is the share of the machine's limit that is reached.
    """

    setting: Setting
    part: str
    network: tuple[int, int]
    speeds: Speeds
    layers: tuple[Layer, ...]
    kinds: tuple[Sum, ...]
    whole: Sum


def measure(
    settings: Sequence[Setting],
    rounds: int,
    picture_bgr: NDArray[np.uint8],
    *,
    going: Callable[[], bool] = lambda: True,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Part]:
    """Time the layers of both graphs.

    Args:
        settings: on the CPU; what `boir_sdk.benchmark.measure` takes.
        rounds: of each that count.
        picture_bgr: uint8 [H, W, 3], for the network picture's size.
        going: asked before every graph; False ends the run.
        progress: told how many graphs are done, of two a setting.

    Returns:
        Two parts a setting; none when the run was ended.

    Raises:
        BundleError, InferenceError: as `PoseEstimator`.
        InputError: another device than the CPU.
    """
    parts = []
    for setting in settings:
        if setting.device != "CPU":
            raise InputError("layers are compared with what the CPU can do: take device CPU")
        with setting.estimator() as estimator:
            source = feed(estimator)
            estimator(picture_bgr)  # tells the network picture's size
            network = source.networks[0]
            for part, compiled in source.watched(*network).items():
                if not going():
                    return []
                yards = _Yards(setting.threads)
                layers = yardstick.layer_times(compiled, rounds, yards.turn)
                speeds = yards.speeds()
                kinds = tuple(roofline.by_kind(layers, speeds))
                whole = roofline.total(layers, speeds)
                parts.append(Part(setting, part, network, speeds, tuple(layers), kinds, whole))
                progress(len(parts))
    return parts


class _Yards:
    """What the machine reaches, a call of each yardstick a turn."""

    def __init__(self, threads: int | None) -> None:
        self._made: dict[str, tuple[Callable[[], Any], int]] = {
            "float": yardstick.convolution(threads, eight_bits=False),
            "int8": yardstick.convolution(threads, eight_bits=True),
            "bytes": yardstick.copying(threads),
        }
        self._took_ms: dict[str, list[float]] = {kind: [] for kind in self._made}

    def turn(self) -> None:
        for kind, (run, _) in self._made.items():
            begin_s = time.perf_counter()
            run()
            self._took_ms[kind].append(1e3 * (time.perf_counter() - begin_s))

    def speeds(self) -> Speeds:
        """Of all turns but the first, which warms up."""
        reached = {kind: work / statistics.median(self._took_ms[kind][1:]) for kind, (_, work) in self._made.items()}
        return Speeds(reached["float"], reached["int8"], reached["bytes"])
