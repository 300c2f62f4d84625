"""Downloads of the official files: under another name first, then verified, then renamed."""

from __future__ import annotations

import hashlib
import http.client
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from bench.errors import BenchError

TIMEOUT_SECONDS = 30
CHUNK = 1 << 18


def fetch(url: str, target: Path, md5: str) -> None:
    """Download a file, or the rest of it after an earlier try. `target` appears only when it is complete.

    Args:
        url: the address of the file.
        target: the path to write. An incomplete download lies beside it, with `.part` added to its name.
        md5: the published checksum.

    Raises:
        BenchError: the network or the server fails, or the file is not the published one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = partial_name(target)
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        with (
            urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response,
            # 206 sends the rest; 200 sends the whole file again.
            part.open("ab" if response.status == 206 else "wb") as file,
        ):
            _copy(response, file, target.name)
    except urllib.error.HTTPError as error:
        # 416: the server has nothing beyond what was downloaded before.
        if error.code != 416:
            raise refusal(target, url, f"the server answers {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise refusal(target, url, str(reason) or type(error).__name__) from error
    accept(target, md5, url)


def _copy(response: http.client.HTTPResponse, file: BinaryIO, name: str) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    start = file.tell()
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    if not sys.stderr.isatty():
        print(f"downloading {name}", file=sys.stderr)
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as display:
        task = display.add_task(f"downloading {name}", total=total, completed=start)
        while chunk := response.read(CHUNK):
            file.write(chunk)
            display.advance(task, len(chunk))
    if total is not None and file.tell() < total:
        raise ConnectionError("the connection broke; the next try continues from there")


def partial_name(target: Path) -> Path:
    """The path of a file while it is incomplete."""
    return target.with_name(f"{target.name}.part")


def accept(target: Path, md5: str, url: str) -> None:
    """Give a download its name if it is the published file; delete it if not.

    Raises:
        BenchError: its MD5 is not the published one.
    """
    part = partial_name(target)
    with part.open("rb") as file:
        same = hashlib.file_digest(file, "md5").hexdigest() == md5
    if not same:
        part.unlink()
        raise refusal(target, url, "the download is not the published file")
    part.replace(target)


def refusal(target: Path, url: str, reason: str) -> BenchError:
    """The error for a failed download: what failed, and which file to put where."""
    reason = " ".join(reason.split())
    return BenchError(
        f"{target.name} cannot be downloaded ({reason}); get it from {url} and put it in {target.parent}"
    )
