"""`python -m benchmarks.floor`: where the time of one MCFlow step goes, and the least that it could take.

The floor is the step's arithmetic over the rate of the quickest large matrix product, and the bytes that its
optimiser must move over the bandwidth of a large copy, both measured in the same run.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from torch.profiler import ProfilerActivity, profile

from bench.imputer import FitContext
from bench.methods.mcflow import MCFlow
from benchmarks.methods import Arithmetic, problem
from benchmarks.places import Place

# Adam reads a weight, its gradient and two moments, and writes all but the gradient, which a product wrote.
ADAM_BYTES = 4 * (4 + 3 + 1)
GROUPS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    "Adam": ("aten::_fused_adam_",),
}


def fastest(work: Callable[[], Any], times: int = 7) -> float:
    """Seconds of the quickest of some calls."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def matrix_rate(place: Place, precision: str = "float32") -> float:
    """Floating-point operations a second of the quickest of some large square products."""
    place.settle()
    sizes = (512, 1024, 2048) if place.device == "cpu" else (2048, 4096, 8192)
    return max(_product_rate(size, place, getattr(torch, precision)) for size in sizes)


def _product_rate(size: int, place: Place, dtype: torch.dtype) -> float:
    a, b, out = (torch.rand(size, size, device=place.device).to(dtype) for _ in range(3))

    def product() -> None:
        torch.mm(a, b, out=out)
        place.clock()

    return 2 * size**3 / fastest(product, times=20)


def bandwidth() -> float:
    """Bytes a second that a copy of 256 MB reads and writes."""
    a, b = torch.rand(64 * 2**20), torch.empty(64 * 2**20)
    return 2 * a.numel() * 4 / fastest(lambda: b.copy_(a))


def measure(steps: int, threads: int) -> dict[str, Any]:
    """The quickest MCFlow step as published, its profile's shares, and its floor, all in seconds."""
    torch.set_num_threads(threads)
    method = MCFlow()
    images = problem(steps * method.batch_size)
    context = FitContext()
    method._begin(images, context)
    order = torch.arange(len(images)).view(steps, -1)

    def step(number: int) -> None:
        method._step(order[number % steps])

    with Arithmetic() as done:  # type: ignore[no-untyped-call]
        step(0)
    seconds = fastest(lambda: step(1), steps)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for number in range(steps):
            step(number)
    own = {event.key: event.self_cpu_time_total for event in profiled.key_averages()}
    shares = {group: sum(own.get(name, 0) for name in names) for group, names in GROUPS.items()}
    shares["all else"] = sum(own.values()) - sum(shares.values())
    total = sum(shares.values())
    weights = [*method.G.parameters(), *method.H.parameters()]
    rate, speed = matrix_rate(Place(threads)), bandwidth()
    floor = {
        "arithmetic": done.operations / rate,
        "bytes": sum(weight.numel() for weight in weights) * ADAM_BYTES / speed,
    }
    return {
        "step_seconds": seconds,
        "profile_seconds": {group: seconds * share / total for group, share in shares.items()},
        "floor_seconds": floor,
        "times_the_floor": seconds / sum(floor.values()),
        "gflop": done.operations / 1e9,
        "gflop_per_second": rate / 1e9,
        "gigabytes_per_second": speed / 1e9,
    }


@click.command()
@click.option("--steps", default=12, show_default=True, help="Steps that are timed.")
@click.option("--threads", default=os.cpu_count() or 1, show_default=True, help="CPU threads.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("results/benchmarks/floor.json"))
def main(steps: int, threads: int, output: Path) -> None:
    """Measure on the CPU, print, and write a JSON file."""
    report = {"threads": threads, **measure(steps, threads)}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=2) + "\n")
    click.echo(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
