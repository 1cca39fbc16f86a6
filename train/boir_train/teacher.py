"""A frozen network whose heatmaps another one learns from, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn

from boir_sdk.errors import ConfigError
from boir_train.losses.focal import probability
from boir_train.losses.soft import mirrored_back


class _Heatmaps(nn.Module):
    """What a network that teaches is asked: normalised pictures [B, 3, I, I] -> probabilities [B, K + 1, R, R]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        maps = self.model.dense(images)
        return probability(torch.cat([maps["keypoint_logits"], maps["center_logits"]], dim=1))


class Teacher:
    """Answers with a network's heatmaps; on CPUs they come from OpenVINO, which takes about half of PyTorch's time."""

    def __init__(self, model: nn.Module, device: torch.device, *, mirror: bool = True) -> None:
        """Take a network in its training form, which stays as it is.

        Args:
            model: the network.
            device: where the pictures are.
            mirror: answer with the mean of a picture and the mirrored one, which is better than either and takes twice
                the time.

        Raises:
            ConfigError: it has no bottom-up heatmaps to teach.
        """
        if model.settings.flip != "outputs":
            raise ConfigError(f"model.teacher: {model.settings.preset} mirrors features, not heatmaps; take a nano")
        self._heatmaps = _Heatmaps(model).to(device).eval().requires_grad_(False)
        self._flip_index = model.settings.skeleton.flip_index
        self._mirror = mirror
        self._graph: Any = None
        self._compiled: dict[tuple[int, ...], Any] = {}  # by shape: OpenVINO is fastest where shapes are fixed

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Normalised pictures [B, 3, I, I] -> probabilities [B, K + 1, R, R], the centres last."""
        straight = self._look(images)
        if not self._mirror:
            return straight
        return (straight + mirrored_back(self._look(images.flip(-1)), self._flip_index)) / 2

    def _look(self, images: Tensor) -> Tensor:
        if images.device.type != "cpu":
            return self._heatmaps(images)
        shape = tuple(images.shape)
        if shape not in self._compiled:
            self._compiled[shape] = self._compile(shape)
        return torch.from_numpy(self._compiled[shape](np.ascontiguousarray(images.numpy()))[0].copy())

    def _compile(self, shape: tuple[int, ...]) -> Any:
        if self._graph is None:
            with torch.autocast("cpu", enabled=False):
                self._graph = ov.convert_model(self._heatmaps, example_input=torch.zeros(1, 3, 64, 64))
        graph = self._graph.clone()
        graph.reshape(list(shape))
        # In float whatever the processor is quick at: the targets shouldn't depend on it.
        return ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
