"""The preview's page in a real browser: moving overlays, the slider, pause, the link of a guarded preview."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from boir_sdk.preview import Preview
from tests.preview.chromium import INSTALL_VARIABLE, Chromium, find_or_install
from tests.support.fake_stream import endless, event, result

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the browser is driven over POSIX pipes")

# What is in the picture as the page has it: pixels with a colour are people (the frames are grey), and a sum that
# differs from picture to picture.
LOOK = """(() => {
  const picture = document.getElementById("picture");
  const canvas = document.createElement("canvas");
  canvas.width = picture.naturalWidth;
  canvas.height = picture.naturalHeight;
  if (!canvas.width) return null;
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
  let coloured = 0, sum = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 60) coloured++;
    sum = (sum * 31 + data[i] + 3 * data[i + 1] + 7 * data[i + 2]) % 2147483647;
  }
  return [coloured, sum];
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    executable = find_or_install()
    if executable is None:
        pytest.skip(f"needs Chromium (apt-get install chromium, or {INSTALL_VARIABLE}=1 to let the tests do it)")
    with Chromium(executable, tmp_path_factory.mktemp("profile")) as made:
        yield made


@contextmanager
def streaming(preview: Preview, count: int = 3) -> Iterator[None]:
    """People that move, for as long as the block runs."""
    end = threading.Event()

    def publish() -> None:
        for item in endless(count):
            if end.is_set():
                return
            preview.write(item)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def text(name: str) -> str:
    return f"document.getElementById('{name}').textContent"


def slide(browser: Chromium, value: float) -> None:
    browser.evaluate(
        f"(() => {{ const s = document.getElementById('threshold'); s.value = {value};"
        " s.dispatchEvent(new Event('input')); })()"
    )


def looks(browser: Chromium, count: int) -> list[tuple[int, int]]:
    """What the picture is, `count` times, a fifth of a second apart."""
    found = []
    for _ in range(count):
        found.append(tuple(browser.evaluate(LOOK)))
        browser.evaluate("new Promise((done) => setTimeout(done, 200))")
    return found


def test_overlays_move_the_slider_thins_them_out_and_pause_stops_them(browser: Chromium, tmp_path: Path) -> None:
    with Preview(0) as preview, streaming(preview):
        browser.open(preview.url)
        browser.wait(f"{text('people')} === '3'")
        browser.wait(f"({LOOK} || [0])[0] > 500")
        moving = looks(browser, 6)
        assert len({shown for _, shown in moving}) >= 4, f"the picture stands still: {moving}"
        assert float(browser.wait(f"{text('fps')} !== '–' && {text('fps')}")) > 5
        assert browser.wait(text("latency")) == "50"
        assert browser.evaluate("document.querySelectorAll('#table tbody tr').length") == 17
        assert browser.evaluate("document.querySelectorAll('#table tbody tr:first-child td').length") == 3
        picture = browser.screenshot()
        if os.environ.get("BOIR_SCREENSHOT"):
            Path(os.environ["BOIR_SCREENSHOT"]).write_bytes(picture)
        seen = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        assert (np.ptp(seen.astype(int), axis=2) > 60).sum() > 500, "the overlays aren't on the screen"

        three = np.median([coloured for coloured, _ in moving])
        slide(browser, 0.85)
        browser.wait(f"{text('people')} === '1'")
        assert browser.wait(text("value")) == "0.85"
        browser.wait(f"{LOOK}[0] < {0.6 * three}")
        assert browser.evaluate("document.querySelectorAll('#table tbody tr:first-child td').length") == 1
        slide(browser, 0.0)
        browser.wait(f"{text('people')} === '3'")

        browser.evaluate("document.getElementById('pause').click()")
        browser.wait(f"{text('pause')} === 'Start'")
        browser.evaluate("new Promise((done) => setTimeout(done, 500))")  # a picture may be on its way
        standing = looks(browser, 5)
        assert len(set(standing)) == 1, f"the picture moves: {standing}"
        slide(browser, 0.85)
        browser.wait(f"{LOOK}[0] < {0.6 * three}")  # the slider works on the picture that stands, too
        browser.evaluate("document.getElementById('pause').click()")
        browser.wait(f"{text('pause')} === 'Pause'")
        browser.wait(f"{LOOK}[1] !== {standing[0][1]}")
    errors = [entry for entry in browser.console if "Content Security Policy" in entry or "exceptionDetails" in entry]
    assert errors == []


def test_a_lone_frame_is_shown_though_none_follows(browser: Chromium) -> None:
    with Preview(0) as preview:
        preview.write(result(0, 2, size=(240, 320)))
        browser.open(preview.url)
        browser.wait(f"({LOOK} || [0])[0] > 300")


def test_a_gap_is_shown_and_a_preview_that_ends_is_said(browser: Chromium) -> None:
    with Preview(0) as preview:
        browser.open(preview.url)
        browser.wait(f"{text('notice')} === 'waiting for the first frame'")
        with streaming(preview, 1):
            browser.wait(f"{text('people')} === '1'")
        preview.write(event("gap", "stalled", message="no frame for 5 s"))
        browser.wait(f"{text('notice')} === 'gap: no frame for 5 s'")
    browser.wait(f"{text('notice')}.startsWith('no connection')")


def test_a_guarded_preview_opens_by_its_link_only(browser: Chromium) -> None:
    with Preview(0, token="a-token-for-this-test") as preview, streaming(preview, 2):  # noqa: S106
        browser.open(preview.url)
        browser.wait("document.body && document.body.textContent.includes('open the link')")
        browser.open(preview.link)
        browser.wait(f"document.getElementById('people') && {text('people')} === '2'")
        browser.wait(f"({LOOK} || [0])[0] > 300")
        assert browser.evaluate("location.href") == preview.url
        assert browser.evaluate("document.cookie") == ""
