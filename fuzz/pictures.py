"""Encoded pictures: a picture within the limit or an `InputError`."""

from __future__ import annotations

import io
import random
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from boir_sdk import image
from fuzz import mutate
from fuzz.campaign import Campaign, Case

# The three that users have, and more rarely the others that are read.
COMMON, RARE = ("JPEG", "PNG", "WEBP"), ("BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")


def prepare(folder: Path) -> Case:
    """Small pictures of every format, some with EXIF and some progressive."""
    noise = np.random.default_rng(4).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(cv2.resize(noise, (64, 48), interpolation=cv2.INTER_CUBIC))
    exif = Image.Exif()
    exif[0x0112] = 6
    good: dict[str, list[bytes]] = {}
    for form in (*COMMON, *RARE):
        for options in ({}, {"exif": exif}, {"progressive": True}, {"lossless": True}):
            out = io.BytesIO()
            try:
                picture.save(out, form, **options)
            except (OSError, KeyError):  # Pillow was built without it
                continue
            good.setdefault(form, []).append(out.getvalue())

    def case(rng: random.Random) -> None:
        form = rng.choice(COMMON if rng.random() < 0.8 else [form for form in RARE if form in good])
        bad = mutate.data(rng, rng.choice(good[form]))
        before = bytes(bytearray(bad))
        if rng.random() < 0.2:  # as a path
            path = folder / "picture"
            path.write_bytes(bad)
            got = image.read(path)
        elif rng.random() < 0.1:
            try:
                opened = Image.open(io.BytesIO(bad))
            except Exception:  # noqa: BLE001 - the user's own call, not ours
                return
            got = image.read(opened)
        else:
            got = image.read(bad)
        assert got.dtype == np.uint8 and got.ndim == 3 and got.shape[2] == 3 and got.flags.c_contiguous, got.shape
        assert 0 < got.shape[0] * got.shape[1] <= image.MAX_PIXELS, got.shape
        assert bad == before, "the input was changed"

    return case


CAMPAIGN = Campaign("pictures", 5000, prepare, ("boir_sdk.image", "PIL.Image"))
