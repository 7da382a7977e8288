"""The notebooks of the docs run from the first cell to the last, and carry no output."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkpoints import write_checkpoint
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"
NAMES = ("settling", "looped-against-deep", "your-own-checkpoint", "a-real-language-model")


def cells(name: str) -> Iterator[dict[str, Any]]:
    document = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())
    assert document["nbformat"] == 4
    for cell in document["cells"]:
        if cell["cell_type"] == "code":
            yield cell


def run_notebook(name: str, parameters: dict[str, object]) -> dict[str, Any]:
    """Run every code cell in turn, and draw what a cell ends in; ``parameters`` are the reader's."""
    names: dict[str, Any] = {}
    pictures = 0
    for cell in cells(name):
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), names)
        if last is not None:
            shown = eval(compile(ast.Expression(last.value), name, "eval"), names)
            if hasattr(shown, "_repr_png_"):
                pictures += shown._repr_png_()[0].startswith(b"\x89PNG")
        if "parameters" in cell["metadata"].get("tags", ()):
            names |= parameters
    return names | {"pictures": pictures}


@pytest.mark.parametrize("name", NAMES)
def test_no_output_is_kept(name: str) -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(name))


def test_every_notebook_is_tested_and_linked() -> None:
    assert {file.stem for file in NOTEBOOKS.glob("*.ipynb")} == set(NAMES)
    page = (NOTEBOOKS.parent / "notebook.md").read_text()
    assert all(f"notebooks/{name}.ipynb" in page for name in NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[:3])
def test_a_notebook_of_the_bundled_models_runs(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_notebook(name, {})["pictures"] >= 1
    assert capsys.readouterr().out


@pytest.mark.slow
def test_a_language_model_is_looped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a small random Llama that reads bytes, in place of the reader's own."""
    sizes = {"vocab_size": 256, "max_position_embeddings": 128, "num_hidden_layers": 6}
    write_checkpoint(tmp_path, "llama", sizes)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    given = {"checkpoint": str(tmp_path), "span": (2, 4), "damping": 0.5}
    names = run_notebook("a-real-language-model", given)
    assert names["pictures"] == 2
    assert names["looped"].architecture.damping == 0.5
    assert names["view"].name == "quality"
    assert "deep:" in capsys.readouterr().out


ROOT = NOTEBOOKS.parents[1]
NAMED = ("notebook", "runs", "prompts", "correspondence", "probe", "depth", "similarity")
PAGES = ("README", *(f"docs/{name}" for name in NAMED))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its blocks in turn, as a reader types them, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / f"{page}.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)
    assert blocks
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
