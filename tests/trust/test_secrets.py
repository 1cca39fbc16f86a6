"""A password that is looked for wherever a stream's address could turn up; `redact` against made-up addresses."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from soak.redact import CANARY, check

from boir_sdk import BoirError, Limits
from boir_sdk.cli.main import main
from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17
from boir_sdk.stream import Stream, open_source
from tests.support.fake_camera import GOOD, Behaviour, FakeCamera
from tests.support.fake_camera_scripted import wait_for

LIMITS = Limits(stall_s=20, retry_s=0.05, retry_cap_s=0.1, slow_retry_s=0.1)
LOGIN = f"{CANARY}user:{CANARY}p@ss/w:rd"
FAULTS = {
    "refused": Behaviour(listens=False),
    "wants a login": Behaviour(login="digest"),
    "not found": Behaviour(status=(("DESCRIBE", 404),)),
    "server error": Behaviour(status=(("PLAY", 454),)),
    "bad description": Behaviour(sdp="v=0\r\nnonsense"),
    "unknown codec": Behaviour(codec="X-NONE"),
    "redirect": Behaviour(location=f"rtsp://{CANARY}x:{CANARY}y@127.0.0.1:1/there"),
    "closes": Behaviour(frames=3, ending="close"),
    "cuts": Behaviour(frames=3, ending="cut"),
}


def encoded(url_of: FakeCamera) -> str:
    user, _, password = LOGIN.partition(":")
    return url_of.url(f"{quote(user, safe='')}:{quote(password, safe='')}") + f"&token={CANARY}"


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_tells_the_password(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """Events, results, names, log records of every level and what they carry, exceptions and thread names."""
    said: list[str] = []
    with FakeCamera(FAULTS[fault]) as camera, caplog.at_level(logging.NOTSET):
        source = open_source(encoded(camera), LIMITS)
        with Stream(lambda image: Poses.empty(COCO17), [source], COCO17, limits=LIMITS) as stream:
            said += [repr(thread.name) for thread in threading.enumerate()]
            for result in stream:
                said += [repr(result.event), result.source, repr(stream.counts)]
                if result.event is not None and result.event.kind in ("gap", "reconnecting", "failed"):
                    break
        said += [repr(source), str(source.name), repr(vars(stream)) if hasattr(stream, "__dict__") else ""]
    said += [record.getMessage() + repr(record.args) + str(record.exc_text) for record in caplog.records]
    assert any("127.0.0.1" in text for text in said)
    assert [text for text in said if CANARY in text] == []


@pytest.mark.parametrize("debug", ["", "1"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("stream", "{url}", "--max-frames", "1", "--json", "-"),
        ("stream", "{bad}", "--json", "-"),
        ("stream", "{host}", "--json", "-"),
        ("stream", "ftp://{login}@host/x"),
        ("predict", "{url}"),
        ("info", "{url}"),
        ("doctor", "--model", "{url}", "--json"),
    ],
)
def test_no_command_tells_the_password(
    arguments: tuple[str, ...],
    debug: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOIR_DEBUG", debug)
    with FakeCamera(GOOD) as camera:
        words = {
            "url": encoded(camera),
            "bad": f"rtsp://{LOGIN} with space@127.0.0.1/x",
            "host": f"rtsp://u:{CANARY}@host name/x",
            "login": LOGIN,
        }
        told = io.StringIO()
        with contextlib.redirect_stderr(told), contextlib.suppress(SystemExit):
            try:
                main([argument.format(**words) for argument in arguments])
            except BoirError as error:  # BOIR_DEBUG shows where it came from
                told.write("".join(traceback.format_exception(error)))
    out, err = capfd.readouterr()
    assert CANARY not in out + err + told.getvalue()
    for path in tmp_path.rglob("*"):
        assert CANARY not in path.name
        assert not path.is_file() or CANARY.encode() not in path.read_bytes()


def test_the_child_that_reads_gets_no_password_on_its_command_line() -> None:
    with FakeCamera(GOOD) as camera:
        source = open_source(encoded(camera), LIMITS)
        with Stream(lambda image: Poses.empty(COCO17), [source], COCO17, limits=LIMITS) as stream:
            assert wait_for(lambda: source._process is not None, 60)  # type: ignore[attr-defined]
            pid = source._process.pid  # type: ignore[attr-defined]
            if not Path(f"/proc/{pid}").exists():
                pytest.skip("reads /proc")
            for name in ("cmdline", "environ"):
                assert CANARY.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
            stream.close()


def test_made_up_addresses_show_no_credentials() -> None:
    assert check(300) == 300
