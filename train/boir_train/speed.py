"""What a training step costs on the machine at hand: the loader alone, the step alone, both together, and the floor.

The steps are those of `trainer.train` itself, with its precision, clipping and whatever else the configuration says;
only the loader is wrapped, so that the time between two batches can be read off.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from boir_sdk.errors import DataError
from boir_train import fit, run_log
from boir_train.config import Config
from boir_train.data.datasets import Picture
from boir_train.data.loader import Batch
from boir_train.distributed import Ranks
from boir_train.trainer import train

WARM_UP = 1  # steps that aren't counted: caches and the allocator fill
MATRIX = 1024  # side of the matrices that the floor is measured with
FLOOR_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Steps:
    """Measured steps of the loop.

    Attributes:
        seconds: of each, from the batch's arrival to the request of the next.
        waited: for each batch.
        cpu_seconds: processor time of all threads of this process over all of `seconds`.
        losses: `total` of each, warm-up included.
    """

    seconds: tuple[float, ...]
    waited: tuple[float, ...]
    cpu_seconds: float
    losses: tuple[float, ...]


class _Watched:
    """A loader that notes when batches are asked for and handed over; with `fixed` it hands over that one for ever."""

    def __init__(self, loader: Any, fixed: Batch | None = None) -> None:
        self._loader, self._fixed = loader, fixed
        self.asked: list[float] = []
        self.given: list[float] = []
        self.cpu: list[float] = []

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self._loader) if self._fixed is None else None
        while True:
            self.asked.append(time.perf_counter())
            self.cpu.append(time.process_time())
            try:
                batch = self._fixed if batches is None else next(batches)
            except StopIteration:
                self.asked.pop()
                self.cpu.pop()
                return
            self.given.append(time.perf_counter())
            yield batch


def measure(settings: Config, pictures: list[Picture], steps: int, batches: int) -> dict[str, Any]:
    """Measure one configuration.

    Args:
        settings: model, sizes, batch, precision, loader; start weights aren't read.
        pictures: to load.
        steps: measured in each of the two loops.
        batches: measured of the loader alone.

    Returns:
        JSON: pictures per second of the `loader`, the `step` and `both`; the loader's share; memory; the step's
        arithmetic, the machine's rate, and how far the step is from their quotient.

    Raises:
        BoirError: the configuration can't be used, a picture is missing, or a loss isn't finite.
        KeyboardInterrupt: a signal came.
    """
    settings = replace(settings, model=replace(settings.model, start="scratch", weights=None))
    fit.seed(settings)
    here = Ranks(0, 1, torch.device(settings.train.device))
    before = _peak_bytes(here.device)
    model = fit.make_model(settings)
    loader, sampler = fit.make_batches(settings, pictures, model.settings, here)
    side, count = settings.data.sizes[0], settings.train.batch_size

    sampler.set_epoch(0)
    arrivals = [time.perf_counter()]
    first: Batch | None = None
    for batch in islice(loader, batches + WARM_UP):
        first = first or batch
        arrivals.append(time.perf_counter())
    loaded = len(arrivals) - 1 - WARM_UP
    loader_s = (arrivals[-1] - arrivals[WARM_UP]) / max(loaded, 1)

    if first is None:
        raise DataError("the data set holds no batch")
    first = first.to(here.device, channels_last=settings.train.channels_last)
    model.to(here.device)
    flops = count_flops(model, first)
    alone = _loop(model, loader, sampler, settings, here, steps, fixed=first)
    both = _loop(model, loader, sampler, settings, here, steps)
    peak = _peak_bytes(here.device)
    rate, cpu_rate = floor_rate(here.device)
    step_s = sum(alone.seconds) / len(alone.seconds)
    cpu_s = alone.cpu_seconds / len(alone.seconds)
    whole = sum(both.seconds) + sum(both.waited)
    return {
        "preset": settings.model.preset,
        "side": side,
        "pictures_a_step": count,
        "people_in_the_step": len(first.image_index),
        "amp": settings.optim.amp,
        "channels_last": settings.train.channels_last,
        "compile": settings.train.compile,
        "device": settings.train.device,
        "threads": torch.get_num_threads(),
        "workers": settings.data.workers,
        "loader_pictures_per_s": count / loader_s,
        "step_pictures_per_s": count / step_s,
        "both_pictures_per_s": count * len(both.seconds) / whole,
        "loader_share": sum(both.waited) / whole,
        "step_s": step_s,
        "step_cpu_s": cpu_s,
        "step_gflop": flops / 1e9,
        "floor_gflop_per_s": rate / 1e9,
        "floor_s": flops / rate,
        "times_the_floor": step_s / (flops / rate),
        "floor_gflop_per_cpu_s": cpu_rate / 1e9,
        "times_the_floor_in_cpu_s": cpu_s / (flops / cpu_rate),
        "memory_before_mb": before / 2**20,
        "memory_peak_mb": peak / 2**20,
        "losses": list(alone.losses),
    }


def count_flops(model: nn.Module, batch: Batch) -> int:
    """Multiplications and additions of convolutions and matrix products, forward and backward, of one batch."""
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _backward}) as counter:
        outputs = model(batch.images, batch.image_index, batch.instance_coord)
        torch.stack([value.float().mean() for value in outputs.values()]).sum().backward()
    model.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def _backward(
    grad_out: Sequence[int],
    x: Sequence[int],
    weight: Sequence[int],
    _bias: object,
    _stride: object,
    _padding: object,
    _dilation: object,
    transposed: bool,
    _output_padding: object,
    _groups: int,
    output_mask: Sequence[bool],
    **_: object,
) -> int:
    """Work of a convolution's backward pass: as much as forward for each of the two gradients that is wanted.

    PyTorch's own count takes the weights' gradient of a grouped convolution for one of a dense convolution.
    """
    forward = 2 * math.prod(x if transposed else grad_out) * math.prod(weight[1:])
    return forward * (int(output_mask[0]) + int(output_mask[1]))


def floor_rate(device: torch.device) -> tuple[float, float]:
    """Operations per second of large float32 matrix products, by the clock and by the processor time of all threads.

    What the machine can do at best: a step that did nothing but its arithmetic, at this rate, takes the floor's time.
    """
    a = torch.randn(MATRIX, MATRIX, device=device)
    b = torch.randn(MATRIX, MATRIX, device=device)
    (a @ b).sum().item()
    products, start, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < FLOOR_SECONDS:
        (a @ b)[0, 0].item()  # waits for the product, on any device
        products += 1
    work = 2.0 * MATRIX**3 * products
    return work / (time.perf_counter() - start), work / max(time.process_time() - cpu, 1e-9)


def _loop(
    model: nn.Module, loader: Any, sampler: Any, settings: Config, here: Ranks, steps: int, fixed: Batch | None = None
) -> Steps:
    # The last step is followed by writing checkpoints, so it isn't counted either.
    most = WARM_UP + steps + 1
    limited = replace(
        settings,
        optim=replace(settings.optim, accumulate=1),
        train=replace(settings.train, max_iterations=most, max_minutes=0.0, checkpoint_every=most, log_every=1),
        eval=replace(settings.eval, every=0),
    )
    watched = _Watched(loader, fixed)
    with tempfile.TemporaryDirectory(prefix="boir-speed-") as folder:
        if train(model, watched, sampler, limited, Path(folder), here) == "interrupted":
            raise KeyboardInterrupt
        lines = (Path(folder) / run_log.FILE).read_text(encoding="utf-8").splitlines()
    used = range(WARM_UP, WARM_UP + steps)
    return Steps(
        seconds=tuple(watched.asked[i + 1] - watched.given[i] for i in used),
        waited=tuple(watched.given[i] - watched.asked[i] for i in used),
        cpu_seconds=watched.cpu[WARM_UP + steps] - watched.cpu[WARM_UP],
        losses=tuple(json.loads(line)["total"] for line in lines),
    )


def _peak_bytes(device: torch.device) -> int:
    """The most memory that was in use so far: of the device, or of this process on a CPU."""
    if device.type != "cpu":
        return int(torch.get_device_module(device).max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
