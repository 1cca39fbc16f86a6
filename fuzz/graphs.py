"""Damaged graphs given to OpenVINO although their hashes don't fit: what happens if somebody leaves the check out.

Each case has a process of its own. Crashes are OpenVINO's and are to be reported there; hangs fail the run.
"""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np

from boir_sdk import bundle, manifest
from fuzz import mutate
from fuzz.campaign import Campaign, Case

SIDE = 64


def prepare(folder: Path) -> Case:
    """A folder beside the embedded bundle in which one file differs."""
    home = bundle.default_path()
    read = manifest.load((home / bundle.MANIFEST_NAME).read_bytes(), "manifest.json")
    precision = read.default_precision
    names = [f"{precision}/{part}" for part in ("dense.xml", "dense.bin", "person.xml", "person.bin")]

    def case(rng: random.Random) -> None:
        from boir_sdk.runtime import Options, Runtime

        (folder / precision).mkdir()
        chosen = rng.choice((names[0], *names, names[2]))  # graphs rather than weights
        for name in names:
            if name != chosen:
                (folder / name).symlink_to(home / name)
        (folder / chosen).write_bytes(mutate.data(rng, (home / chosen).read_bytes()))
        opened = bundle.Bundle(folder, dataclasses.replace(read))
        runtime = Runtime(opened, Options("CPU", precision, 1, None, 1))
        picture = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
        runtime.infer(picture, max_people=2, threshold=0.0)

    return case


CAMPAIGN = Campaign("graphs", 1000, prepare, ("boir_sdk.runtime",), alone=True, upstream=True)
