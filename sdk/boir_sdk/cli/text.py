"""What the commands print for people to read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boir_sdk.poses import Poses


def people(title: str, poses: Poses, *, keypoints: bool, keypoint_threshold: float) -> str:
    """Word the people of one picture: a line for the picture, one a person, and with `keypoints` one a keypoint.

    Args:
        title: what the picture is called.
        poses: its people.
        keypoints: list the keypoints too.
        keypoint_threshold: keypoints with at least this score count as seen.
    """
    count = len(poses)
    lines = [f"{title}  {count} {'person' if count == 1 else 'people'}"]
    for index in range(count):
        x1, y1, x2, y2 = poses.boxes[index]
        seen = int((poses.keypoint_scores[index] >= keypoint_threshold).sum())
        lines.append(
            f"  person {index + 1:<2}  score {poses.scores[index]:.2f}  "
            f"box {x1:.0f},{y1:.0f} to {x2:.0f},{y2:.0f}  {seen} of {len(poses.skeleton)} keypoints seen"
        )
        if keypoints:
            rows = zip(poses.skeleton.keypoints, poses.keypoints[index], poses.keypoint_scores[index], strict=True)
            lines += [f"    {name:<15} {x:8.1f} {y:8.1f}  {score:.2f}" for name, (x, y), score in rows]
    return "\n".join(lines)


def error(problem: Exception, path: Path | None = None) -> str:
    """Word an error in one line; the picture's path is put in front where the message doesn't name it."""
    message = " ".join(str(problem).split())
    where = "" if path is None or str(path) in message else f"{path}: "
    return f"boir: error: {where}{message}"


def size(count: int) -> str:
    """Word a number of bytes."""
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"
