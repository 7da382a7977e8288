"""Write docs/api.md: what `import loopscope` gives, from the docstrings.

    python tools/write_api_page.py

A test holds the page to what this writes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import loopscope

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
HEAD = """# The Python interface

What `import loopscope` gives, written from the docstrings by `tools/write_api_page.py`;
[From Python](notebook.md) shows it in use. Importing it loads neither torch nor Qt. What is not on
this page may change from one version to the next.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    named = [(name, getattr(loopscope, name)) for name in loopscope.__all__ if name[0] != "_"]
    functions = [(name, value) for name, value in named if inspect.isfunction(value)]
    classes = [(name, value) for name, value in named if inspect.isclass(value)]
    for name, function in functions:
        parts.append(f"## {name}\n\n{_signature(name, function)}\n\n{_text(function)}\n")
    for name, cls in classes:
        parts.append(f"## {name}\n\n{_text(cls)}\n")
        parts += [f"### {name}.{own}\n\n{text}\n" for own, text in _members(cls)]
    return "\n".join(parts)


def _members(cls: type) -> Iterator[tuple[str, str]]:
    """Public methods and properties of the class itself, in the order they are written."""
    for name, value in vars(cls).items():
        if name.startswith("_"):
            continue
        if isinstance(value, property):
            yield name, _text(value)
        elif inspect.isfunction(value):
            yield name, f"{_signature(name, value)}\n\n{_text(value)}"


def _signature(name: str, function: Callable[..., object]) -> str:
    """The call, one parameter a line where it is long."""
    signature = inspect.signature(function)
    kept = [p for p in signature.parameters.values() if p.name != "self"]
    parts = [_parameter(p) for p in kept]
    first = next((i for i, p in enumerate(kept) if p.kind is p.KEYWORD_ONLY), None)
    if first is not None and not any(p.kind is p.VAR_POSITIONAL for p in kept):
        parts.insert(first, "*")
    call = f"{name}({', '.join(parts)}) -> {signature.return_annotation}"
    if len(call) > 90:
        lines = "".join(f"    {part},\n" for part in parts)
        call = f"{name}(\n{lines}) -> {signature.return_annotation}"
    return f"```python\n{call}\n```"


def _parameter(p: inspect.Parameter) -> str:
    stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    default = "" if p.default is p.empty else f" = {p.default!r}"
    return f"{stars}{p.name}: {p.annotation}{default}"


def _text(of: object) -> str:
    """A docstring as Markdown: its sections as lists, double backticks as single ones."""
    text = inspect.getdoc(of) or ""
    text = re.sub(r"^Parameters\n-+\n(.*?)(?=\n\n\S|\Z)", _listed, text, flags=re.M | re.S)
    # ``key : what it is`` of a class's fields.
    text = re.sub(r"^([a-z_]+(?:, [a-z_]+)*) : ", r"- **\1**: ", text, flags=re.M)
    text = re.sub(r"docs/(\w+)\.md", r"[\1](\1.md)", text)
    return text.replace("``", "`")


def _listed(section: re.Match[str]) -> str:
    """The parameters of a docstring as a list."""
    listed = re.sub(r"^(\S.*)\n    ", r"- **\1**: ", section[1], flags=re.M)
    return re.sub(r"^    ", "  ", listed, flags=re.M)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
