"""Why a source can't give a frame; a module of its own because the reading child must start fast."""

from __future__ import annotations

from typing import Literal

from boir_sdk.errors import BoirError


class SourceError(BoirError):
    """A source can't give a frame.

    Attributes:
        code: the cause in one word (see `boir_sdk.stream.result.StreamEvent`).
        then: what to do about it: `reconnect` (close, wait, open again), `skip` (go on with the next frame) or `end`.
    """

    def __init__(self, code: str, message: str, then: Literal["reconnect", "skip", "end"] = "reconnect") -> None:
        super().__init__(message)
        self.code = code
        self.then = then
