"""A bundle as a folder for OpenVINO Model Server: two models, a configuration, a client, a page that explains.

A server's models have static shapes, so the folder is made for one network size and one shape of pictures; other
pictures get a black border. The maps travel from the dense model to the client and back to the person model: the server
has no memory between two calls, and its pipelines of models are a feature it keeps for old users only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boir_convert import ovms_client, writer
from boir_sdk import bundle, signal_stack, warp
from boir_sdk.errors import ConfigError, InferenceError, InputError
from boir_sdk.manifest import Manifest
from boir_sdk.quiet_openvino import ov

CONFIG_NAME, FACTS_NAME, CLIENT_NAME = "config.json", "boir.json", "client.py"
MODELS = "models"
# Keys of a model's entry that the server knows (its own schema refuses others).
_ENTRY_KEYS = {"name", "base_path", "target_device", "plugin_config", "nireq", "model_version_policy", "batch_size"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class Request:
    """What to make.

    Attributes:
        bundle: its folder, `default` or `small`.
        out: the folder to make.
        name: the models are called NAME-dense and NAME-person; None for the bundle's name.
        version: the server's version number of both models, at least 1.
        precision: one of the bundle's; None for its default.
        size: network size, one of the bundle's; None for its default.
        picture: width and height of the pictures that will come, pixels; only their aspect matters.
        people: that the person model takes at a time.
        device: OpenVINO's name of what the server is to run on.
        overwrite: replace a folder of this kind that is already there.
    """

    bundle: str | Path
    out: Path
    name: str | None = None
    version: int = 1
    precision: str | None = None
    size: int | None = None
    picture: tuple[int, int] = (640, 480)
    people: int = 4
    device: str = "CPU"
    overwrite: bool = False


def pack(request: Request) -> dict[str, Any]:
    """Make the folder, and return what its `boir.json` says.

    Raises:
        BundleError: the bundle is missing or damaged.
        ConfigError: a choice isn't one that the bundle offers, or the server allows.
        InputError: the folder can't be written there, or the pictures would be too elongated.
        InferenceError: OpenVINO can't fix the shapes.
    """
    opened = bundle.read(request.bundle)
    manifest = opened.manifest
    precision, size = request.precision or manifest.default_precision, request.size or manifest.default_size
    name = request.name or manifest.name
    _check(request, manifest, precision, size, name)
    check_place(request.out, overwrite=request.overwrite)
    width, height = request.picture
    fit = warp.fit_as(manifest, height, width, size)
    dense, person = static_graphs(opened, precision, (fit.height, fit.width), request.people)
    facts = {
        "bundle": manifest.name,
        "bundle_version": manifest.version,
        "precision": precision,
        "dense": f"{name}-dense",
        "person": f"{name}-person",
        "skeleton": manifest.skeleton,
        "size": size,
        "height": fit.height,
        "width": fit.width,
        "people": request.people,
        "fit_rule": manifest.fit_rule,
        "multiple": manifest.multiple,
        "resample": manifest.resample,
        "center_threshold": manifest.center_threshold,
        "score_threshold": manifest.score_threshold,
        "keypoint_threshold": manifest.keypoint_threshold,
        "oks_threshold": manifest.oks_threshold,
        "checkpoint_sha256": manifest.provenance.get("checkpoint_sha256", "unknown"),
    }
    with writer.folder(request.out) as work:
        for model, title in ((dense, facts["dense"]), (person, facts["person"])):
            place = work / MODELS / title / str(request.version)
            place.mkdir(parents=True)
            writer.save(model, place / "model.xml", half=False)  # what is stored as half stays half
        _write_json(work / CONFIG_NAME, config((facts["dense"], facts["person"]), request.device))
        _write_json(work / FACTS_NAME, facts)
        (work / CLIENT_NAME).write_bytes(Path(ovms_client.__file__).read_bytes())
        (work / "README.md").write_text(readme(facts, request), encoding="utf-8")
        validate(work)
    return facts


def static_graphs(
    opened: bundle.Bundle, precision: str, shape: tuple[int, int], people: int
) -> tuple[ov.Model, ov.Model]:
    """Read both graphs and fix every dimension.

    Args:
        opened: the bundle.
        precision: one it has.
        shape: height and width of the network picture.
        people: rows of the person graph.

    Raises:
        InferenceError: a dimension stays free, or OpenVINO fails.
    """
    try:
        with signal_stack.preserved():
            core = ov.Core()
            dense, person = (core.read_model(opened.graph(precision, part)) for part in ("dense", "person"))
            dense.reshape({"picture": [1, *shape, 3]})
            shapes = {port.get_any_name(): port.partial_shape for port in dense.outputs}
            if any(found.is_dynamic for found in shapes.values()):  # only compilation folds a few of them
                compiled = core.compile_model(dense, "CPU")
                shapes = {port.get_any_name(): ov.PartialShape(port.shape) for port in compiled.outputs}
        fixed = {}
        for port in person.inputs:
            name = port.get_any_name()
            if name == "center_yx":
                fixed[name] = ov.PartialShape([people, 2])
            elif name in ovms_client.PER_PERSON:
                fixed[name] = ov.PartialShape([1, people, shapes[name][2].get_length()])
            else:
                fixed[name] = shapes[name]
        person.reshape(fixed)
    except (RuntimeError, KeyError) as error:
        raise InferenceError(
            f"OpenVINO {ov.__version__} can't fix the shapes of {opened.manifest.name}: {error}"
        ) from error
    return dense, person


def config(names: tuple[str, ...], device: str) -> dict[str, Any]:
    """Return the server's configuration; paths start at the file itself.

    The precision of floats is said: the server would otherwise compute them in bfloat16 where the CPU has it.
    """
    plugin = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    entries = [
        {"name": name, "base_path": f"{MODELS}/{name}", "target_device": device, "plugin_config": plugin}
        for name in names
    ]
    return {"model_config_list": [{"config": entry} for entry in entries]}


def validate(folder: Path) -> None:
    """Make sure that a server can take a folder: known keys, each model whole, every shape static.

    Raises:
        ConfigError: something is wrong, in words.
    """
    where = folder / CONFIG_NAME
    try:
        content = json.loads(where.read_text(encoding="utf-8"))
        entries = [item["config"] for item in content["model_config_list"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{where} is not a configuration of OpenVINO Model Server: {error!r}") from None
    if content.keys() != {"model_config_list"} or not entries:
        raise ConfigError(f"{where}: expected a model_config_list and nothing else")
    names = [entry.get("name") for entry in entries]
    if len(set(names)) != len(names):
        raise ConfigError(f"{where}: two models have the same name")
    for entry in entries:
        unknown = entry.keys() - _ENTRY_KEYS
        if unknown or not {"name", "base_path"} <= entry.keys() or not _NAME.fullmatch(str(entry["name"])):
            raise ConfigError(f"{where}: the entry {entry!r} has an unknown key or lacks name or base_path")
        _validate_model(folder / str(entry["base_path"]))


def _validate_model(base: Path) -> None:
    versions = [place for place in base.iterdir() if place.is_dir()] if base.is_dir() else []
    if not versions:
        raise ConfigError(f"{base} holds no version of a model")
    for place in versions:
        if not re.fullmatch(r"[1-9][0-9]{0,8}", place.name):
            raise ConfigError(f"{place}: a version's folder is called by a positive whole number")
        if {path.name for path in place.iterdir()} != {"model.xml", "model.bin"}:
            raise ConfigError(f"{place}: expected model.xml and model.bin")
        with signal_stack.preserved():
            model = ov.Core().read_model(place / "model.xml")
        free = [port.get_any_name() for port in model.inputs if port.partial_shape.is_dynamic]
        if free:
            raise ConfigError(f"{place}: {', '.join(free)} has a free dimension")


def check_place(out: Path, *, overwrite: bool) -> None:
    """Make sure that a folder may be written to `out`.

    Raises:
        InputError: `out` exists and may not be replaced, or its parent is missing.
    """
    if not out.parent.is_dir():
        raise InputError(f"the folder {out.parent} does not exist: make it, or choose another place")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists: choose another place, or say --overwrite to replace it")
    if out.exists() and not ((out / CONFIG_NAME).is_file() and (out / FACTS_NAME).is_file()):
        raise InputError(f"{out} exists and is not a folder made by boir-convert ovms, so it won't be replaced")


def _check(request: Request, manifest: Manifest, precision: str, size: int, name: str) -> None:
    if precision not in manifest.precisions:
        raise ConfigError(
            f"bundle {manifest.name} has no precision {precision!r}: it has {', '.join(manifest.precisions)}"
        )
    if size not in manifest.sizes:
        offered = ", ".join(map(str, manifest.sizes))
        raise ConfigError(f"size {size} is not offered by {manifest.name}: {offered}")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"the name {name!r} can't be part of an address: use letters, digits, and any of . _ -")
    if request.version < 1:
        raise ConfigError(f"the version is {request.version}, expected a whole number from 1")
    if not 1 <= request.people <= manifest.max_people:
        raise ConfigError(f"people is {request.people}, expected 1 to {manifest.max_people}")
    if min(request.picture) < 1:
        raise ConfigError(f"a picture of {request.picture[0]} x {request.picture[1]} pixels is impossible")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def readme(facts: Mapping[str, Any], request: Request) -> str:
    """Return the page that explains the folder."""
    width, height = request.picture
    return f"""# {facts["bundle"]} {facts["bundle_version"]} for OpenVINO Model Server

Two models, {facts["precision"]}, made by `boir-convert ovms` for pictures of the shape {width} x {height}:

`{facts["dense"]}`, once a picture
* in: `picture` uint8 [1, {facts["height"]}, {facts["width"]}, 3], BGR
* out: `people` [30, 3] (score, y, x in cells of 4 pixels), what each person is made of, and maps that all share

`{facts["person"]}`, once for every {facts["people"]} people
* in: `center_yx` [{facts["people"]}, 2], what those people are made of, the maps
* out: `keypoints` [{facts["people"]}, K, 3] (x, y in pixels of the network picture, peak)

## Serve

```
docker run --rm -p 8000:8000 -v "$PWD":/boir:ro openvino/model_server:latest \\
    --config_path /boir/{CONFIG_NAME} --rest_port 8000
```

or, with the server installed, `ovms --config_path {CONFIG_NAME} --rest_port 8000`. Paths in `{CONFIG_NAME}` start at
the file itself. `INFERENCE_PRECISION_HINT` keeps a CPU that has bfloat16 from computing floats in it.

## Ask

```
pip install boir-sdk
python {CLIENT_NAME} people.jpg --url http://localhost:8000
```

`{CLIENT_NAME}` is an example to start from: KServe's REST interface with binary tensors, standard library, numpy and
boir_sdk. `{FACTS_NAME}` is what it must know. Pictures of another shape get a black border and so a smaller network
picture. The maps go to the client and back, a few megabytes a picture: keep client and server near each other, or use
boir_sdk's own runtime, which keeps them in place.
"""
