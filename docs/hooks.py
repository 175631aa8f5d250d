"""Puts the model card of nano, which lies in the package, among the pages of the website."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

CARD = "src/peclip/assets/nano/README.md"
PAGE = "models/nano.md"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the model card as a page."""
    text = (Path(config.docs_dir).parent / CARD).read_text(encoding="utf-8")
    files.append(File.generated(config, PAGE, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links to the model card in the source tree into links to its page."""
    up = "../" * page.file.src_uri.count("/")
    return markdown.replace(f"]({up}../{CARD})", f"]({up}{PAGE})")
