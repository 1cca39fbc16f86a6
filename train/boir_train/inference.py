"""Inference to the letter in PyTorch: the reference that deployment and evaluation are measured by (SPEC-model M4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from boir_sdk import decode, looks, oks, warp
from boir_sdk.errors import ConfigError, InputError
from boir_sdk.poses import Poses
from boir_train.losses.focal import probability
from boir_train.model.person_head import feature_vectors
from boir_train.model.settings import ModelSettings

Float32 = npt.NDArray[np.float32]
ProtocolName = Literal["coco", "crowdpose", "ochuman"]

COARSEST_STRIDE = 32  # a network picture whose sides aren't multiples of this doesn't fit the backbone's levels


@dataclass(frozen=True, slots=True)
class Protocol:
    """How one benchmark decodes and suppresses (SPEC-model M1).

    Attributes:
        pool_kernel: side of the smoothing average, cells; None is the model's own (3 for `w32` and `w48`).
        oks_threshold: a person more similar than this to a better one is dropped.
    """

    pool_kernel: int | None
    oks_threshold: float


PROTOCOLS = {
    "coco": Protocol(pool_kernel=None, oks_threshold=0.8),
    "crowdpose": Protocol(pool_kernel=None, oks_threshold=0.8),
    "ochuman": Protocol(pool_kernel=11, oks_threshold=0.7),
}


def get_protocol(name: str) -> Protocol:
    """Return the protocol called `name`.

    Raises:
        ConfigError: no protocol has that name.
    """
    try:
        return PROTOCOLS[name]
    except KeyError:
        raise ConfigError(f"unknown protocol {name!r}: known are {', '.join(PROTOCOLS)}") from None


def normalise(net_input: npt.NDArray[np.uint8], settings: ModelSettings) -> Float32:
    """Turn a network picture [H, W, 3] (RGB) into the network's input [3, H, W], in float32 throughout (M4.3)."""
    scaled = net_input.astype(np.float32) / np.float32(255)
    normal = (scaled - np.asarray(settings.mean, np.float32)) / np.asarray(settings.std, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1))


@torch.inference_mode()
def infer(
    model: nn.Module,
    net_input: npt.NDArray[np.uint8],
    *,
    flip_test: bool,
    protocol: ProtocolName,
    intermediates: bool = False,
) -> dict[str, Any]:
    """From a network picture to people in network pixels, before suppression (SPEC-model M4.3 to M4.7).

    Args:
        model: a network of `build_model`; it is evaluated in evaluation mode whatever mode it is in.
        net_input: [H, W, 3] uint8, RGB, after the warp; sides multiples of 32.
        flip_test: add the mirrored view.
        protocol: which benchmark's smoothing to use.
        intermediates: also return what lies between.

    Returns:
        A dictionary of arrays, float32 unless said otherwise. N is at most 30 and may be 0.
        `poses_net` [N, K, 3]: x and y in network pixels, keypoint score;
        `scores` [N]: person scores, the mean of the keypoint scores;
        `instance_coord_yx` [N, 2] int64: centres in map cells; `instance_score` [N]: centre scores.

        With `intermediates` also, for V views and h = H / 4, w = W / 4:
        `net_input` [V, 3, H, W]: the normalised views;
        `center_prob_views` [V, h, w] and their mean `center_prob` [h, w], before smoothing;
        `center_map` [h, w]: the smoothed map in which people are searched and scored (c in M4.5);
        `features` [V, C, h, w], `neck`, `g` and whatever else the model's `encode` gives out, in the frame it says;
        `instance_param` [V * N, C]: features at the centres, view 0's people first (`w32` and `w48` only);
        `heatmaps` [N, K, h, w]: views merged, before smoothing; `heatmaps_smoothed`: the same after;
        `peak` [N, K]: the best smoothed value, and its cell `peak_yx` [N, K, 2] int64.

    Raises:
        InputError: `net_input` isn't such a picture.
        ConfigError: the protocol is unknown.
    """
    settings: ModelSettings = model.settings
    kernel = get_protocol(protocol).pool_kernel or settings.pool_kernel
    _check(net_input)
    device = next(model.parameters()).device

    was_training = model.training
    model.eval()
    try:
        views = torch.from_numpy(normalise(net_input, settings))[None].to(device)
        if flip_test:
            views = torch.cat([views, views.flip(-1)])
        encoded = model.encode(views)
        prob_views = probability(encoded["center_logits"][:, 0])
        prob = _numpy(prob_views.mean(dim=0))
        yx, instance_score = decode.find_centres(prob, kernel=kernel)
        heat = model.person_heatmaps(encoded, torch.from_numpy(yx).to(device))
        heatmaps = _numpy(merge_views(heat, settings.skeleton.flip_index))
    finally:
        model.train(was_training)

    offset = _numpy(encoded["offset"]) if "offset" in encoded else None
    poses = decode.keypoints(heatmaps, kernel=kernel, offset=offset)
    peak = poses[..., 2].copy()
    poses[..., 2] *= instance_score[:, None]
    result = {
        "poses_net": poses,
        "scores": poses[..., 2].mean(axis=1, dtype=np.float32),
        "instance_coord_yx": yx,
        "instance_score": instance_score,
    }
    if not intermediates:
        return result
    smoothed = decode.smooth(heatmaps, kernel)
    between = {name: _numpy(value) for name, value in encoded.items()}
    if settings.flip == "features":  # else view 1's features lie in the mirrored frame
        between["instance_param"] = _instance_params(encoded["features"], yx)
    return (
        between
        | result
        | {
            "net_input": _numpy(views),
            "center_prob_views": _numpy(prob_views),
            "center_prob": prob,
            "center_map": decode.smooth(prob, kernel),
            "heatmaps": heatmaps,
            "heatmaps_smoothed": smoothed,
            "peak": peak,
            "peak_yx": _peak_cells(smoothed),
        }
    )


def merge_views(heat: Tensor, flip_index: Sequence[int]) -> Tensor:
    """Mean of the views' heatmaps, left and right of view 1 exchanged: [V, N, K, h, w] -> [N, K, h, w] (M4.6)."""
    if len(heat) == 1:
        return heat[0]
    return (heat[0] + heat[1][:, list(flip_index)]) / 2


def predict(
    model: nn.Module,
    image_bgr: npt.NDArray[np.uint8],
    *,
    size: int | None = None,
    flip_test: bool,
    protocol: ProtocolName,
    second_look: bool | None = False,
) -> Poses:
    """From a picture to people in its pixels, after OKS suppression and in its order (SPEC-model M4.2 to M4.10).

    Args:
        model: a network of `build_model`.
        image_bgr: [h, w, 3] uint8; the caller has read it without regard to EXIF orientation.
        size: network size in pixels; None is the model's own.
        flip_test: add the mirrored view.
        protocol: which benchmark's smoothing and suppression to use.
        second_look: look at the picture in half size too, if the model is made for it (`boir_sdk.looks`); None for
            what the model does at this size.

    Returns:
        People in falling order of score, without a threshold.
    """
    settings: ModelSettings = model.settings
    size = size or settings.default_size
    image = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)
    height, width = image.shape[:2]
    fit = _fit(settings, height, width, size)
    network = warp.apply(image, fit)
    full = _look(model, network, (fit,), flip_test, protocol)
    if second_look is None:
        second_look = looks.by_default(settings.second_look_px, settings.second_look_from, size)
    if not (second_look and settings.second_look_px):
        return full
    scale = size / (min(height, width) if settings.fit_rule == "short" else max(height, width))
    smaller, fits = warp.again(image, network, fit, lambda rows, columns: _fit(settings, rows, columns, size // 2))
    half = _look(model, smaller, fits, flip_test, protocol)
    return looks.join(full, half, settings.second_look_px / scale)


def _fit(settings: ModelSettings, height: int, width: int, size: int) -> warp.Fit:
    return warp.fit(height, width, size, rule=settings.fit_rule, multiple=settings.multiple, resample=settings.resample)


def _look(
    model: nn.Module,
    network: npt.NDArray[np.uint8],
    fits: Sequence[warp.Fit],
    flip_test: bool,
    protocol: ProtocolName,
) -> Poses:
    """People of a network picture, in pixels of the picture that `fits` lead back to."""
    settings: ModelSettings = model.settings
    people = infer(model, network, flip_test=flip_test, protocol=protocol)
    xy = people["poses_net"][..., :2]
    for fit in fits:
        xy = warp.back(xy, fit)
    keep = oks.suppress(xy, people["scores"], settings.skeleton.sigmas, get_protocol(protocol).oks_threshold)
    return Poses(xy[keep], people["poses_net"][keep, :, 2], people["scores"][keep], settings.skeleton)


def _check(net_input: npt.NDArray[np.uint8]) -> None:
    if net_input.dtype != np.uint8 or net_input.ndim != 3 or net_input.shape[2] != 3:
        raise InputError(f"net_input must be [H, W, 3] uint8, got {list(net_input.shape)} {net_input.dtype}")
    height, width = net_input.shape[:2]
    if height < COARSEST_STRIDE or width < COARSEST_STRIDE or height % COARSEST_STRIDE or width % COARSEST_STRIDE:
        raise InputError(
            f"net_input is {width} x {height}: both sides must be multiples of {COARSEST_STRIDE} "
            "(boir_sdk.warp.fit gives such sizes)"
        )


def _instance_params(features: Tensor, yx: npt.NDArray[np.int64]) -> Float32:
    """Feature columns at the centres, view by view: [V * N, C]."""
    index = torch.arange(len(features), device=features.device).repeat_interleave(len(yx))
    return _numpy(feature_vectors(features, index, torch.from_numpy(yx).to(features.device).repeat(len(features), 1)))


def _peak_cells(smoothed: Float32) -> npt.NDArray[np.int64]:
    """The first best cell of every map: [N, K, h, w] -> [N, K, 2] (y, x)."""
    people, keypoints, height, width = smoothed.shape
    index = smoothed.reshape(people, keypoints, height * width).argmax(axis=2)
    return np.stack(np.divmod(index, width), axis=-1).astype(np.int64)


def _numpy(tensor: Tensor) -> Float32:
    return tensor.float().cpu().numpy()
