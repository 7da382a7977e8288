"""Write a native checkpoint folder: config, weights, tokenizer. Complete or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.hops import VOCABULARY
from loopscope.core.families.native import config_of
from loopscope.core.files import make_folder, write_text, written
from loopscope.core.model.architecture import parameter_shapes
from loopscope.core.model.looped_model import LoopedModel

# How a trained model was made, beside it.
RECORD_FILE = "training.json"


def save_native(
    folder: Path,
    model: LoopedModel,
    *,
    tokenizer: str | None = None,
    record: dict[str, Any] | None = None,
    with_tokenizer: bool = True,
    half: bool = False,
) -> None:
    """Write ``config.json``, ``model.safetensors`` and ``tokenizer.json`` into ``folder``.

    ``tokenizer`` is the text of the last, that of the task hops unless given. ``record`` says how
    the model was trained and becomes ``training.json``. ``half`` rounds the weights to float16,
    half the bytes. Each file is written beside its final name and then moved there, the weights
    last: where they are, the folder is complete. Raises `LoopscopeError` for a weight that float16
    cannot hold, before anything is written.
    """
    state = model.state_dict()
    weights = {name: state[name].contiguous() for name in parameter_shapes(model.arch)}
    if half:
        weights = {name: _halved(name, weight) for name, weight in weights.items()}
    make_folder(folder)
    write_text(folder / "config.json", json.dumps(config_of(model.arch), indent=2) + "\n")
    if with_tokenizer:
        tokenizer = tokenizer or json.dumps(hops_tokenizer(), indent=1) + "\n"
        write_text(folder / "tokenizer.json", tokenizer)
    if record is not None:
        write_text(folder / RECORD_FILE, json.dumps(record) + "\n")
    with written(folder / "model.safetensors", (SafetensorError,)) as part:
        save_file(weights, part, metadata={"format": "pt"})


def _halved(name: str, weight: Tensor) -> Tensor:
    """A weight in float16; raises `LoopscopeError` where one of its numbers would be infinite."""
    half = weight.half()
    if bool((torch.isinf(half) & torch.isfinite(weight)).any()):
        raise LoopscopeError(
            f"'{name}' holds {float(weight.abs().max()):.3g}, more than float16 can: "
            "train without --half"
        )
    return half


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
