"""Where frames come from: what a source must do, and whatever a user names as one of them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from boir_sdk.errors import InputError
from boir_sdk.stream.failure import SourceError
from boir_sdk.stream.health import Limits
from boir_sdk.stream.redact import redact, source_name

__all__ = ["Frame", "Source", "SourceError", "open_source"]

URL_SCHEMES = ("rtsp", "rtsps", "http", "https")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        image: uint8 [H, W, 3] BGR; belongs to the receiver, the source doesn't write to it again.
        index: number in the source, from 0; goes on over reconnects.
        time_s: position in the stream, seconds (see `StreamResult.time_s`).
        captured_s: when it arrived, on `time.monotonic`'s clock.
        read_ms: how long reading and decoding took.
    """

    image: NDArray[np.uint8]
    index: int
    time_s: float
    captured_s: float
    read_ms: float


@runtime_checkable
class Source(Protocol):
    """A camera, file or anything else that gives frames one after another.

    One thread calls `open`, `read` and `close`; `cancel` comes from another one. After a `SourceError` that says
    `reconnect`, `close` and `open` are called again, for as long as it takes.

    Attributes:
        name: for people, without credentials.
        live: frames come by themselves and are lost if nobody takes them, so the newest counts (policy `latest`).
    """

    name: str
    live: bool

    def open(self) -> None:
        """Get ready to read, or raise `SourceError`."""

    def read(self) -> Frame | None:
        """Return the next frame, None at the end, or raise `SourceError`."""

    def close(self) -> None:
        """Let go of everything; may be called at any time and more than once by the reading thread."""

    def cancel(self) -> None:
        """From any thread: a running `open` or `read` should end within a second, later ones at once.

        Called a second time when the first wasn't enough.
        """


def open_source(source: Any, limits: Limits | None = None) -> Source:
    """Turn whatever a user names into a source; nothing is connected or decoded yet.

    Args:
        source: one of: the number of a camera or its `/dev/video*`; a URL (rtsp, rtsps, http, https; `${NAME}` before
            the `@` is taken from the environment); a video file; a picture, folder or glob of pictures; an array
            [T, H, W, 3] or another iterable of pictures as `boir_sdk.image.read` takes them, or of pairs
            `(time_s, picture)`; or a `Source`.
        limits: time limits of live sources; None for the defaults.

    Returns:
        A source that nobody has opened yet; a `Source` that was given comes back as it is.

    Raises:
        InputError: there is no such file, it isn't one of these, or a variable isn't set.
    """
    limits = limits or Limits()
    if isinstance(source, Source):
        return source
    if isinstance(source, bool) or source is None:
        raise InputError(f"{source!r} isn't a source: {_EXPECTED}")
    if isinstance(source, (int, np.integer)):
        return _camera(int(source), limits)
    if isinstance(source, (str, os.PathLike)):
        return _named(os.fsdecode(source), limits)
    if isinstance(source, np.ndarray) and source.ndim != 4:
        raise InputError(
            f"an array of shape {list(source.shape)} isn't a stream: give [T, H, W, 3] or call the estimator"
        )
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray, memoryview, dict)):
        from boir_sdk.stream.pictures import Pictures

        return Pictures(source, source_name(source))
    raise InputError(f"a {type(source).__qualname__} isn't a source: {_EXPECTED}")


_EXPECTED = "give a camera number, a URL, a video file, a folder or glob of pictures, or an iterable of frames"


def _named(name: str, limits: Limits) -> Source:
    if "://" in name:
        scheme = name.partition("://")[0].lower()
        if scheme not in URL_SCHEMES:
            raise InputError(f"{source_name(name)}: streams come by {', '.join(URL_SCHEMES)}")
        from boir_sdk.stream.rtsp import NetworkCamera

        return NetworkCamera(name, limits)
    if name.isdecimal() and not Path(name).exists():
        return _camera(int(name), limits)
    if name.startswith("/dev/"):
        return _camera(name, limits)
    return _file(name)


def _camera(device: int | str, limits: Limits) -> Source:
    from boir_sdk.stream.camera import Camera

    if isinstance(device, int) and not 0 <= device < 1000:
        raise InputError(f"there is no camera number {device}: cameras are counted from 0")
    return Camera(device, limits)


def _file(name: str) -> Source:
    from boir_sdk import inputs
    from boir_sdk.stream.file import VideoFile
    from boir_sdk.stream.pictures import Pictures

    path = Path(name)
    if not name or "\0" in name:
        raise InputError(f"{name!r} isn't the name of a source: {_EXPECTED}")
    if path.is_dir() or path.suffix.lower() in inputs.PICTURE_ENDINGS or (glob.has_magic(name) and not path.exists()):
        return Pictures([found.path for found in inputs.find([name])], redact(name))
    if not path.exists():
        raise InputError(f"{redact(name)[:300]} doesn't exist: {_EXPECTED}")
    if not path.is_file():
        raise InputError(f"{redact(name)[:300]} is neither a file nor a folder: {_EXPECTED}")
    return VideoFile(path)
