"""Every fenced block of README.md and docs/ is run as it stands, or says why not and is parsed."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import io
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest
import yaml

from boir_sdk import Limits, PoseEstimator, doctor
from boir_sdk.stream.pipeline import Stream
from tests.conftest import ROOT
from tests.docs.pages import PAGES, SHELLS, TOOLS, Block, blocks, commands, inline_commands, words
from tests.support.fake_camera import FakeCamera

SLOW = bool(os.environ.get("BOIR_SLOW_DOCS"))
MAIN = {
    "boir": "boir_sdk.cli.main",
    "boir-convert": "boir_convert.cli.main",
    "boir-train": "boir_train.cli.main",
    "boir-eval": "boir_train.cli.eval",
}
LANGUAGES = {"python", *SHELLS, "json", "yaml", "text", "toml", "dockerfile", "ini"}
# Other people's commands, which only a block that isn't run may have.
FOREIGN = {
    *("pip", "python3", "python", "make", "git", ".", "source", "export", "torchrun", "ssh", "cd", "apt-get", "sudo"),
    *(
        "docker",
        "curl",
        "ffmpeg",
        "usermod",
        "mkdir",
        "cp",
        "taskset",
        "systemctl",
        "env",
        "kill",
        "find",
        "sha256sum",
        "ls",
        "cat",
    ),
}
# These say the same on every page, and take their time.
ONCE = {"boir info", "boir doctor", "boir stream in.mp4 --track --smooth --out out.mp4 --json out.jsonl"}
FRAMES = 4  # of a live source before its stream is stopped


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def camera() -> Iterator[FakeCamera]:
    with FakeCamera() as one:
        yield one


@pytest.fixture
def stand_in(camera: FakeCamera, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Puts what is here in the place of what a page's reader has: a camera, a free port. Live streams end."""
    monkeypatch.setenv("CAM_PASSWORD", "secret")
    monkeypatch.delenv("DISPLAY", raising=False)
    go_on = Stream.__next__

    def next_of(stream: Stream):
        result = go_on(stream)
        if any(lane.source.live and lane.given >= FRAMES for lane in stream._lanes):
            stream.stop()
        return result

    monkeypatch.setattr(Stream, "__next__", next_of)
    # A busy machine takes its time to connect, too.
    patient = dataclasses.asdict(Limits()) | {"connect_s": 100.0, "first_frame_s": 200.0, "stall_s": 200.0}
    monkeypatch.setattr(Limits.__init__, "__defaults__", tuple(patient.values()))
    address = f"127.0.0.1:{camera.port}"

    def replace(text: str) -> str:
        text = text.replace("cam.local", address).replace("stream(0,", f'stream("rtsp://{address}/live",')
        return text.replace("--serve 8000", "--serve 0").replace("Preview(8000)", "Preview(0)")

    return replace


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def work(tmp_path: Path, compiled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages speak of; graphs that one page compiled are there for the next."""
    defaults = PoseEstimator.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "cache_dir", compiled)
    monkeypatch.setattr(doctor, "CHILD_TIMEOUT_S", 1000)
    people = ROOT / "demos" / "people.jpg"
    picture = cv2.imread(str(people))
    (tmp_path / "shots").mkdir()
    for name in ("people.jpg", "a.jpg", "b.jpg", "shots/1.jpg", "shots/2.jpg"):
        shutil.copy(people, tmp_path / name)
    for name in ("shots/3.png", "shots/4.png"):
        cv2.imwrite(str(tmp_path / name), picture)
    for name in ("in.mp4", "other.mp4"):
        size = (picture.shape[1], picture.shape[0])
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter.fourcc(*"mp4v"), 25, size)
        for _ in range(FRAMES):
            writer.write(picture)
        writer.release()
    for name in ("demos", "weights", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Seen(BaseException):
    """Carries a command's parser out of its `main`, before it does anything."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


PARSE = argparse.ArgumentParser.parse_args


def parser_of(tool: str, arguments: list[str]) -> argparse.ArgumentParser:
    """The parser that a command line is read with."""

    def stop(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise Seen(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        try:
            importlib.import_module(MAIN[tool]).main(arguments)
        except Seen as seen:
            return seen.parser
    raise AssertionError(f"{tool} parses no arguments")


def check_command(line: str, where: str) -> None:
    """Read a command line with its tool's own parser; a configuration and an override must exist."""
    from boir_sdk.errors import BoirError
    from boir_train import config

    said = words(line)
    if said and said[0] == "torchrun":
        said = ["boir-train", *said[said.index("boir_train.cli.main") + 1 :]]
    if not said or said[0] not in TOOLS:
        check_foreign(said, line, where)
        return
    tool, arguments = said[0], said[1:]
    try:
        with contextlib.redirect_stderr(io.StringIO()) as told:
            parsed = PARSE(parser_of(tool, arguments), arguments)
    except SystemExit:
        pytest.fail(f"{where}: {line}\n{told.getvalue()}")
    if tool == "boir-train" and parsed.command == "fit" and parsed.config:
        overrides = [override.replace("=...", "=x") for override in parsed.overrides or []]
        source = parsed.config
        if source.endswith(".yaml"):
            source = str(ROOT / source)
        try:
            config.load(source, overrides)
        except BoirError as error:
            pytest.fail(f"{where}: {error}: {line}")


def check_foreign(said: list[str], line: str, where: str) -> None:
    """What can be known of other people's commands: extras, make targets, programs of ours that are named."""
    assert said, f"{where}: an empty command"
    assert (Path(said[0]).name or said[0]) in FOREIGN, f"{where}: unknown command: {line}"
    project = (ROOT / "pyproject.toml").read_text()
    for extras in re.findall(r"pip install .*\.?\[([\w,]+)\]", line):
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", project, flags=re.MULTILINE), f"{where}: no extra {extra}"
    if said[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        wanted = [word for word in said[1:] if "=" not in word]
        assert set(wanted) <= set(targets), f"{where}: no such target: {line}"
    for program in re.findall(r"\bdemos/\w+\.py", line):
        assert (ROOT / program).is_file(), f"{where}: no {program}"


def run_command(line: str, where: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Run a command line as it stands, ours in this process, which saves the start of one."""
    said = words(line)
    assert said[0] in TOOLS, f"{where}: can't run {line}: mark the block with <!-- not run: REASON -->"
    try:
        code = importlib.import_module(MAIN[said[0]]).main(said[1:])
    except SystemExit as left:
        code = left.code
    told = capfd.readouterr()
    # What is wrong with a machine is no fault of the page.
    assert code == 0 or (said[:2] == ["boir", "doctor"] and code == 1 and told.out), (
        f"{where}: {line}\n{told.out}\n{told.err}"
    )


@pytest.fixture(scope="module")
def done() -> set[str]:
    """Lines of `ONCE` that were run."""
    return set()


def run_block(block: Block, names: dict[str, object], done: set[str], capfd: pytest.CaptureFixture[str]) -> None:
    if block.language == "python":
        # Lines of errors are those of the page.
        code = compile("\n" * (block.line - 1) + block.text, block.where, "exec")
        exec(code, names)  # noqa: S102 - our own pages
        return
    for line in commands(block):
        check_command(line, block.where)
        plain = " ".join(words(line))
        if plain not in done:
            run_command(line, block.where, capfd)
            done |= {plain} & ONCE


def check_block(block: Block) -> None:
    """What can be said of a block without running it."""
    if block.language == "python":
        compile(block.text, block.where, "exec")
    elif block.language in SHELLS:
        for line in commands(block):
            check_command(line, block.where)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "yaml":
        yaml.safe_load(block.text)


def is_run(block: Block) -> bool:
    return block.language in ("python", *SHELLS) and (not block.mark or (block.mark == "slow" and SLOW))


@pytest.mark.timeout(5400 if SLOW else 1800)
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_blocks_of_a_page_do_what_they_say(
    page: Path, work: Path, stand_in: Callable[[str], str], done: set[str], capfd: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language.startswith("{"):  # a directive of the site
            continue
        assert block.language in LANGUAGES, f"{block.where}: say the language behind the fence: {sorted(LANGUAGES)}"
        if is_run(block):
            run_block(dataclasses.replace(block, text=stand_in(block.text)), names, done, capfd)
        else:
            check_block(block)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_running_text_have_only_options_that_exist(page: Path) -> None:
    for line in inline_commands(page):
        tool, *rest = line.split(" ")
        command = next((word for word in rest if not word.startswith("-")), "")
        top = parser_of(tool, [command, *rest])
        choices = [action.choices for action in top._actions if isinstance(action, argparse._SubParsersAction)]
        parsers = [top]
        for word in rest:
            if choices and word in choices[0]:
                parsers.append(choices[0][word])
                choices = [a.choices for a in parsers[-1]._actions if isinstance(a, argparse._SubParsersAction)]
        known = {option for parser in parsers for action in parser._actions for option in action.option_strings}
        wrong = [word for word in rest if re.match(r"--\w", word) and word.split("=")[0].rstrip(".,;:") not in known]
        assert not wrong, f"{name_of(page)}: `{line}`: no option {wrong}"
        if tool != "boir-eval" and re.fullmatch(r"[a-z]+", command):
            assert len(parsers) > 1, f"{name_of(page)}: `{line}`: {tool} has no command {command}"


def test_marks_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    every = [block for page in PAGES for block in blocks(page) if block.language in ("python", *SHELLS)]
    counted = Counter(block.mark or "run" for block in every)
    with capsys.disabled():
        print(f"\nblocks of the documentation: {dict(counted)}")
        for block in every:
            if block.mark == "not run":
                print(f"  {block.where}: not run: {block.reason}")
    assert counted["run"] > 0
    for block in every:
        if block.mark == "elsewhere":
            assert name_of(block.page).rpartition("/")[2] in (ROOT / block.reason).read_text(encoding="utf-8")


PAGE = """
```bash
boir info
```
<!-- not run: a reason -->
```bash
boir predict x \\
    --size 320
# only said
```
<!-- slow: quite -->
```python
1
```
```console
$ boir info
what it prints
```
"""


def test_marks_and_commands_are_read() -> None:
    found = blocks(ROOT / "README.md", PAGE)
    assert [(block.line, block.language, block.mark, block.reason) for block in found] == [
        (3, "bash", "", ""),
        (7, "bash", "not run", "a reason"),
        (13, "python", "slow", "quite"),
        (16, "console", "", ""),
    ]
    assert commands(found[1]) == ["boir predict x      --size 320"]
    assert commands(found[3]) == ["boir info"]
    assert [is_run(block) for block in found] == [True, False, SLOW, True]


@pytest.mark.parametrize(
    "line",
    [
        "boir predict x --no-such-option",
        "boir-convert build --out x",
        "boir-train fit --config no_such_row --out x",
        "boir-train fit --config coco_w32 --set optim.no_such_key=1 --out x",
        "torchrun --module boir_train.cli.main fit --config coco_w33 --out x",
        "boir-tarin fit",
        'pip install ".[no_such_extra]"',
        "make no-such-target",
        "python demos/no_such_program.py",
    ],
)
def test_a_wrong_command_is_seen(line: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check_command(line, "here")
