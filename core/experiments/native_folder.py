"""Write a native checkpoint folder: config, weights, tokenizer. Complete or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from loopscope.core.experiments.hops import VOCABULARY
from loopscope.core.families.native import config_of
from loopscope.core.model.architecture import parameter_shapes
from loopscope.core.model.looped_model import LoopedModel


def save_native(folder: Path, model: LoopedModel, *, with_tokenizer: bool = True) -> None:
    """Write ``config.json``, ``model.safetensors`` and ``tokenizer.json`` into ``folder``.

    Each file is written beside its final name and then moved there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "config.json", json.dumps(config_of(model.arch), indent=2) + "\n")
    state = model.state_dict()
    weights = {name: state[name].contiguous() for name in parameter_shapes(model.arch)}
    part = folder / "model.safetensors.part"
    save_file(weights, part, metadata={"format": "pt"})
    os.replace(part, folder / "model.safetensors")
    if with_tokenizer:
        _replace(folder / "tokenizer.json", json.dumps(hops_tokenizer(), indent=1) + "\n")


def _replace(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def hops_tokenizer() -> dict[str, Any]:
    """Return the `tokenizer.json` of the hops vocabulary: every character is a token.

    Spaces separate and are dropped; capitals are read as small letters.
    """
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Sequence, Split, WhitespaceSplit

    vocabulary = {token: i for i, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Sequence([WhitespaceSplit(), Split(Regex("."), "isolated")])
    parsed: dict[str, Any] = json.loads(tokenizer.to_str())
    return parsed
