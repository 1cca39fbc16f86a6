"""The whole training step of W32: loss, gradients and three AdamW steps, T1.8, T3.2 and T3.3.

The optimiser's path is proved in float64, as T6 explains: AdamW's first steps amplify rounding, so float32 is only a
coarse check of the loss before the first step.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from boir_sdk.skeleton import SKELETONS
from boir_train import build_model
from boir_train.losses.cells import image_index
from boir_train.losses.total import LossSettings, total_loss
from boir_train.model.settings import IMAGENET_MEAN, IMAGENET_STD
from tests.conftest import FIXTURES_TRAIN, SHARED
from tests.parity.agreement import assert_close
from tests.parity.cases import Case, cases

TERMS = ("multi_heatmap", "single_heatmap", "bbox_mask", "bbox", "total")


@dataclass(frozen=True)
class Targets:
    images: Tensor
    multi_heatmap: Tensor
    multi_mask: Tensor
    instance_coord: Tensor
    image_index: Tensor
    instance_heatmap: Tensor
    instance_mask: Tensor
    keypoints: Tensor
    boxes: Tensor
    counts: Tensor
    num_inst: Tensor


def _recipe() -> ModuleType:
    beside = [folder / "recipe.py" for folder in (FIXTURES_TRAIN.parent, SHARED / "reference")]
    path = next(path for path in beside if path.is_file())
    spec = importlib.util.spec_from_file_location("recipe", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _model(params: dict, dtype: torch.dtype) -> nn.Module:
    skeleton = next(name for name, value in SKELETONS.items() if len(value) == params["num_keypoints"])
    model = build_model(params["preset"], skeleton, training=True)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    weights = _recipe().recipe_weights(shapes, params["salt"])
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
    model.to(dtype).train()
    if params["batch_norm"].startswith("frozen"):
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    return model


def _network_input(pictures: np.ndarray) -> Tensor:
    """Each step rounded to float32 (T6): the double proof starts from the same bits."""
    mean, std = np.float32(IMAGENET_MEAN), np.float32(IMAGENET_STD)
    normalised = (pictures.astype(np.float32) / np.float32(255) - mean) / std
    return torch.from_numpy(np.ascontiguousarray(normalised.transpose(0, 3, 1, 2)))


def _targets(data: dict[str, np.ndarray], dtype: torch.dtype) -> Targets:
    counts = torch.from_numpy(data["counts"])
    boxes = torch.from_numpy(data["bbox"])
    index = image_index(counts)
    occupied = torch.zeros(len(counts), dtype=boxes.dtype).index_add(0, index, boxes.abs().sum(1)) > 0
    return Targets(
        images=_network_input(data["images"]).to(dtype),
        multi_heatmap=torch.from_numpy(data["multi_heatmap"]),
        multi_mask=torch.from_numpy(data["multi_mask"]),
        instance_coord=torch.from_numpy(data["instance_coord"]),
        image_index=index,
        instance_heatmap=torch.from_numpy(data["instance_heatmap"]),
        instance_mask=torch.from_numpy(data["instance_mask"]),
        keypoints=torch.zeros(len(boxes), data["instance_heatmap"].shape[1], 3),
        boxes=boxes,
        counts=counts,
        num_inst=counts * occupied,
    )


def _settings(params: dict) -> LossSettings:
    form = "paper" if params["form"] == "paper" else f"published-{params['background_level']}"
    return LossSettings(
        **params["weights"],
        beta=params["beta"],
        embedding_loss=form,
        box_anchor=params["box_anchor"][:2],
        detach_similarity=params["detach_similarity"],
    )


def _losses(model: nn.Module, targets: Targets, settings: LossSettings) -> dict[str, Tensor]:
    outputs = model(targets.images, targets.image_index, targets.instance_coord)
    return total_loss(outputs, targets, settings)


def _row(losses: dict[str, Tensor]) -> list[float]:
    return [float(losses[name].detach()) for name in TERMS]


@pytest.mark.parametrize("case", cases("total", FIXTURES_TRAIN))
def test_three_steps_in_float64(case: Case) -> None:
    data, params = case.arrays(), case.record["params"]
    model, targets, settings = _model(params, torch.float64), _targets(data, torch.float64), _settings(params)
    recipe = params["optimizer"]
    assert recipe["name"] == "AdamW"
    assert recipe["all_parameters_in_one_group"]
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=recipe["lr"],
        betas=tuple(recipe["betas"]),
        eps=recipe["eps"],
        weight_decay=recipe["weight_decay"],
    )
    for step in range(params["steps"] + 1):
        losses = _losses(model, targets, settings)
        limit = 1e-9 if step == 0 else 1e-6
        np.testing.assert_allclose(_row(losses), data["losses_f64"][step], rtol=limit, err_msg=f"after step {step}")
        if step == params["steps"]:
            _check_buffers(model, data)
            break
        optimizer.zero_grad()
        losses["total"].backward()
        if step == 0:
            _check_gradients(model, data)
        if params["clip_grad_norm"] is not None:
            nn.utils.clip_grad_norm_(model.parameters(), params["clip_grad_norm"])
        optimizer.step()


def _check_gradients(model: nn.Module, data: dict[str, np.ndarray]) -> None:
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    names = json.loads(str(data["grad_names"]))
    assert sorted(names) == sorted(gradients)
    expected = data["grad_norms"]
    norms = np.array([-1.0 if gradients[name] is None else float(gradients[name].norm()) for name in names])
    silent = expected < 0
    assert (norms[silent] <= 0).all()
    assert_close(np.linalg.norm(norms[~silent]), data["grad_total_norm"], relative=1e-8, what="norm of all gradients")
    # Smaller ones are zero in theory and hold noise.
    telling = expected > 1e-6 * expected.max()
    assert telling.sum() > len(names) / 2
    np.testing.assert_allclose(norms[telling], expected[telling], rtol=1e-8)
    for key, values in data.items():
        name = key.removeprefix("grad:")
        if name != key and telling[names.index(name)]:
            assert_close(gradients[name].flatten()[: len(values)], values, relative=1e-7, what=key)


def _check_buffers(model: nn.Module, data: dict[str, np.ndarray]) -> None:
    """Running statistics have seen four batches by then: the last loss row was taken in training mode too."""
    buffers = dict(model.named_buffers())
    for key, values in data.items():
        name = key.removeprefix("after3:")
        if name != key:
            assert_close(buffers[name].flatten()[: values.size], values.flatten(), relative=1e-6, what=key)


@pytest.mark.parametrize("case", cases("total", FIXTURES_TRAIN))
def test_loss_in_float32(case: Case) -> None:
    data, params = case.arrays(), case.record["params"]
    with torch.no_grad():
        losses = _losses(_model(params, torch.float32), _targets(data, torch.float32), _settings(params))
    limit = 1e-5 if params["batch_norm"].startswith("frozen") else 5e-5
    np.testing.assert_allclose(_row(losses), data["losses_f64"][0], rtol=limit)
