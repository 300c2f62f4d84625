"""A method may start processes of its own, in any way: they can import what the plugin file defines."""

from __future__ import annotations

import pytest

from tests.bench.command import Bench

PLUGIN = '''
import multiprocessing
import subprocess
import sys
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from bench.imputer import Imputer
from beside import HALF


class Images(Dataset):
    def __init__(self, pixels):
        self.pixels = pixels

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, number):
        return self.pixels[number].float() * 2 * HALF


def mean(pixels):
    return float(pixels.float().mean()) / 255


def by_loader(pixels, start):
    loader = DataLoader(Images(pixels), batch_size=50, num_workers=1, multiprocessing_context=start)
    return float(torch.stack([batch.mean() for batch in loader]).mean()) / 255


def by_pool(pixels, start):
    with multiprocessing.get_context(start).Pool(1) as pool:
        return pool.map(mean, [pixels])[0]


def by_joblib(pixels, start):
    from joblib import Parallel, delayed

    return Parallel(n_jobs=2)(delayed(mean)(pixels) for _ in range(2))[0]


def by_command(pixels, start):
    code = "import bench_plugin; print(bench_plugin.HALF, bench_plugin.mean.__module__)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert told.stdout == "0.5 bench_plugin\\n"
    return mean(pixels)


@dataclass
class Workers(Imputer):
    """The mean, by a worker process."""

    by: str = "loader"
    start: str = "fork"

    def fit(self, train, context):
        pixels = train.pixels[:100].clone()
        self.value = globals()[f"by_{self.by}"](pixels, self.start)
        assert abs(self.value - mean(pixels)) < 1e-5

    def impute(self, images):
        return torch.full(images.pixels.shape, self.value)
'''


@pytest.mark.parametrize(
    ("by", "start"),
    [
        ("loader", "spawn"),
        ("loader", "forkserver"),
        ("loader", "fork"),
        ("pool", "spawn"),
        ("joblib", "loky"),
        ("command", "none"),
    ],
)
def test_a_process_that_a_plugin_starts_imports_the_plugin(bench: Bench, by: str, start: str) -> None:
    if by == "joblib":
        pytest.importorskip("joblib")
    folder = bench.folder / "plugin"
    folder.mkdir()
    (folder / "workers.py").write_text(PLUGIN)
    (folder / "beside.py").write_text("HALF = 0.5\n")
    status, output = bench.run(
        "--plugin", str(folder / "workers.py"), "--methods", "workers",
        "--set", f"workers.by={by}", "--set", f"workers.start={start}",
    )  # fmt: skip
    assert status == 0, output
    assert sorted(path.name for path in folder.iterdir()) == ["beside.py", "workers.py"]
