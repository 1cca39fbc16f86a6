"""Run the cases of a campaign in child processes and count how they end.

A case that returns was `accepted`; a `BoirError` is a refusal, counted by its type. Everything else is a failure:
`wrong` (what was accepted isn't right, or a message helps nobody), `untyped` (any other exception), `crash` (the child
died), `hang` (no answer within the limit, and the child was ended).
"""

from __future__ import annotations

import dataclasses
import importlib
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from boir_sdk.errors import BoirError

Case = Callable[[random.Random], None]
LIMIT_S = 30.0
PREPARE_S = 120.0
LONGEST_MESSAGE = 3000
SHOWN = 20


@dataclass(frozen=True)
class Campaign:
    """What is damaged.

    Attributes:
        name: on the command line.
        count: cases of a full run.
        prepare: makes the function of one case; it is called in the child, with a folder for its files.
        preload: modules to import before children are made, so that they start fast.
        alone: every case gets a child of its own.
        upstream: crashes are another library's and are counted, but don't fail the run.
    """

    name: str
    count: int
    prepare: Callable[[Path], Case]
    preload: tuple[str, ...] = ()
    alone: bool = False
    upstream: bool = False


@dataclass
class Tally:
    """How the cases of a campaign ended."""

    name: str
    cases: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    untyped: int = 0
    crashes: int = 0
    hangs: int = 0
    worst_s: float = 0.0
    worst_case: int = -1
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    upstream: bool = False

    @property
    def well(self) -> bool:
        """Nothing but acceptance and refusals, except for crashes that are others'."""
        return not (self.wrong or self.untyped or self.hangs or (self.crashes and not self.upstream))

    def add(self, number: int, how: str, detail: str, seconds: float) -> None:
        """Count a case."""
        self.cases += 1
        if seconds > self.worst_s:
            self.worst_s, self.worst_case = seconds, number
        if how == "accepted":
            self.accepted += 1
        elif how == "refused":
            self.refused[detail] += 1
        else:
            setattr(self, how, getattr(self, how) + 1)
            if len(self.failures) < SHOWN:
                self.failures.append(f"{self.name} {number}: {how}: {detail}")


def run(
    campaign: Campaign,
    count: int,
    *,
    seed: int = 0,
    first: int = 0,
    limit_s: float = LIMIT_S,
    progress: Callable[[int], object] = lambda done: None,
) -> Tally:
    """Run cases `first` to `first + count - 1`.

    Args:
        campaign: which.
        count: how many.
        seed: other seeds give other cases.
        first: number of the first case.
        limit_s: a case that takes longer is a hang.
        progress: is called with 1 after each case.
    """
    for module in campaign.preload:
        importlib.import_module(module)
    tally = Tally(campaign.name, upstream=campaign.upstream)
    start_s, number, end = time.monotonic(), first, first + count
    context = multiprocessing.get_context("fork")
    while number < end:
        stop = number + 1 if campaign.alone else end
        with tempfile.TemporaryDirectory(prefix=f"fuzz-{campaign.name}-") as folder:
            ours, theirs = context.Pipe(duplex=False)
            child = context.Process(target=_work, args=(campaign, folder, seed, number, stop, theirs))
            child.start()
            theirs.close()
            number = _follow(child, ours, number, stop, tally, limit_s, progress)
            child.kill()
            child.join()
            ours.close()
    tally.seconds = time.monotonic() - start_s
    return tally


def _follow(
    child: multiprocessing.process.BaseProcess,
    answers: Connection,
    number: int,
    stop: int,
    tally: Tally,
    limit_s: float,
    progress: Callable[[int], object],
) -> int:
    """Count what a child answers until it is done, dies or hangs; returns the number of the next case."""
    # The child prepares before its first case, and sends None when it has; the machine may be busy.
    answers.poll(limit_s + PREPARE_S)
    while number < stop:
        if not answers.poll(limit_s):
            tally.add(number, "hangs", f"no answer within {limit_s:g} s", limit_s)
        else:
            try:
                answer = answers.recv()
                if answer is not None:
                    tally.add(*answer)
                    number += 1
                    progress(1)
                continue
            except EOFError:
                child.join()
                tally.add(number, "crashes", f"the process ended with {child.exitcode}", 0.0)
        progress(1)
        return number + 1
    return number


def _work(campaign: Campaign, folder: str, seed: int, first: int, stop: int, answers: Connection) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)  # OpenCV, FFmpeg and libtiff tell standard error about every flipped bit
    case = campaign.prepare(Path(folder))
    answers.send(None)
    for number in range(first, stop):
        start_s = time.monotonic()
        how, detail = outcome(case, random.Random(f"{campaign.name} {seed} {number}"))
        answers.send((number, how, detail, time.monotonic() - start_s))
    answers.close()
    os._exit(0)  # at once: what libraries do at exit belongs to no case


def outcome(case: Case, rng: random.Random) -> tuple[str, str]:
    """Run a case here: how it ended, and what the error was."""
    try:
        case(rng)
    except BoirError as error:
        message = str(error)
        if not message or len(message) > LONGEST_MESSAGE or "\x1b" in message or "\0" in message:
            return (
                "wrong",
                f"the message of {len(message)} characters of {type(error).__name__}: {message[:200]!a}",
            )
        return "refused", type(error).__name__
    except AssertionError as error:
        return "wrong", ascii(str(error)[:500])
    except Exception as error:  # noqa: BLE001 - it is what we look for
        return "untyped", f"{type(error).__name__}: {str(error)[:300]!a} at {_where(error)}"
    return "accepted", ""


def _where(error: BaseException) -> str:
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def as_json(tally: Tally) -> dict[str, object]:
    """A tally for JSON."""
    return {**dataclasses.asdict(tally), "refused": dict(tally.refused), "well": tally.well}
