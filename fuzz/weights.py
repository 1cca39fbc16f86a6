"""Checkpoints: tensors, or a `CheckpointError`; nothing is executed."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import safetensors.torch
import torch

from boir_train import checkpoint
from fuzz import mutate
from fuzz.campaign import Campaign, Case


def prepare(folder: Path) -> Case:
    """A small state dict in the three forms."""
    torch.set_num_threads(1)
    state = {f"layer{number}.weight": torch.randn(3, 4) for number in range(4)} | {"steps": torch.tensor(3)}
    good = [safetensors.torch.save(state)]
    for zipped in (True, False):
        out = io.BytesIO()
        torch.save({"state_dict": state, "epoch": 3}, out, _use_new_zipfile_serialization=zipped)
        good.append(out.getvalue())

    def case(rng: random.Random) -> None:
        path, chosen = folder / "weights", rng.randrange(4)
        path.write_bytes(_pickle_changed(rng, good[1]) if chosen == 3 else mutate.data(rng, good[chosen]))
        tensors = checkpoint.read(path)
        assert all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in tensors.items())
        for name, tensor in tensors.items():  # a tensor over memory that isn't there would crash here
            assert tensor.numel() < 1 << 20, (name, tensor.shape)
            tensor.float().sum() if tensor.dtype in (torch.float32, torch.int64) else None

    return case


def _pickle_changed(rng: random.Random, archive: bytes) -> bytes:
    """Damage inside the archive, which is sound as such."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            new.writestr(entry.filename, mutate.data(rng, content) if entry.filename.endswith(".pkl") else content)
    return out.getvalue()


CAMPAIGN = Campaign("weights", 2000, prepare, ("boir_train.checkpoint",))
