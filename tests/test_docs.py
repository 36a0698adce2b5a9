"""The documentation is a site without dead links, and the README's links lead to files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from ml.config import PROJECT

LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")


def _build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    command += ["--config-file", str(config), "--site-dir", str(site)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})


def test_the_site_is_built_and_nothing_in_it_loads_from_elsewhere(tmp_path: Path) -> None:
    built = _build(PROJECT / "mkdocs.yml", tmp_path / "site")
    assert built.returncode == 0, built.stderr
    pages = {page.name: page.read_text() for page in (tmp_path / "site").glob("*.html")}
    assert {f"{page.stem}.html" for page in (PROJECT / "docs").glob("*.md")} <= set(pages)
    elsewhere = re.compile(r'<(?:script|img)[^>]+src="https?:[^"]+"|<link rel="stylesheet"[^>]+href="https?:[^"]+"')
    assert [found for text in pages.values() for found in elsewhere.findall(text)] == []


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    links = ("nowhere.md", "keys.md#no-such-section")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A page\n\n" + "".join(f"[there]({link})\n" for link in links))
    (tmp_path / "docs" / "keys.md").write_text("# Keys\n")
    told = (PROJECT / "mkdocs.yml").read_text().partition("\nnav:\n")[0]
    (tmp_path / "mkdocs.yml").write_text(told)
    built = _build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert built.returncode != 0
    assert all(link in built.stderr for link in links)


def test_links_of_the_readme_lead_to_files() -> None:
    links = LINK.findall((PROJECT / "README.md").read_text())
    assert len(links) > 10
    assert [link for link in links if not (PROJECT / link).exists()] == []


def test_production_code_has_the_usual_words_of_the_field() -> None:
    """`told` said nothing about what it held; a record of an earlier version still has a field of this name."""
    files = [file for room in ("ml", "plugins", "dags", "deploy") for file in (PROJECT / room).rglob("*.py")]
    assert len(files) > 200
    assert [str(file.relative_to(PROJECT)) for file in files if re.search(r"\btold\b", file.read_text())] == ["ml/records.py"]
