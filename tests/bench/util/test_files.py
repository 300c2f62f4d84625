"""Reading: only regular files, and only to a limit."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.util.cache import written_whole
from bench.util.files import CappedLog, open_regular, read_arrays, read_regular, write_json
from tests.strange_files import within


def linked_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to(path.with_name("pipe"))


IRREGULAR: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a link to a pipe": linked_pipe,
    "a device without an end": lambda path: path.symlink_to("/dev/zero"),
    "an empty device": lambda path: path.symlink_to("/dev/null"),
    "a folder": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("kind", IRREGULAR)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    IRREGULAR[kind](path)
    for mode in ("rb", "ab"):
        with within(5), pytest.raises(OSError):
            open_regular(path, mode)


def test_a_socket_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("file")
        with within(5), pytest.raises(OSError):
            read_regular(Path("file"), 10)


def test_a_file_is_read_to_the_limit_and_no_further(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to(path)
    assert read_regular(path, 10) == read_regular(tmp_path / "link", 10) == b"0123456789"
    with pytest.raises(OSError, match="larger than 9 bytes"):
        read_regular(path, 9)
    with pytest.raises(OSError):
        open_regular(tmp_path / "link", follow=False)


def test_small_archives_of_large_arrays_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    np.savez_compressed(path, one=np.arange(4), large=np.zeros(3_000_000, dtype=np.uint8))
    assert path.stat().st_size < 10_000
    assert read_arrays(path, ("one",), 100_000)[0].tolist() == [0, 1, 2, 3]
    with pytest.raises(OSError, match="larger than 100,000 bytes"):
        read_arrays(path, ("one", "large"), 100_000)


def test_an_array_whose_numbers_have_no_bytes_is_refused(tmp_path: Path) -> None:
    """A list of them would fill the memory, although they take no room in the file."""
    path = tmp_path / "arrays.npz"
    np.savez(path, names=np.empty(1000, dtype="V0"))
    with pytest.raises(ValueError, match="no content"):
        read_arrays(path, ("names",), 100_000)


def test_a_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "log.txt").symlink_to(tmp_path / "mine")
    log = CappedLog(tmp_path / "log.txt")
    log.write(b"more")
    log.close()
    assert (tmp_path / "mine").read_bytes() == b"mine" and log.last == b"more"


@pytest.mark.parametrize(
    ("umask", "cache", "file", "filled", "between"),
    [
        (0o022, 0o777, 0o644, 0o755, 0o777),
        (0o002, 0o2775, 0o664, 0o2775, 0o2775),
        (0o022, 0o755, 0o644, 0o755, 0o755),
        (0o077, 0o700, 0o600, 0o700, 0o700),
    ],
)
def test_who_may_read_and_write_is_the_users_choice(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    umask: int,
    cache: int,
    file: int,
    filled: int,
    between: int,
) -> None:
    """Files follow the umask; in a cache that others may write, they may add to each folder."""
    root = tmp_path / "cache"
    root.mkdir()
    root.chmod(cache)
    monkeypatch.setenv("BENCH_CACHE", str(root))
    before = os.umask(umask)
    try:
        with written_whole(root / "decoded" / "one") as draft:
            (draft / "train.npy").write_bytes(b"")
        write_json(root / "methods" / "one.json", {})
        write_json(tmp_path / "results" / "result.json", {})
    finally:
        os.umask(before)

    def mode(*parts: str) -> int:
        return tmp_path.joinpath(*parts).stat().st_mode & 0o7777

    assert mode("results", "result.json") == mode("cache", "methods", "one.json") == file
    assert mode("cache", "decoded") == mode("cache", "methods") == between
    assert mode("cache", "decoded", "one") == filled
