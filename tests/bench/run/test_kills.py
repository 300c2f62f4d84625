"""A grid whose processes are killed at random instants, and continued, ends as one that was left alone."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.bench.command import Bench, wait_for

VICTIMS = ("parent", "bench.run.cell_process", "bench.run.method_process")


def find(parent: int, victim: str, chance: random.Random) -> psutil.Process | None:
    """A process of a run: itself, or one of those below it that run a module."""
    try:
        process = psutil.Process(parent)
        if victim == "parent":
            return process
        below = process.children(recursive=True)
        found = [one for one in below if victim in one.cmdline()]
        return chance.choice(found) if found else None
    except psutil.Error:
        return None


def numbers(bench: Bench) -> dict[str, tuple[str, bytes]]:
    """What a grid found, by cell: the metrics as they are stored, and every imputed pixel."""
    root = bench.folder / "results" / "runs"
    return {
        str(path.parent.relative_to(root)): (
            json.dumps(json.loads(path.read_text())["metrics"], sort_keys=True),
            np.load(path.parent / "imputed.npy").tobytes(),
        )
        for path in root.rglob("result.json")
    }


def kill_often(bench: Bench, grid: list[str], kills: int, pause: float) -> dict[str, int]:
    """Kill a run's processes at random instants and start it again where it ended; how many of each.

    The cells must be long enough to be unfinished after that many kills.
    """
    chance = random.Random(kills)
    killed = dict.fromkeys(VICTIMS, 0)
    run = bench.start(*grid, "--rerun", "failed")
    while sum(killed.values()) < kills:
        time.sleep(chance.uniform(0.2, pause))
        victim = find(run.pid, chance.choice(VICTIMS), chance) if run.poll() is None else None
        if victim is not None:
            which = next((name for name in VICTIMS if name in victim.cmdline()), "parent")
            victim.send_signal(signal.SIGKILL)
            killed[which] += 1
        if run.poll() is not None or (victim is not None and victim.pid == run.pid):
            output, _ = run.communicate()
            assert run.returncode in (1, -signal.SIGKILL), (
                f"done after {sum(killed.values())} kills: {output}"
            )
            run = bench.start(*grid, "--rerun", "failed")
    run.kill()
    run.communicate()
    return killed


@pytest.mark.process
@pytest.mark.parametrize(
    ("rates", "seeds", "kills", "steps", "seconds", "pause"),
    [
        ("0.6,0.8", "0,1", 5, 40, 20.0, 5.0),
        pytest.param("0.6,0.7,0.8,0.9", "0,1,2,3,4,5", 50, 240, 30.0, 6.0, marks=pytest.mark.slow),
    ],
)
def test_a_killed_grid_ends_as_an_undisturbed_one(
    bench: Bench,
    tmp_path: Path,
    cache: Path,
    rates: str,
    seeds: str,
    kills: int,
    steps: int,
    seconds: float,
    pause: float,
) -> None:
    settings = [f"--set=walk.steps={steps}", "--jobs", "2"]
    grid = ["--methods", "walk", "--rates", rates, "--seeds", seeds, *settings]
    whole = Bench(tmp_path / "whole", cache, bench.monkeypatch)
    whole.folder.mkdir()
    for one in (whole, bench):
        one.walk()
    status, output = whole.run(*grid, "--set=walk.seconds=0")
    assert status == 0, output
    killed = kill_often(bench, [*grid, f"--set=walk.seconds={seconds}"], kills, pause)
    stored = [
        path
        for path in (bench.folder / "results").rglob("result.json")
        if json.loads(path.read_text())["status"] == "ok"
    ]
    print(f"killed {killed}; {len(stored)} cells done by then")
    status, output = bench.run(*grid, f"--set=walk.seconds={seconds}", "--rerun", "failed")
    assert status == 0, output
    mine = {
        name.replace(f"seconds={seconds}", "seconds=0.0"): found for name, found in numbers(bench).items()
    }
    assert len(mine) == len(rates.split(",")) * len(seeds.split(","))
    assert mine == numbers(whole)
    assert not [*bench.folder.rglob(".*-????????")]
    here = str(bench.folder)
    wait_for(lambda: not [one for one in psutil.process_iter() if here in " ".join(command_of(one))])


def command_of(process: psutil.Process) -> list[str]:
    try:
        return [*process.cmdline()]
    except psutil.Error:
        return []
