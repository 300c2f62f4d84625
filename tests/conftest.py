"""Settings that must be there before torch is imported."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Commands run as in a user's shell: Python buffers its output and leaves bytecode.
for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(name, None)
# The tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The same examples each time, however slow the machine.
settings.register_profile("bench", deadline=None, derandomize=True)
settings.load_profile("bench")


def pytest_xdist_auto_num_workers() -> int:
    """One process more than cores: the longest tests wait for processes that they kill."""
    return (os.cpu_count() or 1) + 1
