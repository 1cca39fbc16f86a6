"""A headless Chromium driven over the DevTools protocol's pipe: nothing is needed beside the browser."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
INSTALL_VARIABLE = "BOIR_TEST_INSTALL"
"""Set to 1 where tests may install system packages (continuous integration does)."""

# The browser reads descriptor 3 and writes descriptor 4; the pipes' own numbers may be those, so they move up first.
LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for number, end in zip((3, 4), ends):
    os.dup2(end, number)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_or_install() -> str | None:
    """The browser's executable; installed by apt where that is allowed and possible; None without one."""
    found = _find()
    if found or os.environ.get(INSTALL_VARIABLE) != "1" or not shutil.which("apt-get") or os.geteuid() != 0:
        return found
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
        subprocess.run(["apt-get", *arguments], env=environment, check=False, timeout=500)  # noqa: S607
    return _find()


def _find() -> str | None:
    return os.environ.get("BOIR_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One browser with one tab."""

    def __init__(self, executable: str, profile: Path) -> None:
        to_browser, self._send_fd = os.pipe()
        self._receive_fd, from_browser = os.pipe()
        options = [
            "--headless=new",
            "--no-sandbox",  # tests run as root in containers
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--window-size=1000,1100",
            f"--user-data-dir={profile}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(to_browser), str(from_browser), executable, *options],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._numbers = itertools.count(1)
        self._data = b""
        self._session: str | None = None
        self.console: list[str] = []
        """What the page logged, and its errors."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; return its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send_fd, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive(60)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            if answer.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.console.append(json.dumps(answer["params"]))

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        end_s = time.monotonic() + timeout_s
        while b"\0" not in self._data:
            readable, _, _ = select.select([self._receive_fd], [], [], max(0.0, end_s - time.monotonic()))
            data = os.read(self._receive_fd, 1 << 20) if readable else b""
            if not data:
                raise RuntimeError("the browser doesn't answer" if self._process.poll() is None else "it has ended")
            self._data += data
        message, _, self._data = self._data.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, expression: str, timeout_s: float = 20.0) -> Any:
        """Wait until an expression is true (an error counts as not yet: the page may be loading); return its value."""
        end_s = time.monotonic() + timeout_s
        while True:
            try:
                value = self.evaluate(expression)
                problem = ""
            except RuntimeError as error:
                value, problem = None, f" ({error})"
            if value:
                return value
            if time.monotonic() > end_s:
                raise AssertionError(f"not within {timeout_s:g} s: {expression}{problem}; console: {self.console}")
            time.sleep(0.05)

    def screenshot(self) -> bytes:
        """The tab as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for handle in (self._send_fd, self._receive_fd):
            os.close(handle)

    def __enter__(self) -> Chromium:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
