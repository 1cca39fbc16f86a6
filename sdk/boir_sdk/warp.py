"""Picture to network coordinates and back (SPEC-model M4.2, M4.3, M4.8).

Two independent choices make a fit. `rule` says which side of the picture becomes `size`, `resample` how the pixels get
there and where they lie:

- "bilinear" is the paper's: `cv2.warpAffine` with a similarity that maps the picture's integer centre to the middle of
  the network picture, black border on both sides. Its side is `size` rounded up to `multiple`; the picture fills it.
- "area" is for small models, where a shrunk picture must not alias: `cv2.resize` (area when shrinking, bilinear when
  enlarging) to whole pixels, placed top-left, black border right and bottom. Its side is exactly `size`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from boir_sdk.errors import ConfigError, InputError
from boir_sdk.manifest import Manifest

Rule = Literal["short", "long"]
Resample = Literal["bilinear", "area"]


@dataclass(frozen=True, slots=True)
class Fit:
    """How one picture size lies in its network picture.

    Attributes:
        width: of the network picture, pixels.
        height: of the network picture, pixels.
        affine: float64 [2, 3], picture (x, y, 1) to network pixels.
        inverse: float64 [2, 3], network (x, y, 1) to picture pixels.
        resample: how `apply` makes the pixels.
    """

    width: int
    height: int
    affine: NDArray[np.float64]
    inverse: NDArray[np.float64]
    resample: Resample


def fit(
    image_height: int,
    image_width: int,
    size: int,
    *,
    rule: Rule = "short",
    multiple: int = 64,
    resample: Resample = "bilinear",
    max_side: int | None = None,
) -> Fit:
    """Choose the network size for a picture and the mapping between the two.

    `rule="short", multiple=64, resample="bilinear"` is M4.2 and M4.3 to the letter. With "short" the long side follows
    the aspect without a bound of its own, so give `max_side` wherever pictures come from outside.

    Args:
        image_height: of the picture, at least 1 pixel.
        image_width: of the picture, at least 1 pixel.
        size: network pixels of the short or long side, at least 1.
        rule: which side of the picture `size` is for.
        multiple: both network sides are rounded up to a multiple of this.
        resample: see the module.
        max_side: the largest network side allowed.

    Raises:
        InputError: the picture is empty, or so elongated that its network picture would pass `max_side`.
        ConfigError: an option isn't one of the known values.
    """
    if rule not in ("short", "long") or resample not in ("bilinear", "area") or size < 1 or multiple < 1:
        raise ConfigError(
            "expected size >= 1, multiple >= 1, rule 'short' or 'long' and resample 'bilinear' or 'area', "
            f"got size={size!r}, multiple={multiple!r}, rule={rule!r}, resample={resample!r}"
        )
    if image_height < 1 or image_width < 1:
        raise InputError(f"expected a picture of at least 1 x 1 pixels, got {image_width} x {image_height}")
    h, w = int(image_height), int(image_width)

    if resample == "bilinear":
        width, height, affine, inverse = _centred(h, w, size, rule, multiple)
    else:
        inner_width, inner_height = _inner_size(h, w, size, rule)
        width, height = _round_up(inner_width, multiple), _round_up(inner_height, multiple)
        affine = np.array([[inner_width / w, 0.0, 0.0], [0.0, inner_height / h, 0.0]])
        inverse = np.array([[w / inner_width, 0.0, 0.0], [0.0, h / inner_height, 0.0]])
    if max_side is not None and max(width, height) > max_side:
        raise InputError(
            f"a picture of {w} x {h} pixels would need a network picture of {width} x {height}, over the limit of "
            f"{max_side} a side: crop it, or use a smaller size or the rule that fits the long side"
        )
    affine.flags.writeable = inverse.flags.writeable = False
    return Fit(width=width, height=height, affine=affine, inverse=inverse, resample=resample)


def fit_as(manifest: Manifest, image_height: int, image_width: int, size: int) -> Fit:
    """Do what `fit` does by the rules of a bundle.

    Args:
        manifest: of the bundle.
        image_height: see `fit`.
        image_width: see `fit`.
        size: network pixels of the side that the bundle's rule names.

    Raises:
        InputError: as in `fit`.
    """
    return fit(
        image_height,
        image_width,
        size,
        rule=manifest.fit_rule,
        multiple=manifest.multiple,
        resample=manifest.resample,
        max_side=manifest.max_side,
    )


def apply(image: NDArray[np.uint8], fit: Fit) -> NDArray[np.uint8]:
    """Make the network picture, uint8 [height, width, 3], channels in the order given.

    Args:
        image: uint8 [H, W, 3] of the size that `fit` was made for; it isn't changed.
        fit: from the function `fit`.

    Raises:
        InputError: the picture is too large for the fit, so it was made for another size.
    """
    size = (fit.width, fit.height)
    if fit.resample == "bilinear":
        # OpenCV's defaults are wanted: bilinear, constant border of 0. Its version decides the last bits (M4.3).
        return np.asarray(cv2.warpAffine(image, fit.affine, size), dtype=np.uint8)
    h, w = image.shape[:2]
    inner_width, inner_height = _inside(fit, h, w)
    if not (1 <= inner_width <= fit.width and 1 <= inner_height <= fit.height):
        raise InputError(
            f"a picture of {w} x {h} pixels was given with the fit of another size: call fit for each size"
        )
    if (inner_width, inner_height) == (w, h):
        inner: Any = image
    else:
        shrinks = inner_width <= w and inner_height <= h
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        inner = cv2.resize(image, (inner_width, inner_height), interpolation=how)
    out = np.zeros((fit.height, fit.width, 3), dtype=np.uint8)
    out[:inner_height, :inner_width] = inner
    return out


def again(
    image: NDArray[np.uint8], network: NDArray[np.uint8], fit: Fit, refit: Callable[[int, int], Fit]
) -> tuple[NDArray[np.uint8], tuple[Fit, ...]]:
    """Make a second, smaller network picture.

    Where the first one was made smaller by area, the second is made of it and not of the picture, which may have many
    times the pixels: averages of averages are averages, up to the rounding of pixels.

    Args:
        image: uint8 [H, W, 3], the picture.
        network: uint8 [height, width, 3], what `apply` made of it.
        fit: that it was made with.
        refit: height and width of what is made smaller -> the fit of the second network picture.

    Returns:
        The network picture, and the fits that `back` takes its pixels through, one after the other, to the picture's.
    """
    h, w = image.shape[:2]
    inner_width, inner_height = _inside(fit, h, w)
    if fit.resample != "area" or inner_width > w or inner_height > h:
        second = refit(h, w)
        return apply(image, second), (second,)
    second = refit(inner_height, inner_width)
    return apply(network[:inner_height, :inner_width], second), (second, fit)


def back(points: NDArray[Any], fit: Fit) -> NDArray[np.float32]:
    """Take network pixels to picture pixels (M4.8).

    Args:
        points: [..., 2] as x, y.
        fit: the fit of the picture.

    Returns:
        float32 [..., 2]; points may lie outside the picture.
    """
    linear, shift = fit.inverse[:, :2], fit.inverse[:, 2]
    return (np.asarray(points, dtype=np.float64) @ linear.T + shift).astype(np.float32)


def _inside(fit: Fit, image_height: int, image_width: int) -> tuple[int, int]:
    """Width and height, in whole pixels, that the picture takes in an "area" network picture."""
    return round(fit.affine[0, 0] * image_width), round(fit.affine[1, 1] * image_height)


def _round_up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _other_side(length: float, multiple: int) -> int:
    """Round up as M4.2 does: a fraction of a pixel beyond a multiple is cut off. One multiple at least."""
    return max(multiple, int((length + (multiple - 1)) // multiple * multiple))


def _inner_size(h: int, w: int, size: int, rule: Rule) -> tuple[int, int]:
    """Whole-pixel (width, height) of the picture inside an "area" network picture."""
    k = size / (min(h, w) if rule == "short" else max(h, w))
    return max(1, round(w * k)), max(1, round(h * k))


def _centred(
    h: int, w: int, size: int, rule: Rule, multiple: int
) -> tuple[int, int, NDArray[np.float64], NDArray[np.float64]]:
    """Network width and height by M4.2, and the matrix of M4.3 with its partner from swapped points.

    The order of the float64 operations matters: it decides at exact multiples.
    """
    m = _round_up(size, multiple)
    # The side that `rule` names fills the network picture, so its factor is the one.
    if (w < h) == (rule == "short"):
        width, height = m, _other_side(m / w * h, multiple)
        source_width = w / 200 * 200.0
    else:
        width, height = _other_side(m / h * w, multiple), m
        source_width = width / height * h / 200 * 200.0
    source = _three_points(int(w / 2 + 0.5), int(h / 2 + 0.5), source_width)
    target = _three_points(width * 0.5, height * 0.5, width)
    affine = np.asarray(cv2.getAffineTransform(source, target), dtype=np.float64)
    inverse = np.asarray(cv2.getAffineTransform(target, source), dtype=np.float64)
    return width, height, affine, inverse


def _three_points(x: float, y: float, width: float) -> NDArray[np.float32]:
    """A middle, the point half a width above it and that vector's quarter turn, rounded to float32 as in M4.3."""
    points = np.zeros((3, 2), dtype=np.float32)
    points[0] = x, y
    points[1] = x, y + width * -0.5
    along = points[0] - points[1]
    points[2] = points[1] + np.array([-along[1], along[0]], dtype=np.float32)
    return points
