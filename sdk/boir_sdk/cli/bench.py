"""`boir bench`: how fast a bundle runs here, stage by stage, and how near to the machine's limit."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boir_sdk import roofline
from boir_sdk.cli.files import write_atomic
from boir_sdk.cli.interrupt import INTERRUPTED, graceful
from boir_sdk.cli.progress import Progress
from boir_sdk.errors import ConfigError
from boir_sdk.rival import KINDS

if TYPE_CHECKING:
    from boir_sdk.benchmark import Result
    from boir_sdk.first_result import Start
    from boir_sdk.layer_bench import Part

EXAMPLES = """examples:
  boir bench                                            the embedded model at its default size
  boir bench --sizes 320 448 512 --threads 1 2          every size with every number of threads
  boir bench my-bundle --precision int8 fp16            two precisions against each other
  boir bench --against torch onnxruntime padded         the same network run in other ways
  boir bench --layers --people 1 --no-start             each layer against its arithmetic and its bytes
  boir bench --people 0 1 10 --rounds 60 --json bench.json --plot bench.svg

Everything is measured in turns, so that ratios hold on a busy machine too; times in milliseconds mean something only on
a calm one. A person is fed to the person graph whatever its score, so that the number of people is exact.

  prepare   resizing the picture to the network's
  dense     the graph that runs once a picture
  person    the graph that runs once a person
  finish    scores, suppression, containers

--against runs the whole network of the first setting in other ways too, in float and always with 30 people: PyTorch,
onnxruntime, and one OpenVINO graph (padded). It needs the extra boir-sdk[convert].

The dense graph's share of the limit compares it with a convolution that suits the processor, run in the same turns.
--layers times every layer of both graphs and says what its arithmetic, at the speed of that convolution, or its bytes,
at the speed of an addition to a map of 9.4 MB, would need.

exit code: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C (nothing is written)"""

PEOPLE = (0, 1, 5, 10, 30)
SLOWEST = 10  # layers shown; --json has all


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "bench",
        help="measure how fast a model runs here",
        description="Measure latency by stage, throughput, the cost of a person, start-up time and memory.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", nargs="?", default="default", metavar="MODEL", help="bundle folder, default or small")
    add("--sizes", nargs="+", type=_positive, metavar="PX", help="network sizes (default: the bundle's)")
    add("--people", nargs="+", type=_count, default=PEOPLE, metavar="N", help="people a picture (default: 0 1 5 10 30)")
    add(
        "--second-look",
        action=argparse.BooleanOptionalAction,
        help="look in half size too (default: as the bundle is made for; never with --against, which looks once)",
    )
    add("--threads", nargs="+", type=_positive, metavar="N", help="CPU threads (default: OpenVINO's choice)")
    add("--precision", nargs="+", metavar="P", help="fp32, bf16, fp16, int8 or int8+bf16, as the bundle offers")
    add("--device", default="CPU", help="OpenVINO device (default: %(default)s)")
    add("--picture", type=Path, metavar="FILE", help="picture to resize (default: a made one of 1280 x 720)")
    add("--against", nargs="+", choices=KINDS, default=[], metavar="KIND", help=f"other ways: {', '.join(KINDS)}")
    add("--layers", action="store_true", help="time every layer, too (CPU)")
    add("--rounds", type=_positive, default=30, metavar="N", help="calls of each that count (default: %(default)s)")
    add("--no-start", action="store_true", help="don't start processes for start-up time and peak memory")
    add("--json", dest="out", type=Path, metavar="OUT", help="write all of it as JSON")
    add("--plot", type=Path, metavar="OUT", help="draw the times into an SVG file")
    parser.set_defaults(run=run, json=False)  # `json` is the flag by which errors become JSON elsewhere


def run(args: argparse.Namespace) -> int:
    """Carry out the command; return its exit code.

    Raises:
        BundleError, InputError, InferenceError: as `PoseEstimator`.
        ConfigError: more people than the bundle finds.
        InputError: a file can't be written, or the picture can't be read.
    """
    from boir_sdk import benchmark, benchmark_plot, bundle, image, layer_bench
    from boir_sdk.feeding import Setting, frame

    most = bundle.read(args.model).manifest.max_people
    people = sorted(set(args.people))
    if people[-1] > most:
        raise ConfigError(f"--people {people[-1]} is over the {most} people that {args.model} finds at most")
    picture_bgr = frame() if args.picture is None else image.read(args.picture)
    settings = [
        Setting(args.model, size, precision, threads, args.device, False if args.against else args.second_look)
        for size, precision, threads in itertools.product(
            args.sizes or [None], args.precision or [None], args.threads or [None]
        )
    ]
    before = benchmark.machine()
    progress = Progress(benchmark.calls(settings, people, args.rounds))
    with graceful() as stop:
        results = benchmark.measure(
            settings,
            people,
            args.rounds,
            picture_bgr,
            starts=not args.no_start,
            against=args.against,
            going=lambda: not stop.is_set(),
            progress=progress.show,
        )
        progress.clear()
        parts: list[Part] = []
        if results and args.layers:
            progress = Progress(2 * len(settings))
            parts = layer_bench.measure(
                settings, args.rounds, picture_bgr, going=lambda: not stop.is_set(), progress=progress.show
            )
            progress.clear()
        if not results or (args.layers and not parts):
            return INTERRUPTED
    machine = {**before, "load_after": benchmark.machine()["load"]}
    report = {
        "machine": machine,
        "rounds": args.rounds,
        "picture": {"height": picture_bgr.shape[0], "width": picture_bgr.shape[1]},
        "results": [dataclasses.asdict(result) for result in results],
        "layers": [dataclasses.asdict(part) for part in parts],
    }
    if args.out is not None:
        write_atomic(args.out, (json.dumps(report, indent=1) + "\n").encode())
    if args.plot is not None:
        write_atomic(args.plot, benchmark_plot.svg(results).encode())
    print(f"{machine['processor']}, {machine['cores']} cores, load {_load(machine)}")
    for result in results:
        print(f"\n{benchmark_plot.title(result)}")
        print("\n".join(table(result)))
    for part in parts:
        print("\n" + "\n".join(layer_table(part)))
    return 0


def table(result: Result) -> Iterator[str]:
    """Word a result: a line for each number of people, then what follows from them."""
    yield "people   prepare     dense    person    finish     total   p95 total     fps   fps piped"
    for row in result.rows:
        stages = [row.stages[stage].median_ms for stage in ("prepare", "dense", "person", "finish", "total")]
        cells = "".join(f"{value:10.2f}" for value in stages)
        yield f"{row.people:6}{cells}{row.stages['total'].p95_ms:12.2f}{row.fps:8.1f}{row.fps_pipelined:12.1f}"
    if result.person_ms is not None and result.person_share is not None:
        yield f"one more person: {result.person_ms:.2f} ms, {100 * result.person_share:.1f} % of the dense graph"
    if result.ten_to_one is not None:
        yield f"ten people take {result.ten_to_one:.2f} times as long as one, all included"
    if result.rest_share is not None:
        yield f"with five people, {100 * result.rest_share:.1f} % of the time is not inference"
    if result.limit_ms is not None and result.limit_share is not None:
        work = result.multiply_adds["dense"]
        yield (
            f"dense graph: {sum(work.values()) / 1e9:.2f} G multiply-adds ({work['int8'] / 1e9:.2f} G in 8 bits); good "
            f"convolutions would need {result.limit_ms:.1f} ms for them: {100 * result.limit_share:.0f} % of the limit"
        )
    for kind, spread in result.against.items():
        ours_ms = {row.people: row.stages["dense"].median_ms + row.stages["person"].median_ms for row in result.rows}
        ratios = ", ".join(f"{spread.median_ms / ms:.2f} times ours with {people}" for people, ms in ours_ms.items())
        yield f"{kind}, float, 30 people: {spread.median_ms:.1f} ms; {ratios}"
    if result.cold is not None and result.cached is not None:
        yield f"new process to first result: {_start(result.cold)}; with `cache_dir` {_start(result.cached)}"


def layer_table(part: Part) -> Iterator[str]:
    """Word the layers of a graph: by kind, and the slowest."""
    height, width = part.network
    share = 100 * part.whole.bound_ms / part.whole.milliseconds
    yield f"layers of the {part.part} graph, {width} x {height}, {part.setting.precision or 'default precision'}"
    yield "  ms   bound   share   bound by bytes   layers"
    for each in (*part.kinds, part.whole):
        reached = 100 * each.bound_ms / each.milliseconds
        yield (
            f"{each.milliseconds:7.2f}{each.bound_ms:7.2f}{reached:6.0f} %{100 * each.by_bytes:11.0f} %"
            f"      {each.count} {each.kind}"
        )
    yield "the slowest:"
    for layer in part.layers[:SLOWEST]:
        arithmetic_ms, bytes_ms = roofline.bounds_ms(layer, part.speeds)
        yield (
            f"{layer.milliseconds:7.2f}  arithmetic {arithmetic_ms:5.2f}, bytes {bytes_ms:5.2f}"
            f"  {layer.kind} {layer.precision}  {layer.name}"
        )
    yield f"the {part.part} graph reaches {share:.0f} % of what its layers' arithmetic and bytes allow"


def _start(start: Start) -> str:
    memory = "" if start.peak_mb is None else f", {start.peak_mb:.0f} MiB at most"
    return f"{start.first_result_s:.2f} s{memory}"


def _load(machine: dict[str, Any]) -> str:
    """The average load of the last minute before and after; a busy machine's times say little."""
    loads: Sequence[Sequence[float] | None] = (machine["load"], machine["load_after"])
    return ", ".join("unknown" if load is None else f"{load[0]:.1f}" for load in loads)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return number
