"""Video files through the file source: frames until the end or a `SourceError`, numbered without a gap."""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np

from boir_sdk.stream.source import open_source
from fuzz import mutate
from fuzz.campaign import Campaign, Case

FRAMES = 24
KINDS = (("mp4", "mp4v"), ("avi", "MJPG"), ("avi", "XVID"), ("mkv", "mp4v"))


def prepare(folder: Path) -> Case:
    """Short videos as OpenCV writes them."""
    good = []
    for number, (ending, code) in enumerate(KINDS):
        path = folder / f"good{number}.{ending}"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 25.0, (96, 64))
        for at in range(FRAMES):
            frame = np.full((64, 96, 3), 30, np.uint8)
            cv2.circle(frame, (4 * at, 32), 12, (0, 200, 255), -1)
            writer.write(frame)
        writer.release()
        if path.exists() and path.stat().st_size:
            good.append((ending, path.read_bytes()))
    assert good, "this OpenCV writes no videos"

    def case(rng: random.Random) -> None:
        ending, data = rng.choice(good)
        path = folder / f"bad.{ending}"
        path.write_bytes(mutate.data(rng, data))
        source = open_source(path)
        last_s, index = -1.0, 0
        try:
            source.open()
            while (frame := source.read()) is not None:
                assert frame.index == index, (frame.index, index)
                assert frame.image.dtype == np.uint8 and frame.image.ndim == 3 and frame.image.size, frame.image.shape
                assert frame.time_s > last_s, (frame.time_s, last_s)
                last_s, index = frame.time_s, index + 1
                assert index <= 50 * FRAMES, "it doesn't end"
        finally:
            source.close()

    return case


CAMPAIGN = Campaign("videos", 500, prepare, ("boir_sdk.stream.file",))
