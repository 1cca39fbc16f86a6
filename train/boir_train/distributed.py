"""Several processes of one run, as torchrun's environment describes them; one process is the same with world 1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from boir_sdk.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those of the run.

    Attributes:
        rank, world: number of this process and of all.
        device: this process computes on.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is set on any rank, so that all stop at the same step."""
        if self.world == 1:
            return flag
        value = torch.tensor(int(flag), device=self.device)
        distributed.all_reduce(value, op=distributed.ReduceOp.MAX)
        return bool(value.item())

    def sum(self, values: Tensor) -> Tensor:
        """Return `values` added over all ranks, without gradient."""
        if self.world == 1:
            return values
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total

    def wait(self) -> None:
        """Wait until all ranks are here."""
        if self.world > 1:
            distributed.barrier()

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return `model` with gradients averaged over ranks."""
        if self.world == 1:
            return model
        ids = None if self.device.index is None else [self.device.index]
        return nn.parallel.DistributedDataParallel(model, device_ids=ids)


def resolve_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device called `name`; an accelerator without a number is numbered by the rank.

    Raises:
        ConfigError: the name is unknown or there is no such device.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"train.device {name!r} isn't a PyTorch device: {error}") from error
    if device.type == "cpu":
        return device
    present = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    number = local_rank if device.index is None else device.index
    if not present or torch.accelerator.current_accelerator().type != device.type or number >= present:
        raise ConfigError(f"train.device is {name!r}, but PyTorch finds none here: use --set train.device=cpu")
    return torch.device(device.type, number)


@contextmanager
def ranks(device_name: str) -> Iterator[Ranks]:
    """Join the processes that torchrun started, if it did, and leave them at the end.

    Raises:
        ConfigError: the device isn't there.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    device = resolve_device(device_name, int(os.environ.get("LOCAL_RANK", "0")))
    if device.type != "cpu":
        torch.accelerator.set_device_index(device.index)
    if world == 1:
        yield Ranks(0, 1, device)
        return
    # The other ranks wait while the first one evaluates.
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=6))
    try:
        yield Ranks(rank, world, device)
    finally:
        distributed.destroy_process_group()
