"""A hook of MkDocs: the pages show pictures of `results/`, which lies beside the folder of the documents.

On a code host the links work as they are written. For the built pages, the pictures are copied in.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PICTURE = re.compile(r"\]\(((?:\.\./)*)\.\./(results/[^)]+\.png)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by MkDocs once, with the files that go into the built pages."""
    text = "".join(page.read_text(encoding="utf-8") for page in Path(config.docs_dir).rglob("*.md"))
    for name in sorted({found[2] for found in PICTURE.finditer(text)}):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Called by MkDocs for each page: `results/` is inside the documents' folder there."""
    return PICTURE.sub(r"](\1\2)", markdown)
