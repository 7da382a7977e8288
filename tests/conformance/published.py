"""Models of `transformers`: made and saved with every weight perturbed, and what they compute."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What a model computes on one prompt.

    logits : ``[T, V]``, in float32 or, of what is written out here, in float64.
    patterns : ``[layers that run, H, T, T]``.
    """

    logits: np.ndarray
    patterns: np.ndarray


@contextmanager
def quiet() -> Iterator[None]:
    """Let `transformers` say nothing."""
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        transformers.utils.logging.disable_progress_bar()
        yield


def _auto(config: Any) -> Any:
    import transformers

    masked = config.model_type == "albert"
    return transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM


def save(config: dict[str, Any], folder: Path, seed: int = 0) -> None:
    """Make a random model and save it: each norm and bias matters, no head is the embedding's copy.

    Raises what `transformers` raises for a config that it does not accept.
    """
    with quiet():
        import transformers

        made = transformers.AutoConfig.for_model(**copy.deepcopy(config))
        torch.manual_seed(seed)
        model = _auto(made).from_config(made, attn_implementation="eager").float()
        for parameter in model.parameters():
            scale = 0.3 if parameter.ndim < 2 else 0.5 / parameter.shape[-1] ** 0.5
            parameter.data += scale * torch.randn_like(parameter)
        for name, parameter in model.named_parameters():
            if name.endswith((".alpha_p", ".alpha_n")):  # xIELU's, which are read in bfloat16
                parameter.data = parameter.data.bfloat16().float()
        model.save_pretrained(folder)


def rewrite(folder: Path, config: dict[str, Any]) -> None:
    """Put another `config.json` there."""
    (folder / "config.json").write_text(json.dumps(config))


def compute(folder: Path, ids: tuple[int, ...]) -> Truth:
    """Open a folder as `transformers` does, and run it."""
    with quiet():
        import transformers

        config = transformers.AutoConfig.from_pretrained(folder)
        model = _auto(config).from_pretrained(
            folder, config=config, attn_implementation="eager", dtype=torch.float32
        )
        with torch.no_grad():
            out = model.float().eval()(torch.tensor([ids]), output_attentions=True)
    return Truth(
        out.logits[0].numpy(), np.stack([pattern[0].numpy() for pattern in out.attentions])
    )
