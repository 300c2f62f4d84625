"""What is on disk: a folder for each cell. Its `result.json` is written last, in one step."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.store.presence import Presence
from bench.store.provenance import without_places
from bench.store.results import LARGEST_BYTES, SCHEMA, fault_of, readable, upgrade
from bench.util.files import (
    cannot_write,
    open_regular,
    read_regular,
    remove_drafts,
    write_atomically,
    write_json,
)

LOCK = ".lock"
SAMPLES = 64
LARGEST_NOTE = 1_000_000
FAILED_RERUN = "failed-rerun.json"
"""The result of a run that failed after an earlier one had given a number."""
OF_A_FIT = ("imputed.npy", "samples.npz", "per-image.npz")
"""The files that a fit leaves beside its result."""


class Held(BenchError):
    """Another run holds the cell."""


class CellFolder:
    """One cell's folder below the results' root."""

    def __init__(self, root: Path, path: Path) -> None:
        self.path = root / path
        self.log = self.path / "log.txt"
        self.imputed = self.path / "imputed.npy"
        self.progress = self.path / "progress.json"
        self.lock = self.path / LOCK
        self.fresh = self.path / "fresh"
        self._presence: Presence | None = None

    def checkpoints(self, key: str) -> Path:
        """The folder of checkpoints of a fit with this key. A fit with another key never sees them."""
        return self.path / "checkpoints" / key.removeprefix("sha256:")[:16]

    def discard_checkpoints(self) -> None:
        """Delete the checkpoints of all unfinished fits of this cell."""
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)

    def empty_fresh(self) -> None:
        """Delete the files of a run that had no result."""
        shutil.rmtree(self.fresh, ignore_errors=True)

    @contextlib.contextmanager
    def claimed(self, leaving: Callable[[], bool] = lambda: False) -> Iterator[int]:
        """Hold the cell, so that no other run writes to it, on any machine that sees the folder.

        Args:
            leaving: as for `Presence.begin`.

        Yields:
            The open lock. Processes that write here inherit it, so the cell is held until all of them have
            ended.

        Raises:
            Held: another run holds the cell.
            BenchError: the folder cannot be written, or its file system has no locks.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Opened for writing, because a lock over NFS needs that; "a", so that nothing is emptied.
            lock = open_regular(self.lock, "ab")
        except OSError as error:
            raise cannot_write(self.path, error) from error
        with lock:
            if not _lock(lock, fcntl.LOCK_EX):
                raise Held(f"{self.path} is being run by another bench")
            presence = Presence(self.path)
            try:
                begun = presence.begin(leaving)
            except OSError as error:
                raise cannot_write(self.path, error) from error
            if not begun:
                raise Held(f"{self.path} is being run by another machine")
            self._presence = presence
            try:
                for place in (self.path, *self.path.glob("checkpoints/*")):
                    remove_drafts(place)
                yield lock.fileno()
            finally:
                self._presence = None
                presence.end()

    def running(self) -> bool:
        """Whether a run holds the cell now. Does not wait and writes nothing."""
        try:
            lock = open_regular(self.lock)
        except OSError:
            return False
        with lock, contextlib.suppress(BenchError):
            # A shared lock, so that two processes that ask at once do not take each other for a run.
            if not _lock(lock, fcntl.LOCK_SH):
                return True
        return Presence(self.path).elsewhere

    def result(self) -> dict[str, Any] | None:
        """The stored result in this version's schema; None if there is none, or if it is torn or damaged.

        Raises:
            BenchError: there is a result that must not be replaced without the user's knowledge: it has a
                later schema, or its file cannot be read.
        """
        path = self.path / "result.json"
        try:
            stored = json.loads(read_regular(path, LARGEST_BYTES))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise BenchError(f"{path} cannot be read ({error.strerror}); correct that first") from error
        except (ValueError, RecursionError):
            return None
        return upgrade(stored) if readable(stored, path) else None

    def note(self, progress: Mapping[str, Any]) -> None:
        """Write the progress of the running cell for other commands to show. Errors are ignored."""
        with contextlib.suppress(OSError):
            draft = self.progress.with_suffix(".draft")
            with open_regular(draft, "wb", follow=False) as file:
                file.write(json.dumps(progress).encode())
            draft.replace(self.progress)

    def noted(self) -> dict[str, Any] | None:
        """The progress of a running cell a few seconds ago: its last `progress` or `stage`, by that name."""
        try:
            noted = json.loads(read_regular(self.progress, LARGEST_NOTE))
        except (OSError, ValueError, RecursionError):
            return None
        return noted if isinstance(noted, dict) else None

    def store(self, result: dict[str, Any]) -> bool:
        """Store what a run came to, with the files of its fit.

        If it is a failure and a number of an earlier run is stored, that number and its files stay. The
        failure is written beside them. A finished fit loses its checkpoints; one that was ended early keeps
        them.

        Args:
            result: if no reader would take it, it becomes a failure that says so.

        Returns:
            Whether a number of an earlier run stayed.

        Raises:
            Held: another machine has taken the claimed cell over; the result of that machine counts.
        """
        self._still_held()
        fault = fault_of({"schema": SCHEMA, **result})
        if fault is not None:
            known: dict[str, Any] = {
                name: result[name] for name in ("key", "cell", "asked", "problem") if name in result
            }
            result.clear()
            result.update(known, status="failed", error=f"its result could not be read back: {fault}")
        if result["status"] != "ok" and (self.result() or {}).get("status") == "ok":
            self.empty_fresh()
            write_json(self.path / FAILED_RERUN, {"schema": SCHEMA, **_for_others(result)})
            return True
        self._adopt_fresh()
        self._put(result)
        if result["status"] == "ok" and "stopped" not in result.get("fit", {}):
            self.discard_checkpoints()
        return False

    def replace(self, result: dict[str, Any]) -> None:
        """Store another form of the stored result, such as one with new scores. The fit's files stay.

        Raises:
            BenchError: no reader would take it. The stored result stays.
            Held: as `store`.
        """
        self._still_held()
        fault = fault_of({"schema": SCHEMA, **result})
        if fault is not None:
            raise BenchError(f"the result could not be read back: {fault}")
        self._put(result)

    def _put(self, result: Mapping[str, Any]) -> None:
        write_json(self.path / "result.json", {"schema": SCHEMA, **_for_others(result)})
        (self.path / FAILED_RERUN).unlink(missing_ok=True)

    def _adopt_fresh(self) -> None:
        """Replace the files that an earlier run left by those of the last run."""
        for name in OF_A_FIT:
            if (self.fresh / name).is_file():
                (self.fresh / name).replace(self.path / name)
            else:
                (self.path / name).unlink(missing_ok=True)
        self.empty_fresh()

    def _still_held(self) -> None:
        """Raises Held if another machine has taken the claimed cell over."""
        if self._presence is not None and not self._presence.stands:
            raise Held(f"{self.path} was taken over by another machine")

    def take_in(self, files: Mapping[str, bytes]) -> None:
        """Write the files of a cell that was run elsewhere, in the given order. They replace what is here."""
        for name, content in files.items():
            write_atomically(self.path / name, partial(_put, content))
        (self.path / FAILED_RERUN).unlink(missing_ok=True)

    def write_per_image(self, scores: Mapping[str, NDArray[np.floating]]) -> None:
        """Store the score of each test image, (N,) by metric, for paired tests between methods.

        Raises:
            Held: as `write`.
        """
        self._still_held()
        write_atomically(
            self.path / "per-image.npz",
            lambda file: np.savez_compressed(
                file,
                metrics=np.array(list(scores), dtype=str),
                scores=np.array([*scores.values()], dtype=np.float32),
            ),
        )

    def write_samples(
        self, truth: NDArray[np.uint8], observed: NDArray[np.bool_], recovered: NDArray[np.float32]
    ) -> None:
        """Store some test images for the figures: evenly spaced, and so the same for every method.

        Args:
            truth: (N, C, H, W); observed: (N, 1, H, W); recovered: (N, C, H, W) in [0, 1].
        """
        count = min(SAMPLES, len(truth))
        chosen = np.arange(count) * len(truth) // count
        write_atomically(
            self.path / "samples.npz",
            lambda file: np.savez_compressed(
                file,
                index=chosen,
                complete=truth[chosen],
                observed=observed[chosen],
                imputed=np.rint(recovered[chosen] * 255).astype(np.uint8),
            ),
        )


def _for_others(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result without the folders of this machine. Settings are not changed.

    Settings that differ only in the path of a file belong to two different cells.
    """
    told: dict[str, Any] = without_places(result)
    for name in ("cell", "method"):
        if "settings" in result.get(name, {}):
            told[name]["settings"] = result[name]["settings"]
    return told


def _lock(file: IO[Any], kind: int) -> bool:
    """Lock an open file without waiting. False if another process holds it.

    Raises:
        BenchError: the file system has no locks.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        # Network file systems that use record locks for flock report a held lock as EACCES.
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise BenchError(
            f"{file.name} cannot be locked ({error.strerror}): its file system has no locks, "
            "which two runs at once need; choose --results on another one"
        ) from error
    return True


def _put(content: bytes, file: IO[bytes]) -> None:
    file.write(content)
