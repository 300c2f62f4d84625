"""Where cells run: places here, jobs that travel, Ray with a node lost, submitit's stand-in for Slurm."""

from __future__ import annotations

import fcntl
import json
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cli.executor_options import Place
from bench.errors import BenchError
from bench.grid.cell import Cell
from bench.grid.grid import Grid
from bench.plugins.registry import Description, Setting, Source
from bench.problem.posing import Problem, facts_of
from bench.run import events
from bench.run.executors import Elsewhere, local, slurm
from bench.run.executors.local import Local, places
from bench.run.executors.queued import begun_anew, lost
from bench.run.executors.slurm import Slurm, parse_options, resources, seats
from bench.run.job import Job, new_job
from bench.run.machine import Machine, gpus_of
from bench.run.run_cells import run_cells
from bench.run.watching import Stop
from bench.store.results import SCHEMA
from tests.bench.command import Bench, wait_for

METHOD = Description("m", "", "", "", "", False, {"a": Setting("int", 1)}, {}, {}, (), "")


def job_of(machine: Machine, method: str = "m", root: Path = Path("results")) -> Job:
    """A job of a cell that is never run."""
    return new_job(Cell(Problem("mnist"), Source(method, "", ""), METHOD, "quick", {}), root, machine, None)


HERE = Place("local", None, 1, "cpu", "float32", None, None, None, None, None, ())


def test_gpus_take_turns() -> None:
    assert places(["0", "1"], 2, None) == ["0", "1", "0", "1"]
    assert places(["0", "1"], 2, 3) == ["0", "1", "0"]
    assert places(["GPU-ab"], 1, 1) == ["GPU-ab"]
    assert places([], 1, None) == [None]
    assert places([], 1, 3) == [None, None, None]
    with pytest.raises(BenchError, match="--gpu-slots 4 shares GPUs, and this run has none"):
        places([], 4, None)
    with pytest.raises(
        BenchError, match=r"--jobs 5 is more than 2 GPU\(s\) with 2 cell\(s\) each.*--gpu-slots 3"
    ):
        places(["0", "1"], 2, 5)


def test_no_two_cells_share_a_place_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    busy: set[str] = set()
    seen: list[str] = []

    def pretend(job: Job, report: Any, stop: Stop) -> events.End:
        gpu = job.machine.gpu
        assert gpu is not None and gpu not in busy and job.machine.device == "cuda"
        busy.add(gpu)
        seen.append(gpu)
        stop.now.wait(0.01)
        busy.remove(gpu)
        return events.Stopped()

    monkeypatch.setattr(local, "run_job", pretend)
    with Local(["0", "1", "2"]) as executor:
        waiting, running = list(range(30)), 0
        while waiting or running:
            while waiting and running < 3:
                executor.start(waiting.pop(), job_of(Machine("cuda:1", 1, "float32")))
                running += 1
            running -= len(executor.wait())
    assert len(seen) == 30 and {*seen} == {"0", "1", "2"}


def test_cells_that_run_at_a_time_divide_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.run.machine.cores", lambda: 8)
    for jobs, given_threads, expected in ((None, None, 8), (3, None, 2), (16, None, 1), (3, 5, 5)):
        place = replace(HERE, jobs=jobs, threads=given_threads)
        machine, executor = place.settle(None, Path(), [])
        assert machine.threads == expected
        assert executor.room == (jobs or 1)


MEET = """
open(NAME, "w").close()
while not (os.path.exists("one") and os.path.exists("two")):
    time.sleep(0.05)
"""


def test_two_jobs_run_at_a_time(bench: Bench) -> None:
    """Each waits for the other, so that one after the other both would be late."""
    for name in ("one", "two"):
        bench.plugin(MEET.strip().replace("NAME", repr(name)), f"meets_{name}")
    status, output = bench.run("--methods", "meets_one,meets_two", "--jobs", "2", "--timeout", "60")
    assert status == 0, output


def grid_of(bench: Bench, methods: list[str], seeds: list[int]) -> list[Any]:
    plugins = [bench.folder / f"{name}.py" for name in methods]
    return Grid(methods, ["mnist"], [0.8], seeds, "smoke", train=60, test=40, plugins=plugins).cells()


def test_a_job_is_json_and_holds_the_whole_cell(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", bench.environment["BENCH_CACHE"])
    bench.walk()
    machine = Machine("cpu", 3, "float32", Path("/data"), 5.0, 2.0)
    (cell,) = grid_of(bench, ["walk"], [7])
    job = new_job(cell, Path("results"), machine, "failed").model_copy(update={"before": ("k", "2026")})
    again = Job.model_validate(json.loads(json.dumps(job.as_json())))
    assert again == job and again.machine == machine
    facts = {"fingerprint": "a", "observed": "b"}
    assert again.cell.key(facts) == cell.key(facts) and again.cell.path == cell.path


def test_whatever_can_change_a_number_changes_its_key() -> None:
    method = METHOD
    facts = {"fingerprint": "f", "observed": "o"}
    cell = Cell(Problem("mnist"), Source("m", "", ""), method, "quick", {})
    keys = [
        cell.key(facts),
        cell.key(facts | {"observed": "other"}),
        cell.key(facts | {"fingerprint": "other"}),
        replace(cell, overrides={"a": 2}).key(facts),
        replace(cell, problem=Problem("mnist", seed=1)).key(facts),
        replace(cell, description=replace(method, source="other")).key(facts),
    ]
    assert len(set(keys)) == len(keys)


def test_a_job_s_data_folder_is_the_one_that_was_looked_at(bench: Bench) -> None:
    (cell,) = Grid(["mean"], ["mnist"], [0.8], [0], "smoke").cells()
    job = new_job(cell, Path("results"), Machine("cpu", 1, "float32", Path("~/data")), None)
    assert job.machine.data_dir == (Path.home() / "data").resolve()


def test_a_job_that_is_started_again_keeps_its_new_checkpoints(tmp_path: Path) -> None:
    job = job_of(Machine("cpu", 1, "float32"), root=tmp_path)
    kept = job.cell_folder.path / "checkpoints" / "key" / "checkpoint-000001.json"
    for rerun, left in (("failed", True), (None, True), ("all", False)):
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text("{}")
        if rerun == "all":
            # `bench status` holds a cell for a moment when it looks at it.
            looking = job.cell_folder.lock.open("a")
            fcntl.flock(looking, fcntl.LOCK_SH)
            threading.Timer(0.5, looking.close).start()
        started = begun_anew(job.model_copy(update={"rerun": rerun}))
        assert kept.exists() == left
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    assert begun_anew(started) == started and kept.exists()


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(1, 40))
def test_arrays_together_keep_to_the_cap(sizes: list[int], most: int) -> None:
    found = seats(sizes, most)
    shares = [share for share in found if share is not None]
    assert len(shares) == len(sizes) and min(shares) >= 1
    assert sum(shares) == max(most, len(sizes))


def test_seats_by_hand() -> None:
    assert seats([1, 1, 98], 3) == [1, 1, 1]
    assert seats([4, 8], 3) == [1, 2]
    assert seats([4, 8], None) == [None, None]


def test_sbatch_options_of_a_method_win_over_those_of_all() -> None:
    options = parse_options(
        ["partition=gpu", "mem=10GB", "prflow.mem=64GB", "cpus-per-task=2"], ["prflow", "mean"]
    )
    job = job_of(Machine("cuda", 8, "auto", None, 3600, 6), "prflow")
    expected = {"cpus_per_task": "2", "gpus_per_node": 1, "mem": "64GB", "partition": "gpu", "time": 130}
    assert resources(job, options) == expected
    plain = job_of(Machine("cpu", 8, "auto", None, None, 6), "mean")
    assert resources(plain, {"": {}}) == {"cpus_per_task": 8, "mem": "10GB", "time": 1440}
    with pytest.raises(BenchError, match=r"unknown method in --slurm 'prfow'; did you mean 'prflow'"):
        parse_options(["prfow.mem=1"], ["prflow"])
    with pytest.raises(BenchError, match=r"is not \[METHOD.\]NAME=VALUE"):
        parse_options(["exclusive"], [])
    with pytest.raises(BenchError, match="no whole number of minutes"):
        resources(job, {"": {"time": "1-00:00:00"}})


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (replace(HERE, address="auto"), "--address is for --executor ray, not local"),
        (replace(HERE, max_running=3), "--max-running is for --executor slurm, not local"),
        (replace(HERE, executor="ray", sbatch=("mem=1",)), "--slurm is for --executor slurm, not ray"),
        (replace(HERE, executor="slurm", device="auto"), "say --device cuda or --device cpu"),
        (replace(HERE, executor="slurm", jobs=2), "use --max-running"),
        (
            replace(HERE, executor="slurm", device="gpu"),
            "--device gpu is not for --executor slurm.*say cpu or",
        ),
        (replace(HERE, executor="ray", device="cuda:1"), "--device cuda:1 is not for --executor ray"),
    ],
)
def test_options_of_another_executor_are_refused(place: Place, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        place.settle(None, Path(), ["mean"])


def test_a_gpu_that_no_ray_node_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would wait for one for ever."""
    monkeypatch.setattr("bench.run.executors.ray.Ray", lambda *given: SimpleNamespace(has_gpus=False))
    with pytest.raises(BenchError, match="no node of the Ray cluster has a GPU; give --device cpu"):
        replace(HERE, executor="ray", device="cuda").settle(None, Path(), [])


def test_gpus_that_are_named_and_not_there_are_no_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert gpus_of("cuda") == ["4", "5"]
    assert gpus_of("cuda:1") == ["5"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpus_of("cuda") == ["0", "1"]


def test_on_the_cpu_nothing_sees_a_gpu(bench: Bench) -> None:
    """Scoring would take the first one, however full."""
    bench.environment["CUDA_VISIBLE_DEVICES"] = "0"
    bench.plugin("context.facts['seen'] = os.environ['CUDA_VISIBLE_DEVICES']")
    assert bench.run()[0] == 0
    assert bench.results()[0]["fit"]["seen"] == ""


@pytest.mark.parametrize(("executor", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch, executor: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    place = replace(HERE, executor=executor)
    with pytest.raises(
        BenchError, match=f"needs the package {package}; install it with: pip install {package}"
    ):
        place.settle(None, Path(), [])


def test_a_lost_rerun_is_told_and_costs_no_number(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", bench.environment["BENCH_CACHE"])
    (cell,) = Grid(["mean"], ["mnist"], [0.8], [0], "smoke", train=20, test=10).cells()
    job = new_job(cell, bench.folder, Machine("cpu", 1, "float32"), "all")
    folder, key = job.cell_folder, cell.key(facts_of(cell.problem))

    def store(status: str, date: str) -> None:
        about = {"cell": cell.record(), "provenance": {"date": date}, "metrics": {}}
        folder.path.mkdir(parents=True, exist_ok=True)
        stored = {"schema": SCHEMA, "key": key, "status": status, **about}
        (folder.path / "result.json").write_text(json.dumps(stored))

    for status, left in (("ok", ("ok", None)), ("failed", ("failed", "the node is gone"))):
        store(status, "2026-01-01")
        end = lost(begun_anew(job), "the node is gone")
        assert isinstance(end, events.Stored) and end.result["status"] == "failed"
        stored = folder.result() or {}
        assert (stored["status"], stored.get("error")) == left
    started = begun_anew(job)
    store("ok", "2026-01-02")
    # It had stored its result before it was lost.
    assert isinstance(lost(started, "the node is gone"), events.Kept)


def test_slurm_gets_no_job_for_a_cell_that_another_run_has(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    (cell,) = Grid(["mean"], ["mnist"], [0.8], [0], "smoke", train=20, test=10).cells()
    job = new_job(cell, tmp_path, Machine("cpu", 1, "float32"), None)
    executor = Slurm(tmp_path, {"": {}}, None, cluster="local")
    with job.cell_folder.claimed():
        executor.start(1, job)
        assert executor.wait() == [(1, events.Held())]
    assert not (tmp_path / ".slurm").exists()


def test_slurm_jobs_that_come_later_wait_for_the_cap_s_seats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setattr(slurm, "WAIT_SECONDS", 0.0)
    first, second = Grid(["mean"], ["mnist"], [0.7, 0.8], [0], "smoke", train=20, test=10).cells()
    executor = Slurm(tmp_path, {"": {}}, 1, cluster="local")
    executor.room = None  # As on a cluster, which queues what it is given.
    submitted: list[int] = []
    monkeypatch.setattr(executor, "_submit", lambda: submitted.append(executor._new.pop()[0]))
    here = Machine("cpu", 1, "float32")
    running = SimpleNamespace(
        job_id="7", done=lambda: False, paths=SimpleNamespace(result_pickle=tmp_path / "no.pkl")
    )
    executor._jobs[1] = running, new_job(first, tmp_path, here, None)
    executor.start(2, new_job(second, tmp_path, here, None))
    executor.wait()
    assert not submitted
    del executor._jobs[1]
    executor.wait()
    assert submitted == [2]


def test_a_job_that_is_to_end_before_it_began_ends() -> None:
    Elsewhere(job_of(Machine("cpu", 1, "float32"))).end()


@pytest.mark.process
def test_submitit_runs_a_grid_and_a_lost_job_is_a_row(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("BENCH_CACHE", bench.environment["BENCH_CACHE"])
    monkeypatch.chdir(bench.folder)
    bench.plugin("raise RuntimeError('no luck')", "poor")
    bench.plugin("import psutil; psutil.Process().parent().parent().kill(); time.sleep(60)", "fatal")
    bench.walk()
    results = bench.folder / "results" / "runs"
    cells = grid_of(bench, ["poor", "fatal", "walk"], [0, 1])
    executor = Slurm(results, {"": {}}, 2, cluster="local")
    assert run_cells(cells, results, Machine("cpu", 1, "float32"), None, executor) == 1
    found = [(result["cell"]["method"], result["status"], result.get("error")) for result in bench.results()]
    assert len(found) == 6
    assert [row[1] for row in found if row[0] == "walk"] == ["ok", "ok"]
    assert [row[2] for row in found if row[0] == "poor"] == ["RuntimeError: no luck"] * 2
    for _, status, error in [row for row in found if row[0] == "fatal"]:
        assert status == "failed" and "ended without a result" in str(error)
    assert not [*results.rglob("*.pkl")]


def test_what_a_node_sends_home_waits_for_who_only_looks(tmp_path: Path) -> None:
    from bench.run.executors.ray import bring_home

    grid = Grid(["mean"], ["mnist"], [0.8], [0], "smoke", train=20, test=10)
    job = new_job(grid.cells()[0], tmp_path, Machine("cpu", 1, "float32"), None)
    folder = job.cell_folder
    with folder.claimed():
        pass
    looking = folder.lock.open("rb")
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(1.0, looking.close).start()
    end = events.Stored(result={"key": "k"})
    assert bring_home(job, end, {"result.json": b"{}"}) == end
    assert (folder.path / "result.json").read_bytes() == b"{}"


@pytest.mark.process
def test_a_ray_node_is_lost_and_every_cell_finishes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    from bench.run.executors.ray import Ray

    monkeypatch.setenv("BENCH_CACHE", bench.environment["BENCH_CACHE"])
    monkeypatch.chdir(bench.folder)
    bench.walk()
    (bench.folder / "walk.py").write_text((bench.folder / "walk.py").read_text().replace("= 2.0", "= 8.0"))
    results = bench.folder / "results" / "runs"
    cells = grid_of(bench, ["walk"], [0, 1, 2, 3])
    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]

    lost = []

    def lose_a_node() -> None:
        wait_for(lambda: len({path.parent for path in results.rglob("checkpoint-0*.json")}) == 2, 200)
        cluster.remove_node(nodes[0], allow_graceful=False)
        lost.append(nodes[0])

    losing = threading.Thread(target=lose_a_node)
    losing.start()
    try:
        executor = Ray(cluster.address, threads=1, gpu_slots=1, jobs=None)
        assert run_cells(cells, results, Machine("cpu", 1, "float32"), None, executor) == 0
    finally:
        losing.join()
        cluster.shutdown()
    assert lost
    assert [result["status"] for result in bench.results()] == ["ok"] * 4
    assert [result["cost"]["steps"] for result in bench.results()] == [40] * 4
