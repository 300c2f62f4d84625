"""`bench run` from the command line on real digits, with methods that behave and methods that do not."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from bench.datasets import load
from bench.problem.posing import Problem, pose
from bench.run.method_process import peak_memory_mb
from tests.bench.command import TEST, TRAIN, Bench, wait_for
from tests.real import mnist_pixels


def test_a_plugin_gets_its_row(bench: Bench) -> None:
    bench.plugin(fit="context.facts['tf32'] = torch.backends.cudnn.allow_tf32")
    status, output = bench.run()
    assert status == 0, output
    (result,) = bench.results()
    assert result["status"] == "ok" and result["cost"]["steps"] == 7
    assert result["fit"]["tf32"] is False
    assert result["display"]["dataset"] == "MNIST"
    assert result["display"]["dataset_citation"].startswith("@article{lecun1998gradient")
    assert (result["problem"]["train"], result["problem"]["test"]) == (TRAIN, TEST)
    truth = mnist_pixels("t10k", 10_000).numpy()[np.arange(TEST) * 10_000 // TEST]
    samples = np.load(bench.cell() / "samples.npz")
    chosen = samples["index"]
    assert np.array_equal(samples["complete"], truth[chosen])
    pasted = np.where(samples["observed"], truth[chosen], round(0.25 * 255))
    assert np.array_equal(samples["imputed"], pasted)


def test_why_a_metric_has_no_value_is_told_once(bench: Bench) -> None:
    bench.plugin()
    _, output = bench.run("--seeds", "0,1")
    results = bench.results()
    assert len(results) == 2 and output.count("FID -,") == 2
    (reason,) = {result["metrics"]["fid"]["reason"] for result in results}
    assert f"more than 84 test images, not {TEST}" in reason
    assert " ".join(output.split()).count(f"FID -: {reason}") == 1


def test_a_method_that_leaves_the_gpu_alone_is_measured_in_main_memory() -> None:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        pytest.skip("this process has used the GPU")
    assert peak_memory_mb(torch.device("cuda")) > 10


def test_rmse_of_a_constant_by_hand(bench: Bench) -> None:
    bench.plugin()
    assert bench.run("--set", "constant.value=0.5")[0] == 0
    (result,) = bench.results()
    truth = mnist_pixels("t10k", 10_000).numpy()[np.arange(TEST) * 10_000 // TEST] / 255
    # Other tests of this process pose problems into the same cache.
    incomplete = pose(Problem("mnist", rate=0.8, train=TRAIN, test=TEST)).incomplete
    bits = np.load(incomplete / "test-observed.npy")
    missing = np.unpackbits(bits, count=TEST * 784).reshape(truth.shape) == 0
    expected = np.sqrt(((truth - 0.5)[missing] ** 2).mean())
    assert result["metrics"]["rmse"]["value"] == pytest.approx(expected, rel=1e-6)
    stored = np.load(bench.cell() / "per-image.npz")
    errors = np.where(missing, (truth - 0.5) ** 2, 0).sum(axis=(1, 2, 3)) / missing.sum() * TEST
    assert stored["metrics"][0] == "rmse"
    assert stored["scores"][0] == pytest.approx(errors, rel=1e-6)


def test_a_done_cell_is_not_run_again_and_what_changes_it_is(bench: Bench) -> None:
    bench.plugin(fit="print('fitting', flush=True)")
    assert bench.run()[0] == 0
    assert "done before" in bench.run()[1]
    assert (bench.cell() / "log.txt").read_text().count("fitting") == 1
    assert "done before" not in bench.run("--rerun")[1]
    bench.plugin(fit="print('fitting differently', flush=True)")
    assert "done before" not in bench.run()[1]
    assert (bench.cell() / "log.txt").read_text().count("fitting") == 3


def test_each_mechanism_has_a_cell_of_its_own(bench: Bench) -> None:
    bench.plugin()
    both = ["--mechanism", "patch:side=3", "--mechanism", "selfmask", "--mechanism", "patch:side=3"]
    assert bench.run(*both)[0] == 0
    stored = bench.results()
    assert sorted(one["cell"]["mechanism"] for one in stored) == ["patch:side=3", "selfmask:slope=5"]
    assert len({one["problem"]["observed"] for one in stored}) == 2
    folders = {path.parts[-4] for path in bench.folder.rglob("result.json")}
    assert folders == {"patch-side=3-0.8", "selfmask-slope=5-0.8"}
    assert bench.run(*both)[1].count("done before") == 2
    assert "2 done" in bench.call("status", "--plugin", str(bench.folder / "constant.py"))[1]
    assert "mechanism patch:side=3" in bench.call("table")[1]


SEARCH = r"""
import pathlib
needles = eval(pathlib.Path("needles.txt").read_text())
invert = bytes(range(255, -1, -1))
found = []
for line in open("/proc/self/maps"):
    low, high = (int(part, 16) for part in line.split()[0].split("-"))
    if "r" not in line.split()[1] or "[v" in line:
        continue
    with open("/proc/self/mem", "rb") as memory:
        memory.seek(low)
        try:
            content = memory.read(high - low).translate(invert)
        except OSError:
            continue
    found += [number for number, needle in enumerate(needles) if needle in content]
    del content
found = sorted(set(found))
links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
files = [os.readlink(link) for link in links if os.path.lexists(link)]
maps = open("/proc/self/maps").read()
whole = [f for f in files if "complete" in f and "incomplete" not in f]
pathlib.Path(pathlib.Path("where.txt").read_text()).write_text(
    repr((found, whole, "/complete/" in maps, "test-pixels" in maps))
)
"""


def test_the_method_s_process_holds_no_complete_image_and_no_label(bench: Bench) -> None:
    """A method searches its own memory for complete rows of images; it knows them only inverted."""
    truth = mnist_pixels("t10k", 10_000).numpy()[np.arange(TEST) * 10_000 // TEST]
    train = mnist_pixels("train", 60_000).numpy()[np.arange(TRAIN) * 60_000 // TRAIN]
    needles = [
        bytes(255 - value for value in image[0, 8:16].tobytes()) for image in (*truth[:20], *train[:20])
    ]
    labels = load("mnist").test_labels
    assert labels is not None
    needles.append(bytes(255 - value for value in labels[np.arange(TEST) * 10_000 // TEST].tobytes()))
    (bench.folder / "needles.txt").write_text(repr(needles))
    (bench.folder / "where.txt").write_text(str(bench.folder / "found.txt"))
    bench.plugin(fit=SEARCH.strip())
    status, output = bench.run()
    assert status == 0, output + (bench.cell() / "log.txt").read_text()
    # Nor are test images there, as incomplete as they are, while it fits.
    assert (bench.folder / "found.txt").read_text() == "([], [], False, False)"


def test_the_search_would_find_what_is_there(bench: Bench) -> None:
    """The same search by a method that reads the truth, which only breaking the rules can give it."""
    truth = mnist_pixels("t10k", 10_000).numpy()[:1]
    needle = bytes(255 - value for value in truth[0, 0, 8:16].tobytes())
    (bench.folder / "needles.txt").write_text(repr([needle]))
    (bench.folder / "where.txt").write_text(str(bench.folder / "found.txt"))
    cheat = "from tests.real import mnist_pixels; self.truth = mnist_pixels('t10k', 1)\n"
    bench.plugin(fit=cheat + SEARCH.strip())
    bench.environment["PYTHONPATH"] = str(Path(__file__).parents[3])
    status, output = bench.run()
    assert status == 0, output + (bench.cell() / "log.txt").read_text()
    assert (bench.folder / "found.txt").read_text().startswith("([0]")


def test_a_killed_fit_goes_on_and_ends_with_the_same_numbers(bench: Bench, tmp_path: Path) -> None:
    settings = ["--methods", "mcflow", "--set", "mcflow.hidden=32", "--set", "mcflow.epochs=40"]
    whole = Bench(tmp_path / "whole", Path(bench.environment["BENCH_CACHE"]), bench.monkeypatch)
    whole.folder.mkdir()
    assert whole.run(*settings)[0] == 0
    process = bench.start(*settings)
    checkpoints = bench.folder / "results" / "runs"
    wait_for(lambda: any(checkpoints.rglob("kept-stage-2.json")))
    for each in (process, *psutil.Process(process.pid).children()):
        each.kill()
    process.wait(timeout=60)
    status, output = bench.run(*settings)
    assert status == 0, output
    (mine,), (undisturbed,) = bench.results(), whole.results()
    assert mine["metrics"] == undisturbed["metrics"]
    assert mine["fit"] == undisturbed["fit"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_a_checkpoint(bench: Bench, how: signal.Signals) -> None:
    settings = ["--methods", "mcflow", "--set", "mcflow.hidden=32", "--set", "mcflow.epochs=400"]
    process = bench.start(*settings)
    wait_for(lambda: any((bench.folder / "results").rglob("kept-stage-1.json")))
    process.send_signal(how)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 130, output
    assert any((bench.folder / "results").rglob("checkpoint-*.json"))
    assert not bench.results()


def test_a_fit_whose_parent_is_killed_ends_with_a_checkpoint(bench: Bench) -> None:
    process = bench.start("--methods", "mcflow", "--set", "mcflow.hidden=32", "--set", "mcflow.epochs=4000")
    wait_for(lambda: any((bench.folder / "results").rglob("kept-stage-1.json")))
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.wait()
    wait_for(lambda: all(map(has_ended, children)))
    assert any((bench.folder / "results").rglob("checkpoint-*.json"))


def has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more. One that nobody has asked how it ended is a zombie."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rates", "1.5"], "rate 1.5 is not in (0, 1)"),
        (["--rates", "many"], "rate 'many' is not a number"),
        (["--methods", "constnat"], "unknown method 'constnat'; did you mean 'constant'?"),
        (["--set", "constant.valeu=1"], "unknown setting of constant 'valeu'; did you mean 'value'?"),
        (["--set", "constant.value=big"], "constant.value takes a value of type float, not 'big'"),
        (["--set", "value=1"], "is not METHOD.NAME=VALUE"),
        (["--preset", "quik"], "unknown preset 'quik'; did you mean 'quick'?"),
        (["--device", "abacus"], "device 'abacus' cannot be used here"),
        (["--train", "70000"], "mnist has 60000 train images; 70000 were asked for"),
        (["--dataset", "minst"], "mnist"),
        (["--plugin", "nowhere.py"], "plugin nowhere.py does not exist"),
        (["--results", "constant.py/below"], "constant.py/below: Not a directory; choose another folder"),
    ],
)
def test_wrong_calls_are_refused_in_one_line(bench: Bench, arguments: list[str], message: str) -> None:
    bench.plugin()
    status, output = bench.run(*arguments)
    assert status == 2, output
    assert message in output
    assert len(output.strip().splitlines()) == 1 and output.startswith("error: ")
    assert not bench.results()


def test_a_plugin_that_cannot_be_imported_is_refused_with_its_error(bench: Bench) -> None:
    (bench.folder / "constant.py").write_text("import nothing_of_this_name\n")
    status, output = bench.run()
    assert status == 2
    assert "No module named 'nothing_of_this_name'" in output
