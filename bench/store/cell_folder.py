"""What is on disk: one folder a cell, its `result.json` written in one step when all the rest is there."""

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
from bench.store.results import SCHEMA, fault_of, readable, upgrade
from bench.util.files import cannot_write, remove_drafts, write_atomically, write_json

LOCK = ".lock"
SAMPLES = 64
OF_A_FIT = ("imputed.npy", "samples.npz", "per-image.npz")
"""What a fit leaves beside its result."""


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
        """Where a fit with this key keeps its checkpoints; another key never sees them."""
        return self.path / "checkpoints" / key.removeprefix("sha256:")[:16]

    def discard_checkpoints(self) -> None:
        """Forget every unfinished fit of this cell."""
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)

    def empty_fresh(self) -> None:
        """Forget what a run wrote that came to no result."""
        shutil.rmtree(self.fresh, ignore_errors=True)

    def adopt_fresh(self) -> None:
        """Let what a run wrote take the place of what an earlier one left, where it left any."""
        for name in OF_A_FIT:
            if (self.fresh / name).is_file():
                (self.fresh / name).replace(self.path / name)
            else:
                (self.path / name).unlink(missing_ok=True)
        self.empty_fresh()

    @contextlib.contextmanager
    def claimed(self, leaving: Callable[[], bool] = lambda: False) -> Iterator[int]:
        """Hold the cell, so that no other run writes to it, here or on another machine that sees the folder.

        Args:
            leaving: whether not to wait any longer for a machine that may have ended.

        Yields:
            The open lock, which a process that writes here inherits: the cell is held until all have ended.

        Raises:
            Held: another run holds it.
            BenchError: the folder cannot be written, or its file system knows no locks.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Neither truncated nor read-only: over NFS a lock needs a file that is open for writing.
            lock = self.lock.open("a")
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
        """Whether a run holds the cell now; asks without waiting and writes nothing."""
        try:
            lock = self.lock.open("rb")
        except OSError:
            return False
        with lock, contextlib.suppress(BenchError):
            # A shared lock, so that two who ask at once do not take each other for a run.
            if not _lock(lock, fcntl.LOCK_SH):
                return True
        return Presence(self.path).elsewhere

    def result(self) -> dict[str, Any] | None:
        """The stored result in this version's schema; None if there is none, or if it is torn or damaged.

        Raises:
            BenchError: a result is there that must not be replaced unseen: it is of a later schema, or its
                file cannot be read.
        """
        path = self.path / "result.json"
        try:
            stored = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise BenchError(f"{path} cannot be read ({error.strerror}); put that right") from error
        except (ValueError, RecursionError):
            return None
        return upgrade(stored) if readable(stored, path) else None

    def note(self, progress: Mapping[str, Any]) -> None:
        """Keep where the running cell stands, for who looks on; what cannot be written is not missed."""
        with contextlib.suppress(OSError):
            draft = self.progress.with_suffix(".draft")
            draft.write_text(json.dumps(progress))
            draft.replace(self.progress)

    def noted(self) -> dict[str, Any] | None:
        """Where a running cell stood a few seconds ago: its last `progress` or `stage`, under that name."""
        try:
            noted = json.loads(self.progress.read_text())
        except (OSError, ValueError):
            return None
        return noted if isinstance(noted, dict) else None

    def write(self, result: dict[str, Any]) -> None:
        """Store the result, and drop what only an unfinished fit needs; one that ended early goes on from it.

        Raises:
            Held: another machine has taken the claimed cell over meanwhile; its result counts.
        """
        self._still_held()
        fault = fault_of({"schema": SCHEMA, **result})
        if fault is not None:
            # A number that no reader takes would be lost without a word.
            known: dict[str, Any] = {
                name: result[name] for name in ("key", "cell", "asked", "problem") if name in result
            }
            result.clear()
            result.update(known, status="failed", error=f"its result could not be read back: {fault}")
        write_json(self.path / "result.json", {"schema": SCHEMA, **_for_others(result)})
        if result["status"] == "ok" and "stopped" not in result.get("fit", {}):
            self.discard_checkpoints()

    def _still_held(self) -> None:
        """Raises Held where another machine has taken the claimed cell over meanwhile."""
        if self._presence is not None and not self._presence.stands:
            raise Held(f"{self.path} was taken over by another machine")

    def take_in(self, files: Mapping[str, bytes]) -> None:
        """Write the files of a cell that was run elsewhere, in their order."""
        for name, content in files.items():
            write_atomically(self.path / name, partial(_put, content))

    def write_per_image(self, scores: Mapping[str, NDArray[np.floating]]) -> None:
        """Keep each test image's own score, (N,) by metric, for paired tests between methods.

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
        """Keep some test images for the figures, evenly spaced and so the same ones for every method.

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
    """A result without the folders of this machine, but with its settings as they were given.

    Two fits that differ in the path of a file alone are two cells.
    """
    told: dict[str, Any] = without_places(result)
    for name in ("cell", "method"):
        if "settings" in result.get(name, {}):
            told[name]["settings"] = result[name]["settings"]
    return told


def _lock(file: IO[Any], kind: int) -> bool:
    """Lock an open file without waiting; False where another holds it.

    Raises:
        BenchError: the file system knows no locks.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        # Network file systems that stand in for flock with record locks say EACCES for "held".
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise BenchError(
            f"{file.name} cannot be locked ({error.strerror}): its file system knows no locks, "
            "which keep two runs apart; choose --results on another one"
        ) from error
    return True


def _put(content: bytes, file: IO[bytes]) -> None:
    file.write(content)
