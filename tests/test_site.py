"""The documentation site is built without a warning, is whole, and asks nothing of another server."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]


def test_one_version_is_named_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert newest is not None
    assert newest[1] == version


@pytest.fixture(scope="module")
def pages() -> SimpleNamespace:
    """The hooks of the site."""
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    return SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "site_pages.py")))


def test_links_lead_where_the_pages_are(pages: SimpleNamespace) -> None:
    text = (
        "[runs](docs/runs.md#cuts) ![window](docs/images/window.png) [how](tests/core/test_ties.py) "
        "[looped](resources/checkpoints/looped/README.md) [log](CHANGELOG.md) [x](https://x.org/a.md)"
    )
    assert pages.moved(text, "README.md", "index.md") == (
        "[runs](runs.md#cuts) ![window](images/window.png) how [looped](checkpoints/looped.md) "
        "[log](changelog.md) [x](https://x.org/a.md)"
    )
    card, place = "resources/checkpoints/deep/README.md", "checkpoints/deep.md"
    assert pages.moved("[it](../../../docs/runs.md)", card, place) == "[it](../runs.md)"
    assert pages.moved("[a](b.md) [c](../core/d.py)", "docs/a.md", "a.md") == "[a](b.md) c"


def test_a_notebook_is_a_page_of_its_words_and_code(pages: SimpleNamespace) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "words"]},
        {"cell_type": "code", "source": ["a = 1\n", "a"]},
    ]
    page = pages.notebook(json.dumps({"cells": cells}))
    assert page == "# Title\nwords\n\n```python\na = 1\na\n```\n"


def test_lists_are_set_apart_and_indented(pages: SimpleNamespace) -> None:
    given = (
        "Words:\n- one\n  more\n- two\n\n  still two\n\n1. a\n\n   ```\n   - x\n   ```\nend\n- last"
    )
    wanted = (
        "Words:\n\n-   one\n    more\n-   two\n\n    still two\n\n1.  a\n\n    ```\n    - x\n"
        "    ```\nend\n\n-   last"
    )
    assert pages.indented(given) == wanted


def test_a_page_that_is_not_named_is_listed_at_the_end(
    pages: SimpleNamespace, tmp_path: Path
) -> None:
    for name in ("old.md", "new.md"):
        (tmp_path / name).write_text("")
    config = SimpleNamespace(docs_dir=str(tmp_path), nav=[{"Use": ["old.md"]}])
    pages.on_config(config)
    assert config.nav == [{"Use": ["old.md"]}, {"More": sorted([*pages.PAGES.values(), "new.md"])}]


@pytest.mark.slow
def test_the_site_is_built_strictly_and_whole(pages: SimpleNamespace, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = {path.stem for path in (ROOT / "docs").glob("*.md")}
    names |= {place.removesuffix(".md") for place in pages.PAGES.values()} - {"index"}
    assert len(names) > 40
    found = json.loads((tmp_path / "search" / "search_index.json").read_text())["docs"]
    searched = {entry["location"].partition("#")[0].rstrip("/") for entry in found}
    for name in names:
        assert (tmp_path / name / "index.html").is_file(), name
        assert name in searched
    assert any("install-desktop" in entry["text"] for entry in found if not entry["location"])
    for file in (ROOT / "docs").rglob("*"):
        if file.suffix in (".png", ".ipynb", ".html"):
            assert (tmp_path / file.relative_to(ROOT / "docs")).is_file(), file
    # The page of `loopscope report`, made for the site, and the way to it.
    assert (tmp_path / "example.html").stat().st_size > 1_000_000
    assert 'href="../example.html"' in (tmp_path / "report" / "index.html").read_text()
    asked = re.compile(
        r"<(?:link|script|img|iframe)\b[^>]*?(?:src|href)=\"?(?:https?:)?//([^\s\">]+)"
    )
    for page in tmp_path.rglob("*.html"):
        assert asked.findall(page.read_text()) == [], page
