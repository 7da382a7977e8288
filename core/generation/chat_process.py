"""Render a chat template, in a process of its own: a template is a program, and may never end.

Reads JSON from standard input and writes the text. Run by `chat`, not imported: jinja2 is needed
here alone.
"""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

MOST_CHARACTERS = 1 << 20


def render(template: str, values: dict[str, Any]) -> str:
    """The text that ``template`` makes of ``values``, as `transformers` renders it.

    Raises `ValueError` where the template refuses the values or makes too much, and what Jinja
    raises.
    """
    from jinja2.ext import LoopControlExtension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> NoReturn:
        raise ValueError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[LoopControlExtension]
    )
    environment.filters["tojson"] = lambda x, **kept: json.dumps(x, ensure_ascii=False, **kept)
    environment.globals["raise_exception"] = refuse
    text = environment.from_string(template).render(values)
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it makes {len(text):,} characters")
    return text


def main() -> None:
    """Render what standard input asks for; one line on standard error where that fails."""
    asked = json.loads(sys.stdin.buffer.read())
    try:
        text = render(asked["template"], asked["values"])
    except Exception as error:  # a stranger's program: one line, whatever it does
        print(" ".join(str(error).split())[:300] or type(error).__name__, file=sys.stderr)
        sys.exit(2)
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))


if __name__ == "__main__":
    main()
