"""The start of `small`: the weights of `nano`, and those in Intel's graph of human-pose-estimation-0001 (Apache-2.0).

That public graph is quantised: every weight is stored as eight bits and a `FakeQuantize` that gives its value. The
values are taken, exactly; the rounding of activations is left out. The picture's normalisation is folded into the first
convolution, which takes pictures as `nano` has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from boir_sdk.errors import CheckpointError
from boir_sdk.quiet_openvino import ov
from boir_sdk.skeleton import COCO17, get_skeleton
from boir_train import checkpoint
from boir_train.model import nano
from boir_train.model.light_openpose import HEATMAPS
from boir_train.model.nano import Nano

_TRUNK = "second.trunk."
_READERS = ("kpt_head.conv_down.weight", "kpt_head.c_attn.atn.0.weight", "kpt_head.s_attn.atn.0.weight")

_SCALE, _MEAN = 0.00392, -0.502  # of the graph, applied to BGR 0 to 255
# OpenPose's places (nose, neck, right shoulder, ...) of coco17's keypoints
_PLACES = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)


def assemble(nano_path: str | Path, graph_path: str | Path) -> Nano:
    """Put `small` together, in inference form: what `nano` sees, the second trunk's heatmaps mixed in, nothing trained.

    The person head is `nano`'s; what it could read of the second trunk has weights of 0.

    Args:
        nano_path: whole weights of `nano`.
        graph_path: human-pose-estimation-0001's `.xml`, its `.bin` beside it.

    Raises:
        CheckpointError: a file can't be read, or isn't what it should be.
    """
    state = checkpoint.read(nano_path)
    preset, skeleton = checkpoint.identify(state)
    if preset != "nano":
        raise CheckpointError(f"{nano_path} holds weights of {preset}: small starts from those of nano")
    first = nano.build("nano", get_skeleton(skeleton), training=False)
    checkpoint.fill(first, state, nano_path)
    model = nano.build("small", get_skeleton(skeleton), training=False)
    own, state = model.state_dict(), first.state_dict()
    for name in _READERS:
        more = own[name].shape[1] - state[name].shape[1]
        state[name] = F.pad(state[name], (0, 0) * (own[name].ndim - 2) + (0, more))
    trunk = _for_skeleton(read_graph(graph_path), model.settings.skeleton.keypoints)
    state |= {f"{_TRUNK}{name}": tensor for name, tensor in trunk.items()}
    absent = torch.empty(0)
    wrong = [n for n in own if n.startswith(_TRUNK) and state.get(n, absent).shape != own[n].shape]
    if wrong:
        raise CheckpointError(
            f"{graph_path} isn't human-pose-estimation-0001: {len(wrong)} of the trunk's tensors are missing or of "
            f"another shape, e.g. {wrong[0].removeprefix(_TRUNK)!r}"
        )
    model.load_state_dict({**own, **state})
    return model


def read_graph(path: str | Path) -> dict[str, Tensor]:
    """Read the graph's weights by our names.

    Args:
        path: the `.xml`, its `.bin` beside it.

    Raises:
        CheckpointError: the file can't be read as an OpenVINO graph.
    """
    if not Path(path).is_file() or Path(path).suffix != ".xml":
        raise CheckpointError(f"no graph at {path}: name human-pose-estimation-0001's .xml file")
    try:
        graph = ov.Core().read_model(str(path))
    except RuntimeError as error:
        raise CheckpointError(f"{path} can't be read as an OpenVINO graph; is its .bin beside it, whole?") from error
    state: dict[str, Tensor] = {}
    names = dict(_names())
    for node in graph.get_ordered_ops():
        ours = names.get(node.get_friendly_name())
        if ours is None or node.get_type_name() not in ("Convolution", "GroupConvolution"):
            continue
        weight = _constant(node.input(1).get_source_output().get_node(), path)
        following = [target.get_node() for target in node.output(0).get_target_inputs()]
        sums = [other for other in following if other.get_type_name() == "Add"]
        if len(sums) != 1:
            raise CheckpointError(f"{path}: convolution {node.get_friendly_name()} has no bias after it")
        bias = _constant(sums[0].input(1).get_source_output().get_node(), path).ravel()
        if node.get_type_name() == "GroupConvolution":  # [C, 1, 1, 3, 3]
            weight = weight.reshape(weight.shape[0], *weight.shape[2:])
        if ours == "stem":
            bias = bias + (weight * (_SCALE * 127.5 + _MEAN)).sum(axis=(1, 2, 3))
            weight = weight[:, ::-1] * (_SCALE * 127.5)
        state[f"{ours}.weight"] = torch.from_numpy(np.ascontiguousarray(weight, np.float32))
        state[f"{ours}.bias"] = torch.from_numpy(np.ascontiguousarray(bias, np.float32))
    return state


def _names() -> Iterator[tuple[str, str]]:
    """The graph's convolutions by our names."""
    yield "conv1", "stem"
    blocks = ["2_1", "2_2", "3_1", "3_2", "4_1", "4_2", "5_1", "5_2", "5_3", "5_4", "5_5"]
    for index, block in enumerate(blocks):
        yield f"conv{block}/dw", f"blocks.{index}.depthwise"
        yield f"conv{block}/sep", f"blocks.{index}.pointwise"
    bare = "/WithoutBiases"
    yield f"conv4_3_CPM/al{bare}", "reduce.align"
    residue = [f"red{bare}", "dw1", f"dw1/1x1{bare}", "dw2", f"dw2/1x1{bare}", "dw3", f"inc{bare}"]
    for index, name in enumerate(residue):
        yield f"conv4_3_CPM/{name}", f"reduce.residue.{index}"
    yield f"conv4_4_CPM{bare}", "reduce.out"
    for index in range(3):
        yield f"conv5_{index + 1}_CPM_L1{bare}", f"initial.{index}"
    for branch, ours in (("L1", "fields"), ("L2", "heatmaps")):
        yield f"conv5_4_CPM_{branch}{bare}", f"initial_{ours}.hidden"
        yield f"conv5_5_CPM_{branch}{bare}", f"initial_{ours}.out"
        yield f"Mconv6_stage2_{branch}{bare}", f"{ours}.hidden"
        yield f"Mconv7_stage2_{branch}{bare}", f"{ours}.out"
    for index in range(5):
        stage = f"Mconv{index + 1}_stage2_L1"
        yield f"{stage}/sq{bare}", f"refine.{index}.squeeze"
        yield f"{stage}/3x3{bare}", f"refine.{index}.first"
        yield f"{stage}/3x3/2{bare}", f"refine.{index}.second"


def _for_skeleton(trunk: dict[str, Tensor], keypoints: tuple[str, ...]) -> dict[str, Tensor]:
    """The last convolution's rows in the order of `keypoints`; one without a namesake there has a heatmap of 0."""
    places = dict(zip(COCO17.keypoints, _PLACES, strict=True))
    for name in ("heatmaps.out.weight", "heatmaps.out.bias"):
        rows = trunk.get(name)
        if rows is not None and len(rows) == HEATMAPS:
            none = torch.zeros_like(rows[0])
            trunk[name] = torch.stack([rows[places[key]] if key in places else none for key in keypoints])
    return trunk


def _constant(node: ov.Node, path: str | Path) -> NDArray[np.float64]:
    """Value of a node that depends on nothing: a constant, converted, reshaped or dequantised."""
    kind = node.get_type_name()
    if kind == "Constant":
        return np.array(node.get_data(), np.float64)
    inputs = [node.input(index).get_source_output().get_node() for index in range(node.get_input_size())]
    if kind == "Convert":
        return _constant(inputs[0], path)
    if kind == "Reshape":
        return _constant(inputs[0], path).reshape([int(side) for side in node.get_output_shape(0)])
    if kind == "FakeQuantize":
        value, low, high, out_low, out_high = (_constant(each, path) for each in inputs)
        steps = int(node.get_attributes()["levels"]) - 1
        place = np.round((np.clip(value, low, high) - low) / (high - low) * steps)
        return place / steps * (out_high - out_low) + out_low
    raise CheckpointError(f"{path}: {node.get_friendly_name()} is no constant, but {kind}")
