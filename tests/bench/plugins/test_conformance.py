"""The checks of the contract: each catches a method made to break it, and our own methods pass them all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from bench.cli import main
from bench.plugins import conformance, conformance_process
from bench.plugins.conformance import BRIEF, CHECKS, TRACES, Outcome, check, failures
from bench.plugins.conformance_messages import CheckJob
from bench.plugins.conformance_process import Trial, answer
from bench.plugins.registry import find_methods
from tests.bench.command import wait_for
from tests.plugin_files import code_of

FIT = "pass"
IMPUTE = "return torch.full(images.pixels.shape, self.level)"

LOOP = """
        generator = context.generator("noise")
        state = context.checkpoints.load()
        step = 0
        self.level = torch.zeros(())
        if state is not None:
            step, self.level = state["step"], state["level"]
            RESTORE
        while step < self.epochs and not context.out_of_time:
            self.level = (self.level + torch.rand((), generator=generator)) / 2
            step += 1
            if context.stop_requested():
                context.checkpoints.save(
                    {"step": step, "level": self.level, "generator": generator.get_state()}
                )
                raise Interrupted("stopped")
        context.checkpoints.save({"step": step, "level": self.level, "generator": generator.get_state()})
"""
RESTORE = 'generator.set_state(state["generator"])'
FILL = "return self.level.expand(images.pixels.shape)"

# What is wrong: the code of fit and of impute, what the reason says, and the checks that must fail.
BROKEN = {
    "shape": (
        FIT,
        "return torch.zeros(len(images), 28, 28)",
        "must return float32 (24, 1, 28, 28)",
        "output",
    ),
    "dtype": (FIT, "return torch.zeros(images.pixels.shape).double()", "not float64", "output"),
    "array": (FIT, "return torch.zeros(images.pixels.shape).numpy()", "not ndarray", "output"),
    "range": (FIT, "return torch.full(images.pixels.shape, 1.5)", "must lie in [0, 1]", "output"),
    "infinite": (FIT, "return torch.full(images.pixels.shape, float('nan'))", "NaN or infinite", "output"),
    "gradient": (
        FIT,
        "return torch.zeros(images.pixels.shape, requires_grad=True)",
        "torch.no_grad()",
        "output",
    ),
    "training images": ("train.pixels[0] = 1", IMPUTE, "fit changed the images", "inputs"),
    "test images": (FIT, "images.observed[0] = False; " + IMPUTE, "impute changed the images", "inputs"),
    "seed": ("self.level = float(torch.rand(()))", IMPUTE, "draw from context.generator", "repeat reload"),
    "batch": (
        FIT,
        "return images.values.mean().expand(images.pixels.shape)",
        "7 images at a time",
        "company",
    ),
    "place": (
        FIT,
        "return torch.rand(images.pixels.shape, generator=torch.Generator().manual_seed(0))",
        "imputing 7 images at a time",
        "company",
    ),
    "checkpoint": (
        "self.level = 0.25 if context.checkpoints.load() is None else 0.5; context.checkpoints.save({})",
        IMPUTE,
        "checkpoints of a finished fit",
        "reload",
    ),
    "sparse": ("assert train.observed.float().mean() > 0.13", IMPUTE, "AssertionError", "sparse"),
    "empty in training": ("assert train.observed.any((1, 2, 3)).all()", IMPUTE, "AssertionError", "empty"),
    "empty in test": (
        FIT,
        "mean = images.values.sum((1, 2, 3)) / images.observed.sum((1, 2, 3))\n"
        "return mean[:, None, None, None].expand(images.pixels.shape)",
        "NaN or infinite",
        "empty",
    ),
    "deadline": ("time.sleep(self.epochs / 1000)", IMPUTE, "after its deadline", "deadline"),
    "unfinished": (
        "self.level = 0.25 if self.epochs < 9 else None",
        IMPUTE,
        "TypeError",
        "deadline",
    ),
    "generator": (LOOP.replace("RESTORE", "pass"), FILL, "stopped and went on imputes differently", "resume"),
    "stop": (
        LOOP.replace("RESTORE", RESTORE).replace('raise Interrupted("stopped")', "break"),
        FILL,
        "raise bench.imputer.Interrupted",
        "resume",
    ),
}


def plugin(folder: Path, fit: str = FIT, impute: str = IMPUTE) -> Path:
    path = folder / "plugin.py"
    path.write_text(code_of("checked", fit=fit, impute=impute))
    return path


def trial(folder: Path, path: Path) -> Trial:
    return Trial(
        CheckJob(
            reference=str(path),
            settings={"epochs": 3},
            long_settings={"epochs": 100000},
            images="grey",
            checks=tuple(CHECKS),
            folder=folder / "kept",
        )
    )


def found(path: Path, checks: tuple[str, ...]) -> dict[tuple[str, str], Outcome]:
    outcomes = check(find_methods([path])[path.stem], checks)
    return {(outcome.images, outcome.check): outcome for outcome in outcomes}


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("fault", BROKEN)
def test_a_check_catches_what_it_is_for(tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance_process, "PATIENCE", 1.0)
    fit, impute, reason, expected = BROKEN[fault]
    tried = trial(tmp_path, plugin(tmp_path, fit, impute))
    answers = {name: answer(tried, name) for name in CHECKS}
    failed = {name: given.reason for name, given in answers.items() if given.status != "pass"}
    assert reason in failed[expected.split()[0]]
    # Output that is no image fails whatever looks at the output; other faults are told apart.
    if expected != "output":
        assert set(failed) == set(expected.split())


@pytest.mark.parametrize(("fit", "impute"), [(FIT, IMPUTE), (LOOP.replace("RESTORE", RESTORE), FILL)])
def test_a_method_that_keeps_the_contract_passes(tmp_path: Path, fit: str, impute: str) -> None:
    tried = trial(tmp_path, plugin(tmp_path, fit, impute))
    assert {name: answer(tried, name).status for name in CHECKS} == dict.fromkeys(CHECKS, "pass")


def test_a_fit_that_fails_is_told_once(tmp_path: Path) -> None:
    path = plugin(tmp_path, "raise RuntimeError('two\\nlines')")
    (line,) = (number for number, text in enumerate(path.read_text().splitlines(), 1) if "raise" in text)
    tried = trial(tmp_path, path)
    answers = [answer(tried, name) for name in ("output", "repeat", "company")]
    assert [given.status for given in answers] == ["fail", "skipped", "skipped"]
    assert answers[0].reason == f"RuntimeError: two lines (line {line} of plugin.py)"


@pytest.mark.parametrize("how", ["", ", env={}, start_new_session=True"])
def test_what_is_left_behind_is_found(tmp_path: Path, how: str) -> None:
    pid = tmp_path / "pid"
    leaving = (
        f"open('left.txt', 'w').close(); left = subprocess.Popen(['sleep', '600']{how}); "
        f"open({str(pid)!r}, 'w').write(str(left.pid))"
    )
    outcomes = found(plugin(tmp_path, leaving), ("output", TRACES))
    assert not psutil.pid_exists(int(pid.read_text()))
    assert [outcome.status for outcome in outcomes.values()] == ["pass", "pass", "fail"]
    reason = outcomes["all", TRACES].reason
    assert reason == "left left.txt in the current folder; left a process running"


def test_a_thread_that_keeps_running_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance, "ENDING_SECONDS", 0.3)
    fit = "import threading, time; threading.Thread(target=time.sleep, args=[3600]).start()"
    outcomes = found(plugin(tmp_path, fit), ("output", TRACES))
    assert "left a thread running" in outcomes["all", TRACES].reason


def test_a_check_that_is_killed_leaves_nothing_running(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    file = plugin(tmp_path, f"open({str(begun)!r}, 'w').write(str(os.getpid()))\nwhile True: pass")
    call = "import sys; from bench.cli import main; main(sys.argv[1:])"
    checking = subprocess.Popen(
        [sys.executable, "-c", call, "check", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: begun.is_file() and begun.read_text())
    checking.kill()
    checking.wait()
    wait_for(lambda: not psutil.pid_exists(int(begun.read_text())), seconds=20)


def test_a_crash_fails_its_check_and_the_others_go_on(tmp_path: Path) -> None:
    fit = "if train.observed.float().mean() < 0.13: os._exit(3)"
    outcomes = found(plugin(tmp_path, fit), ("output", "sparse", "empty"))
    assert outcomes["grey", "sparse"].reason.startswith("its process ended (exit status 3)")
    others = [outcome.status for key, outcome in outcomes.items() if key != ("grey", "sparse")]
    assert others == ["pass", "pass", "pass"]


def test_images_that_a_method_refuses_are_no_failure(tmp_path: Path) -> None:
    grey = plugin(tmp_path, "if train.shape[0] == 1: raise ValueError('only colour images')")
    outcomes = found(grey, ("output", "inputs"))
    assert str(outcomes["grey", "output"]) == "refuses  grey    output    only colour images"
    assert [key for key, outcome in outcomes.items() if outcome.status == "pass"] == [
        ("colour", "output"),
        ("colour", "inputs"),
    ]


def test_a_method_that_refuses_all_images_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plugin(tmp_path, "raise ValueError('no such images')")
    with pytest.raises(SystemExit, match="1"):
        main(["check", "plugin.py"])
    assert "it takes neither grey nor colour images" in capsys.readouterr().out
    assert failures(Path("plugin.py")) == [
        "fail     colour  output    it takes neither grey nor colour images"
    ]


def test_an_unknown_name_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["check", "mcflo"])
    assert "unknown method 'mcflo'; did you mean 'mcflow'?" in capsys.readouterr().err


OURS = sorted(find_methods())


@pytest.fixture(scope="session")
def ours(cache: None) -> Iterator[dict[str, Future[list[Outcome]]]]:
    """The outcomes of our own methods, two methods at a time."""
    methods = find_methods()
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(lambda source: list(check(source)), methods[name]) for name in OURS}


@pytest.mark.process
@pytest.mark.parametrize("method", OURS)
def test_our_own_methods_keep_the_contract(method: str, ours: dict[str, Future[list[Outcome]]]) -> None:
    outcomes = ours[method].result()
    assert [str(outcome) for outcome in outcomes if outcome.status != "pass"] == []
    assert {outcome.check for outcome in outcomes if outcome.images == "grey"} == set(CHECKS)
    assert {outcome.check for outcome in outcomes if outcome.images == "colour"} == set(BRIEF)
