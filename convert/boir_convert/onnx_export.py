"""A checkpoint as one ONNX file with the whole of inference inside: a picture in, the best 30 people out.

OpenVINO's bundle stays the product; this file is for other runtimes and a second opinion. Both parts of
`boir_convert.deploy` are traced as one graph in which the person part always runs on all 30 places, so nothing in it
depends on how many people there are. Its shapes are static, and everything that follows from them is folded away,
unless a free size is asked for.

Tensors by name, K keypoints:
    picture    uint8 [1, H, W, 3]   network picture, BGR, sides multiples of the network's (`boir_sdk.warp` makes it)
    centers    [30, 3]              centre score, y, x in cells, the best first
    keypoints  [30, K, 3]           x, y in pixels of the network picture, and the keypoint's score
    scores     [30]                 of the people; 0 for a place that nobody takes (SPEC-model M4.5)
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxsim
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from boir_convert import deploy, facts, onnx_check
from boir_convert.build import load
from boir_convert.onnx_check import CENTER_THRESHOLD
from boir_convert.progress import Progress
from boir_sdk import __version__
from boir_sdk.cli.files import write_atomic
from boir_sdk.decode import STRIDE
from boir_sdk.errors import ConfigError, InferenceError, InputError
from boir_train.inference import ProtocolName, get_protocol
from boir_train.model.boir import BoIR
from boir_train.model.nano import Nano
from boir_train.model.settings import ModelSettings
from boir_train.subject import sha256_of

MAX_SIDE = 2048  # pixels; the person part runs on all 30 places at once
OPSET = 17  # the first with LayerNormalization
# onnxsim 0.8.1 makes a mean over two axes and one new axis into a mean that keeps both.
_HARMFUL = ("fuse_consecutive_reduce_unsqueeze",)
INPUT, OUTPUTS = "picture", ("centers", "keypoints", "scores")


@dataclass(frozen=True, slots=True)
class Request:
    """What to export.

    Attributes:
        checkpoint: file of weights, any form that `boir_train.checkpoint.read` knows.
        out: the file to make.
        preset: `w32`, `w48`, `nano`, `nano-pure` or `small`; None to tell it from the weights.
        skeleton: keypoint convention; None to tell it from the weights.
        protocol: whose smoothing is built in, and whose suppression the metadata names.
        shape: height and width of the network picture, pixels; None for a square of the preset's default size.
        free_size: take pictures of any size, sides multiples of the network's; `shape` is traced and checked first.
        flip_test: look at the mirrored picture too, inside the graph.
        score_threshold: people below it are better left out; metadata only, the graph gives everybody.
        keypoint_threshold: keypoints below it are better not drawn; metadata only.
        overwrite: replace a file that is already there.
    """

    checkpoint: Path
    out: Path
    preset: str | None = None
    skeleton: str | None = None
    protocol: ProtocolName = "coco"
    shape: tuple[int, int] | None = None
    free_size: bool = False
    flip_test: bool = False
    score_threshold: float = 0.1
    keypoint_threshold: float = 0.1
    overwrite: bool = False


class WholeNetwork(nn.Module):
    """Both deployment parts, and what stands before and after them, as one module."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: BoIR | Nano, kernel: int, *, flip_test: bool) -> None:
        super().__init__()
        self.dense, self.person = deploy.dense_part(model, kernel), deploy.person_part(model, kernel)
        self.flip_test = flip_test
        self.register_buffer("mean", 255 * torch.tensor(model.settings.mean))
        self.register_buffer("std", 255 * torch.tensor(model.settings.std))

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 BGR [1, H, W, 3] -> centers, keypoints, scores."""
        x = ((picture.flip(-1).to(torch.float32) - self.mean) / self.std).permute(0, 3, 1, 2)
        if self.flip_test:
            x = torch.cat([x, x.flip(-1)])
        people, *rest = self.dense(x)
        found = self.person(people[:, 1:], *rest)
        center = people[:, :1]
        taken = torch.where(center > CENTER_THRESHOLD, center, torch.zeros_like(center))
        score = found[:, :, 2] * taken  # M4.7
        return people, torch.cat([found[:, :, :2], score[:, :, None]], dim=2), score.mean(dim=1)


def export(request: Request, progress: Progress | None = None) -> onnx_check.Agreement:
    """Make the file, and return how closely onnxruntime's people agree with PyTorch's.

    Args:
        request: what to export.
        progress: tells how far it is; None keeps quiet.

    Raises:
        CheckpointError: the weights can't be read or don't fit.
        ConfigError: preset, skeleton, protocol or shape is unknown, or contradicts the weights.
        InputError: the file can't be written there.
        InferenceError: the network can't be exported, or onnxruntime's people differ from PyTorch's; nothing is
            written then.
    """
    progress = progress or Progress(shown=False)
    protocol = get_protocol(request.protocol)
    if request.out.is_dir() or (request.out.exists() and not request.overwrite):
        raise InputError(f"{request.out} exists: choose another place, or say --overwrite to replace a file")
    progress.step("reading the checkpoint")
    model = load(request.checkpoint, request.preset, request.skeleton)
    shape = _shape(request.shape, model.settings)
    progress.step("tracing")
    kernel = protocol.pool_kernel or model.settings.pool_kernel
    graph = to_onnx(model, kernel, shape, request.flip_test, free_size=request.free_size)
    progress.step("simplifying")
    graph = simplified(graph)
    describe(graph, model, request, shape)
    data = graph.SerializeToString()
    progress.step("checking in onnxruntime")
    multiple = model.settings.multiple
    others = ((4 * multiple, 2 * multiple), (2 * multiple, 5 * multiple)) if request.free_size else ()
    agreement = onnx_check.merged(
        [onnx_check.check(data, model, each, request.flip_test, request.protocol) for each in (shape, *others)]
    )
    progress.step("writing")
    write_atomic(request.out, data)
    return agreement


def to_onnx(
    model: BoIR | Nano, kernel: int, shape: tuple[int, int], flip_test: bool, *, free_size: bool = False
) -> onnx.ModelProto:
    """Trace a network in inference form, not yet simplified.

    Args:
        model: filled.
        kernel: smoothing of centre map and heatmaps, cells.
        shape: height and width of the picture, pixels.
        flip_test: add the mirrored view inside the graph.
        free_size: leave height and width free; `shape` is what is traced.

    Raises:
        InferenceError: PyTorch can't export it.
    """
    module = WholeNetwork(model, kernel, flip_test=flip_test).eval()
    example = torch.zeros(1, *shape, 3, dtype=torch.uint8)
    try:
        with torch.no_grad(), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), _OnnxForms():
            warnings.simplefilter("ignore")
            path = Path(folder) / "model.onnx"
            torch.onnx.export(
                module,
                (example,),
                str(path),
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                opset_version=OPSET,
                dynamo=False,
                dynamic_axes={INPUT: {1: "height", 2: "width"}} if free_size else None,
            )
            return onnx.load(str(path))
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        raise InferenceError(
            f"PyTorch {torch.__version__} can't export this {model.settings.preset}: {error}"
        ) from error


class _OnnxForms(TorchFunctionMode):
    """Some calls in the form that ONNX can take, while tracing.

    Without the flip test `y[1:].flip(-1)` has no elements, which the exporter can't reshape; put together with the
    rest it is nothing. The norms are written out with the mean taken off first, so that no runtime's own form loses
    digits (SPEC-model M5.2). After an unflatten the exporter takes the traced size for the only one there can be.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.cat:
            tensors, *rest = args
            return func([tensor for tensor in tensors if tensor.numel()], *rest, **kwargs)
        if func is torch.unflatten:
            x, dim, sizes = args
            dim %= x.dim()
            return x.reshape([*x.shape[:dim], *sizes, *x.shape[dim + 1 :]])
        if func is F.instance_norm:
            x = args[0]
            axes = list(range(2, x.dim()))
            x = x - x.mean(dim=axes, keepdim=True)
            return x / torch.sqrt((x * x).mean(dim=axes, keepdim=True) + kwargs.get("eps", 1e-5))
        return func(*args, **kwargs)


def simplified(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and drop what has no effect.

    Raises:
        InferenceError: onnxsim's own check of the result fails.
    """
    small: onnx.ModelProto
    small, same = onnxsim.simplify(graph, skipped_optimizers=list(_HARMFUL))
    if not same:
        raise InferenceError("onnxsim changed what the graph computes: use another version of onnxsim")
    del small.graph.value_info[:]  # onnxsim fuses nodes and may keep the shapes of before
    onnx.checker.check_model(small, full_check=True)
    return small


def describe(graph: onnx.ModelProto, model: BoIR | Nano, request: Request, shape: tuple[int, int]) -> None:
    """Write into the graph's metadata what a user of the file must know; the keys of `facts.own` where they fit."""
    settings, protocol = model.settings, get_protocol(request.protocol)
    values: Mapping[str, object] = {
        "schema": facts.SCHEMA,
        "preset": settings.preset,
        "part": "whole",
        "precision": "fp32",
        "protocol": request.protocol,
        **facts.of_skeleton(settings.skeleton),
        "stride": STRIDE,
        "multiple": settings.multiple,
        "fit_rule": settings.fit_rule,
        "resample": settings.resample,
        "height": "free" if request.free_size else shape[0],
        "width": "free" if request.free_size else shape[1],
        "max_people": deploy.MAX_PEOPLE,
        "flip_test": request.flip_test,
        "center_threshold": CENTER_THRESHOLD,
        "score_threshold": request.score_threshold,
        "keypoint_threshold": request.keypoint_threshold,
        "oks_threshold": protocol.oks_threshold,
        "pool_kernel": protocol.pool_kernel or settings.pool_kernel,
        "sha256_of_source": sha256_of(request.checkpoint),
    }
    onnx.helper.set_model_props(graph, {f"boir.{key}": str(value) for key, value in values.items()})
    graph.producer_name, graph.producer_version = "boir-convert", __version__
    graph.doc_string = __doc__


def _shape(asked: tuple[int, int] | None, settings: ModelSettings) -> tuple[int, int]:
    """The picture's height and width, checked."""
    height, width = asked or (settings.default_size, settings.default_size)
    multiple = settings.multiple
    if any(not multiple <= side <= MAX_SIDE or side % multiple for side in (height, width)):
        raise ConfigError(
            f"{settings.preset} can't take a picture of {height} x {width} pixels: "
            f"give multiples of {multiple} up to {MAX_SIDE} (--size)"
        )
    return height, width
