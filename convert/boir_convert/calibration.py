"""Pictures that quantisation looks at, brought to the network exactly as the runtime brings them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk import image, warp
from boir_sdk.errors import ConfigError, DataError
from boir_train.model.settings import ModelSettings

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
DEFAULT_COUNT = 200


@dataclass(frozen=True, slots=True)
class Calibration:
    """The pictures chosen, in a fixed order.

    Attributes:
        paths: of the picture files.
        sizes: network sizes in pixels, taken in turn.
        sha256: of the list of file names, for the record.
    """

    paths: tuple[Path, ...]
    sizes: tuple[int, ...]
    sha256: str


def choose(source: Path, count: int, sizes: Sequence[int], images: Path | None = None) -> Calibration:
    """Choose pictures evenly from a folder, or from what a COCO-style annotation file lists.

    Args:
        source: folder of pictures, or annotation file.
        count: pictures at most.
        sizes: network sizes to calibrate at, pixels.
        images: folder of an annotation file's pictures; None for the file's own folder.

    Raises:
        ConfigError: `count` isn't positive.
        DataError: there is no picture, or `source` is neither of the two.
    """
    if count < 1:
        raise ConfigError(f"the calibration size is {count}: at least one picture is needed, a few hundred are usual")
    found = _listed(source, images or source.parent) if source.is_file() else _in_folder(source)
    if not found:
        raise DataError(f"{source} holds no picture to calibrate with: give a few hundred pictures like those of use")
    step = max(1.0, len(found) / count)
    chosen = tuple(found[int(i * step)] for i in range(min(count, len(found))))
    digest = hashlib.sha256("\n".join(path.name for path in chosen).encode()).hexdigest()
    return Calibration(chosen, tuple(sizes), digest)


def _in_folder(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"no calibration pictures at {folder}: give a folder of pictures or a COCO-style JSON file")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def _listed(file: Path, folder: Path) -> list[Path]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        names = [Path(record["file_name"]) for record in content["images"]]
    except OSError as error:
        raise DataError(f"can't read {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is not a COCO-style JSON file with images and file names") from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(names)} pictures of {file} aren't in {folder}, the first is {missing[0]}"
        )
    return [folder / name for name in names]


def pictures(calibration: Calibration, settings: ModelSettings) -> Iterator[NDArray[np.uint8]]:
    """Yield each picture as the dense graph takes it, uint8 BGR [1, H, W, 3].

    Raises:
        InputError: a picture can't be read.
    """
    for index, path in enumerate(calibration.paths):
        image_bgr = image.read(path)
        height, width = image_bgr.shape[:2]
        fit = warp.fit(
            height,
            width,
            calibration.sizes[index % len(calibration.sizes)],
            rule=settings.fit_rule,
            multiple=settings.multiple,
            resample=settings.resample,
        )
        yield warp.apply(image_bgr, fit)[None]


def listed(calibration: Calibration) -> str:
    """The names of the pictures, a line each, as a bundle's `calibration.txt` has them; `sha256` is this text's."""
    return "\n".join(path.name for path in calibration.paths)


def facts(calibration: Calibration) -> dict[str, Any]:
    """What a bundle's provenance says about its calibration."""
    return {"pictures": len(calibration.paths), "sizes": list(calibration.sizes), "sha256_of_names": calibration.sha256}
