"""How long a picture takes: python demos/time_pictures.py FOLDER [SIZE ...]

Prints, for each network size, the median time from an array to `Poses` over 30 calls on 640 x 480 pictures (others are
shrunk or enlarged to that), with two threads.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import cv2

from boir_sdk import PoseEstimator

folder, sizes = Path(sys.argv[1]), [int(size) for size in sys.argv[2:]] or [384, 448, 512]
pictures = [cv2.imread(str(path)) for path in sorted(folder.glob("*.jpg"))[:10]]
pictures = [cv2.resize(picture, (640, 480)) for picture in pictures if picture is not None]
if not pictures:
    sys.exit(f"no JPEG pictures in {folder}")
for size in sizes:
    with PoseEstimator(size=size, threads=2) as estimator:
        people = [len(estimator(picture)) for picture in pictures]  # the first calls compile
        times = []
        for picture in pictures * 3:
            start = time.perf_counter()
            estimator(picture)
            times.append(1000 * (time.perf_counter() - start))
    print(f"size {size}: {statistics.median(times):.0f} ms, {statistics.mean(people):.1f} people a picture")
