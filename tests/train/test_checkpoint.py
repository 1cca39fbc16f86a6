"""Weights in every form that occurs, and every way in which their content can be wrong (SPEC-model M3)."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import safetensors
import safetensors.torch

from boir_sdk.errors import CheckpointError, InputError
from boir_train import build_model, checkpoint
from tests.parity.recipe_support import torch


class Small(torch.nn.Module):
    """A few of w32's tensors, enough to be known as w32: files stay small."""

    def __init__(self, skeleton="coco17", *, training=False):
        super().__init__()
        keypoints = {"coco17": 17, "crowdpose14": 14}[skeleton]
        conv, block = torch.nn.Conv2d, torch.nn.ModuleDict
        self.settings = SimpleNamespace(preset="w32", skeleton=SimpleNamespace(name=skeleton))
        transition = torch.nn.Sequential(torch.nn.Sequential(conv(4, 32, 1, bias=False), torch.nn.BatchNorm2d(32)))
        self.backbone = block(
            {"conv1": conv(3, 64, 3, bias=False), "bn1": torch.nn.BatchNorm2d(64), "transition1": transition}
        )
        heads = {"center": 1, "buk": keypoints, "emb": 128, "bbox": 4} if training else {"center": 1}
        self.multihead = block(
            {
                f"{name}_head": block({"head": torch.nn.Sequential(torch.nn.BatchNorm2d(8), conv(8, outputs, 1))})
                for name, outputs in heads.items()
            }
        )
        self.kpt_head = block({"conv_down": conv(480, 64, 1), "heatmap_conv": conv(64, keypoints, 1)})


@pytest.fixture
def model():
    return Small()


@pytest.fixture(scope="module")
def state():
    return Small().state_dict()


@pytest.fixture(scope="module")
def training_state():
    return Small(training=True).state_dict()


def auxiliary(training_state):
    return {name: tensor for name, tensor in training_state.items() if name.startswith(checkpoint.AUXILIARY)}


def training_checkpoint(state, **changes):
    content = {
        "epoch": 3,
        "model": "boir",
        "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
        "best_state_dict": state,
        "perf": -1,
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]},
        "scaler": None,
    }
    return {key: value for key, value in (content | changes).items() if value is not ...}


def equal(model, state):
    return all(torch.equal(tensor, state[name].to(tensor.dtype)) for name, tensor in model.state_dict().items())


FORMS = {
    "plain": lambda s: s,
    "best": lambda s: training_checkpoint(s),
    "best-preferred": lambda s: training_checkpoint(s, state_dict={"module.x": torch.zeros(1)}),
    "state_dict": lambda s: training_checkpoint(s, best_state_dict=...),
    "model": lambda s: {"model": s, "epoch": 1},
    "module-twice": lambda s: {f"module.module.{name}": tensor for name, tensor in s.items()},
    "leftover": lambda s: s | {"param_sampler.mask": torch.zeros(1, 128, 128)},
    "no-counters": lambda s: {name: t for name, t in s.items() if not name.endswith(checkpoint.COUNTER)},
    "float64": lambda s: {name: t.double() if t.is_floating_point() else t for name, t in s.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form, model, state, tmp_path):
    path = tmp_path / "w32.pth.tar"
    torch.save(FORMS[form](state), path)
    with torch.no_grad():
        model.kpt_head["heatmap_conv"].weight.zero_()
    report = checkpoint.load(model, path)
    assert equal(model, state)
    assert report.loaded == report.total == len(state)
    assert report.dropped == (("param_sampler.mask",) if form == "leftover" else ())


def test_old_pickle_format(model, state, tmp_path):
    path = tmp_path / "w32.pth.tar"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    checkpoint.load(model, path)
    assert equal(model, state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(dtype, model, state, tmp_path):
    path = tmp_path / "half.pth"
    torch.save({name: t.to(dtype) if t.is_floating_point() else t for name, t in state.items()}, path)
    checkpoint.load(model, path)
    weight = model.backbone["conv1"].weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, state["backbone.conv1.weight"].to(dtype).float())


def test_training_form_file_fills_the_inference_form(model, training_state, tmp_path):
    path = tmp_path / "released.pth.tar"
    torch.save(training_state, path)
    report = checkpoint.load(model, path)
    assert equal(model, training_state)
    assert set(report.dropped) == set(auxiliary(training_state))
    assert len(report.dropped) == 21


def test_released_file_fills_the_real_network(tmp_path):
    path = tmp_path / "w32.pth.tar"
    torch.manual_seed(0)
    released = build_model("w32", "coco17", training=True).state_dict()
    torch.save(released, path)
    real = build_model("w32", "coco17")
    report = checkpoint.load(real, path)
    assert equal(real, released)
    assert (report.loaded, len(report.dropped)) == (1902, 60)


def test_training_form_needs_its_heads(state, tmp_path):
    path = tmp_path / "inference.pth.tar"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"18 missing: multihead\.buk_head.* and 13 more"):
        checkpoint.load(Small(training=True), path)


@pytest.mark.parametrize("half", [False, True])
def test_safetensors_round_trip(half, model, state, tmp_path):
    path = tmp_path / "w32.safetensors"
    checkpoint.save(path, state, half=half, metadata={"data": "coco"})
    checkpoint.load(model, path)
    kept = {name: t.half() if half and t.is_floating_point() else t for name, t in state.items()}
    assert equal(model, kept)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"data": "coco"}


def test_save_of_shared_and_strided_tensors(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, {"a": base.t(), "b": base, "c": base[0]})
    read = checkpoint.read(path)
    assert torch.equal(read["a"], base.t()) and torch.equal(read["c"], base[0])


@pytest.mark.parametrize(
    ("tensor", "half", "named"),
    [
        (torch.tensor([1.0, float("nan")]), False, "x isn't finite"),
        (torch.tensor([7e4]), True, "x isn't finite in float16"),
    ],
)
def test_save_refuses_what_cannot_be_loaded_and_keeps_the_old_file(tensor, half, named, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(CheckpointError, match=named):
        checkpoint.save(path, {"x": tensor}, half=half)
    assert path.read_bytes() == b"old"


def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(safetensors.torch, "save", full)
    with pytest.raises(InputError, match="no space"):
        checkpoint.save(tmp_path / "x.safetensors", {"x": torch.zeros(1)})
    assert list(tmp_path.iterdir()) == []


WRONG = {
    "missing": (lambda s: {n: t for n, t in s.items() if n != "backbone.conv1.weight"}, "1 missing: backbone.conv1"),
    "unknown": (lambda s: s | {"backbone.extra": torch.zeros(1)}, "1 unknown: backbone.extra"),
    "shape": (
        lambda s: s | {"backbone.bn1.bias": torch.zeros(63)},
        r"1 tensors have another shape: backbone.bn1.bias \[63\] instead of \[64\]",
    ),
    "nan": (
        lambda s: s | {"backbone.bn1.bias": torch.full((64,), float("nan"))},
        "backbone.bn1.bias holds NaN or infinity",
    ),
    "inf-by-conversion": (
        lambda s: s | {"backbone.bn1.bias": torch.full((64,), 1e300, dtype=torch.float64)},
        "backbone.bn1.bias holds NaN or infinity",
    ),
    "integers": (lambda s: s | {"backbone.bn1.bias": torch.zeros(64, dtype=torch.int32)}, "torch.int32"),
    "complex": (lambda s: s | {"backbone.bn1.bias": torch.zeros(64, dtype=torch.complex64)}, "torch.complex64"),
    "prefix-clash": (lambda s: s | {"module.backbone.bn1.bias": torch.zeros(64)}, "two tensors are called"),
    "not-tensors": (lambda s: s | {"note": "hello"}, "aren't tensors with a name: note"),
    "a-list": (lambda s: list(s.values())[:3], "holds a list"),
    "nothing": (lambda s: {}, "holds no tensors"),
    "another-network": (lambda s: {"conv1.weight": torch.zeros(64, 3, 3, 3)}, "isn't a BoIR checkpoint"),
    "no-such-skeleton": (
        lambda s: s | {"kpt_head.heatmap_conv.weight": torch.zeros(21, 64, 1, 1)},
        "21 keypoints",
    ),
    "no-such-width": (
        lambda s: s | {"backbone.transition1.0.0.weight": torch.zeros(18, 256, 3, 3)},
        "branch width 18",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_content_is_named_and_changes_nothing(case, model, state, tmp_path):
    change, named = WRONG[case]
    path = tmp_path / "w32.pth.tar"
    torch.save(change(state), path)
    model.load_state_dict(state)
    with pytest.raises(CheckpointError, match=named) as caught:
        checkpoint.load(model, path)
    assert str(path) in str(caught.value)
    assert equal(model, state)


@pytest.mark.parametrize(
    ("preset", "skeleton"), [("w48", "coco17"), ("w32", "crowdpose14")], ids=["wrong-width", "wrong-skeleton"]
)
def test_another_preset_is_named_once(preset, skeleton, state, tmp_path):
    path = tmp_path / "w32.pth.tar"
    torch.save(state, path)
    other = Small(skeleton)
    other.settings.preset = preset
    message = f"holds a w32 model for coco17, but the model to fill is {preset} for {skeleton}"
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(other, path)


@pytest.mark.parametrize("skeleton", ["coco17", "crowdpose14"])
@pytest.mark.parametrize("preset", ["w32", "w48"])
def test_identify(preset, skeleton):
    with torch.device("meta"):
        state = build_model(preset, skeleton).state_dict()
    assert checkpoint.identify(state) == (preset, skeleton)


def test_identify_nano():
    state = {"backbone.stem.weight": torch.zeros(1), "kpt_head.heatmap_conv.weight": torch.zeros(17, 48, 1, 1)}
    assert checkpoint.identify(state) == ("nano-pure", "coco17")
    assert checkpoint.identify({**state, "prior.gain": torch.zeros(17)}) == ("nano", "coco17")


def imagenet(model, *, tensors=None):
    """A classifier's file: the backbone without its prefix, and what only a classifier has."""
    own = {name: torch.full_like(tensor, 2) for name, tensor in model.backbone.state_dict().items()}
    own = dict(list(own.items())[:tensors])
    return own | {"classifier.weight": torch.zeros(1000, 2048), "incre_modules.0.0.conv1.weight": torch.zeros(1)}


@pytest.mark.parametrize("tensors", [None, 3])
def test_load_backbone(tensors, model, tmp_path):
    path = tmp_path / "hrnet_w32.pth"
    before = model.kpt_head["conv_down"].weight.clone()
    torch.save(imagenet(model, tensors=tensors), path)
    report = checkpoint.load_backbone(model, path)
    total = len(model.backbone.state_dict())
    assert (report.loaded, report.total) == (tensors or total, total)
    assert len(report.kept) == total - report.loaded
    assert set(report.dropped) == {"classifier.weight", "incre_modules.0.0.conv1.weight"}
    assert torch.all(model.backbone["conv1"].weight == 2)
    assert torch.equal(model.kpt_head["conv_down"].weight, before)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, r"conv1.weight \[64, 3, 7, 7\] instead of \[64, 3, 3, 3\]"),
        ({"features.0.weight": torch.zeros(3)}, "none of its 1 tensors is one of the backbone's"),
    ],
    ids=["another-shape", "another-network"],
)
def test_load_backbone_refuses(content, named, model, tmp_path):
    path = tmp_path / "start.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=named):
        checkpoint.load_backbone(model, path)


def test_a_missing_backbone_file_is_an_error(model, tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoint.load_backbone(model, tmp_path / "hrnet_w32-36af842e.pth")


def test_transfer(training_state, tmp_path):
    path = tmp_path / "coco.pth.tar"
    torch.save(training_state, path)
    target = Small("crowdpose14", training=True)
    fresh = {name: target.state_dict()[name].clone() for name in checkpoint.OTHER_SKELETON}
    report = checkpoint.transfer(target, path)
    assert set(report.kept) == set(checkpoint.OTHER_SKELETON)
    assert report.loaded == report.total - 4
    after = target.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in fresh.items())
    same = [name for name in training_state if name not in fresh]
    assert all(torch.equal(after[name], training_state[name]) for name in same)


def test_training_goes_on_from_what_was_deployed(training_state, state, tmp_path):
    """Heads that only training has keep their fresh values; a file that lacks a part of one is still refused."""
    fresh = Small(training=True)
    before = auxiliary({name: tensor.clone() for name, tensor in fresh.state_dict().items()})
    path = tmp_path / "deployed.pt"
    torch.save(state, path)
    report = checkpoint.load_deployed(fresh, path)
    assert set(report.kept) == set(before)
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, before[name] if name in before else state[name]), name

    some = {name: tensor for name, tensor in training_state.items() if name != "multihead.emb_head.head.1.bias"}
    torch.save(some, path)
    with pytest.raises(CheckpointError, match=r"1 missing: multihead\.emb_head\.head\.1\.bias"):
        checkpoint.load_deployed(fresh, path)


def test_transfer_needs_all_four_tensors(state, tmp_path):
    path = tmp_path / "inference.pth.tar"
    torch.save(state, path)
    four = re.escape("multihead.buk_head.head.1.weight, multihead.buk_head.head.1.bias")
    with pytest.raises(CheckpointError, match=four):
        checkpoint.transfer(Small("crowdpose14", training=True), path)


def test_nano_is_checked_against_its_own_names(tmp_path):
    module = torch.nn.Module()
    module.backbone = torch.nn.ModuleDict({"stem": torch.nn.Linear(2, 2)})
    module.kpt_head = torch.nn.ModuleDict({"heatmap_conv": torch.nn.Conv2d(4, 17, 1)})
    module.settings = SimpleNamespace(preset="nano-pure", skeleton=SimpleNamespace(name="coco17"))
    path = tmp_path / "nano.safetensors"
    checkpoint.save(path, module.state_dict())
    assert checkpoint.load(module, path).loaded == 4
