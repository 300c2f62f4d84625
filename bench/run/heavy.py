"""All that a cell imports, for the warm server: it imports this module once, and then forks every cell."""

from bench.classifiers import vision
from bench.metrics import fid, rmse, scc
from bench.run import cell_process, method_process

__all__ = ["cell_process", "fid", "method_process", "rmse", "scc"]

for name in ("torch_fidelity.utils", "torch_fidelity.registry"):
    vision.load(name)
