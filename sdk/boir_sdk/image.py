"""Whatever a user passes as a picture to uint8 [H, W, 3] BGR, checked once at this door.

Rules, the same for arrays, encoded bytes, files and Pillow pictures:

- uint8 H x W x 3 is BGR as it is; H x W and H x W x 1 are gray; of H x W x 4 (BGRA) the alpha channel is dropped.
- uint16 is divided by 257 and rounded, so 65535 becomes 255. Other types are refused, floats too: their range isn't
  known.
- EXIF orientation turns the picture as a viewer would show it, unless told not to.
- A picture of more than `max_pixels` is refused before it is decoded.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from boir_sdk import image_header
from boir_sdk.errors import InputError

MAX_PIXELS = 100_000_000
_ORIENTATION_TAG = 0x0112
# An encoded picture within the limit can't need more bytes than 16-bit RGBA stored plainly, plus headers and metadata.
_BYTES_PER_PIXEL = 8
_METADATA_BYTES = 64 << 20


def read(image: Any, *, max_pixels: int = MAX_PIXELS, exif: bool = True) -> NDArray[np.uint8]:
    """Return the picture as contiguous uint8 [H, W, 3] in BGR order.

    The argument is never written to. A contiguous uint8 BGR array comes back as itself, not copied.

    Args:
        image: a path; the bytes of an encoded picture (bytes, bytearray, memoryview); an array; or a Pillow picture.
        max_pixels: the largest width x height accepted.
        exif: honour the EXIF orientation. The evaluation protocols must not (SPEC-model M4.1).

    Raises:
        InputError: it isn't a picture, can't be read, is damaged, empty or too large.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image, "array", max_pixels)
    if isinstance(image, (str, os.PathLike)):
        return _from_file(image, max_pixels, exif)
    if isinstance(image, (bytes, bytearray, memoryview)):
        data = bytes(image)
        return _decode(data, f"encoded picture of {len(data)} bytes", max_pixels, exif)
    pillow = sys.modules.get("PIL.Image")  # whoever has a Pillow picture has imported it
    if pillow is not None and isinstance(image, pillow.Image):
        return _from_pillow(image, max_pixels, exif)
    raise InputError(
        "expected a path, encoded bytes, a NumPy array or a Pillow picture, "
        f"got {type(image).__module__}.{type(image).__qualname__}"
    )


def _from_array(array: NDArray[Any], what: str, max_pixels: int) -> NDArray[np.uint8]:
    array = np.asarray(array)  # drops subclasses such as np.matrix
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise InputError(f"{what}: expected shape H x W, H x W x 1, H x W x 3 or H x W x 4, got {_shape(array)}")
    if array.size == 0:
        raise InputError(f"{what}: expected at least 1 x 1 pixels, got {_shape(array)}")
    _check_pixels(array.shape[1], array.shape[0], what, max_pixels)
    if array.dtype.kind != "u" or array.dtype.itemsize not in (1, 2):
        hint = ": convert it to uint8 in 0..255" if array.dtype.kind in "bfiu" else ""
        raise InputError(f"{what}: expected uint8 or uint16 values, got {array.dtype}{hint}")
    if array.ndim == 3 and array.shape[2] == 4:
        array = array[:, :, :3]
    if array.dtype.itemsize == 2:
        # 257 is odd, so there are no ties and adding half of it rounds to nearest.
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.ndim == 2 or array.shape[2] == 1:
        array = np.broadcast_to(array.reshape(*array.shape[:2], 1), (*array.shape[:2], 3))
    return np.ascontiguousarray(array, dtype=np.uint8)


def _from_file(path: str | os.PathLike[str], max_pixels: int, exif: bool) -> NDArray[np.uint8]:
    name = os.fsdecode(path)
    if "://" in name:  # not repeated in the message: it may hold a password
        raise InputError(
            "expected the path of a picture file, got a URL: fetch it and pass the bytes, or open it as a stream"
        )
    what, file = f"picture {name[:300]!r}", Path(name)
    try:
        if file.is_dir():
            raise InputError(f"{what} is a folder: give the path of a file in it")
        if not file.exists():
            raise InputError(f"{what} doesn't exist: check the path (working folder {str(Path.cwd())!r})")
        if not file.is_file():
            raise InputError(f"{what} is a device or pipe: read it and pass the bytes")
        if file.stat().st_size > max_pixels * _BYTES_PER_PIXEL + _METADATA_BYTES:
            raise InputError(
                f"{what} has {file.stat().st_size} bytes, more than a picture of {max_pixels} pixels can need: "
                "is it a video? Otherwise make it smaller"
            )
        data = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{what} can't be read: {reason}") from error
    return _decode(data, what, max_pixels, exif)


def _decode(data: bytes, what: str, max_pixels: int, exif: bool) -> NDArray[np.uint8]:
    if not data:
        raise InputError(f"{what} is empty: give a JPEG, PNG, WebP or other picture file")
    size = image_header.size(data)
    if size is not None:
        _check_pixels(*size, what, max_pixels)
    if image_header.is_cut(data):
        raise InputError(f"{what} is damaged: it ends before the picture does; copy or download it again")
    if size is None:  # how much memory it would take isn't known, so it isn't tried
        raise InputError(
            f"{what} isn't a picture that can be decoded, or its header is damaged: "
            "give a JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, JPEG 2000, Netpbm or Sun raster file"
        )
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH  # three channels, but 16 bits stay 16 bits
    if not exif:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise InputError(f"{what} can't be decoded: {_last_line(error)}") from error
    if decoded is None:
        raise InputError(f"{what} is damaged, or of a kind this OpenCV wasn't built for: copy or download it again")
    return _from_array(decoded, what, max_pixels)


def _from_pillow(picture: Any, max_pixels: int, exif: bool) -> NDArray[np.uint8]:
    what = f"Pillow picture of mode {picture.mode}"
    width, height = picture.size
    _check_pixels(width, height, what, max_pixels)
    try:
        turn = int(picture.getexif().get(_ORIENTATION_TAG, 1)) if exif else 1
        if picture.mode.startswith("I;16"):
            array = np.asarray(picture)
        elif picture.mode == "I":
            array = _from_pillow_int32(np.asarray(picture), what)
        elif picture.mode == "F":
            raise InputError(f"{what}: expected integer pixels, got float32: convert it to mode L or RGB")
        else:
            array = np.asarray(picture.convert("RGB"))[:, :, ::-1]
    except InputError:
        raise
    except Exception as error:  # Pillow loads only now, and damaged files end in a dozen kinds of errors
        raise InputError(f"{what} can't be read: {str(error)[:200] or type(error).__name__}") from error
    return _from_array(_turned(array, turn), what, max_pixels)


def _from_pillow_int32(array: NDArray[Any], what: str) -> NDArray[np.uint16]:
    """Mode I is how Pillow shows some 16-bit pictures; larger values have no known range."""
    if array.size and (array.min() < 0 or array.max() > 65535):
        raise InputError(f"{what}: expected values in 0..65535, got {array.min()}..{array.max()}")
    return array.astype(np.uint16)


def _turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an EXIF orientation (1 to 8, TIFF tag 274); other values mean upright."""
    if orientation in (5, 6, 7, 8):  # stored with rows and columns exchanged
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array


def _check_pixels(width: int, height: int, what: str, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise InputError(
            f"{what}: {width} x {height} pixels are more than the limit of {max_pixels}: "
            "make it smaller, or raise the limit if it can be trusted"
        )


def _shape(array: NDArray[Any]) -> str:
    return " x ".join(str(side) for side in array.shape) or "a single number"


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
