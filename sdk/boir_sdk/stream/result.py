"""What a stream gives out: one result a frame, and explicit events where frames are missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boir_sdk.poses import Poses


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """Something happened to a source.

    | kind | meaning | has a frame |
    | --- | --- | --- |
    | `gap` | frames have stopped coming, or never began | no |
    | `reconnecting` | one more attempt failed, the next one is on its way | no |
    | `recovered` | the first frame after a gap; identities begin anew | yes |
    | `size_changed` | the frame has another size than the one before | yes, unless it is the `recovered` one too |
    | `skipped` | one picture of a folder can't be read | no |
    | `failed` | the source can't go on; the last result of its source | no |
    | `ended` | one of several sources came to its end; the last result of its source | no |

    Attributes:
        kind: see the table.
        code: the cause in one word, for programs: `refused`, `timeout`, `unreachable`, `auth`, `not_found`, `server`,
            `redirect`, `protocol`, `sdp`, `codec`, `stalled`, `lost`, `no_device`, `decode`, `source`, ...; for
            `recovered` the cause of the gap; for `size_changed` and `ended` the kind again.
        message: what happened and what happens next, without credentials.
    """

    kind: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class StreamResult:
    """A frame with its people, or an event without a frame.

    Attributes:
        frame: uint8 [H, W, 3] BGR, or None when an event has no frame.
        poses: the people, in pixels of the frame; empty when `frame` is None.
        index: number of the frame in its source, from 0, dropped ones counted too; of an event without a frame, the
            number that the next frame would have.
        time_s: position in the stream in seconds: of a file its own time, of a live source the time since it was
            opened.
        age_s: how long ago the frame was captured, in seconds, when the result was given out; 0 without a frame.
        dropped: frames of this source that were captured and left out since its last result.
        event: what happened, or None.
        source: name of the source, without credentials.
        timings_ms: milliseconds of the stages: `read` (waiting for the source and decoding), `queue` (from the end of
            reading to the start of inference), `infer`, and `track`, `smooth` if asked for; empty without a frame.
    """

    frame: NDArray[np.uint8] | None
    poses: Poses
    index: int
    time_s: float
    age_s: float
    dropped: int
    event: StreamEvent | None
    source: str
    timings_ms: Mapping[str, float]
