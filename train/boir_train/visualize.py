"""What a network sees in a picture, drawn as the paper's Figures 1, 3 and 4 to 6 draw it.

All maps lie in the network picture's frame at stride 4; they are drawn over that picture, enlarged to its size.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import nn

from boir_sdk import draw, oks, warp
from boir_sdk.decode import STRIDE
from boir_sdk.errors import ConfigError, InputError
from boir_sdk.poses import Poses
from boir_train import inference
from boir_train.model.settings import ModelSettings

Picture = NDArray[np.uint8]
Projection = Literal["tsne", "pca"]

MOST_CELLS = 4000  # t-SNE takes time more than in proportion to the number of cells
COMPONENTS = 50  # principal components that t-SNE starts from, as is usual
OPACITY = 0.6  # of a map over the picture
TAIL = 2.0  # per cent of cells that a colour channel lets run over at either end
LEAST_PERPLEXITY_CELLS = 100  # cells below which t-SNE's neighbourhoods (perplexity 30) have no meaning


@dataclass(frozen=True, slots=True)
class View:
    """One picture as a network saw it.

    Attributes:
        image_bgr: the network picture [H, W, 3], black border included.
        center_map: smoothed centre probability [h, w], 0..1, that people are found in.
        features: backbone feature [C, h, w].
        centers_yx: cells of the people kept after suppression, the surest first, int [N, 2].
        poses: the same people, in network pixels.
    """

    image_bgr: Picture
    center_map: NDArray[np.float32]
    features: NDArray[np.float32]
    centers_yx: NDArray[np.int64]
    poses: Poses


def look(
    model: nn.Module,
    image_bgr: Picture,
    *,
    size: int | None = None,
    flip_test: bool = False,
    protocol: inference.ProtocolName = "coco",
    score_threshold: float = 0.0,
) -> View:
    """Run a network on a picture and keep what the figures need.

    Args:
        model: a network of `build_model`, filled.
        image_bgr: [h, w, 3].
        size: network size, pixels; the model's own if None.
        flip_test: add the mirrored view; the feature that is drawn is the unmirrored one.
        protocol: whose smoothing and suppression.
        score_threshold: people with a lower score are left out, 0..1.
    """
    settings: ModelSettings = model.settings
    fit = warp.fit(
        *image_bgr.shape[:2],
        size or settings.default_size,
        rule=settings.fit_rule,
        multiple=settings.multiple,
        resample=settings.resample,
    )
    net_bgr = warp.apply(image_bgr, fit)
    found = inference.infer(
        model, np.ascontiguousarray(net_bgr[..., ::-1]), flip_test=flip_test, protocol=protocol, intermediates=True
    )
    xy, scores = found["poses_net"][..., :2], found["scores"]
    keep = oks.suppress(xy, scores, settings.skeleton.sigmas, inference.get_protocol(protocol).oks_threshold)
    keep = keep[scores[keep] >= score_threshold]
    return View(
        image_bgr=net_bgr,
        center_map=found["center_map"],
        features=found["features"][0],
        centers_yx=found["instance_coord_yx"][keep],
        poses=Poses(xy[keep], found["poses_net"][keep, :, 2], scores[keep], settings.skeleton),
    )


def center_figure(view: View) -> Picture:
    """The centre map over the picture, red at its own largest value, people's centres marked."""
    figure = overlay(view.image_bgr, view.center_map / max(float(view.center_map.max()), 1e-12))
    for number, yx in enumerate(view.centers_yx):
        _mark(figure, yx, draw.person_colour(number))
    return figure


def feature_figure(view: View, projection: Projection = "tsne", seed: int = 0) -> Picture:
    """The backbone feature as colour: cells whose features are alike have like colours.

    Args:
        view: of the picture.
        projection: what brings C channels down to three, "tsne" or "pca".
        seed: of t-SNE.

    Raises:
        ConfigError: t-SNE was asked for and scikit-learn isn't there.
        InputError: the map is too small for t-SNE.
    """
    rgb = project(view.features, projection, seed)
    height, width = view.image_bgr.shape[:2]
    return np.ascontiguousarray(_enlarged(rgb, height, width)[..., ::-1])


def project(features: NDArray[np.float32], projection: Projection, seed: int = 0) -> Picture:
    """Features [C, h, w] as RGB [h', w', 3]; t-SNE averages cells until at most `MOST_CELLS` are left.

    Raises:
        ConfigError: t-SNE was asked for and scikit-learn isn't there.
        InputError: there are too few cells for t-SNE.
    """
    if projection == "tsne":
        check_tsne()
        shrink = math.ceil(math.sqrt(features.shape[1] * features.shape[2] / MOST_CELLS))
        features = _averaged(features, shrink)
    _, height, width = features.shape
    cells = features.reshape(len(features), -1).T.astype(np.float64)
    low = _principal(cells, COMPONENTS if projection == "tsne" else 3)
    if projection == "tsne":
        if len(cells) < LEAST_PERPLEXITY_CELLS:
            raise InputError(
                f"the feature has {width} x {height} cells, too few for t-SNE: take a larger --size or --projection pca"
            )
        low = _tsne(low, seed)
    low = np.pad(low, ((0, 0), (0, 3 - low.shape[1])))
    floor, roof = np.percentile(low, [TAIL, 100 - TAIL], axis=0)
    # What varies ten thousand times less than the first component is rounding noise: it isn't stretched to full colour.
    rgb = (low - floor) / np.maximum(roof - floor, max(1e-4 * float((roof - floor).max()), 1e-12))
    return np.asarray(np.clip(255 * rgb, 0, 255).round(), np.uint8).reshape(height, width, 3)


def check_tsne() -> None:
    """Find out whether t-SNE can be computed, before anything else is.

    Raises:
        ConfigError: scikit-learn isn't installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise ConfigError("t-SNE needs scikit-learn: pip install scikit-learn, or take --projection pca")


def _tsne(points: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE

    # Its own scale is arbitrary; the start from principal components makes it repeatable and keeps what is global.
    points = points / max(float(points[:, 0].std()), 1e-12)
    return np.asarray(TSNE(3, init="pca", random_state=seed, n_jobs=1).fit_transform(points), np.float64)


def _averaged(features: NDArray[np.float32], shrink: int) -> NDArray[np.float32]:
    """Means of `shrink` x `shrink` cells; a rest at the right and bottom is left out."""
    channels, height, width = features.shape
    height, width = height // shrink, width // shrink
    cut = features[:, : height * shrink, : width * shrink]
    return np.asarray(cut.reshape(channels, height, shrink, width, shrink).mean(axis=(2, 4)), np.float32)


def _principal(cells: NDArray[np.float64], components: int) -> NDArray[np.float64]:
    """Coordinates of cells [M, C] along the first principal axes, the largest first: [M, min(components, C)]."""
    centred = cells - cells.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :components]
    # An axis has no sign of its own: its largest entry is made positive, so that a picture always has the same colours.
    largest = np.abs(axes).argmax(axis=0)
    return np.asarray(centred @ (axes * np.sign(axes[largest, np.arange(axes.shape[1])])), np.float64)


def similarity(features: NDArray[np.float32], yx: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
    """Cosine of every cell's feature with that of one cell: [C, h, w], (y, x) -> [h, w], -1..1."""
    unit = features / np.maximum(np.linalg.norm(features, axis=0, keepdims=True), 1e-12)
    return np.asarray(np.tensordot(unit[:, yx[0], yx[1]], unit, axes=1), np.float32)


def similarity_figures(view: View, most: int) -> list[Picture]:
    """For each of the `most` surest people: where the feature is like the one at that person's centre.

    Each figure's colours run from the least similar cell of its map to 1, since features share much that no cosine
    distinguishes.
    """
    figures = []
    for number, yx in enumerate(view.centers_yx[:most]):
        likeness = similarity(view.features, yx)
        least = float(likeness.min())
        figure = overlay(view.image_bgr, (likeness - least) / max(1 - least, 1e-12))
        _mark(figure, yx, draw.person_colour(number))
        figures.append(figure)
    return figures


def pose_figure(view: View, keypoint_threshold: float = 0.1) -> Picture:
    """The people found."""
    return draw.draw(view.image_bgr, view.poses, keypoint_threshold=keypoint_threshold)


def overlay(image_bgr: Picture, values: NDArray[Any]) -> Picture:
    """A map [h, w] of values 0..1 in colours (blue is 0, red is 1) over the greyed picture [H, W, 3]."""
    height, width = image_bgr.shape[:2]
    levels = np.asarray(np.clip(255 * values, 0, 255).round(), np.uint8)
    colours = cv2.applyColorMap(_enlarged(levels, height, width), cv2.COLORMAP_JET)
    grey = cv2.cvtColor(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return np.asarray(cv2.addWeighted(colours, OPACITY, grey, 1 - OPACITY, 0), np.uint8)


def panel(figures: Mapping[str, Picture], columns: int = 3, gap: int = 8) -> Picture:
    """Figures of one size side by side, each under its name, row after row; white where there is none."""
    height, width = next(iter(figures.values())).shape[:2]
    title = max(24, height // 16)
    rows = math.ceil(len(figures) / columns)
    canvas = np.full((rows * (height + title + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for place, (name, figure) in enumerate(figures.items()):
        top = gap + (place // columns) * (height + title + gap)
        left = gap + (place % columns) * (width + gap)
        at = (left, top + round(0.7 * title))
        cv2.putText(canvas, name, at, cv2.FONT_HERSHEY_SIMPLEX, title / 40, (0, 0, 0), max(1, title // 20), cv2.LINE_AA)
        canvas[top + title : top + title + height, left : left + width] = figure
    return canvas


def _enlarged(values: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _mark(figure: Picture, yx: NDArray[np.int64], colour: tuple[int, int, int]) -> None:
    """A ring round a cell's middle, in the person's colour on white; wide enough to show what it surrounds."""
    at = tuple(int(STRIDE * value + STRIDE // 2) for value in yx[::-1])
    radius = max(6, min(figure.shape[:2]) // 25)
    cv2.circle(figure, at, radius + 2, (255, 255, 255), 1, cv2.LINE_AA)
    cv2.circle(figure, at, radius, colour, 2, cv2.LINE_AA)
