"""A child process in place of `boir_sdk.stream.reader_child`: a camera that is there as long as a file is.

Run as a script; the task's device is the file's path.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from boir_sdk.stream.reader_child import FAILED, FRAME, HEADER, OPENED, Task

HEIGHT, WIDTH = 24, 32


def main() -> None:
    task = Task(**json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
    plugged = Path(str(task.device))

    def send(kind: bytes, height: int = 0, width: int = 0, data: bytes = b"") -> None:
        sys.stdout.buffer.write(HEADER.pack(kind, height, width, 1.0, len(data)) + data)
        sys.stdout.buffer.flush()

    if not plugged.exists():
        send(FAILED, data=json.dumps(["no_device", f"{task.name} isn't there"]).encode())
        return
    send(OPENED)
    while plugged.exists():
        send(FRAME, HEIGHT, WIDTH, bytes(HEIGHT * WIDTH * 3))
        time.sleep(0.03)
    send(FAILED, data=json.dumps(["lost", f"{task.name}: the connection broke off"]).encode())


if __name__ == "__main__":
    main()
    os._exit(0)
