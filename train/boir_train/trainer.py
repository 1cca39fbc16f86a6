"""The training loop (SPEC-training T3), from top to bottom."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from boir_sdk.errors import BoirError, CheckpointError, ConfigError
from boir_train import checkpoint, snapshot
from boir_train.blend import Blend, carrying
from boir_train.config import Config, as_dict
from boir_train.data.loader import Batch, EpochSampler
from boir_train.distributed import Ranks
from boir_train.ema import Ema
from boir_train.losses.cells import alone
from boir_train.losses.total import total_loss
from boir_train.optimizer import freeze, make_optimizer, make_relative, set_rate, train_mode
from boir_train.run_log import RunLog
from boir_train.schedule import learning_rate
from boir_train.snapshot import Snapshot
from boir_train.teacher import Teacher

Outcome = Literal["finished", "limit", "interrupted"]
Evaluate = Callable[[nn.Module], Mapping[str, float]]

BEST, FINAL = "best.safetensors", "final.safetensors"
INITIAL_LOSS_SCALE = 16384.0  # T3.5

log = logging.getLogger("boir_train.trainer")


def train(
    model: nn.Module,
    loader: Iterable[Batch],
    sampler: EpochSampler,
    config: Config,
    folder: Path,
    ranks: Ranks,
    *,
    evaluate: Evaluate | None = None,
    teacher: Teacher | None = None,
    resume: bool = False,
) -> Outcome:
    """Train `model` in place and leave `last.pt`, `best.safetensors`, `final.safetensors` and `log.jsonl` in `folder`.

    Args:
        model: training form, with its start weights.
        loader: of `Batch`es, in the order of `sampler`.
        sampler: told which epoch and batch come next.
        config: the run.
        folder: exists already.
        ranks: this process among those of the run.
        evaluate: gives figures, "AP" among them, of a model in evaluation mode; called every `config.eval.every` steps
            on the first rank, with the averaged weights if there are any.
        teacher: gives the soft targets of `config.loss.soft`; on this process' device.
        resume: go on from `last.pt` if there is one.

    Returns:
        "finished" at the end of the schedule, "limit" at `max_iterations` or `max_minutes`, "interrupted" after a
        signal (the step was finished and saved).

    Raises:
        BoirError: a loss term or the gradient isn't finite; the message names it and the file that holds the batches.
        CheckpointError: `last.pt` doesn't fit.
    """
    device, settings = ranks.device, config.train
    model.to(device)
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)
    freeze(model, config.optim.freeze)
    if settings.sync_bn and ranks.world > 1:
        if device.type == "cpu":
            raise ConfigError("train.sync_bn works on accelerators only: set it to false for a run on the CPU")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    optimizer = make_optimizer(model, config.optim)
    make_relative(optimizer, model, config.optim.relative)
    amp = _amp_dtype(config.optim.amp, device)
    scaler = torch.amp.GradScaler(device.type, init_scale=INITIAL_LOSS_SCALE, enabled=amp is torch.float16)
    ema = Ema(model, config.optim.ema) if config.optim.ema else None
    blend = Blend(model.state_dict(), config.optim.blend) if config.optim.blend else None
    done, best_ap = 0, -1.0
    saved = snapshot.read(folder) if resume else None
    if saved is not None:
        _restore(saved, model, optimizer, scaler, ema, blend, device)
        done, best_ap = saved.iteration, saved.best_ap
    parallel = ranks.wrap(model)
    if settings.compile:
        parallel.compile()

    per_epoch = math.ceil(len(sampler) / config.optim.accumulate)
    total = config.schedule.iterations or config.schedule.epochs * per_epoch
    limit = min(total, settings.max_iterations or total)
    deadline = time.monotonic() + settings.max_minutes * 60 if settings.max_minutes else math.inf
    metadata = {"preset": config.model.preset, "skeleton": config.model.skeleton}

    def weights() -> dict[str, Tensor]:
        own = ema.weights() if ema is not None else model.state_dict()
        return blend.mix(own) if blend is not None else own

    def save(iteration: int) -> None:
        if ranks.first:
            state = _collect(iteration, best_ap, model, optimizer, scaler, ema, blend, device, config)
            snapshot.write(folder, state)

    with (
        _signals() as signalled,
        RunLog(folder if ranks.first else None, done) as run_log,
        tqdm(total=limit, initial=done, unit="step", disable=not ranks.first, dynamic_ncols=True) as bar,
    ):
        train_mode(model)
        sums: defaultdict[str, float] = defaultdict(float)
        window_start, window_steps, window_pictures = time.monotonic(), 0, 0
        stopped: Outcome | None = None if done < limit else ("finished" if done >= total else "limit")
        batches = _steps(loader, sampler, done, per_epoch, config.optim.accumulate)
        while stopped is None:
            # One step: the rate, the gradients of `accumulate` batches, clipping, AdamW, the average.
            rate = _rate(done, config, per_epoch)
            set_rate(optimizer, rate)
            optimizer.zero_grad(set_to_none=True)
            group = next(batches)
            for number, batch in enumerate(group):
                batch = batch.to(device, channels_last=settings.channels_last)
                people = _choose_people(len(batch.image_index), settings.max_instances, settings.seed + done, device)
                last = number == len(group) - 1
                with nullcontext() if last or ranks.world == 1 else parallel.no_sync():
                    terms = _losses(parallel, batch, people, config, amp, ranks, teacher)
                    values = _values(terms)
                    _stop_unless_finite(values, group, folder, done, ranks)
                    scaler.scale(terms["total"] / len(group)).backward()
                for name, value in values.items():
                    sums[name] += value / len(group)
                window_pictures += len(batch.images) * ranks.world
            scaler.unscale_(optimizer)
            clip = config.optim.clip or math.inf
            norm = nn.utils.clip_grad_norm_(model.parameters(), clip).item()
            if not scaler.is_enabled():  # with loss scaling an overflow is expected: the scaler skips that step
                _stop_unless_finite({"gradient_norm": norm}, group, folder, done, ranks)
            sums["gradient_norm"] += norm
            scaler.step(optimizer)
            scaler.update()
            if ema is not None:
                ema.update(model)
            done += 1
            window_steps += 1
            bar.update()

            # What a step may be followed by: a line of the log, an evaluation, a checkpoint, the end.
            if done % settings.log_every == 0 or done == limit:
                seconds = time.monotonic() - window_start
                means = {name: value / window_steps for name, value in sums.items()}
                speed = {"lr": rate, "pictures_per_s": window_pictures / max(seconds, 1e-9)}
                run_log.write("train", done, {**means, **speed, "epoch": (done - 1) // per_epoch})
                bar.set_postfix(loss=f"{means['total']:.4g}", refresh=False)
                sums.clear()
                window_start, window_steps, window_pictures = time.monotonic(), 0, 0
            if evaluate is not None and config.eval.every and (done % config.eval.every == 0 or done == limit):
                if ranks.first:
                    stats = _evaluate(model, weights(), evaluate)
                    run_log.write("eval", done, stats)
                    log.info("iteration %d: AP %.4f (best before: %.4f)", done, stats["AP"], best_ap)
                    if stats["AP"] > best_ap:
                        best_ap = float(stats["AP"])
                        facts = {**metadata, "iteration": str(done), "AP": f"{best_ap:.6f}"}
                        checkpoint.save(folder / BEST, weights(), metadata=facts)
                train_mode(model)
                ranks.wait()
            if done >= limit:
                stopped = "finished" if done >= total else "limit"
            elif ranks.any(signalled()):
                stopped = "interrupted"
            elif ranks.any(time.monotonic() >= deadline):
                stopped = "limit"
            if stopped is not None or done % settings.checkpoint_every == 0:
                save(done)
        if ranks.first and stopped != "interrupted":
            checkpoint.save(folder / FINAL, weights(), metadata={**metadata, "iteration": str(done)})
    ranks.wait()
    return stopped


def _rate(iteration: int, config: Config, per_epoch: int) -> float:
    schedule = config.schedule
    counted_in_steps = schedule.iterations > 0
    return learning_rate(
        iteration,
        base=config.optim.lr,
        final=schedule.final,
        epochs=schedule.iterations if counted_in_steps else schedule.epochs,
        iterations_per_epoch=1 if counted_in_steps else per_epoch,
        warmup_epochs=schedule.warmup_iterations if counted_in_steps else schedule.warmup_epochs,
        warmup_start=schedule.warmup_start,
    )


def _amp_dtype(name: str, device: torch.device) -> torch.dtype | None:
    if name == "auto":
        name = "fp16" if device.type == "cuda" else "off"
    return {"off": None, "fp16": torch.float16, "bf16": torch.bfloat16}[name]


def _steps(
    loader: Iterable[Batch], sampler: EpochSampler, done: int, per_epoch: int, accumulate: int
) -> Iterator[list[Batch]]:
    """Yield the batches of each step, for ever, starting after `done` steps."""
    epoch, within = divmod(done, per_epoch)
    while True:
        sampler.set_epoch(epoch, within * accumulate)
        group: list[Batch] = []
        for batch in loader:
            group.append(batch)
            if len(group) == accumulate:
                yield group
                group = []
        if group:
            yield group
        epoch, within = epoch + 1, 0


def _choose_people(count: int, most: int, seed: int, device: torch.device) -> Tensor | None:
    """Return `most` of `count` rows at random, None for all of them (T2.10)."""
    if count <= most:
        return None
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:most].to(device)


def _losses(
    model: nn.Module,
    batch: Batch,
    people: Tensor | None,
    config: Config,
    amp: torch.dtype | None,
    ranks: Ranks,
    teacher: Teacher | None,
) -> dict[str, Tensor]:
    index, yx = batch.image_index, batch.instance_coord
    if people is not None:
        index, yx = index[people], yx[people]
    with torch.autocast(batch.images.device.type, dtype=amp, enabled=amp is not None):
        outputs = model(batch.images, index, yx)
        lesson = None if teacher is None else teacher(batch.images)
    count = ranks.sum if config.loss.normalise == "all" else alone
    terms = total_loss(outputs, batch, config.loss, people=people, lesson=lesson, count=count)
    if ranks.world > 1:
        # DistributedDataParallel waits for a gradient of every parameter, also of a head whose weight is 0.
        terms["total"] = terms["total"] + 0 * torch.stack([value.float().mean() for value in outputs.values()]).sum()
    return terms


def _values(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the terms as numbers, fetched from the device at once."""
    return dict(zip(terms, torch.stack([value.detach() for value in terms.values()]).tolist(), strict=True))


def _stop_unless_finite(
    values: Mapping[str, float], group: list[Batch], folder: Path, iteration: int, ranks: Ranks
) -> None:
    """Stop before the weights are spoiled, and keep what they were shown.

    Raises:
        BoirError: one of `values` isn't finite.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            path = snapshot.write_batches(folder, group, iteration, ranks.rank)
            raise BoirError(
                f"{name!r} is {value} in iteration {iteration}: training stopped, the last checkpoint is whole. The "
                f"batches of this step are in {path} (torch.load; names as in boir_train.data.loader.Batch). Try a "
                "smaller optim.lr, or optim.amp=off"
            )


def _evaluate(model: nn.Module, weights: Mapping[str, Tensor], evaluate: Evaluate) -> dict[str, float]:
    model.eval()
    with torch.inference_mode(), carrying(model, weights):
        return dict(evaluate(model))


def _collect(
    iteration: int,
    best_ap: float,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    ema: Ema | None,
    blend: Blend | None,
    device: torch.device,
    config: Config,
) -> Snapshot:
    return Snapshot(
        iteration=iteration,
        best_ap=best_ap,
        model=model.state_dict(),
        optimizer=optimizer.state_dict(),
        scaler=scaler.state_dict(),
        ema=ema.state_dict() if ema is not None else None,
        random=snapshot.random_state(device),
        config=as_dict(config),
        blend=blend.state_dict() if blend is not None else None,
    )


def _restore(
    saved: Snapshot,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    ema: Ema | None,
    blend: Blend | None,
    device: torch.device,
) -> None:
    try:
        model.load_state_dict(saved.model)
        optimizer.load_state_dict(saved.optimizer)
        if ema is not None and saved.ema is not None:
            ema.load_state_dict(saved.ema)
        if blend is not None and saved.blend is not None:
            blend.load_state_dict(saved.blend)
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f"the run's last checkpoint doesn't fit its configuration: {error}") from error
    if scaler.is_enabled() and saved.scaler:
        scaler.load_state_dict(saved.scaler)
    snapshot.restore_random(saved.random, device)


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into a question asked after each step; a second one of them stops at once."""
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        log.warning("stopping after this step; once more stops at once, without saving")

    previous: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, remember)
    except ValueError:
        previous.clear()  # only the main thread may set handlers
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
