"""The resumable state of a run in one file, replaced as a whole."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from boir_sdk import durable
from boir_sdk.errors import CheckpointError, InputError
from boir_train.data.loader import Batch

FILE = "last.pt"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a run needs to go on as if it had never stopped; samples follow from the iteration alone.

    Attributes:
        iteration: steps done.
        best_ap: of all evaluations so far, -1 before the first.
        model, optimizer, scaler: state dictionaries.
        ema: its state, None without one.
        random: generator states, "cpu" and one a device.
        config: as plain dictionaries.
        blend: the start's weights that are blended in, None without.
    """

    iteration: int
    best_ap: float
    model: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    ema: dict[str, Any] | None
    random: dict[str, torch.Tensor]
    config: dict[str, Any]
    blend: dict[str, torch.Tensor] | None = None


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return PyTorch's generator states that a run on `device` uses."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state(device)
    return states


def restore_random(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Put back what `random_state` returned."""
    torch.set_rng_state(states["cpu"])
    if device.type in states and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[device.type], device)


def write(folder: Path, snapshot: Snapshot) -> None:
    """Write `snapshot` to the run's folder; a crash leaves the previous one whole.

    Raises:
        InputError: the disk refuses; the previous one is still there.
    """
    _save({field.name: getattr(snapshot, field.name) for field in fields(snapshot)}, folder / FILE)


def write_batches(folder: Path, batches: Sequence[Batch], iteration: int, rank: int) -> Path:
    """Write the batches of a step that went wrong, on the CPU, and return the file: a list of tensors by name."""
    path = folder / f"not-finite-{iteration}-rank{rank}.pt"
    _save([{field.name: getattr(batch, field.name).cpu() for field in fields(batch)} for batch in batches], path)
    return path


def _save(content: Any, path: Path) -> None:
    with durable.writing(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # PyTorch's word for a full disk
            raise InputError(f"can't write {path}: {error}; is the disk full?") from error


def read(folder: Path) -> Snapshot | None:
    """Read the run's snapshot, to CPU memory; None when there is none.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return Snapshot(**torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, EOFError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} can't be read, start the run afresh in another folder: {error}") from error
