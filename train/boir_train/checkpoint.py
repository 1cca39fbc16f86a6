"""Weights in every published form in, safetensors out (SPEC-model M3)."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from boir_sdk import durable
from boir_sdk.errors import CheckpointError

State = dict[str, Tensor]

AUXILIARY = ("multihead.buk_head.", "multihead.emb_head.", "multihead.bbox_head.")
LEFTOVERS = ("param_sampler.",)  # buffers of the published loss
COUNTER = ".num_batches_tracked"  # absent from files of older PyTorch
OTHER_SKELETON = (
    "multihead.buk_head.head.1.weight",
    "multihead.buk_head.head.1.bias",
    "kpt_head.heatmap_conv.weight",
    "kpt_head.heatmap_conv.bias",
)  # all that depends on the number of keypoints (M3.4)

SKELETON_OF = {17: "coco17", 14: "crowdpose14"}
SHAPES_OF = {"w32": (32, 480, 64), "w48": (48, 720, 96)}  # branch width, feature channels, person channels
NANO, NANO_PRIOR, SECOND = "backbone.stem.", "prior.gain", "second."

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
# Of the part that says which tensors there are. A training checkpoint of w48 takes about 1 MB, and reading costs some
# seconds a megabyte, so a hostile file can't keep anybody waiting for minutes.
MAX_INDEX_BYTES = 8 << 20
NAMED = 5  # so many tensors a message names; the rest it counts


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of a file's tensors.

    Attributes:
        loaded: how many tensors of the model the file filled.
        total: how many tensors the model, or the part that was asked for, has.
        dropped: names in the file that were known and left out.
        kept: names in the model that the file didn't fill.
    """

    loaded: int
    total: int
    dropped: tuple[str, ...]
    kept: tuple[str, ...]


def read(path: str | os.PathLike[str]) -> State:
    """Read the tensors of a checkpoint, whatever its form (M3.1); nothing in the file is ever executed.

    Accepted are safetensors and PyTorch's own format, holding name -> tensor, or a training checkpoint with
    `best_state_dict` (preferred), `state_dict` or `model`. A leading `module.` is taken off the names.

    Returns:
        Tensors as stored; they may be views of the file on disk, so copy what must outlive it.

    Raises:
        CheckpointError: the file is missing, empty, damaged, of another kind, or holds something other than tensors.
    """
    path = Path(path)
    content = _read_safetensors(path) if _kind(path) == "safetensors" else _read_torch(path)
    named = _tensors_of(content, path)
    state: State = {}
    for name, tensor in named.items():
        bare = name
        while bare.startswith("module."):
            bare = bare.removeprefix("module.")
        if bare in state:
            raise CheckpointError(f"{path}: two tensors are called {bare!r} once a leading 'module.' is off")
        state[bare] = tensor
    return state


def identify(state: Mapping[str, Tensor]) -> tuple[str, str]:
    """Tell preset and skeleton of a state dict from its shapes (M3.2).

    Returns:
        Names as `build_model` takes them.

    Raises:
        CheckpointError: it is no known network.
    """
    heatmap = "kpt_head.heatmap_conv.weight"
    if heatmap not in state or state[heatmap].ndim != 4:
        raise CheckpointError(f"this isn't a BoIR checkpoint: it has no convolution {heatmap}")
    keypoints = state[heatmap].shape[0]
    if keypoints not in SKELETON_OF:
        raise CheckpointError(f"{heatmap} has {keypoints} keypoints: known are 17 (coco17) and 14 (crowdpose14)")
    if any(name.startswith(SECOND) for name in state):
        return "small", SKELETON_OF[keypoints]
    if any(name.startswith(NANO) for name in state):
        return "nano" if NANO_PRIOR in state else "nano-pure", SKELETON_OF[keypoints]
    names = ("backbone.transition1.0.0.weight", "kpt_head.conv_down.weight")
    missing = [name for name in names if name not in state or state[name].ndim != 4]
    if missing:
        raise CheckpointError(f"this isn't a BoIR checkpoint: it has no convolution {' or '.join(missing)}")
    width, (channels, features) = state[names[0]].shape[0], state[names[1]].shape[:2]
    for preset, shapes in SHAPES_OF.items():
        if shapes == (width, features, channels):
            return preset, SKELETON_OF[keypoints]
    raise CheckpointError(
        f"no preset has branch width {width}, {features} feature and {channels} person channels: "
        "known are w32 (32, 480, 64) and w48 (48, 720, 96)"
    )


def load(model: nn.Module, path: str | os.PathLike[str]) -> LoadReport:
    """Fill a network of `build_model` from a file, completely (M3.2).

    Half and double precision are converted to float32. Auxiliary heads are dropped when the model has none, the
    published loss' buffers always; absent step counters become 0.

    Raises:
        CheckpointError: the file can't be read, is of another preset or skeleton, misses or adds a tensor, or a tensor
            has another shape or isn't finite. The model is then as it was.
    """
    return fill(model, read(path), path)


def fill(model: nn.Module, state: State, path: str | os.PathLike[str]) -> LoadReport:
    """Do what `load` does with a state dict that was read already; `path` names its file in errors."""
    _same_network(model, state, Path(path), keypoints_too=True)
    return _fill(model, state, Path(path), fresh=())


def load_deployed(model: nn.Module, path: str | os.PathLike[str]) -> LoadReport:
    """Fill the training form from weights that were kept for deployment: heads that the file lacks keep their values.

    Args:
        model: the training form, initialised.
        path: a checkpoint that may lack whole auxiliary heads.

    Raises:
        CheckpointError: as in `load`, or the file holds a part of an auxiliary head.
    """
    state = read(path)
    _same_network(model, state, Path(path), keypoints_too=True)
    absent = tuple(head for head in AUXILIARY if not any(name.startswith(head) for name in state))
    fresh = tuple(name for name in model.state_dict() if absent and name.startswith(absent))
    return _fill(model, state, Path(path), fresh=fresh)


def transfer(model: nn.Module, path: str | os.PathLike[str]) -> LoadReport:
    """Start a network on another skeleton: fill all but the four tensors that depend on it (M3.4).

    Args:
        model: the training form, initialised; the four tensors keep their values.
        path: a checkpoint in the training form.

    Raises:
        CheckpointError: as in `load`, or one of the four tensors isn't in the file.
    """
    state = read(path)
    absent = [name for name in OTHER_SKELETON if name not in state]
    if absent:
        raise CheckpointError(
            f"{path}: a transfer starts from the training form with its auxiliary heads; missing: {_some(absent)}"
        )
    _same_network(model, state, Path(path), keypoints_too=False)
    for name in OTHER_SKELETON:
        del state[name]
    return _fill(model, state, Path(path), fresh=OTHER_SKELETON)


def load_backbone(model: nn.Module, path: str | os.PathLike[str]) -> LoadReport:
    """Fill the backbone from an ImageNet classifier, by the names they share (M3.3).

    Returns:
        How many of the backbone's tensors were filled; a caller should show it.

    Raises:
        CheckpointError: the file can't be read, shares no tensor with the backbone, or a shared one has another shape
            or isn't finite.
    """
    path = Path(path)
    state = read(path)
    own = model.backbone.state_dict()
    shared = {name: tensor for name, tensor in state.items() if name in own}
    if not shared:
        raise CheckpointError(
            f"{path}: none of its {len(state)} tensors is one of the backbone's {len(own)}; "
            f"it has {_some(list(state))}, the backbone wants {_some(list(own))}"
        )
    model.backbone.load_state_dict(_converted(shared, own, path), strict=False)
    return LoadReport(
        loaded=len(shared),
        total=len(own),
        dropped=tuple(name for name in state if name not in own),
        kept=tuple(name for name in own if name not in shared),
    )


def save(
    path: str | os.PathLike[str],
    state: Mapping[str, Tensor],
    *,
    half: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write safetensors; the file appears complete or not at all.

    Args:
        path: where to; an older file there is replaced.
        state: tensors by name.
        half: store floats as float16.
        metadata: text that goes into the file's header.

    Raises:
        CheckpointError: a float isn't finite, or overflows float16.
        InputError: the disk refuses.
    """
    path = Path(path)
    out: State = {}
    for name, tensor in state.items():
        stored = tensor.detach().to("cpu", torch.float16 if half and tensor.is_floating_point() else tensor.dtype)
        if stored.is_floating_point() and not bool(torch.isfinite(stored).all()):
            raise CheckpointError(f"{path}: not written, {name} isn't finite" + (" in float16" if half else ""))
        # a copy: safetensors refuses tensors that share memory
        out[name] = stored.clone(memory_format=torch.contiguous_format)
    with durable.writing(path) as temporary:
        # Not `save_file`, which has a temporary file of its own that nobody would know when the process is killed.
        temporary.write_bytes(safetensors.torch.save(out, metadata=dict(metadata or {})))


def _kind(path: Path) -> str:
    """Tell the format from the first bytes, never from the name."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read: {error.strerror}") from error
    if not head:
        raise CheckpointError(f"{path}: the file is empty")
    if head.startswith(ZIP) or head.startswith(PICKLE):
        return "torch"
    if head[8:] == b"{":
        if int.from_bytes(head[:8], "little") + 8 > size:
            raise CheckpointError(f"{path}: a safetensors file that ends within its header; is the copy complete?")
        _check_index(int.from_bytes(head[:8], "little"), path)
        return "safetensors"
    raise CheckpointError(
        f"{path}: neither safetensors nor a PyTorch file (it starts with {head!r}); name a file of weights"
    )


def _read_safetensors(path: Path) -> State:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: a damaged safetensors file; is the copy complete? ({error})") from error


def _check_index(size: int, path: Path) -> None:
    if size > MAX_INDEX_BYTES:
        raise CheckpointError(
            f"{path}: its list of tensors takes {size} bytes, over the limit of {MAX_INDEX_BYTES}: "
            "this isn't a BoIR checkpoint; save only the state dict"
        )


def _check_archive(path: Path) -> None:
    """Refuse an archive that unpacks to more than it is; PyTorch stores everything as it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, RuntimeError) as error:
        raise CheckpointError(f"{path}: a damaged PyTorch file; is the copy complete? ({error})") from error
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise CheckpointError(
                f"{path}: {entry.filename[:100]!r} in it is compressed, which PyTorch never does, so it was not read; "
                "save the state dict with torch.save"
            )
        if entry.filename.endswith(".pkl"):
            _check_index(entry.file_size, path)


def _read_torch(path: Path) -> object:
    with path.open("rb") as file:
        zipped = file.read(4) == ZIP
    if zipped:
        _check_archive(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # a damaged or hostile pickle can end in any exception
        reason = str(error).split("\n", 1)[0][:200]
        if "Weights only load failed" in reason:
            raise CheckpointError(
                f"{path}: damaged, or it holds objects other than tensors and plain containers, which are refused "
                "(nothing in it was executed); get it from its source again or save only its state dict"
            ) from error
        raise CheckpointError(f"{path}: a damaged PyTorch file; is the copy complete? ({reason})") from error


def _tensors_of(content: object, path: Path) -> Mapping[str, Tensor]:
    """Find the name -> tensor mapping in what a file holds."""
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not tensors by name")
    for key in ("best_state_dict", "state_dict", "model"):
        inner = content.get(key)
        if isinstance(inner, Mapping) and inner:
            content = inner
            break
    if not content:
        raise CheckpointError(f"{path}: holds no tensors")
    other = [str(name)[:100] for name, value in content.items() if not (isinstance(name, str) and _is_plain(value))]
    if other:
        raise CheckpointError(f"{path}: these entries aren't tensors with a name: {_some(other)}")
    return content


def _is_plain(value: object) -> bool:
    """Tell a dense tensor with values from what only has the type: meta, nested and sparse tensors."""
    return isinstance(value, Tensor) and not value.is_nested and value.layout == torch.strided and not value.is_meta


def _same_network(model: nn.Module, state: State, path: Path, *, keypoints_too: bool) -> None:
    """Say 'wrong preset' once instead of a thousand wrong shapes."""
    try:
        preset, skeleton = identify(state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    want = model.settings
    if preset != want.preset or (keypoints_too and skeleton != want.skeleton.name):
        raise CheckpointError(
            f"{path}: holds a {preset} model for {skeleton}, but the model to fill is {want.preset} for "
            f"{want.skeleton.name}; build the model that the file holds or take another file"
        )


def _fill(model: nn.Module, state: State, path: Path, *, fresh: tuple[str, ...]) -> LoadReport:
    own = model.state_dict()
    extra = [name for name in state if name not in own]
    dropped = [name for name in extra if name.startswith(AUXILIARY + LEFTOVERS)]
    unknown = sorted(set(extra) - set(dropped))
    counters = [name for name in own if name.endswith(COUNTER) and name not in state and name not in fresh]
    missing = [name for name in own if name not in state and name not in counters and name not in fresh]
    problems = []
    if missing:
        problems.append(f"{len(missing)} missing: {_some(missing)}")
    if unknown:
        problems.append(f"{len(unknown)} unknown: {_some(unknown)}")
    if problems:
        raise CheckpointError(f"{path}: doesn't fit {model.settings.preset}; tensors {'; '.join(problems)}")
    filled = _converted({name: state[name] for name in own if name in state}, own, path)
    filled |= {name: torch.zeros_like(own[name]) for name in counters}
    model.load_state_dict(filled, strict=False)
    return LoadReport(
        loaded=len(filled), total=len(own), dropped=tuple(dropped), kept=tuple(n for n in own if n not in filled)
    )


def _converted(state: State, own: State, path: Path) -> State:
    """Check shapes, kinds and finiteness against the model's own tensors; floats become float32."""
    wrong = [
        f"{name} {list(tensor.shape)} instead of {list(own[name].shape)}"
        for name, tensor in state.items()
        if tensor.shape != own[name].shape
    ]
    if wrong:
        raise CheckpointError(f"{path}: {len(wrong)} tensors have another shape: {_some(wrong)}")
    out: State = {}
    for name, tensor in state.items():
        if (
            tensor.layout != torch.strided
            or tensor.is_quantized
            or (tensor.is_floating_point() != own[name].is_floating_point() or tensor.is_complex())
        ):
            raise CheckpointError(f"{path}: {name} holds {tensor.dtype} instead of {own[name].dtype}")
        try:
            out[name] = tensor.to(own[name].dtype)
        except RuntimeError as error:  # a type that PyTorch can only store
            raise CheckpointError(f"{path}: {name} holds {tensor.dtype} instead of {own[name].dtype}") from error
        if tensor.is_floating_point() and not bool(torch.isfinite(out[name]).all()):
            raise CheckpointError(f"{path}: {name} holds NaN or infinity; the training that wrote it has diverged")
    return out


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
