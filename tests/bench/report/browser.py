"""A headless Chromium for the tests of the page; they are skipped if there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BINARY = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)


@contextmanager
def opened(page: Path) -> Iterator[tuple[Any, list[str]]]:
    """The page in a browser without network, and what its console says."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BINARY is None:
        pytest.skip("Chromium is not installed (Debian: apt install chromium)")
    with api.sync_playwright() as playwright:
        # Root, as in a container, has no sandbox.
        browser = playwright.chromium.launch(executable_path=BINARY, args=["--no-sandbox"])
        context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
        view = context.new_page()
        said: list[str] = []
        view.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        view.on("pageerror", lambda error: said.append(f"error: {error}"))
        view.on("requestfailed", lambda request: said.append(f"request: {request.url}"))

        def dismiss(dialog: Any) -> None:
            said.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        view.on("dialog", dismiss)
        view.goto(page.as_uri())
        yield view, said
        browser.close()
