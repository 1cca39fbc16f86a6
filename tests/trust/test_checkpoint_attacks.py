"""Checkpoints made to do harm: none executes anything, none takes memory or time it claims, each ends in a typed error.

Beside these: tests/train/test_checkpoint.py (wrong content), tests/train/test_checkpoint_files.py (cut files, a pickle
in each form) and tests/convert/test_build_faults.py (the same through the command that converts).
"""

from __future__ import annotations

import io
import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest

from boir_sdk.errors import CheckpointError
from boir_train import checkpoint
from tests.conftest import ROOT
from tests.parity.recipe_support import torch


class Call:
    """Calls a function when it is unpickled without restriction."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def saved(content, *, zipped=True):
    out = io.BytesIO()
    torch.save(content, out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


def rewritten(archive, change, how=zipfile.ZIP_STORED):
    """The same archive with other bytes in some of its entries."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w", how) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    return out.getvalue()


GOOD = saved({"a": torch.zeros(1000)})
COUNT = b"M\xe8\x03"  # how the pickle says 1000: elements of the storage first, those of the tensor last


def claim(first=None, last=None):
    """Another number of elements in the storage, in the tensor, or both."""

    def change(name, data):
        if not name.endswith("data.pkl"):
            return data
        for number, find in ((last, data.rindex), (first, data.index)):
            if number is not None:
                at = find(COUNT)
                data = data[:at] + b"J" + struct.pack("<i", number) + data[at + len(COUNT) :]
        return data

    return rewritten(GOOD, change)


def with_pickle(code):
    return rewritten(GOOD, lambda name, data: code if name.endswith("data.pkl") else data)


def legacy_claim(number):
    data = saved({"a": torch.zeros(1000)}, zipped=False)
    at = data.index(COUNT)
    return data[:at] + b"\x8a\x08" + struct.pack("<q", number) + data[at + len(COUNT) :]


def getattr_chain(canary):
    """builtins.getattr(os, 'mkdir')(canary), spelled by hand."""
    name = canary.encode()
    return (
        b"\x80\x02cbuiltins\ngetattr\n(cbuiltins\n__import__\n(X\x02\x00\x00\x00ostRX\x05\x00\x00\x00mkdirtR(X"
        + struct.pack("<I", len(name))
        + name
        + b"tR."
    )


def nested(canary):
    """An archive that holds a whole hostile checkpoint where its pickle should be."""
    return with_pickle(saved({"a": Call(os.mkdir, canary)}))


def itself():
    content = {"a": torch.zeros(1)}
    content["state_dict"] = content
    return content


def safetensors_header(text, data=b""):
    return struct.pack("<Q", len(text)) + text + data


def zip_bomb():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(400 << 20))
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


ATTACKS = {
    # what executes when it is unpickled carelessly
    "reduce to os.mkdir": lambda canary: saved({"a": Call(os.mkdir, canary)}),
    "builtins.exec": lambda canary: saved({"a": Call(exec, f"import os; os.mkdir({canary!r})")}),
    "getattr chain": lambda canary: with_pickle(getattr_chain(canary)),
    "getattr chain, bare": getattr_chain,
    "nested archive": nested,
    "bare pickle": lambda canary: pickle.dumps(Call(os.mkdir, canary), protocol=2),
    "old form": lambda canary: saved({"a": Call(os.mkdir, canary)}, zipped=False),
    # what would write where it may not
    "SETITEM on a number": lambda _: with_pickle(b"\x80\x02K\x01K\x02K\x03s."),
    "SETITEM on a list": lambda _: with_pickle(b"\x80\x02]K\x02K\x03s."),
    "BUILD on a tensor": lambda _: with_pickle(b"\x80\x02ctorch\nTensor\n)\x81}X\x01\x00\x00\x00aK\x01sb."),
    # claims
    "storage smaller than its tensor": lambda _: claim(first=10),
    "tensor larger than its storage": lambda _: claim(last=1 << 30),
    "both larger than the file": lambda _: claim(first=1 << 30, last=1 << 30),
    "old form, 4 GB": lambda _: legacy_claim(10**9),
    "old form, 4 TB": lambda _: legacy_claim(10**12),
    "old form, negative": lambda _: legacy_claim(-5),
    "text of 2 GB": lambda _: with_pickle(b"\x80\x02X\xff\xff\xff\x7fabc"),
    "bytes of 256 TB": lambda _: with_pickle(b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\x00\x00abc"),
    "archive that unpacks to 400 MB": lambda _: zip_bomb(),
    "compressed archive": lambda _: rewritten(GOOD, lambda name, data: data, zipfile.ZIP_DEFLATED),
    "archive of a later version": lambda _: (
        GOOD[: GOOD.rindex(b"PK\x01\x02") + 6] + b"\xff" + GOOD[GOOD.rindex(b"PK\x01\x02") + 7 :]
    ),
    "list of 20 MB": lambda _: with_pickle(b"\x80\x02" + b"N0" * (10 << 20) + b"}."),
    "safetensors header of 20 MB": lambda _: safetensors_header(b'{"a":' + b" " * (20 << 20) + b"}"),
    "safetensors of 4 TB": lambda _: safetensors_header(
        b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    ),
    "safetensors whose product overflows": lambda _: safetensors_header(
        b'{"a":{"dtype":"F32","shape":[4611686018427387904,8],"data_offsets":[0,4]}}', bytes(4)
    ),
    "safetensors nested a million deep": lambda _: safetensors_header(b'{"a":' + b"[" * 10**6 + b"}"),
    # what isn't a tensor by name
    "holds itself": lambda _: saved(itself()),
    "a text among tensors": lambda _: saved({"a": torch.zeros(1), "b": "text"}),
    "a number as name": lambda _: saved({1: torch.zeros(1)}),
    "a tensor without values": lambda _: saved({"a": torch.zeros(10**9, device="meta")}),
    "a sparse tensor": lambda _: saved({"a": torch.zeros(3, 4).to_sparse()}),
    "a nested tensor": lambda _: saved({"a": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])}),
}

READ = """
import resource, sys, torch
from boir_sdk.errors import CheckpointError
from boir_train import checkpoint

megabytes = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = megabytes()
for path in sys.argv[1:]:
    try:
        checkpoint.read(path)
    except CheckpointError as error:
        assert path in str(error) and len(str(error)) < 700, str(error)
    else:
        raise SystemExit(f"{path} was accepted")
print(megabytes() - before)
"""


@pytest.mark.filterwarnings("ignore")
def test_no_attack_executes_or_takes_what_it_claims(tmp_path):
    """All of them in one process of its own, whose memory is looked at afterwards."""
    canary, paths = tmp_path / "executed", []
    for number, make in enumerate(ATTACKS.values()):
        path = tmp_path / f"{number}.pth"
        path.write_bytes(make(str(canary)))
        paths.append(str(path))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("sdk", "train"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, *paths],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not canary.exists()
    # The largest of the files has 21 MB; the claims go from 400 MB to 256 TB.
    assert int(done.stdout) < 200


@pytest.mark.parametrize(
    "attack", ["reduce to os.mkdir", "builtins.exec", "getattr chain, bare", "bare pickle", "old form"]
)
def test_these_attacks_are_live(attack, tmp_path):
    """Without the restriction they do execute, so that the canary proves something."""
    canary = tmp_path / "executed"
    data = ATTACKS[attack](str(canary))
    if attack in ("bare pickle", "getattr chain, bare"):
        pickle.loads(data)  # noqa: S301 - on purpose
    else:
        torch.load(io.BytesIO(data), weights_only=False)
    assert canary.is_dir()


def test_many_names_are_counted_not_listed(tmp_path):
    path = tmp_path / "many.pth"
    torch.save({str(number): 0 for number in range(20_000)}, path)
    with pytest.raises(CheckpointError, match="and 19995 more") as caught:
        checkpoint.read(path)
    assert len(str(caught.value)) < 400


def test_a_million_names_are_refused_unread(tmp_path):
    """Reading them took 20 seconds, and 90 from safetensors."""
    path = tmp_path / "many.safetensors"
    entry = b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},'
    path.write_bytes(safetensors_header(b"{" + b"".join(entry % n for n in range(200_000))[:-1] + b"}"))
    with pytest.raises(CheckpointError, match="over the limit of 8388608"):
        checkpoint.read(path)


class One(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.ModuleDict({"stem": torch.nn.Linear(2, 2)})
        self.kpt_head = torch.nn.ModuleDict({"heatmap_conv": torch.nn.Conv2d(4, 17, 1)})
        self.settings = SimpleNamespace(preset="nano-pure", skeleton=SimpleNamespace(name="coco17"))


@pytest.mark.parametrize(
    ("name", "tensor", "says"),
    [
        ("backbone.stem.weight", torch.zeros(1).expand(10**6, 10**6), r"\[1000000, 1000000\] instead of \[2, 2\]"),
        ("backbone.stem.weight", torch.full((2, 2), float("nan")), "NaN or infinity"),
        ("backbone.stem.weight", torch.zeros(2, 2, dtype=torch.complex64), "complex64"),
        ("backbone.stem.weight", torch.zeros(2, 3), r"\[2, 3\] instead of \[2, 2\]"),
        ("extra", torch.zeros(1), "1 unknown: extra"),
    ],
    ids=["a terabyte of one number", "NaN", "complex", "another shape", "a stranger"],
)
def test_tensors_made_to_do_harm_leave_the_model_as_it_was(name, tensor, says, tmp_path):
    model = One()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    path = tmp_path / "weights.pth"
    torch.save({**before, name: tensor}, path)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=says):
        checkpoint.load(model, path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 200 << 10
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_type_that_can_only_be_stored(tmp_path):
    path = tmp_path / "weights.safetensors"
    state = One().state_dict()
    entries = {name: tensor for name, tensor in state.items() if name != "backbone.stem.bias"}
    checkpoint.save(path, entries)
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, rest = data[8 : 8 + size].rstrip(), data[8 + size :]
    end = len(rest)
    more = b',"backbone.stem.bias":{"dtype":"F4","shape":[4],"data_offsets":[%d,%d]}}' % (end, end + 2)
    path.write_bytes(safetensors_header(header[:-1] + more, rest + b"\0\0"))
    with pytest.raises(CheckpointError, match=r"float4|damaged|another shape"):
        checkpoint.load(One(), path)
