"""The paper's networks: names and counts, forms, start weights, and behaviour the parity cases can't show."""

from __future__ import annotations

import json
import math

import pytest

from boir_sdk.errors import ConfigError
from boir_sdk.skeleton import COCO17
from boir_train import build_model
from boir_train.model.boir import BoIR, initialise
from boir_train.model.person_head import PersonHead
from tests.parity.recipe_support import reference_file, torch

FORMS = [(preset, skeleton) for preset in ("w32", "w48") for skeleton in ("coco17", "crowdpose14")]
OUTPUT_BIAS = {"center_head": -4.59512, "buk_head": -4.59512, "bbox_head": 1.0}


@pytest.fixture(scope="module")
def training_model():
    return build_model("w32", "coco17", training=True)


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize(("preset", "skeleton"), FORMS)
def test_state_dict_is_the_published_one(shared, preset, skeleton, training):
    data = {"coco17": "coco", "crowdpose14": "crowdpose"}[skeleton]
    listing = json.loads(reference_file(f"state_dict_{preset}_{data}.json").read_text())
    with torch.device("meta"):
        model = build_model(preset, skeleton, training=training)
    state = model.state_dict()
    found = [[name, list(t.shape), str(t.dtype).removeprefix("torch.")] for name, t in state.items()]
    assert found == [entry[:3] for entry in listing["entries"] if training or entry[3] == "inference"]
    assert len(found) == listing["tensors" if training else "inference_tensors"]

    parameters = dict.fromkeys(listing["parameters_by_part"], 0)
    buffers = dict.fromkeys(listing["buffers_by_part"], 0)
    for count, named in ((parameters, model.named_parameters()), (buffers, model.named_buffers())):
        for name, tensor in named:
            count[name.split(".")[1] if name.startswith("multihead.") else name.split(".")[0]] += tensor.numel()
    built = {part for part, number in parameters.items() if number}
    assert built == set(parameters) - (set() if training else {"buk_head", "emb_head", "bbox_head"})
    assert {part: parameters[part] for part in built} == {part: listing["parameters_by_part"][part] for part in built}
    assert sum(parameters.values()) == listing["parameters_training" if training else "parameters_inference"]
    counters = sum(name.endswith("num_batches_tracked") for name, _ in model.named_buffers())
    expected = sum(listing["buffers_by_part"][part] for part in built if part in buffers)
    assert sum(buffers.values()) in (expected, expected + counters)


@pytest.mark.parametrize(
    ("preset", "skeleton", "init", "named"),
    [("w33", "coco17", "fixed", "w33"), ("w32", "coco18", "fixed", "coco18"), ("w32", "coco17", "zero", "zero")],
)
def test_unknown_names_are_errors(preset, skeleton, init, named):
    with pytest.raises(ConfigError, match=named):
        build_model(preset, skeleton, init=init)


def test_inference_form_is_ready_to_use():
    model = build_model("w32", "coco17")
    assert not model.training
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())


@pytest.mark.parametrize("init", ["fixed", "published"])
def test_start_weights(training_model, init):
    initialise(training_model, init)
    heads = training_model.multihead
    for part in (training_model.backbone, heads.neck, heads.center_head, heads.emb_head, training_model.kpt_head):
        weights = torch.cat([m.weight.flatten() for m in part.modules() if isinstance(m, torch.nn.Conv2d)])
        assert weights.std().item() == pytest.approx(0.001, rel=0.05)
        assert weights.mean().abs().item() < 1e-4
    biases = OUTPUT_BIAS | {"emb_head": 0.0 if init == "fixed" else -4.59512}
    for head, bias in biases.items():
        torch.testing.assert_close(
            getattr(heads, head).head[1].bias.detach(), torch.full_like(getattr(heads, head).head[1].bias, bias)
        )
    kpt = training_model.kpt_head
    for conv in (kpt.conv_down, kpt.s_attn.conv, kpt.fuse_attn[0], kpt.heatmap_conv):
        assert torch.all((conv.bias + math.log(99)).abs() < 1e-5)
    for linear in (kpt.c_attn.atn[0], kpt.s_attn.atn[0]):
        assert linear.weight.std().item() == pytest.approx(0.001, rel=0.05)
        assert not linear.bias.any()
    box = heads.bbox_head.head
    assert not box[1].weight.any()
    assert bool(box[0].conv1.weight.any()) == (init == "fixed")


def learning(heads):
    """Which tensors of neck and heads get a gradient from the box output in the second step."""
    optimiser = torch.optim.SGD(heads.parameters(), lr=1.0)
    for _ in range(2):
        optimiser.zero_grad()
        box = heads.auxiliary(heads.neck(torch.randn(2, 480, 8, 8)))["box"]
        (box * torch.linspace(0, 1, box.numel()).view_as(box)).sum().backward()
        optimiser.step()
    return {name for name, p in heads.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


@pytest.mark.parametrize(("init", "alive"), [("fixed", True), ("published", False)])
def test_published_box_head_never_learns_and_the_fixed_one_does(init, alive):
    torch.manual_seed(0)
    moved = learning(build_model("w32", "coco17", training=True, init=init).multihead)
    assert "bbox_head.head.1.bias" in moved
    assert ("bbox_head.head.0.conv1.weight" in moved) == alive
    assert ("neck.0.project.0.weight" in moved) == alive


def test_training_outputs(training_model):
    people = torch.tensor([0, 2, 2])
    outputs = training_model(torch.randn(3, 3, 64, 64), people, torch.tensor([[0, 0], [15, 15], [7, 8]]))
    assert {name: list(tensor.shape) for name, tensor in outputs.items()} == {
        "center_logits": [3, 1, 16, 16],
        "keypoint_logits": [3, 17, 16, 16],
        "embedding": [3, 128, 16, 16],
        "box": [3, 4, 16, 16],
        "person_logits": [3, 17, 16, 16],
    }


def test_a_last_batch_of_one_picture_trains(training_model):
    training_model.train()
    norm = training_model.multihead.neck[0].convs[4][2]
    before = norm.running_mean.clone()
    outputs = training_model(torch.randn(1, 3, 64, 64), torch.tensor([0]), torch.tensor([[3, 4]]))
    assert torch.isfinite(outputs["center_logits"]).all()
    assert torch.equal(norm.running_mean, before)


def test_no_person_is_no_error(training_model):
    none = torch.zeros(0, dtype=torch.int64)
    outputs = training_model(torch.randn(2, 3, 64, 64), none, none.view(0, 2))
    assert outputs["person_logits"].shape == (0, 17, 16, 16)


def test_people_at_once_equal_people_one_by_one():
    torch.manual_seed(1)
    head = PersonHead(40, 8, 17).eval()
    features = torch.randn(3, 40, 11, 13)
    index, yx = torch.tensor([2, 0, 0, 1]), torch.tensor([[0, 0], [10, 12], [4, 5], [4, 5]])
    with torch.inference_mode():
        together = head(features, index, yx)
        for i in range(4):
            alone = head(features[index[i] : index[i] + 1], torch.tensor([0]), yx[i : i + 1])
            torch.testing.assert_close(together[i], alone[0], atol=1e-5, rtol=1e-5)


def test_person_heatmaps_of_many_people_and_views():
    """More people than one chunk; the training form's person head gives the same."""
    torch.manual_seed(2)
    model = BoIR("w32", COCO17).eval()
    yx = torch.stack([torch.arange(15), torch.arange(15).flip(0)], dim=1)
    with torch.inference_mode():
        encoded = model.encode(torch.randn(2, 3, 64, 64))
        heat = model.person_heatmaps(encoded, yx)
        logits = model.kpt_head(encoded["features"], torch.arange(2).repeat_interleave(15), yx.repeat(2, 1))
    assert heat.shape == (2, 15, 17, 16, 16)
    expected = logits.sigmoid().clamp(1e-4, 1 - 1e-4).view_as(heat)
    torch.testing.assert_close(heat, expected, atol=1e-5, rtol=1e-5)


def test_flip_mirrors_features_back_before_the_neck():
    torch.manual_seed(3)
    model = BoIR("w32", COCO17).eval()
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        both = model.encode(torch.cat([x, x.flip(-1)]))
        mirrored = model.backbone(x.flip(-1)).flip(-1)
        neck = model.multihead.neck(mirrored)
    torch.testing.assert_close(both["features"][1:], mirrored, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(both["neck"][1:], neck, atol=1e-4, rtol=1e-4)
