"""The manifest of a model bundle: everything the runtime must know, as checked data (DESIGN section 5).

The file is one canonical JSON document that carries the SHA-256 of the rest of itself, so that a changed byte anywhere
in it is noticed, as one in any file it lists is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from boir_sdk.errors import BundleError
from boir_sdk.skeleton import SKELETONS

FORMAT = 1
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILES = 100
MAX_BYTES = 2 << 30
MAX_DEPTH = 16  # objects and lists within each other
MAX_TEXT = 200  # characters of a name

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DEVICE = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE
)  # what Windows takes for one, in any folder
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # all but tab and line feed
_REMEDY = "get the bundle again, or build it with this boir-convert"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a bundle: its size in bytes and the SHA-256 of its bytes."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        name: for people and logs.
        version: of the weights.
        preset: `w32`, `w48`, `nano`, ...
        skeleton: name of the keypoint convention.
        protocol: whose smoothing and suppression were built in (`coco`, `crowdpose`, `ochuman`).
        stride: network pixels a map cell.
        multiple: network sides are multiples of this, pixels.
        fit_rule: the picture side that `size` speaks of (`boir_sdk.warp.fit`).
        resample: how the picture is resampled (`boir_sdk.warp.fit`).
        sizes: network sizes offered, ascending, pixels.
        default_size: the one used when the user names none.
        max_side: largest network side, pixels; a more elongated picture is refused.
        precisions: subfolders with a pair of graphs each: `fp32`, `fp16`, `int8`.
        default_precision: the one used when the user names none.
        max_people: the dense graph gives at most so many.
        person_batches: static batch sizes of the person graph, ascending, the first is 1.
        center_threshold: a centre's score must be greater (SPEC-model M4.5).
        score_threshold: people whose score is lower are left out by default.
        keypoint_threshold: keypoints whose score is lower are better not drawn.
        pool_kernel: smoothing inside the graphs, cells.
        oks_threshold: people more alike than this are one person (SPEC-model M4.9).
        provenance: free facts: checkpoint hash, data, command, versions, licences, how thresholds were chosen.
        files: every file of the bundle except the manifest.
        second_look_px: people whose keypoints span so many network pixels may also come from a look at the picture in
            half size (`boir_sdk.looks`); 0 for no such look, as in bundles from before it.
        second_look_from: network size, pixels, from which the second look is taken unless the user says otherwise.
    """

    name: str
    version: str
    preset: str
    skeleton: str
    protocol: str
    stride: int
    multiple: int
    fit_rule: Literal["short", "long"]
    resample: Literal["bilinear", "area"]
    sizes: tuple[int, ...]
    default_size: int
    max_side: int
    precisions: tuple[str, ...]
    default_precision: str
    max_people: int
    person_batches: tuple[int, ...]
    center_threshold: float
    score_threshold: float
    keypoint_threshold: float
    pool_kernel: int
    oks_threshold: float
    provenance: Mapping[str, Any]
    files: Mapping[str, FileEntry]
    second_look_px: int = 0
    second_look_from: int = 0


def dump(manifest: Manifest) -> bytes:
    """Serialise to the canonical form, digest included."""
    content = {"format": FORMAT, **dataclasses.asdict(manifest)}
    content["files"] = {name: dataclasses.asdict(entry) for name, entry in manifest.files.items()}
    return _canonical({**content, "sha256": hashlib.sha256(_canonical(content)).hexdigest()})


def load(data: bytes, where: str) -> Manifest:
    """Parse and check a manifest.

    Args:
        data: the bytes of `manifest.json`.
        where: what to call it in errors.

    Raises:
        BundleError: it is too large, not JSON, damaged, of an unknown format, or a value is missing, unknown or out of
            range.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{where} is over the limit of {MAX_MANIFEST_BYTES} bytes: {_REMEDY}")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where} is not valid JSON ({error}): get the bundle again") from None
    if not isinstance(content, dict):
        raise BundleError(f"{where} is not a JSON object: get the bundle again")
    _refuse_odd(content, where)
    if type(content.get("format")) is not int or content["format"] != FORMAT:
        raise BundleError(
            f"{where} has format {_shown(content.get('format'))}, this boir-sdk reads format {FORMAT}: "
            "upgrade boir-sdk or build the bundle again"
        )
    digest = content.pop("sha256", None)
    without = data.replace(f' "sha256": "{digest}",\n'.encode(), b"", 1)  # other keys always follow it
    if digest != hashlib.sha256(without).hexdigest() or _canonical({**content, "sha256": digest}) != data:
        raise BundleError(f"{where} was changed after it was written (its own SHA-256 differs): get the bundle again")
    del content["format"]
    return _checked(content, where)


def is_safe_name(name: str) -> bool:
    """Tell whether a bundle may list a file of that name: plain letters, one folder at most, never the manifest."""
    if not _SAFE_NAME.fullmatch(name) or ".." in name or name.lower() == "manifest.json":
        return False
    return not any(part.endswith(".") or _DEVICE.fullmatch(part) for part in name.split("/"))


def _canonical(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n").encode()


def _shown(value: object) -> str:
    """A value for a message, never longer than a line."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _refuse_odd(content: dict[str, Any], where: str) -> None:
    """Refuse what is valid JSON, or Python takes for it, but would harm whoever writes, prints or walks through it."""
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value, *value.values()]
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and _CONTROL.search(value):
                raise BundleError(f"{where}: the text {_shown(value)} holds a control character: {_REMEDY}")
            elif isinstance(value, float) and not math.isfinite(value):
                raise BundleError(f"{where} holds the number {value}: {_REMEDY}")
        if not below:
            return
        level = below
    raise BundleError(f"{where} is nested more than {MAX_DEPTH} deep: {_REMEDY}")


def _checked(content: dict[str, Any], where: str) -> Manifest:
    """Turn a parsed manifest into data whose values the runtime may trust."""
    fields = {field.name: str(field.type) for field in dataclasses.fields(Manifest)}
    content = {"second_look_px": 0, "second_look_from": 0, **content}
    for problem, names in (("unknown", content.keys() - fields.keys()), ("missing", fields.keys() - content.keys())):
        if names:
            few = ", ".join(name if name.isidentifier() else _shown(name) for name in sorted(names)[:5])
            raise BundleError(f"{where}: {problem} key {few[:200]}: {_REMEDY}")

    def expect(condition: bool, key: str, what: str) -> None:
        if not condition:
            raise BundleError(f"{where}: {key} is {_shown(content[key])}, expected {what}: {_REMEDY}")

    for key, kind in fields.items():
        value = content[key]
        if kind == "str" or kind.startswith("Literal"):
            expect(isinstance(value, str) and 0 < len(value) <= MAX_TEXT, key, "a short text")
        elif kind == "int":
            least = 0 if key.startswith("second_look") else 1
            expect(type(value) is int and value >= least, key, f"a whole number of at least {least}")
        elif kind == "float":
            expect(type(value) in (int, float) and 0 <= value <= 1, key, "a number from 0 to 1")
        elif kind.startswith("tuple"):
            item = str if "str" in kind else int
            expect(isinstance(value, list) and 0 < len(value) <= MAX_FILES, key, "a list")
            expect(all(type(x) is item for x in value) and value == sorted(set(value)), key, "ascending, no doubles")
            content[key] = tuple(value)
        else:
            expect(isinstance(value, dict), key, "an object")
    expect(content["skeleton"] in SKELETONS, "skeleton", f"one of {', '.join(SKELETONS)}")
    expect(content["fit_rule"] in ("short", "long"), "fit_rule", "'short' or 'long'")
    expect(content["resample"] in ("bilinear", "area"), "resample", "'bilinear' or 'area'")
    expect(content["stride"] == 4, "stride", "4")
    expect(content["multiple"] in (32, 64), "multiple", "32 or 64")
    expect(content["pool_kernel"] % 2 == 1 and content["pool_kernel"] <= 31, "pool_kernel", "an odd number up to 31")
    expect(content["max_side"] <= 8192, "max_side", "at most 8192")
    expect(all(64 <= size <= content["max_side"] for size in content["sizes"]), "sizes", "64 to max_side each")
    expect(content["default_size"] in content["sizes"], "default_size", "one of sizes")
    expect(content["default_precision"] in content["precisions"], "default_precision", "one of precisions")
    expect(set(content["precisions"]) <= {"fp32", "fp16", "int8"}, "precisions", "fp32, fp16, int8")
    for key in ("second_look_px", "second_look_from"):
        expect(content[key] <= content["max_side"], key, "at most max_side")
    expect(content["max_people"] <= 100, "max_people", "at most 100")
    expect(content["person_batches"][0] == 1 and content["person_batches"][-1] <= 100, "person_batches", "1 to 100")
    content["files"] = _checked_files(content["files"], content["precisions"], where)
    return Manifest(**content)


def _checked_files(files: dict[str, Any], precisions: tuple[str, ...], where: str) -> dict[str, FileEntry]:
    if len(files) > MAX_FILES:
        raise BundleError(f"{where} lists {len(files)} files, over the limit of {MAX_FILES}: {_REMEDY}")
    entries: dict[str, FileEntry] = {}
    for name, entry in files.items():
        if not is_safe_name(name):
            raise BundleError(f"{where} lists the unsafe file name {_shown(name)}: {_REMEDY}")
        if (
            not isinstance(entry, dict)
            or entry.keys() != {"size", "sha256"}
            or type(entry["size"]) is not int
            or entry["size"] < 0
            or not isinstance(entry["sha256"], str)
            or not _SHA256.fullmatch(entry["sha256"])
        ):
            raise BundleError(
                f"{where}: the entry of {name!r} is {_shown(entry)}, expected a size and a SHA-256: {_REMEDY}"
            )
        entries[name] = FileEntry(**entry)
    folders = {name.split("/")[0] for name in entries if "/" in name}
    if len({name.lower() for name in entries}) + len({name.lower() for name in folders}) != len(entries) + len(folders):
        raise BundleError(f"{where} lists file names that differ only in case: {_REMEDY}")
    if both := {name.lower() for name in folders} & {name.lower() for name in entries}:
        raise BundleError(f"{where} lists {min(both)!r} as a file and as a folder: {_REMEDY}")
    if sum(entry.size for entry in entries.values()) > MAX_BYTES:
        raise BundleError(f"{where} lists more than {MAX_BYTES} bytes of files: {_REMEDY}")
    for precision in precisions:
        for part in ("dense.xml", "dense.bin", "person.xml", "person.bin"):
            if f"{precision}/{part}" not in entries:
                raise BundleError(f"{where} offers {precision} but doesn't list {precision}/{part}: {_REMEDY}")
    return entries
