"""A training step of the authors' own MCFlow, MisGAN and PBiGAN, timed beside ours.

Their code is not part of this repository. It is imported from checkouts of their public repositories. Their
loops, networks and optimisers run in a process of their own, on our made images. What they need only for
drawing and downloading is replaced by stand-ins. Two changes let their code run with today's PyTorch: `next`
of a data loader's iterator, and `StepsUnseen`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import MagicMock

import click
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, Dataset

from bench.imputer import FitContext
from benchmarks.methods import CYCLE, METHODS, problem, seconds_of_ours
from benchmarks.processes import alone

WHERE = {"mcflow": "models/latent_model.py", "misgan": "misgan_impute.py", "pbigan": "mnist_pbigan.py"}
"""A file that tells a method's code from other code, below the folder that goes on Python's path."""

UPDATES = {"mcflow": 2 * CYCLE, "misgan": 3 * (CYCLE + 1), "pbigan": CYCLE + 1}
"""How many steps of an optimiser a cycle of `CYCLE` batches takes."""

SIDES = ("authors", "float32", "bfloat16")


class EnoughStepsError(Exception):
    """Ends the authors' loop."""


def compare(folder: Path, names: list[str], steps: int, rounds: int, threads: int) -> dict[str, Any]:
    """Seconds a step: the authors', ours in float32, ours in bfloat16, in turns; medians over the rounds.

    Raises:
        click.ClickException: the folder has no checkout of a method.
    """
    places = {name: checkout(folder, name) for name in names}
    report: dict[str, Any] = {}
    for name, place in places.items():
        taken: dict[str, list[float]] = {side: [] for side in SIDES}
        for _ in range(rounds):
            for side in SIDES:
                given = (name, place, steps, threads) if side == "authors" else (name, side, steps, threads)
                taken[side].append(alone(theirs if side == "authors" else ours, *given))
        report[name] = {side: median(seconds) for side, seconds in taken.items()}
        for side in SIDES[1:]:
            report[name][f"authors / {side}"] = report[name]["authors"] / report[name][side]
    return report


def checkout(folder: Path, name: str) -> Path:
    """The folder below which a method's code is imported. MisGAN has two versions; the newer is taken."""
    found = sorted(folder.glob(f"**/{WHERE[name]}"))
    if not found:
        raise click.ClickException(f"{folder} has no checkout of {name}: no file ends in {WHERE[name]}.")
    return found[-1].parents[WHERE[name].count("/")]


def ours(name: str, precision: str, steps: int, threads: int) -> float:
    """Seconds of one of our steps, in this process: the second of two epochs is timed."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    method: Any = METHODS[name]
    method.epochs = 2
    train = problem(steps * method.batch_size)
    return seconds_of_ours(method, train, steps, FitContext(precision=precision)) / steps


def batch_size(name: str) -> int:
    """The published one, with which both sides run."""
    method: Any = METHODS[name]
    return int(method.batch_size)


def theirs(name: str, place: Path, steps: int, threads: int) -> float:
    """Seconds of one of the authors' steps, in this process: after `steps` of them, as many are timed.

    Args:
        steps: a multiple of `CYCLE`.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    sys.path.insert(0, str(place))
    for unneeded in ("wget", "seaborn", "pylab", "plot", "visualize", "masked_mnist", "torchvision"):
        sys.modules[unneeded] = MagicMock()
    loop = {"mcflow": mcflow, "misgan": misgan, "pbigan": pbigan}[name]
    with timed(UPDATES[name] * steps // CYCLE) as seconds:
        loop(problem(2 * steps * batch_size(name)))
    return seconds[0] / steps


@contextlib.contextmanager
def timed(updates: int) -> Iterator[list[float]]:
    """Inside, optimisers' steps are counted. The loop ends after twice `updates` of them.

    Yields:
        a list, which then has the seconds of the second half.
    """
    seconds: list[float] = []
    marks: list[float] = []
    done = 0

    def count(*_: Any) -> None:
        nonlocal done
        done += 1
        if done % updates == 0:
            marks.append(time.perf_counter())
        if len(marks) == 2:
            seconds.append(marks[1] - marks[0])
            raise EnoughStepsError

    hook = register_optimizer_step_post_hook(count)
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(nowhere), contextlib.suppress(EnoughStepsError):
                yield seconds
        finally:
            os.chdir(here)
            hook.remove()


class StepsUnseen(torch.optim.Adam):
    """Adam whose steps autograd does not see.

    MCFlow's loop moves G's weights between the two backward passes. Old PyTorch let the second pass use the
    moved weights; today's refuses.
    """

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        weights = tuple(weight for group in self.param_groups for weight in group["params"])
        with torch.autograd._unsafe_preserve_version_counter(weights):  # type: ignore[attr-defined]
            return super().step(closure)


class Items(Dataset[Any]):
    """Made images, as a method's own data set gives them."""

    mask_loc = mask_info = None

    def __init__(self, images: Any, item: Callable[[Tensor, Tensor, int], Any]) -> None:
        self.pixels, self.observed, self.item = images.pixels.float() / 255, images.observed.float(), item

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Any:
        return self.item(self.pixels[index], self.observed[index], index)


def mcflow(images: Any) -> None:
    util, models = importlib.import_module("util"), importlib.import_module("models")
    size = images.pixels[0].numel()
    asked = Namespace(use_cuda=False)
    flow = util.init_flow_model(size, 3, models.InterpRealNVP, size, asked)
    network = models.LatentToLatentApprox(size, [size] * 5)
    weights = [weight for weight in flow.parameters() if weight.requires_grad]
    optimisers = StepsUnseen(weights, lr=1e-4), torch.optim.Adam(network.parameters(), lr=1e-4)
    items = Items(images, lambda pixels, seen, _: (pixels.flatten(), [pixels.flatten(), 1 - seen.flatten()]))
    batches = DataLoader(items, batch_size("mcflow"), shuffle=True)
    util.endtoend_train(flow, network, *optimisers, batches, asked)


def misgan(images: Any) -> None:
    generators, critics = importlib.import_module("mnist_generator"), importlib.import_module("mnist_critic")
    imputer = importlib.import_module("mnist_imputer").ComplementImputer(arch=[784, 784])
    items = Items(images, lambda pixels, seen, index: (pixels, seen[0], 0, index))
    asked = Namespace(n_critic=5, gp_lambda=10, n_latent=128, epoch=1, alpha=0.1, beta=0.1, gamma=0, tau=0)
    quiet = Namespace(
        plot_interval=0, save_interval=0, workers=0, imputeronly=False, resume=None, pretrain=None
    )
    options = Namespace(**vars(asked), **vars(quiet), batch_size=batch_size("misgan"))
    networks = generators.ConvDataGenerator(), generators.ConvMaskGenerator(hard_sigmoid=(-0.1, 1.1)), imputer
    critic = critics.ConvCritic
    train = importlib.import_module("misgan_impute").misgan_impute
    train(options, *networks, critic(), critic(), critic(), items, Path("out"))


def pbigan(images: Any) -> None:
    loaders: Any = importlib.import_module("torch.utils.data.dataloader")._BaseDataLoaderIter
    loaders.next = loaders.__next__
    items = Items(images, lambda pixels, seen, index: (pixels, seen, index))
    sys.modules["masked_mnist"].IndepMaskedMNIST = lambda **_: items  # type: ignore[attr-defined]
    asked = Namespace(seed=0, mask="indep", obs_prob=0.2, obs_prob_max=None, latent=128, flow=2, aeloss="bce")
    schedule = Namespace(
        lr=1e-4, min_lr=-1, epoch=1, ae=0.1, prefix="pbigan", save_interval=0, plot_interval=1
    )
    options = Namespace(**vars(asked), **vars(schedule), batch_size=batch_size("pbigan"))
    importlib.import_module("mnist_pbigan").train_pbigan(options)
