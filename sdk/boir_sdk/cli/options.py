"""Options that several commands have: which model, on which device, and the kinds of numbers they take."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boir_sdk.estimator import PoseEstimator


def positive(value: str) -> int:
    """Parse a whole number from 1."""
    if not (value.isascii() and value.isdecimal()) or int(value) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 is needed, not {value!r}")
    return int(value)


def share(value: str) -> float:
    """Parse a number from 0 to 1."""
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"a number from 0 to 1 is needed, not {value!r}")
    return number


def port(value: str) -> int:
    """Parse the number of a port; 0 means any free one."""
    if not (value.isascii() and value.isdecimal()) or int(value) > 65535:
        raise argparse.ArgumentTypeError(f"a port from 0 to 65535 is needed, not {value!r}")
    return int(value)


def add_model_group(parser: argparse.ArgumentParser) -> None:
    """Add the options that `estimator` reads."""
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", default="default", metavar="BUNDLE", help="bundle folder, default (nano) or small (slower, better)"
    )
    model.add_argument("--device", default="CPU", help="OpenVINO device (default: %(default)s)")
    model.add_argument("--size", type=positive, metavar="PX", help="network size (default: the bundle's)")
    model.add_argument("--precision", help="fp32, bf16, fp16, int8 or int8+bf16, as the bundle offers")
    model.add_argument("--threshold", type=share, metavar="S", help="lowest score of a person, 0 to 1")
    model.add_argument("--max-people", type=positive, default=30, metavar="N", help="at most (default: %(default)s)")
    model.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: OpenVINO's choice)")
    model.add_argument("--flip", action="store_true", help="average with the mirrored picture: better, twice the work")
    model.add_argument(
        "--second-look",
        action=argparse.BooleanOptionalAction,
        help="look in half size too, for large people (default: as the bundle is made for)",
    )


def estimator(args: argparse.Namespace, factory: Callable[..., PoseEstimator] | None) -> PoseEstimator:
    """Make the estimator that the options ask for.

    Args:
        args: parsed, with the options of `add_model_group`.
        factory: takes `PoseEstimator`'s arguments; None for `PoseEstimator` itself, which is loaded only now.

    Raises:
        BoirError: the bundle or an option can't be used; see `PoseEstimator`.
    """
    if factory is None:
        from boir_sdk.estimator import PoseEstimator

        factory = PoseEstimator
    return factory(
        args.model,
        device=args.device,
        size=args.size,
        precision=args.precision,
        score_threshold=args.threshold,
        max_people=args.max_people,
        threads=args.threads,
        flip_test=args.flip,
        second_look=args.second_look,
    )
