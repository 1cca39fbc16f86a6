"""The same training in several variants (arms), each with several seeds; `ablation_report` says what came of it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from boir_sdk.cli.files import write_atomic
from boir_sdk.errors import ConfigError, DataError
from boir_train import config, fit, snapshot
from boir_train.config import Config
from boir_train.trainer import FINAL
from boir_train.validation import Validation

RESULT = "result.json"

log = logging.getLogger("boir_train.ablation")


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant.

    Attributes:
        name: as the report calls it.
        overrides: `key=value` on top of the common configuration.
        against: the arm that it is compared with, None for the first of its kind.
        paper_ap: COCO val AP of HRNet-W32 in the paper, per cent, where it has that row.
    """

    name: str
    overrides: tuple[str, ...]
    against: str | None = None
    paper_ap: float | None = None


def _weights(embedding: float, box: float, *more: str) -> tuple[str, ...]:
    return (f"loss.bbox_mask={embedding}", f"loss.bbox={box}", *more)


# Table 4 left of the paper; the last row is not in it: the form of the loss that the released code ran on COCO.
TABLE4 = (
    Arm("neither", _weights(0, 0), None, 69.6),
    Arm("embedding loss", _weights(0.25, 0), "neither", 70.2),
    Arm("box head", _weights(0, 0.25), "neither", 70.4),
    Arm("both", _weights(0.25, 0.25), "neither", 70.6),
    Arm("both, published-1", _weights(0.25, 0.25, "loss.embedding_loss=published-1"), "both"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One training of one arm.

    Attributes:
        arm, seed: which.
        figures: of the protocol on the evaluation pictures, fractions 0 to 1.
        steps: trained.
        seconds: of this start, evaluation included.
    """

    arm: str
    seed: int
    figures: dict[str, float]
    steps: int
    seconds: float


def folder_of(out: Path, arm: Arm, seed: int) -> Path:
    """Folder of one run below `out`."""
    name = "".join(letter if letter.isalnum() else "-" for letter in arm.name)
    return out / f"{name}-seed{seed}"


def train_all(
    base: str,
    overrides: Sequence[str],
    arms: Sequence[Arm],
    seeds: Sequence[int],
    out: Path,
    *,
    minutes: float = 0.0,
    after_each: Callable[[list[Run]], None] = lambda runs: None,
) -> tuple[list[Run], bool]:
    """Train every arm with every seed, seed by seed, leaving out what `out` holds already.

    Args:
        base: name or file of the common configuration; its evaluation pictures are those that all runs are measured on.
        overrides: on top of it, below those of the arms.
        arms: the variants.
        seeds: of weights and samples.
        out: gets a folder a run.
        minutes: of this start; 0 has no limit. The run that goes beyond is stopped after a step and can go on later.
        after_each: told the runs that are done.

    Returns:
        The runs that are done, and whether a signal stopped the rest.

    Raises:
        BoirError: configuration, data or weights can't be used, or a loss isn't finite.
    """
    deadline = time.monotonic() + minutes * 60 if minutes else None
    plan = [(arm, seed, _settings(base, overrides, arm, seed)) for seed in seeds for arm in arms]
    validation = fit.make_validation(plan[0][2])
    runs: list[Run] = []
    for arm, seed, settings in plan:
        folder = folder_of(out, arm, seed)
        done = _finished(arm, seed, settings, folder)
        if done is None:
            left = (deadline - time.monotonic()) / 60 if deadline is not None else 0.0
            if deadline is not None and left <= 0:
                continue  # runs further on may be done already
            log.info("%s, seed %d", arm.name, seed)
            done, interrupted = _train_one(arm, seed, settings, folder, left, validation)
            if interrupted:
                return runs, True
        if done is not None:
            runs.append(done)
            after_each(runs)
    return runs, False


def _settings(base: str, overrides: Sequence[str], arm: Arm, seed: int) -> Config:
    # Evaluation comes once, at the end; what the arms differ in comes last.
    return config.load(base, [*overrides, f"train.seed={seed}", "eval.every=0", *arm.overrides])


def _train_one(
    arm: Arm, seed: int, settings: Config, folder: Path, minutes: float, validation: Validation
) -> tuple[Run | None, bool]:
    """Train one run to its end, or as far as the time goes; returns it if it is done, and whether a signal came."""
    start = time.monotonic()
    resume = (folder / snapshot.FILE).is_file()
    if resume and _comparable(config.load(str(folder / fit.RESOLVED))) != _comparable(settings):
        raise ConfigError(f"{folder} holds a run with another configuration: name another --out")
    limited = replace(settings, train=replace(settings.train, max_minutes=minutes))
    outcome = fit.fit(limited, folder, resume=resume)
    if outcome == "interrupted":
        return None, True
    state = snapshot.read(folder)
    if state is None or (outcome == "limit" and state.iteration != settings.train.max_iterations):
        return None, False
    model = fit.make_model(settings).to(settings.train.device).eval()
    fit.load_own(model, folder / FINAL)
    with torch.inference_mode():
        figures = validation(model)
    run = Run(arm.name, seed, figures, state.iteration, time.monotonic() - start)
    record = {**asdict(run), "config": config.as_dict(settings)}
    write_atomic(folder / RESULT, json.dumps(record, indent=2).encode())
    (folder / snapshot.FILE).unlink()  # three times the weights, and nothing is left to go on with
    return run, False


def _finished(arm: Arm, seed: int, settings: Config, folder: Path) -> Run | None:
    """The run of a folder that was trained and measured, None when it wasn't."""
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        same = _comparable(config.parse(record["config"])) == _comparable(settings)
        run = Run(arm.name, seed, record["figures"], record["steps"], record["seconds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} isn't the result of a run, delete it to repeat the run: {error}") from error
    if not same:
        raise ConfigError(f"{path} is of another configuration: name another --out")
    return run


def _comparable(settings: Config) -> Config:
    """The configuration without what changes nothing in the result."""
    plain = replace(settings.train, max_minutes=0.0, checkpoint_every=1, log_every=1)
    return replace(settings, train=plain)
