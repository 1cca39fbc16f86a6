"""The configuration of a training run: one tree of frozen dataclasses, one YAML file a run.

A file may name only what differs from the defaults, which are those of the paper's COCO rows (SPEC-training T1.3).
"""

from __future__ import annotations

import difflib
import operator
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from boir_sdk import durable
from boir_sdk.errors import ConfigError
from boir_sdk.skeleton import SKELETONS
from boir_train import config_text
from boir_train.config_text import shown
from boir_train.data.augment import AugmentSettings
from boir_train.data.datasets import Rules, Source
from boir_train.data.targets import BoxClip, CentreRule, KeypointWidth
from boir_train.losses.total import LossSettings

# fmt: off
NOT_NEGATIVE = (
    "data.min_area", "data.workers", "data.cache_mb", "optim.eps", "optim.weight_decay", "optim.clip",
    "schedule.epochs", "schedule.warmup_epochs", "schedule.iterations", "schedule.warmup_iterations",
    "train.threads", "train.seed", "train.max_iterations", "train.max_minutes",
    "eval.every", "eval.hold_out", "eval.size", "eval.limit",
)
# fmt: on


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Which network, and the weights it starts from.

    Attributes:
        preset: "w32", "w48", "nano", "nano-pure" or "small".
        skeleton: "coco17" or "crowdpose14".
        start: "scratch"; "backbone", weights of the backbone alone (T3.7); "checkpoint", a whole model; "deployed",
            a whole model whose auxiliary heads start afresh where the file lacks them; "transfer", a whole model whose
            keypoint outputs start afresh (T3.9).
        weights: file for the last four.
        teacher: file of a whole model, of this preset or another with bottom-up heatmaps, whose heatmaps are learned
            from, too (`loss.soft`).
        teacher_mirror: the teacher looks at the mirrored picture, too, and answers with the mean.
        init: "fixed" or "published" start of the heads (T1.9).
    """

    preset: str = "w32"
    skeleton: str = "coco17"
    start: Literal["scratch", "backbone", "checkpoint", "deployed", "transfer"] = "scratch"
    weights: str | None = None
    teacher: str | None = None
    teacher_mirror: bool = True
    init: Literal["fixed", "published"] = "fixed"


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What is learned from.

    Attributes:
        root: folder that relative paths of `train` and of `eval` start at.
        train: annotation files with their picture folders, joined.
        rules: "coco" or "crowdpose" (T2).
        sizes: network sides I in pixels; each batch takes one at random.
        min_area: network pixels squared; smaller people get no centre (T2.6); 0 for CrowdPose.
        box_clip: "published" or "corners" (T2.8).
        centre: what a person's centre is: mean of the "keypoints" (T2.6), or the middle of the "box", as the start of
            `nano` has it.
        width: of keypoint Gaussians: "published", one for all of a person (T2.7), or "oks", in proportion to OKS
            sigmas.
        ignore_unlabelled: judge pictures whose people aren't all annotated only near the annotated ones.
        absent: keypoints that the annotations never have (another set's, mapped): judged nowhere.
        reach: smallest and largest longer side of a box, in network pixels, to be taught by; other people are neither
            taught nor punished (`reach.within`). Empty takes everybody.
        workers: loader processes of each rank.
        cache_mb: memory for decoded pictures of each rank.
    """

    root: str = "."
    train: tuple[Source, ...] = ()
    rules: Rules = "coco"
    sizes: tuple[int, ...] = (512,)
    min_area: float = 1024.0
    box_clip: BoxClip = "published"
    centre: CentreRule = "keypoints"
    width: KeypointWidth = "published"
    ignore_unlabelled: bool = False
    absent: tuple[str, ...] = ()
    reach: tuple[float, ...] = ()
    workers: int = 4
    cache_mb: int = 0


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """AdamW and what surrounds it (T3.2, T3.5).

    Attributes:
        lr: base rate, not scaled with batch or devices.
        betas, eps, weight_decay: of AdamW.
        clip: largest total gradient norm; 0 doesn't clip.
        amp: "auto" is fp16 with loss scaling on CUDA and off elsewhere.
        accumulate: batches whose gradients one step averages.
        freeze: name prefixes of parameters that don't learn; modules that are frozen whole keep their batch statistics.
        lr_scale: factor on the rate by name prefix, the longest prefix counts.
        relative: name prefixes of parameters whose steps are taken relative to their size: each row (what makes one
            output channel) moves by the rate times its root mean square at the start. For weights whose batch norms
            were folded into them: their rows differ by orders of magnitude, and Adam would move each by the same.
        ema: decay of the averaged weights that are evaluated and kept; 0 keeps none.
        blend: share of the start's weights in what is evaluated and kept, by name prefix, the longest prefix counts.
            What fine-tuning on few pictures forgets comes back, more than what it found is lost (WiSE-FT, Wortsman et
            al., CVPR 2022).
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.025
    clip: float = 10.0
    amp: Literal["auto", "off", "fp16", "bf16"] = "auto"
    accumulate: int = 1
    freeze: tuple[str, ...] = ()
    lr_scale: dict[str, float] = field(default_factory=dict)
    relative: tuple[str, ...] = ()
    ema: float = 0.0
    blend: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """Warm-up and cosine of the learning rate (T3.4).

    Attributes:
        epochs, warmup_epochs: length of the run and of its warm-up.
        iterations, warmup_iterations: the same in steps; used instead when `iterations` isn't 0.
        warmup_start, final: rates at the two ends.
    """

    epochs: int = 140
    warmup_epochs: int = 10
    iterations: int = 0
    warmup_iterations: int = 0
    warmup_start: float = 1e-12
    final: float = 1e-6


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How the loop runs.

    Attributes:
        device: a PyTorch device; under torchrun "cuda" means the rank's own.
        threads: PyTorch's CPU threads; 0 leaves PyTorch's choice.
        seed: of weights and samples.
        batch_size: pictures of each rank and batch.
        max_instances: people of a batch that the person head learns from (T2.10).
        sync_bn: batch statistics over all ranks.
        channels_last: memory layout of pictures and weights.
        compile: let torch.compile make one program of the network; the first steps are slow, and a C++ compiler (CPU)
            or Triton (GPU) must be there.
        max_iterations: stop after so many steps without changing the schedule; 0 runs to its end.
        max_minutes: stop after so much time of this start; 0 has no limit.
        checkpoint_every: steps between resumable checkpoints.
        log_every: steps between lines of the log.
    """

    device: str = "cuda"
    threads: int = 0
    seed: int = 0
    batch_size: int = 20
    max_instances: int = 200
    sync_bn: bool = False
    channels_last: bool = False
    compile: bool = False
    max_iterations: int = 0
    max_minutes: float = 0.0
    checkpoint_every: int = 1000
    log_every: int = 20


@dataclass(frozen=True, slots=True)
class EvalConfig:
    """The pictures, not trained on, that the best weights are chosen by.

    Attributes:
        every: steps between evaluations; 0 doesn't evaluate.
        annotations, images: COCO-style file and its folder.
        hold_out: instead of those, so many pictures of `data.train` that are then not trained on.
        protocol: "coco", "crowdpose" or "ochuman".
        size: network size; 0 takes the model's own.
        flip_test: average with the mirrored picture.
        limit: pictures at most, in file order; 0 takes all.
    """

    every: int = 0
    annotations: str | None = None
    images: str | None = None
    hold_out: int = 0
    protocol: Literal["coco", "crowdpose", "ochuman"] = "coco"
    size: int = 0
    flip_test: bool = False
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that decides a run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)


def names() -> list[str]:
    """Return the names of the configurations that come with the package."""
    folder = resources.files("boir_train") / "configs"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load(name: str, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration.

    Args:
        name: of a configuration of the package, or a YAML file.
        overrides: `a.b=value` with a YAML value, applied in order.

    Raises:
        ConfigError: the name, a key or a value is wrong, or two values contradict each other.
    """
    tree = _read(name)
    for override in overrides:
        _apply(tree, override)
    return parse(tree)


def parse(tree: Mapping[str, Any]) -> Config:
    """Turn nested dictionaries into a checked `Config`.

    Raises:
        ConfigError: a key or value is wrong, or two values contradict each other.
    """
    config = _build(Config, tree, "")
    _check(config)
    return config


def as_dict(config: Config) -> dict[str, Any]:
    """Return `config` as plain dictionaries and lists, which `parse` reads back."""
    return typing.cast("dict[str, Any]", _plain(asdict(config)))


def dump(config: Config, path: Path) -> None:
    """Write the resolved configuration to `path` as YAML, whole or not at all.

    Raises:
        InputError: it can't be written there.
    """
    with durable.writing(path) as temporary:
        temporary.write_text(yaml.safe_dump(as_dict(config), sort_keys=False), encoding="utf-8")


def _read(name: str) -> dict[str, Any]:
    known = names()
    if name in known:
        text = (resources.files("boir_train") / "configs" / f"{name}.yaml").read_text(encoding="utf-8")
    elif config_text.is_file(name):
        text = config_text.read(Path(name))
    else:
        choices = ", ".join(known)
        raise ConfigError(f"no configuration {shown(name)}: neither a file nor one of {choices}{_nearest(name, known)}")
    tree = config_text.parse(text, name)
    if not isinstance(tree, dict):
        raise ConfigError(f"{name} must hold sections such as `model:` and `train:`")
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"{override!r} must have the form section.key=value, for example optim.lr=1e-4")
    *sections, last = key.strip().split(".")
    node = tree
    for section in sections:
        node = node.setdefault(section, {})
        if not isinstance(node, dict):
            raise ConfigError(f"{key} in {override!r}: {section!r} is a value, not a section")
    node[last] = config_text.parse(text, f"the value in {shown(override)}")


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _build(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where or 'the configuration'} must be a section of keys, not {shown(value)}")
    hints = typing.get_type_hints(kind)
    for key in value:
        if key not in hints:
            raise ConfigError(
                f"unknown configuration key {shown(f'{where}.{key}'.lstrip('.'))}{_nearest(str(key), list(hints))}"
            )
    for entry in fields(kind):
        if entry.name not in value and entry.default is MISSING and entry.default_factory is MISSING:
            raise ConfigError(f"{where} needs the key {entry.name!r}")
    return kind(**{key: _convert(hints[key], entry, f"{where}.{key}".lstrip(".")) for key, entry in value.items()})


def _convert(kind: Any, value: Any, where: str) -> Any:
    """Return `value` as a `kind`; YAML's own types are taken, except that 1e-4 and 3 are floats where one is wanted."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        return _build(kind, value, where)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _convert(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal:
        # YAML reads the bare words on and off as truth values.
        value = {True: "on", False: "off"}[value] if isinstance(value, bool) else value
        if value in arguments:
            return value
        raise ConfigError(f"{where} must be one of {', '.join(map(str, arguments))}, not {shown(value)}")
    if origin is tuple:
        entries = value if isinstance(value, (list, tuple)) else [value]
        if arguments[-1] is not Ellipsis and len(entries) != len(arguments):
            raise ConfigError(f"{where} must have {len(arguments)} values, not {shown(value)}")
        return tuple(_convert(arguments[0], entry, f"{where}[{i}]") for i, entry in enumerate(entries))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be a mapping, not {shown(value)}")
        return {str(key): _convert(arguments[1], entry, f"{where}[{key}]") for key, entry in value.items()}
    return config_text.scalar(kind, value, where)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _check(config: Config) -> None:
    """Refuse contradictions and values out of range."""
    positive = {
        "train.batch_size": config.train.batch_size,
        "train.max_instances": config.train.max_instances,
        "train.checkpoint_every": config.train.checkpoint_every,
        "train.log_every": config.train.log_every,
        "optim.accumulate": config.optim.accumulate,
        "optim.lr": config.optim.lr,
        "augment.min_scale": config.augment.min_scale,
        "the length of data.sizes": len(config.data.sizes),
        "schedule.epochs or schedule.iterations": max(config.schedule.epochs, config.schedule.iterations),
    }
    for name, value in positive.items():
        if value <= 0:
            raise ConfigError(f"{name} must be more than 0, not {value}")
    for name in NOT_NEGATIVE:
        if operator.attrgetter(name)(config) < 0:
            raise ConfigError(f"{name} must not be negative")
    for size in config.data.sizes:
        if size <= 0 or size % 32:
            raise ConfigError(f"data.sizes must be positive multiples of 32, not {size}")
    if config.model.skeleton not in SKELETONS:
        raise ConfigError(f"model.skeleton must be one of {', '.join(SKELETONS)}, not {shown(config.model.skeleton)}")
    unknown = set(config.data.absent) - set(SKELETONS[config.model.skeleton].keypoints)
    if unknown:
        raise ConfigError(f"data.absent: {shown(min(unknown))} is no keypoint of {config.model.skeleton}")
    reach = config.data.reach
    if reach and not (len(reach) == 2 and 0 <= reach[0] < reach[1]):
        raise ConfigError(f"data.reach must be two sizes, the smaller first, not {list(reach)}")
    for name, chance in (("mosaic", config.augment.mosaic), ("paste", config.augment.paste)):
        if not 0 <= chance <= 1:
            raise ConfigError(f"augment.{name} is a probability, not {chance}")
    if config.augment.min_scale > config.augment.max_scale:
        raise ConfigError("augment.min_scale is larger than augment.max_scale")
    if (config.model.teacher is None) == (config.loss.taught > 0):
        raise ConfigError("model.teacher and loss.soft... go together: name a file and a weight above 0, or neither")
    if not 0 <= config.optim.ema < 1:
        raise ConfigError(f"optim.ema is a decay in [0, 1), not {config.optim.ema}")
    if (config.model.start == "scratch") != (config.model.weights is None):
        weights = shown(config.model.weights)
        raise ConfigError(f"model.start {config.model.start!r} and model.weights {weights} contradict")
    files = bool(config.eval.annotations and config.eval.images)
    if config.eval.every and files == bool(config.eval.hold_out):
        raise ConfigError("eval.every needs either eval.annotations with eval.images, or eval.hold_out")
