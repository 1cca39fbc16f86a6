"""Deployment modules to OpenVINO models with free batch, height and width; the runtime makes them static.

Colour order, mean and scale go into the dense graph, which therefore takes uint8 BGR pictures [V, H, W, 3].
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from boir_convert import deploy
from boir_sdk.errors import InferenceError
from boir_sdk.quiet_openvino import ov
from boir_train.model.boir import BoIR
from boir_train.model.nano import Nano

MAPS = ("g", "h", "offset_hidden", "keypoint_logits")
_OUTPUTS = ("people", "vectors", "g", "h", "offset_hidden", "regress", "keypoint_logits")  # the first 4, 5 or all 7


def export(model: BoIR | Nano, kernel: int) -> tuple[ov.Model, ov.Model]:
    """Convert a network in inference form to its dense and person graph.

    Args:
        model: filled, in evaluation mode.
        kernel: smoothing of centre map and heatmaps in cells (M4.5, M4.7).

    Raises:
        InferenceError: OpenVINO can't convert the network.
    """
    # Two views and two people: with one of either, tracing would take size 1 for a constant.
    side = 2 * model.settings.multiple
    picture = torch.zeros(2, 3, side, side + model.settings.multiple)
    dense_module = deploy.dense_part(model, kernel).eval()
    person_module = deploy.person_part(model, kernel).eval()
    with torch.no_grad():
        found = dense_module(picture)
    outputs = _OUTPUTS[: len(found)]
    example = dict(zip(outputs, found, strict=True))
    people = example.pop("people")
    inputs = {"center_yx": people[:2, 1:].contiguous()}
    for name, tensor in example.items():
        inputs[name] = tensor if name in MAPS else tensor[:, :2].contiguous()
    try:
        dense = _converted(dense_module, picture, input=[ov.PartialShape([-1, 3, -1, -1])])
        person = _converted(person_module, tuple(inputs.values()))
    except RuntimeError as error:
        raise InferenceError(
            f"OpenVINO {ov.__version__} can't convert this {model.settings.preset}: {error}"
        ) from error
    _name(dense, ("picture",), outputs)
    _name(person, tuple(inputs), ("keypoints",))
    return _with_preprocessing(dense, model), person


def _converted(module: nn.Module, example: Any, **options: Any) -> ov.Model:
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # PyTorch's check traces a second time, which is a third of the work; parity tests compare what matters, the poses.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own checks of shapes don't depend on the size
        traced = TorchScriptPythonDecoder(module, example_input=example, trace_kwargs={"check_trace": False})
    return ov.convert_model(traced, example_input=example, **options)


def _name(model: ov.Model, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    for port, name in zip(model.inputs, inputs, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
    for port, name in zip(model.outputs, outputs, strict=True):
        port.get_tensor().set_names({name})


def _with_preprocessing(dense: ov.Model, model: BoIR | Nano) -> ov.Model:
    """Put uint8, layout, colour order, mean and scale of M4.3 in front of the graph."""
    steps = ov.preprocess.PrePostProcessor(dense)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().tensor().set_color_format(ov.preprocess.ColorFormat.BGR).set_spatial_dynamic_shape()
    steps.input().model().set_layout(ov.Layout("NCHW"))
    preprocess = steps.input().preprocess()
    preprocess.convert_element_type(ov.Type.f32).convert_color(ov.preprocess.ColorFormat.RGB)
    preprocess.mean([255 * value for value in model.settings.mean])
    preprocess.scale([255 * value for value in model.settings.std])
    return steps.build()
