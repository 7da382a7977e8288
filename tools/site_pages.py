"""The documentation site besides docs/: README, changelog, cards and notebooks as pages.

Hooks of mkdocs (`mkdocs.yml` names this file). Links are made to lead where the pages are on the
site; a link to a file of the repository that is no page keeps its words alone.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Files of the repository that are pages of the site, and where.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    **{path.relative_to(ROOT).as_posix(): f"checkpoints/{path.parent.name}.md"
       for path in sorted(ROOT.glob("resources/checkpoints/*/README.md"))},
    **{path.relative_to(ROOT).as_posix(): f"notebooks/{path.stem}.md"
       for path in sorted(ROOT.glob("docs/notebooks/*.ipynb"))},
}  # fmt: skip
LOGO = "images/logo.svg"
# A page as `loopscope report` writes it, made when the site is built, and where it is linked.
EXAMPLE, EXAMPLE_IN, EXAMPLE_WORDS = "example.html", "report.md", "The site has an example"
EXAMPLE_PROMPT = "sq xn uk ql lu vx ns kv ? 3 : k q x s u v l n"
OTHERS = "More"
LINK = re.compile(r"(!?)\[((?:[^\]\\]|\\.)*)\]\(([^)\s]+)\)", re.DOTALL)


def on_config(config: MkDocsConfig) -> None:
    """List the pages that `mkdocs.yml` does not name, so that a new page is never left out."""
    named = set(re.findall(r"[\w/-]+\.md", str(config.nav)))
    there = {path.name for path in Path(config.docs_dir).glob("*.md")} | set(PAGES.values())
    if config.nav is not None and (others := sorted(there - named)):
        config.nav.append({OTHERS: others})


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages and the logo that stand elsewhere in the repository."""
    for source, place in PAGES.items():
        files.append(File.generated(config, place, content=page_of(source, place)))
    logo = ROOT / "resources" / "app" / "loopscope.svg"
    files.append(File.generated(config, LOGO, abs_src_path=str(logo)))
    if (page := example()) is not None:
        files.append(File.generated(config, EXAMPLE, content=page))


def example() -> bytes | None:
    """Return a run of the bundled model as one page; None where the extra `report` is missing."""
    if find_spec("plotly") is None or find_spec("loopscope") is None:
        return None
    import loopscope
    from loopscope.app.report.content import Shown
    from loopscope.app.report.page import write_page

    run = loopscope.load("bundled:looped", "cpu").run(EXAMPLE_PROMPT, 24)
    command = (
        f'loopscope report bundled:looped --prompt "{EXAMPLE_PROMPT}" --recurrences 24 -o {EXAMPLE}'
    )
    with tempfile.TemporaryDirectory() as folder:
        shown = Shown(run.recording.info.checkpoint, run.recording)
        return write_page([shown], Path(folder) / EXAMPLE, command).read_bytes()


def on_page_markdown(markdown: str, page: Page, files: Files, **_: object) -> str:
    """Take links out of docs/ to where they lead, and lists as this Markdown wants them."""
    place = page.file.src_uri
    if place == EXAMPLE_IN and files.get_file_from_path(EXAMPLE) is not None:
        markdown = markdown.replace(EXAMPLE_WORDS, f"[{EXAMPLE_WORDS}]({EXAMPLE})")
    if place not in PAGES.values():
        markdown = moved(markdown, f"docs/{place}", place)
    return indented(markdown)


def page_of(source: str, place: str) -> str:
    """Return the page that a file of the repository becomes."""
    text = (ROOT / source).read_text("utf-8")
    if not source.endswith(".ipynb"):
        return moved(text, source, place)
    name = PurePosixPath(source).name
    return moved(notebook(text), source, place) + f"\n[The notebook]({name}), to run it.\n"


def notebook(text: str) -> str:
    """Return the words and the code of a notebook as a page."""
    cells = ((cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"])
    parts = (f"```python\n{text}\n```" if kind == "code" else text for kind, text in cells)
    return "\n\n".join(parts) + "\n"


def moved(text: str, source: str, place: str) -> str:
    """Return a page whose links lead from its place on the site."""

    def link(found: re.Match[str]) -> str:
        mark, words, target = found.groups()
        if "://" in target or target.startswith("#"):
            return found[0]
        path, _, anchor = target.partition("#")
        aim = os.path.normpath(PurePosixPath(source).parent / path)
        if aim in PAGES:
            aim = PAGES[aim]
        elif aim.startswith("docs/"):
            aim = aim.removeprefix("docs/")
        else:
            return words
        way = os.path.relpath(aim, PurePosixPath(place).parent)
        return f"{mark}[{words}]({way}{'#' * bool(anchor)}{anchor})"

    return LINK.sub(link, text)


def indented(markdown: str) -> str:
    """Return the text with lists set apart and their inner lines indented by four.

    The repository's own view takes the indentation of the entry's first word, two or three; this
    Markdown takes four, and a list only after an empty line.
    """
    lines: list[str] = []
    fence, depth = "", 0  # the fence that is open; the indentation of the entry, or 0
    for line in markdown.splitlines():
        mark = re.match(r" *(```+)", line)
        entry = None if fence else re.match(r"([-*]|\d+\.) +", line)
        if entry:
            before = lines[-1] if lines else ""
            if before.strip() and not depth and not before.startswith("#"):
                lines.append("")
            depth = len(entry[0])
            line = entry[1].ljust(4) + line[depth:]
        elif depth and line.strip():
            if line.startswith(" " * depth):
                line = "    " + line[depth:]
            elif not fence:
                depth = 0
        if mark:
            fence = "" if fence else mark[1]
        lines.append(line)
    return "\n".join(lines)
