from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.datasets.download import fetch
from bench.errors import BenchError

CONTENT = bytes(range(256)) * 4000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; sends no more than `most` bytes of an answer, and ranges only if it `knows_ranges`."""

    most = len(CONTENT)
    knows_ranges = True
    starts: list[int]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        if self.path != "/file.bin":
            return self.send_error(404)
        wanted = self.headers.get("Range") if server.knows_ranges else None
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        server.starts.append(start)
        if start >= len(CONTENT):
            return self.send_error(416)
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : start + server.most])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.starts = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/file.bin"


def test_a_whole_file_gets_its_name(server: Server, tmp_path: Path) -> None:
    fetch(address(server), tmp_path / "new" / "file.bin", MD5)
    assert (tmp_path / "new" / "file.bin").read_bytes() == CONTENT
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    server.most = 400_000
    for _ in range(2):
        with pytest.raises(BenchError, match=r"file.bin cannot be downloaded \(the connection broke"):
            fetch(address(server), target, MD5)
        assert not target.exists()
    fetch(address(server), target, MD5)
    assert target.read_bytes() == CONTENT
    assert server.starts == [0, 400_000, 800_000]


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"x" * 100)
    server.knows_ranges = False
    fetch(address(server), tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    fetch(address(server), tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_another_file_is_dropped(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="the download is not the published file"):
        fetch(address(server), tmp_path / "file.bin", "0" * 32)
    assert not list(tmp_path.iterdir())


def test_a_refusing_server_and_no_server_say_what_to_put_where(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=f"the server answers 404.*get it from .*put it in {tmp_path}"):
        fetch(address(server) + "x", tmp_path / "file.bin", MD5)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.bin"
        with pytest.raises(BenchError, match=r"file.bin cannot be downloaded .*get it from") as caught:
            fetch(url, tmp_path / "file.bin", MD5)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "file.bin").exists()
