"""Files that hold no weights, half of them, or an attack instead."""

from __future__ import annotations

import os
import pickle

import pytest

from boir_sdk.errors import CheckpointError
from boir_train import checkpoint
from tests.parity.recipe_support import torch

FILES = {
    "empty": (b"", "the file is empty"),
    "text": (b"<!DOCTYPE html><html>not found</html>", "neither safetensors nor a PyTorch file"),
    "one-byte": (b"\x80", "damaged"),
    "cut-safetensors": ((500).to_bytes(8, "little") + b'{"x":', "ends within its header"),
    "damaged-safetensors": ((9).to_bytes(8, "little") + b'{"x": 1}}', "a damaged safetensors file"),
    "an-archive": (b"PK\x03\x04" + bytes(200), "damaged"),
}


@pytest.mark.parametrize("case", FILES)
def test_other_files(case, tmp_path):
    content, named = FILES[case]
    path = tmp_path / "w32.pth.tar"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=named) as caught:
        checkpoint.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("place", ["missing.pth", "."])
def test_no_file(place, tmp_path):
    with pytest.raises(CheckpointError, match=r"no such file|can't be read"):
        checkpoint.read(tmp_path / place)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "pickle"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated(share, zipped, tmp_path):
    path = tmp_path / "w32.pth.tar"
    torch.save({"a": torch.zeros(5000), "b": torch.ones(5000)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(CheckpointError, match=r"is the copy complete|damaged"):
        checkpoint.read(path)


def test_truncated_safetensors(tmp_path):
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, {"a": torch.zeros(5000)})
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(CheckpointError, match="is the copy complete"):
        checkpoint.read(path)


class Malicious:
    """What a hostile file holds: unpickled without restriction, it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("how", ["torch-zip", "torch-legacy", "bare-pickle"])
def test_a_hostile_pickle_executes_nothing(how, tmp_path):
    path, marker = tmp_path / "w32.pth.tar", tmp_path / "executed"
    content = {"state_dict": {"a": torch.zeros(1)}, "optimizer": Malicious(str(marker))}
    if how == "bare-pickle":
        path.write_bytes(pickle.dumps(content["optimizer"], protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch-zip")
    with pytest.raises(CheckpointError, match=r"refused|damaged"):
        checkpoint.read(path)
    assert not marker.exists()
