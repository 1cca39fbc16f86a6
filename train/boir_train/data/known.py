"""The paper's data sets: where their parts lie under a folder, and how much the paper says is in them (T4.5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from boir_train.data.datasets import ORIGINAL_NAMES, Source
from boir_train.downloads import hint


@dataclass(frozen=True, slots=True)
class Part:
    """One annotation file of a data set.

    Attributes:
        annotations: its name here; `datasets.ORIGINAL_NAMES` has the one it is downloaded under.
        images: folder of its pictures, relative to the data set's.
        training: learned from; the others are for evaluation.
        pictures: in the file.
        people: with joints, not crowds: least and most, as the figure is rounded.
    """

    annotations: str
    images: str
    training: bool
    pictures: int
    people: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Counted:
    """A part's figures beside those that it should have.

    Attributes:
        name: of the annotation file.
        pictures, people: found.
        expected_pictures, expected_people: by the paper, or as commonly reported.
        agrees: both do.
    """

    name: str
    pictures: int
    people: int
    expected_pictures: int
    expected_people: tuple[int, int]
    agrees: bool


DATA_SETS: dict[str, tuple[Part, ...]] = {
    "coco": (
        Part("coco_train.json", "images/train2017", True, 118_287, (149_813, 149_813)),
        Part("coco_val.json", "images/val2017", False, 5_000, (6_352, 6_352)),
    ),
    "crowdpose": (
        Part("crowdpose_trainval.json", "images", True, 12_000, (43_350, 43_450)),
        Part("crowdpose_test.json", "images", False, 8_000, (28_500, 29_500)),
    ),
    "ochuman": (
        Part("ochuman_val.json", "images", False, 2_500, (4_291, 4_291)),
        Part("ochuman_test.json", "images", False, 2_231, (3_819, 3_819)),
    ),
}


def sources(name: str, *, training: bool) -> tuple[Source, ...]:
    """The training or evaluation parts of a data set, relative to its folder."""
    return tuple(
        Source(f"annotations/{part.annotations}", part.images) for part in DATA_SETS[name] if part.training is training
    )


def missing(name: str, root: Path) -> list[str]:
    """Say of every annotation file and picture folder of a data set that isn't below `root` what to fetch for it."""
    absent: dict[Path, str] = {}
    for source in (*sources(name, training=True), *sources(name, training=False)):
        file, folder = root / source.annotations, root / source.images
        original = file.with_name(ORIGINAL_NAMES.get(file.name, file.name))
        if not file.is_file() and not original.is_file():
            absent[file] = f"no annotation file {file}{_advice(file)}"
        if not folder.is_dir():
            # `root` may be called anything; what to fetch is known by the data set's own name.
            absent[folder] = f"no folder of pictures {folder}{hint(Path(name, source.images))}"
    return list(absent.values())


def _advice(path: Path) -> str:
    advice = hint(path)
    if path.name == "crowdpose_trainval.json":
        folder = path.parent
        advice += (
            f" (boir-train data merge --annotations {folder / 'crowdpose_train.json'} "
            f"--annotations {folder / 'crowdpose_val.json'} --out {path})"
        )
    return advice


def count(annotations: str, pictures: int, people: int) -> Counted | None:
    """Set figures beside those of the part that an annotation file is by its name; None for an unknown name."""
    name = Path(annotations).name
    for part in (part for parts in DATA_SETS.values() for part in parts):
        if name in (part.annotations, ORIGINAL_NAMES.get(part.annotations)):
            least, most = part.people
            agrees = pictures == part.pictures and least <= people <= most
            return Counted(name, pictures, people, part.pictures, part.people, agrees)
    return None
