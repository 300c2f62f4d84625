"""Settings that must be there before torch is imported."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# The tests run side by side, one process a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
