"""The `boir` command: parse, run one subcommand, turn errors into one line and an exit code."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence

from boir_sdk import __version__
from boir_sdk.cli import interrupt
from boir_sdk.errors import BoirError, InstallError

EPILOG = """examples:
  boir predict people.jpg --overlay people-poses.jpg    find the people, draw them
  boir predict shots/ --jsonl poses.jsonl               a folder, one JSON line a picture
  boir stream in.mp4 --track --out out.mp4              a video, people followed; also cameras and RTSP
  boir info                                             what the embedded model is
  boir bench                                            how fast it runs here
  boir doctor                                           what is wrong with this installation, and what to do

`boir COMMAND --help` tells more. An error is one line and exit code 1; BOIR_DEBUG=1 shows where it came from."""


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    # Here, where a signal is answered already: at the top of this file it would end in a traceback.
    from boir_sdk.cli import bench, doctor, info, predict, stream

    top = argparse.ArgumentParser(
        prog="boir",
        description="Multi-person 2D pose estimation on OpenVINO.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"boir {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    predict.add_parser(commands)
    stream.add_parser(commands)
    info.add_parser(commands)
    bench.add_parser(commands)
    doctor.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 1 failed, 2 wrong usage, 130 stopped by a signal.

    Args:
        argv: the arguments; None takes the process's.
    """
    return interrupt.command(lambda: _run(argv), "boir: stopped", whole_process=argv is None)


def _run(argv: Sequence[str] | None) -> int:
    for printed in (sys.stdout, sys.stderr):
        if isinstance(printed, io.TextIOWrapper):  # a file name that isn't UTF-8 is printed, not a reason to die
            printed.reconfigure(errors="backslashreplace")
    args = parser().parse_args(argv)
    try:
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except BoirError as error:
        if _debug():
            raise
        return _fail(error, error.code, as_json=args.json)
    except ImportError as error:
        if _debug():
            raise
        note = f"a library that boir-sdk needs can't be loaded ({error}): `boir doctor` says what to do"
        return _fail(InstallError(note), InstallError.code, as_json=args.json)
    except BrokenPipeError:
        # The reader (`| head`) has gone: nothing more can be said to it, also not at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _debug():
            raise
        note = f"unexpected {type(error).__name__}: {error} (a defect; BOIR_DEBUG=1 shows where)"
        return _fail(RuntimeError(note), "unexpected", as_json=args.json)


def _debug() -> bool:
    return os.environ.get("BOIR_DEBUG", "") not in ("", "0")


def _fail(error: Exception, code: str, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"code": code, "message": str(error)}))
    else:
        from boir_sdk.cli import text

        print(text.error(error), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
