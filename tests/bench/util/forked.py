"""A module for the tests of the warm server: its `main` does what the first line of input says."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time

import numpy as np


def main() -> None:
    asked = sys.stdin.readline().strip().strip('"')
    if asked == "tell":
        files = sorted(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
        seen = {
            "session": os.getsid(0) == os.getpid(),
            "files": [file for file in files if os.path.exists(f"/proc/self/fd/{file}")],  # noqa: PTH110
            "environment": dict(os.environ),
            "folder": os.getcwd(),  # noqa: PTH109
            "draws": [random.random(), float(np.random.rand())],
            "torch": "torch" in sys.modules,
            "threads": threading.active_count(),
        }
        print(json.dumps(seen))
    elif asked == "leave":
        sys.exit(7)
    elif asked == "raise":
        raise RuntimeError("it fell")
    elif asked == "wait":
        print(os.getpid(), flush=True)
        time.sleep(600)
    elif asked in ("orphan", "parent"):
        # In a session of its own, and with nothing in its environment.
        child = subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)
        print(child.pid, flush=True)
        if asked == "parent":
            time.sleep(600)
        os._exit(0)
