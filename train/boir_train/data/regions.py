"""Is the segmentation of an annotation one that pycocotools can decode? Its C code trusts what it is given."""

from __future__ import annotations

from typing import Any

MAX_PIXELS = 100_000_000
MAX_POINTS = 100_000


def problem(region: Any, height: int, width: int) -> str | None:
    """Tell what is wrong with a segmentation; None if nothing is.

    Args:
        region: polygons (lists of x, y, x, y, ... in pixels), a run-length region as COCO has it (`size` and `counts`,
            a list or the compressed text), or nothing.
        height: of the picture, pixels.
        width: of the picture, pixels.

    Returns:
        A part of a sentence that goes on after "the segmentation of annotation 5".
    """
    if not region:
        return None
    if height * width > MAX_PIXELS:
        return f"is of a picture of more than {MAX_PIXELS} pixels"
    if isinstance(region, dict):
        return _run_lengths(region, height, width)
    if not isinstance(region, list):
        return f"is a {type(region).__name__}, neither polygons nor run lengths"
    if not all(isinstance(polygon, list) and len(polygon) >= 4 and len(polygon) % 2 == 0 for polygon in region):
        return "holds a polygon that isn't a list of two or more x, y"
    if sum(map(len, region)) > 2 * MAX_POINTS:
        return f"has more than {MAX_POINTS} points"
    far = 2 * max(height, width)
    if not all(type(value) in (int, float) and -far <= value <= 2 * far for polygon in region for value in polygon):
        return "holds a polygon that lies far outside the picture, or something that isn't a number"
    return None


def _run_lengths(region: dict[str, Any], height: int, width: int) -> str | None:
    if region.get("size") != [height, width]:
        return f"is of a picture of {str(region.get('size'))[:100]} (height, width), not {[height, width]}"
    counts = region.get("counts")
    if isinstance(counts, str):
        try:
            counts = decoded(counts)
        except ValueError as error:
            return f"has damaged run lengths: {error}"
    if not isinstance(counts, list) or not all(type(value) is int and value >= 0 for value in counts):
        return "has no run lengths, or something else among them"
    if sum(counts) != height * width:
        return f"has run lengths for {sum(counts)} pixels, the picture has {height * width}"
    return None


def decoded(text: str) -> list[int]:
    """Decode COCO's compressed run lengths: groups of five bits, least first, from the third on differences.

    Raises:
        ValueError: what isn't right with them.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{letter!r} isn't one of their letters")
        if shift > 30:
            raise ValueError("one of them is too large")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("they end within a number")
    return counts
