"""Poses: the people of one picture, as validated arrays that can't be changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boir_sdk.errors import InputError
from boir_sdk.skeleton import Skeleton


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """N people of one picture, each with all K keypoints of a skeleton.

    Arrays are copied, checked and made read-only when a `Poses` is made. `poses[i]` is a `Poses` too: of one person for
    an integer, of several for a slice, a mask or indices.

    Example:
        >>> from boir_sdk.skeleton import COCO17
        >>> poses = Poses([[[10.0, 20.0]] * 17], [[0.9] * 17], [0.8], COCO17)
        >>> len(poses), poses.keypoints.shape, poses.boxes[0].tolist()
        (1, (1, 17, 2), [10.0, 20.0, 10.0, 20.0])

    Attributes:
        keypoints: float32 [N, K, 2], x and y in pixels of the picture; may lie outside it.
        keypoint_scores: float32 [N, K] in 0..1.
        scores: float32 [N], how sure a person is; ranks the people.
        skeleton: what the K keypoints are.
        ids: int64 [N] identities over time, or None.
        boxes: float32 [N, 4], x1 y1 x2 y2 round all keypoints of a person; made from them.

    Raises:
        InputError: a shape, a number or a score is impossible.
    """

    keypoints: NDArray[np.float32]
    keypoint_scores: NDArray[np.float32]
    scores: NDArray[np.float32]
    skeleton: Skeleton
    ids: NDArray[np.int64] | None = None
    boxes: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        scores = _floats("scores", self.scores, (None,))
        count, joints = len(scores), len(self.skeleton)
        keypoints = _floats("keypoints", self.keypoints, (count, joints, 2))
        keypoint_scores = _floats("keypoint_scores", self.keypoint_scores, (count, joints))
        if count and not (keypoint_scores.min() >= 0 and keypoint_scores.max() <= 1):
            raise InputError(
                f"keypoint_scores: expected values in 0..1, got {keypoint_scores.min():g}..{keypoint_scores.max():g}"
            )
        # A frozen dataclass sets its own fields this way.
        put = object.__setattr__
        put(self, "keypoints", _locked(keypoints))
        put(self, "keypoint_scores", _locked(keypoint_scores))
        put(self, "scores", _locked(scores))
        put(self, "ids", None if self.ids is None else _locked(_integers("ids", self.ids, count)))
        hull = np.concatenate([keypoints.min(axis=1), keypoints.max(axis=1)], axis=1)
        put(self, "boxes", _locked(hull))

    @classmethod
    def empty(cls, skeleton: Skeleton) -> Poses:
        """Return a picture without people.

        Args:
            skeleton: whose people there are none of.
        """
        joints = len(skeleton)
        keypoints, keypoint_scores, scores = (np.zeros((0, *rest), np.float32) for rest in ((joints, 2), (joints,), ()))
        return cls(keypoints, keypoint_scores, scores, skeleton)

    @classmethod
    def from_coco(cls, records: Sequence[Mapping[str, Any]], skeleton: Skeleton) -> Poses:
        """Read back the COCO results of one picture; see `interchange.from_coco`.

        Args:
            records: as `to_coco` makes them; other keys are ignored.
            skeleton: what the keypoints are.

        Returns:
            The people in the order of the records, without ids.

        Raises:
            InputError: a record is incomplete or belongs to another picture.
        """
        from boir_sdk import interchange

        return interchange.from_coco(records, skeleton)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Poses:
        """Read back what `to_dict` made; see `interchange.from_dict`.

        Args:
            data: the dictionary, as it came from JSON.

        Returns:
            The people, equal to those that were written.

        Raises:
            InputError: the schema or skeleton is unknown, or a person is incomplete.
        """
        from boir_sdk import interchange

        return interchange.from_dict(data)

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """Return COCO keypoint results, one record a person; see `interchange.to_coco`.

        Args:
            image_id: the picture's number in the annotation file.
        """
        from boir_sdk import interchange

        return interchange.to_coco(self, image_id)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary with names; see `interchange.to_dict`."""
        from boir_sdk import interchange

        return interchange.to_dict(self)

    def to_supervision(self, *, keypoint_threshold: float = 0.0) -> Any:
        """Return a `supervision.KeyPoints`; see `interchange.to_supervision`.

        Args:
            keypoint_threshold: keypoints under it become (0, 0), supervision's way to write a missing one.

        Raises:
            InputError: supervision isn't installed.
        """
        from boir_sdk import interchange

        return interchange.to_supervision(self, keypoint_threshold=keypoint_threshold)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Any) -> Poses:
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            index = [range(len(self))[int(index)]]  # IndexError as from any sequence
        if not isinstance(index, slice):
            index = np.asarray(index)
            if index.ndim != 1:
                raise IndexError(f"expected an integer, slice, mask or list of indices, got {index.ndim} dimensions")
            if not index.size and index.dtype.kind == "f":  # NumPy takes [] for floats
                index = index.astype(np.intp)
        return Poses(
            self.keypoints[index],
            self.keypoint_scores[index],
            self.scores[index],
            self.skeleton,
            None if self.ids is None else self.ids[index],
        )

    def __iter__(self) -> Iterator[Poses]:
        return (self[i] for i in range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickled array forgets that it was read-only, so a copy is built anew.
        return Poses, (self.keypoints, self.keypoint_scores, self.scores, self.skeleton, self.ids)

    def __repr__(self) -> str:
        known = "" if self.ids is None else f", ids={self.ids.tolist()}"
        return f"Poses({len(self)} x {self.skeleton.name}, scores={np.round(self.scores, 3).tolist()}{known})"


def _floats(name: str, values: ArrayLike, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
    """Copy to float32 of the given shape (None: any length) with finite numbers."""
    try:
        raw = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers of shape {_text(shape)}, got uneven lists: {error}") from error
    if raw.size and raw.dtype.kind not in "fiu":
        raise InputError(
            f"{name}: expected numbers of shape {_text(shape)}, got {raw.dtype} of shape {_text(raw.shape)}"
        )
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is named below
        array = np.array(raw, dtype=np.float32, order="C")
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        raise InputError(f"{name}: expected shape {_text(shape)}, got {_text(array.shape)}")
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise InputError(f"{name}: expected finite numbers, got {array[where]} at {list(where)}")
    return array


def _integers(name: str, values: ArrayLike, count: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.shape != (count,) or (array.size and array.dtype.kind not in "iu"):
        raise InputError(f"{name}: expected {count} integers, got {array.dtype} of shape {_text(array.shape)}")
    if array.size and array.max() > np.iinfo(np.int64).max:
        raise InputError(f"{name}: expected 64-bit signed integers, got {array.max()}")
    return np.array(array, dtype=np.int64)


def _locked(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _text(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join("N" if side is None else str(side) for side in shape) + "]"
