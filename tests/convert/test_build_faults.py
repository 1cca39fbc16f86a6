"""What may go wrong in `boir-convert build`: a clear error, nothing executed, and the old bundle as it was."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from boir_convert import writer
from boir_convert.build import Request, build, load
from boir_convert.cli.main import main
from boir_sdk import bundle
from boir_sdk.errors import BoirError, CheckpointError, ConfigError, DataError, InputError
from boir_train import build_model, checkpoint
from tests.conftest import ROOT

DATA = Path(__file__).parent / "data"
PICTURES = DATA / "people"


@pytest.fixture(scope="module")
def state():
    """The tensors of a `nano`."""
    torch.manual_seed(6)
    return build_model("nano", "coco17").state_dict()


@pytest.fixture(scope="module")
def good(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "nano.safetensors"
    checkpoint.save(path, state)
    return path


@pytest.fixture
def old(tmp_path):
    """A bundle in the place where the new one is to go."""
    return Path(shutil.copytree(bundle.default_path(), tmp_path / "here" / "bundle"))


@pytest.fixture
def unchanged(old):
    """Asserts that the old bundle is whole and nothing lies beside it."""
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in old.rglob("*") if path.is_file()}

    def check():
        assert before == {path: (path.stat().st_ino, path.read_bytes()) for path in old.rglob("*") if path.is_file()}
        assert list(old.parent.iterdir()) == [old]

    return check


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def raw_pickle(path, state, marker):
    path.write_bytes(pickle.dumps({"state_dict": {**state, "extra": Bomb(marker)}}))


def torch_zip(path, state, marker):
    torch.save({"state_dict": state, "epoch": Bomb(marker)}, path)


def torch_legacy(path, state, marker):
    torch.save({"state_dict": state, "epoch": Bomb(marker)}, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("form", [raw_pickle, torch_zip, torch_legacy])
@pytest.mark.parametrize("name", ["model.pth.tar", "model.safetensors"])
def test_a_malicious_pickle_executes_nothing(state, old, unchanged, tmp_path, form, name):
    marker = tmp_path / "executed"
    form(tmp_path / name, state, marker)
    with pytest.raises(CheckpointError, match=name):
        build(Request(checkpoint=tmp_path / name, out=old, overwrite=True))
    assert not marker.exists()
    unchanged()


def test_the_bomb_of_that_test_is_live(state, tmp_path):
    torch_zip(tmp_path / "model.pt", {}, tmp_path / "executed")
    torch.load(tmp_path / "model.pt", weights_only=False)
    assert (tmp_path / "executed").exists()


def saved(path, content):
    torch.save(content, path)
    return path


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def stored(path, state):
    checkpoint.save(path, state)
    return path


CHECKPOINTS = {
    "cut in its data": (
        lambda folder, state: cut(stored(folder / "w.safetensors", state), 0.7),
        "is the copy complete",
    ),
    "cut in its header": (
        lambda folder, state: cut(stored(folder / "w.safetensors", state), 0.001),
        "is the copy comp",
    ),
    "cut zip": (
        lambda folder, state: cut(saved(folder / "w.pth.tar", {"state_dict": state}), 0.7),
        "is the copy compl",
    ),
    "text": (lambda folder, state: _text(folder / "w.pth"), "neither safetensors nor a PyTorch file"),
    "empty": (lambda folder, state: cut(_text(folder / "w.pth"), 0), "empty"),
    "missing": (lambda folder, state: folder / "nowhere.pth", "no such file"),
    "a folder": (lambda folder, state: folder, "can't be read"),
    "no tensors": (lambda folder, state: saved(folder / "w.pth", {"epoch": 5}), "aren't tensors"),
    "a list": (lambda folder, state: saved(folder / "w.pth", [1, 2]), "holds a list"),
    "another network": (
        lambda folder, state: saved(folder / "w.pth", {"a": torch.zeros(3)}),
        "isn't a BoIR checkpoint",
    ),
    "not finite": (
        lambda folder, state: saved(folder / "w.pth", {**state, "kpt_head.conv_down.weight": _nan(state)}),
        "NaN or infinity",
    ),
    "a tensor short": (
        lambda folder, state: saved(folder / "w.pth", {k: v for k, v in state.items() if "conv_down.bias" not in k}),
        "1 missing: kpt_head.conv_down.bias",
    ),
}


def _text(path):
    path.write_text("my weights\n" * 100)
    return path


def _nan(state):
    return torch.full_like(state["kpt_head.conv_down.weight"], torch.nan)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_that_cannot_be_used(state, old, unchanged, tmp_path, name):
    make, says = CHECKPOINTS[name]
    path = make(tmp_path, state)
    with pytest.raises(CheckpointError, match=says) as caught:
        build(Request(checkpoint=path, out=old, overwrite=True))
    assert path.name in str(caught.value) or name == "another network"
    unchanged()


def test_a_checkpoint_of_another_skeleton(old, unchanged, tmp_path, capsys):
    crowd = stored(tmp_path / "crowd.safetensors", build_model("nano", "crowdpose14").state_dict())
    with pytest.raises(CheckpointError, match="skeleton crowdpose14, not of coco17"):
        build(Request(checkpoint=crowd, out=old, overwrite=True, skeleton="coco17"))
    command = ["build", "--checkpoint", str(crowd), "--skeleton", "coco17", "--overwrite", "--out", str(old), "--json"]
    assert main(command) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "checkpoint"
    unchanged()


def published(path, state):
    """The authors' form after training: everything under `best_state_dict`, with `module.`, beside older weights."""
    named = {f"module.{name}": tensor for name, tensor in state.items()}
    older = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in named.items()}
    return saved(path, {"epoch": 139, "best_state_dict": named, "state_dict": older, "perf": 0.7})


FORMS = {
    "published": published,
    "published, one set": lambda path, state: saved(path, {"epoch": 1, "state_dict": state}),
    "plain": saved,
    "plain, old format": lambda path, state: torch.save(state, path, _use_new_zipfile_serialization=False) or path,
    "with auxiliary heads": lambda path, state: saved(path, {**state, "multihead.emb_head.x": torch.zeros(2)}),
    "training snapshot": lambda path, state: saved(path, {"iteration": 5, "best_ap": 0.1, "model": state, "ema": None}),
    "half": lambda path, state: saved(path, {k: v.half() if v.is_floating_point() else v for k, v in state.items()}),
    "safetensors": stored,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_checkpoint_is_read(state, tmp_path, form):
    filled = load(FORMS[form](tmp_path / "weights.pth.tar", state), None, None).state_dict()
    assert filled.keys() == state.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(filled[name], tensor, rtol=0, atol=1e-2 if form == "half" else 0)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"precisions": ("int8",), "calibration": "empty"}, DataError, "holds no picture"),
        ({"precisions": ("int8",), "calibration": "nowhere"}, DataError, "no calibration pictures"),
        ({"precisions": ("int8",), "calibration": "broken"}, InputError, "picture"),
        ({"annotations": DATA / "people.json"}, ConfigError, "--images"),
        ({"images": PICTURES}, ConfigError, "--annotations"),
        ({"shown": -1}, ConfigError, "0 to 50"),
        ({"max_drop": 1.0}, ConfigError, "--max-drop needs pictures"),
        ({"annotations": DATA / "people.json", "images": PICTURES, "max_drop": -1.0}, ConfigError, "from 0 to 100"),
        ({"annotations": DATA / "nowhere.json", "images": PICTURES}, DataError, "no annotation file"),
        ({"overwrite": False}, InputError, "--overwrite"),
    ],
)
@pytest.mark.usefixtures("quick_builds")
def test_what_cannot_be_built(good, old, unchanged, tmp_path, changes, error, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"no picture")
    if isinstance(changes.get("calibration"), str):
        changes = {**changes, "calibration": tmp_path / changes["calibration"]}
    with pytest.raises(error, match=says):
        build(Request(checkpoint=good, out=old, **{"overwrite": True, **changes}))
    unchanged()


@pytest.mark.usefixtures("quick_builds")
def test_a_full_disk(good, old, unchanged, capsys):
    """Simulated by a limit on the size of files, which the kernel enforces on OpenVINO's writing too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        code = main(["build", "--checkpoint", str(good), "--overwrite", "--out", str(old)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 1
    said = capsys.readouterr().err
    assert "boir-convert: error: can't write" in said
    assert len(said.strip().splitlines()) == 1
    unchanged()


@pytest.mark.usefixtures("quick_builds")
@pytest.mark.parametrize("place", ["boir_convert.build.export", "boir_convert.writer.ov.save_model"])
def test_an_interruption_leaves_nothing(good, old, unchanged, monkeypatch, capsys, place):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    assert main(["build", "--checkpoint", str(good), "--overwrite", "--out", str(old)]) == 130
    assert "nothing was written" in capsys.readouterr().err
    unchanged()


def test_ctrl_c_during_calibration_in_a_process_of_its_own(good, old, unchanged, tmp_path):
    """The real signal, while NNCF runs the graph on the calibration pictures."""
    marker = tmp_path / "calibrating"
    program = f"""
import sys
from pathlib import Path
from boir_convert import quantize
from boir_convert.cli.main import main
each = quantize._Counted.__iter__
def slowly(self):
    for picture in each(self):
        Path({str(marker)!r}).touch()
        yield picture
quantize._Counted.__iter__ = slowly
sys.exit(main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", program, "build", "--checkpoint", str(good), "--overwrite", "--out", str(old)]
    command += ["--precision", "int8", "--calibration", str(PICTURES), "--calibration-size", "7"]
    path = os.pathsep.join(str(ROOT / part) for part in ("sdk", "train", "convert"))
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
    while not marker.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert "interrupted, nothing was written" in said
    unchanged()


def test_a_bundle_that_loses_too_much_is_not_written(old, unchanged, monkeypatch, capsys):
    """A conversion that goes wrong, here by half of each block's weights: the loss is told, the old bundle stays."""

    def halved(*given):
        model = load(*given)
        for block in model.backbone.blocks:
            block.project.weight.data *= 0.5
        return model

    monkeypatch.setattr("boir_convert.build.load", halved)
    weights = ROOT / "weights" / "nano.safetensors"
    command = ["build", "--checkpoint", str(weights), "--overwrite", "--out", str(old), "--size", "192"]
    command += ["--annotations", str(DATA / "people.json"), "--images", str(PICTURES), "--max-drop", "1"]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "more than --max-drop 1 is lost on 7 pictures at size 192" in said
    assert "fp16 has AP" in said
    unchanged()


def test_a_measured_bundle_carries_its_report(tmp_path):
    weights = ROOT / "weights" / "nano.safetensors"
    request = Request(
        weights, tmp_path / "out", annotations=DATA / "people.json", images=PICTURES, max_drop=1.0, default_size=192
    )
    assert build(request).files.keys() >= {"parity.json", "parity/README.md", "selftest.npz", "README.md"}
    told = bundle.read(tmp_path / "out").describe()["parity"]
    assert told["checkpoint"]["is_the_bundles"]
    assert abs(told["precisions"]["fp16"]["difference"]["AP"]) < 0.002
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


@pytest.mark.usefixtures("quick_builds")
def test_errors_are_ours(good, tmp_path, monkeypatch):
    monkeypatch.setattr(
        writer.tempfile, "mkdtemp", lambda **_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(BoirError, match="No space left"):
        build(Request(checkpoint=good, out=tmp_path / "out"))
