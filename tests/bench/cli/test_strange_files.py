"""Results in which somebody has put pipes, devices and links: no command waits, fills memory or tells."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bench.report import samples
from bench.store.results import read_result
from tests.bench.command import Bench
from tests.bench.report.pictured import store_with_images
from tests.bench.report.stored import result
from tests.strange_files import within

OF_A_CELL = ("result.json", "log.txt", "samples.npz", "per-image.npz", ".lock", ".holder", "progress.json")
COMMANDS = ("table", "status", "report", "show")


def cells(bench: Bench) -> list[Path]:
    """Two cells of methods that nobody has here, so that nothing is compared; their folders."""
    root = bench.folder / "results" / "runs"
    store_with_images(root, result("one"), result("two"))
    return sorted(path.parent for path in root.rglob("result.json"))


def call(bench: Bench, command: str, folder: Path) -> str:
    arguments = [str(folder)] if command == "show" else []
    with within(60):
        _, printed = bench.call(command, *arguments)
    return printed


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_no_command_waits_for_a_pipe_or_reads_a_device(bench: Bench, command: str, kind: str) -> None:
    folder, other = cells(bench)
    for name in OF_A_CELL:
        path = folder / name
        path.unlink(missing_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero")
    printed = call(bench, command, other)
    assert "Error" not in printed and printed.count("left out") <= 1
    if command == "table":
        assert "result.json cannot be read (not a regular file); left out" in printed
    # The result is whole, and all else is not.
    (folder / "result.json").unlink()
    (folder / "result.json").write_bytes((other / "result.json").read_bytes().replace(b'"two"', b'"one"'))
    printed = call(bench, command, folder)
    assert "Error" not in printed and "left out" not in printed


def test_a_linked_log_is_not_shown(bench: Bench) -> None:
    folder, _ = cells(bench)
    (bench.folder / "secret").write_text("a secret\n")
    (folder / "log.txt").symlink_to(bench.folder / "secret")
    printed = call(bench, "show", folder)
    assert "one" in printed and "secret" not in printed and "log.txt" not in printed


def test_a_small_file_of_large_samples_is_left_out_with_the_reason(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = cells(bench)
    monkeypatch.setattr(samples, "LARGEST_BYTES", 10_000_000)
    large = np.zeros((64, 1, 600, 600), dtype=np.uint8)
    np.savez_compressed(
        folder / "samples.npz", index=np.arange(64), complete=large, observed=large == 0, imputed=large
    )
    assert (folder / "samples.npz").stat().st_size < 1_000_000
    with pytest.raises(ValueError, match="larger than 10,000,000 bytes"):
        samples.read_samples(read_result(folder / "result.json"))


@pytest.mark.parametrize("name", [".written", "tables.md", "long.csv"])
def test_a_pipe_among_the_written_tables_stops_nothing(bench: Bench, name: str) -> None:
    folder, _ = cells(bench)
    (bench.folder / "results/runs/tables").mkdir()
    os.mkfifo(bench.folder / "results/runs/tables" / name)
    assert "error: cannot write" in call(bench, "table", folder)


def test_a_run_does_not_wait_for_a_pipe_in_its_cell(bench: Bench) -> None:
    bench.plugin()
    folder = bench.folder / "results/runs/mnist/pixel-0.8/constant@train=150,test=60/seed-0"
    folder.mkdir(parents=True)
    for name in ("log.txt", "progress.draft"):
        os.mkfifo(folder / name)
    with within(120, 10**12):
        assert bench.run()[0] == 0
    for name in (".lock", "result.json"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with within(60, 10**12):
            status, printed = bench.run()
        assert status == 2 and "not a regular file" in printed
        (folder / name).unlink()
