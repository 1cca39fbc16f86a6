"""An RTSP server that isn't ours: GStreamer's, run by the system's Python (Debian's gir1.2-gst-rtsp-server-1.0).

As a module it starts, kills and restarts the server; as a script it is the server.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType

_PYTHON = Path("/usr/bin/python3")
_VIDEO = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 "
    "! x264enc tune=zerolatency key-int-max=25 speed-preset=ultrafast ! rtph264pay name=pay0 pt=96 )"
)
_NEEDS = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0'); "
    "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
    "raise SystemExit(not all(map(Gst.ElementFactory.find, ('x264enc', 'rtph264pay', 'videotestsrc'))))"
)


def missing() -> str:
    """Why the server can't run here; empty when it can."""
    if not _PYTHON.exists():
        return f"needs {_PYTHON} with GStreamer's RTSP server"
    done = subprocess.run([str(_PYTHON), "-c", _NEEDS], capture_output=True, env=_environment(), check=False)
    if done.returncode:
        return "needs Debian's gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-{base,good,bad,ugly}"
    return ""


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


class RtspServer:
    """The server on a port of 127.0.0.1 that stays the same over restarts."""

    def __init__(self) -> None:
        with socket.socket() as finder:
            finder.bind(("127.0.0.1", 0))
            self.port = int(finder.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/test"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [str(_PYTHON), str(Path(__file__).resolve()), str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )
        assert self._process.stdout is not None and self._process.stdout.readline() == b"ready\n"

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()


def serve(port: str) -> None:
    """Serve until killed."""
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(_VIDEO)
    factory.set_shared(True)
    server.get_mount_points().add_factory("/test", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    serve(sys.argv[1])
