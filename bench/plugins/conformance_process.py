"""`python -m bench.plugins.conformance_process`: the process in which a method is checked.

It gets a `CheckJob` and sends an `Answer` for each check. A check is a function that takes a Trial, raises
`Failed` with a reason, and may return a remark.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import FrameType
from typing import Any, NoReturn

import psutil
import torch
from torch import Tensor
from torch.nn import functional

from bench.images import MaskedImages
from bench.imputer import Checkpoints, FitContext, Imputer, Interrupted, NoCheckpoints
from bench.plugins.checkpoints import DiskCheckpoints
from bench.plugins.conformance_messages import (
    ENDING_SECONDS,
    Answer,
    CheckJob,
    Finished,
    LeftBehind,
    Status,
)
from bench.plugins.describe import load_method, one_line
from bench.plugins.output import checked_output
from bench.util.forking import SAFE
from bench.util.process_tree import descendants, end_descendants, inherit_orphans
from bench.util.processes import EVENTS, Parent

SHAPES = {"grey": (1, 28, 28), "colour": (3, 32, 32)}
TRAIN, TEST = 96, 24
FEW = 32
"""How many training images there are if no check stops a fit half-way: two steps are enough."""

RATE = 0.8
TOLERANCE = 1e-5
"""How far imputations of one image may differ: float32 products round differently in other batches."""

SECONDS_TO_DEADLINE = 0.5
PATIENCE = 30.0
"""How many seconds past its deadline a fit may take."""


class Failed(Exception):
    """The method does not keep the contract; the message says how."""


class Refused(Exception):
    """The method takes no such images; the message is its own."""


class Skipped(Exception):
    """The check needs the base fit, and that fails."""


@dataclass
class Polls:
    """Counts how often a fit asks whether to stop, and says yes from a given time on."""

    stop_at: int | None = None
    count: int = 0

    def __call__(self) -> bool:
        self.count += 1
        return self.stop_at is not None and self.count >= self.stop_at


class Trial:
    """A method, images, and the fit that most checks look at."""

    def __init__(self, job: CheckJob) -> None:
        self.method: type[Imputer] = load_method(job.reference)
        self.settings = job.settings
        self.long_settings = job.long_settings
        self.shape = SHAPES[job.images]
        self.folder = job.folder
        self.reloads = "reload" in job.checks
        self.train = made_images(self.shape, TRAIN if self.reloads else FEW, RATE, seed=1)
        self.test = made_images(self.shape, TEST, RATE, seed=2)
        self.polls = Polls()
        self.error: BaseException | None = None
        self._draws = 0

    def fit(
        self,
        train: MaskedImages,
        checkpoints: Checkpoints | None = None,
        settings: Mapping[str, Any] | None = None,
        deadline: float | None = None,
        polls: Polls | None = None,
    ) -> Imputer:
        """A new instance, fitted with the seed 0; the global generators have another state each time."""
        self._draws += 1
        torch.manual_seed(self._draws)
        context = FitContext(
            checkpoints=checkpoints or NoCheckpoints(),
            deadline=deadline,
            stop_requested=polls or Polls(),
        )
        method = self.method(**(self.settings if settings is None else settings))
        method.fit(train, context)
        return method

    def checkpoints(self, name: str) -> DiskCheckpoints:
        return DiskCheckpoints(self.folder / name)

    @cached_property
    def base(self) -> Imputer:
        """The fit that most checks look at; a ValueError of one line is the method's refusal."""
        if self.error is not None:
            raise Skipped("the fit fails")
        try:
            return self.fit(self.train, self.checkpoints("base") if self.reloads else None, polls=self.polls)
        except ValueError as error:
            self.error = error
            if len(str(error).splitlines()) == 1:
                raise Refused(str(error)) from error
            raise
        except BaseException as error:
            self.error = error
            raise

    @cached_property
    def imputed(self) -> Tensor:
        """The test images as the base fit imputes them."""
        return self.base.impute(self.test).cpu()


def made_images(
    shape: tuple[int, int, int], count: int, rate: float, seed: int, empty: int = 0
) -> MaskedImages:
    """Smooth images with pixels missing at random, the first `empty` of them with nothing observed."""
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = shape
    coarse = torch.rand(count, channels, 5, 5, generator=generator) * 1.6 - 0.3
    smooth = functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)
    pixels = (smooth.clamp(0, 1) * 255).round().to(torch.uint8)
    observed = torch.rand(count, 1, height, width, generator=generator) >= rate
    observed[:empty] = False
    return MaskedImages(pixels * observed, observed)


def difference(one: Tensor, other: Tensor) -> float:
    """The largest difference between two imputations."""
    return float((one - other).detach().abs().max())


def require_same(one: Tensor, other: Tensor, what: str, tolerance: float = 0.0) -> None:
    if not (found := difference(one, other)) <= tolerance:
        raise Failed(f"{what}; values differ by up to {found:.2g}")


def check_output_of(method: Imputer, images: MaskedImages) -> None:
    imputed = method.impute(images)
    if isinstance(imputed, Tensor) and imputed.requires_grad:
        raise Failed("the imputation carries gradients: impute under torch.no_grad()")
    try:
        checked_output(imputed, images)
    except ValueError as error:
        raise Failed(str(error)) from error


def output(trial: Trial) -> None:
    check_output_of(trial.base, trial.test)


def inputs(trial: Trial) -> None:
    whole = {"fit": (trial.train, 1), "impute": (trial.test, 2)}
    trial.base.impute(trial.test)
    for who, (images, seed) in whole.items():
        before = made_images(trial.shape, len(images), RATE, seed)
        same = torch.equal(before.pixels, images.pixels) and torch.equal(before.observed, images.observed)
        if not same:
            raise Failed(f"{who} changed the images it was given")


def repeat(trial: Trial) -> None:
    expected = trial.imputed
    again = trial.fit(trial.train).impute(trial.test).cpu()
    advice = "two fits with one seed impute differently: draw from context.generator(name)"
    require_same(expected, again, advice)


def company(trial: Trial) -> None:
    parts = torch.cat([trial.base.impute(batch).cpu() for batch in trial.test.batches(7)])
    require_same(
        trial.imputed,
        parts,
        "imputing 7 images at a time gives another imputation than all at once",
        TOLERANCE,
    )
    alone = trial.base.impute(trial.test[-1:]).cpu()
    require_same(
        trial.imputed[-1:], alone, "an image alone is imputed differently than in company", TOLERANCE
    )
    order = torch.arange(TEST - 1, -1, -1)
    turned = trial.base.impute(trial.test[order]).cpu()
    require_same(trial.imputed[order], turned, "the order of the images changes the imputation", TOLERANCE)


def reload(trial: Trial) -> None:
    expected = trial.imputed
    again = trial.fit(trial.train, trial.checkpoints("base")).impute(trial.test).cpu()
    require_same(
        expected, again, "fitted again from the checkpoints of a finished fit, it imputes differently"
    )


def sparse(trial: Trial) -> None:
    method = trial.fit(made_images(trial.shape, TRAIN, 0.9, seed=3))
    check_output_of(method, made_images(trial.shape, TEST, 0.9, seed=4))


def empty(trial: Trial) -> None:
    method = trial.fit(made_images(trial.shape, TRAIN, RATE, seed=5, empty=TRAIN // 4))
    check_output_of(method, made_images(trial.shape, TEST, RATE, seed=6, empty=TEST // 4))


def deadline(trial: Trial) -> None:
    def late(number: int, frame: FrameType | None) -> None:
        raise Failed(f"fit still ran {PATIENCE:g} seconds after its deadline: ask context.out_of_time")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_DEADLINE + PATIENCE)
    try:
        end = time.monotonic() + SECONDS_TO_DEADLINE
        method = trial.fit(trial.train, settings=trial.long_settings, deadline=end)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    check_output_of(method, trial.test)


def resume(trial: Trial) -> str | None:
    expected, asked = trial.imputed, trial.polls.count
    if not asked:
        return "it never asks whether to stop, so a fit that was killed starts anew"
    try:
        trial.fit(trial.train, trial.checkpoints("stopped"), polls=Polls(stop_at=asked // 2 + 1))
    except Interrupted:
        pass
    else:
        raise Failed("asked to stop, fit ended as if it were done: raise bench.imputer.Interrupted")
    again = trial.fit(trial.train, trial.checkpoints("stopped")).impute(trial.test).cpu()
    require_same(
        expected, again, "a fit that was stopped and went on imputes differently from one that was not"
    )
    return None


CHECKS: dict[str, Callable[[Trial], str | None]] = {
    "output": output,
    "inputs": inputs,
    "repeat": repeat,
    "company": company,
    "reload": reload,
    "sparse": sparse,
    "empty": empty,
    "deadline": deadline,
    "resume": resume,
}


def answer(trial: Trial, name: str) -> Answer:
    """What one check finds."""
    status: Status
    try:
        status, reason = "pass", CHECKS[name](trial) or ""
    except Failed as error:
        status, reason = "fail", str(error)
    except Refused as error:
        status, reason = "refuses", str(error)
    except Skipped as error:
        status, reason = "skipped", str(error)
    except Exception as error:
        traceback.print_exc()
        status, reason = "fail", one_line(error)
    told = " ".join(reason.split()).encode(errors="replace").decode()
    return Answer(check=name, status=status, reason=told)


def main() -> None:
    """Make the checks; on Linux in a fork, so that whatever the method has started and left is known."""
    if SAFE:
        inherit_orphans()
        checks = os.fork()
        if checks:
            _watch(checks)
    _make_checks()


def _watch(checks: int) -> NoReturn:
    """Wait for the process that makes the checks, tell what it has left behind, and end as it did."""
    status = os.waitstatus_to_exitcode(os.waitpid(checks, 0)[1])
    until = time.monotonic() + ENDING_SECONDS
    while (left := descendants()) and time.monotonic() < until:
        psutil.wait_procs(left, timeout=0.05)
    told = LeftBehind(processes=len(end_descendants()))
    with contextlib.suppress(OSError):
        os.write(int(os.environ[EVENTS]), told.model_dump_json().encode() + b"\n")
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _make_checks() -> None:
    parent = Parent()
    # When the caller is gone, this process ends, and with it all that it has started in its group.
    parent.on_stop(lambda: os.killpg(0, signal.SIGKILL))
    job = CheckJob.model_validate(parent.job)
    torch.set_num_threads(1)
    trial = Trial(job)
    for name in job.checks:
        given = answer(trial, name)
        parent.tell(given)
        if given.status == "refuses":
            break
    parent.tell(Finished())


if __name__ == "__main__":
    main()
